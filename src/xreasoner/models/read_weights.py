"""A model without memory for its weights, and the weights read into what each rank holds of them.

A model is built on the meta device, sharded, given memory, and filled. No rank ever holds the whole model, or
a second copy of its part.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedConfig, PreTrainedModel

from xreasoner.models.tensor_files import FLOATS, StoredTensor, read_blocks, read_shards

Source = StoredTensor | Tensor


def empty_model(path: Path, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """A causal language model whose weights are on the meta device."""
    lm = empty_model_of(AutoConfig.from_pretrained(path, trust_remote_code=False), dtype, device)
    if (path / "generation_config.json").is_file():
        lm.generation_config = GenerationConfig.from_pretrained(path)
    return lm


def empty_model_of(config: PreTrainedConfig, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """Its buffers are computed already."""
    with torch.device("meta"):
        lm: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=dtype)
    compute_buffers(lm, device)
    return lm


def compute_buffers(model: PreTrainedModel, device: torch.device) -> None:
    for module in model.modules():
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else torch.empty_like(buffer, device=device)
    owners = [module for module in model.modules() if isinstance(module, PreTrainedModel)]
    nearest = {module: owner for owner in owners for module in owner.modules()}
    for module, its_owner in nearest.items():
        its_owner._init_weights(module)  # computes the buffers; on the meta device it does nothing


def give_memory(model: nn.Module, device: torch.device) -> None:
    """To what is still on the meta device: on each rank, its shards."""
    model._apply(lambda tensor: torch.empty_like(tensor, device=device) if tensor.is_meta else tensor)


@torch.no_grad()
def read_weights(lm: PreTrainedModel, path: Path) -> bool:
    """Fill the weights from a checkpoint, in whatever precision they are stored. Adapters stay as they are.

    False: the checkpoint stores other tensors than the model has, so the whole was read on every rank."""
    lm.tie_weights()  # memory was given to each name of a tied weight
    own = {stored_name(name): weight for name, weight in own_weights(lm).items() if ".lora_" not in name}
    stored = {tensor.name: tensor for shard in read_shards(path) for tensor in shard.tensors}
    streams = can_stream(own, stored)
    sources: Mapping[str, Source] = stored if streams else _converted(path, own)
    for name, weight in own.items():
        read_into(weight, sources[name])
    return streams


def own_weights(lm: PreTrainedModel) -> dict[str, Tensor]:
    """Parameters and saved buffers as they are, sharded or not; tied ones once."""
    tied = lm.all_tied_weights_keys
    return {name: weight for name, weight in lm.state_dict().items() if name not in tied}


def stored_name(name: str) -> str:
    """In a checkpoint, which knows nothing of adapters."""
    return name.replace(".base_layer.", ".")


def can_stream(own: Mapping[str, Tensor], stored: Mapping[str, StoredTensor]) -> bool:
    """Whether the checkpoint stores the model's own tensors. Some architectures merge or rename them."""
    return all(
        name in stored and stored[name].shape == weight.shape and stored[name].dtype in FLOATS
        for name, weight in own.items()
    )


def _converted(path: Path, own: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """What transformers makes of the checkpoint: the whole model in memory, on each rank."""
    dtype = next(iter(own.values())).dtype
    whole: PreTrainedModel = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, trust_remote_code=False)
    return whole.state_dict()


def read_into(weight: Tensor, source: Source) -> None:
    first, count = own_rows(weight)
    local = weight.to_local() if isinstance(weight, DTensor) else weight
    if isinstance(source, Tensor):
        local.copy_(source if source.ndim == 0 else source[first : first + count])
        return
    flat, done = local.view(-1), 0
    for block in read_blocks(rows_of(source, first, count), source.dtype):
        values = torch.frombuffer(block, dtype=FLOATS[source.dtype])
        flat[done : done + len(values)].copy_(values)
        done += len(values)
    assert done == flat.numel(), source.name


def own_rows(weight: Tensor) -> tuple[int, int]:
    """The rows of a weight that this rank holds: the first one and their number."""
    if not isinstance(weight, DTensor):
        return 0, weight.shape[0] if weight.ndim else 1
    shape, offset = compute_local_shape_and_global_offset(weight.shape, weight.device_mesh, weight.placements)
    assert shape[1:] == tuple(weight.shape[1:]), "only rows are sharded"
    return offset[0], shape[0]


def rows_of(stored: StoredTensor, first: int, count: int) -> StoredTensor:
    """Rows are contiguous on disk."""
    if not stored.shape or count == stored.shape[0]:
        return stored
    row = stored.size // stored.shape[0]
    return replace(
        stored, shape=(count, *stored.shape[1:]), start=stored.start + first * row, size=count * row
    )
