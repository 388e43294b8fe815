"""A frozen base in 4 bits (QLoRA): bitsandbytes' NF4, read and quantised one matrix at a time.

Training and the torch engine compute with the quantised base, and an engine of its own gets it dequantised,
so that trainer and sampler agree. A checkpoint gets the adapters merged into the exact weights, read again
from disk: what the base lost by quantisation is no part of what was learned, and peft advises the same.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from xreasoner.models.find_tower import body_of
from xreasoner.models.read_weights import read_into, stored_name
from xreasoner.models.tensor_files import StoredTensor, read_shards
from xreasoner.recipe.schema import Lora, Optimization

BLOCK = 64
"""Weights that share a scale."""


def refuse_4bit(settings: Optimization) -> None:
    """Where it cannot work, before anything is loaded."""
    if not is_4bit(settings.lora):
        return
    if find_spec("bitsandbytes") is None:
        raise ValueError("lora.base: 4bit needs bitsandbytes: pip install 'xreasoner[qlora]'")


def is_4bit(lora: Lora | None) -> bool:
    return lora is not None and lora.base == "4bit"


class QuantizedLinear(nn.Module):
    """A linear layer whose weight is packed. It is no parameter and in no state dict, so FSDP leaves it whole
    on every rank: it shards rows, and a packed matrix has none."""

    def __init__(
        self, plain: nn.Linear, stored: StoredTensor, dtype: torch.dtype, device: torch.device
    ) -> None:
        from bitsandbytes.functional import quantize_4bit

        super().__init__()
        self.in_features, self.out_features, self.bias = plain.in_features, plain.out_features, plain.bias
        self.stored, self.dtype = stored, dtype
        weight = self.exact(device)
        self.packed, self.state = quantize_4bit(
            weight, blocksize=BLOCK, quant_type="nf4", compress_statistics=True
        )

    def forward(self, hidden: Tensor) -> Tensor:
        from bitsandbytes.autograd._functions import matmul_4bit

        inputs = hidden.to(self.dtype)
        bias = None if self.bias is None else self.bias.to(self.dtype)
        out: Tensor = matmul_4bit(inputs, self.packed.t(), quant_state=self.state, bias=bias)
        return out

    def dequantized(self) -> Tensor:
        from bitsandbytes.functional import dequantize_4bit

        weight: Tensor = dequantize_4bit(self.packed, self.state)
        return weight

    def exact(self, device: torch.device) -> Tensor:
        """As in the checkpoint that training started from."""
        weight = torch.empty(self.stored.shape, dtype=self.dtype, device=device)
        read_into(weight, self.stored)
        return weight


def quantize_layers(lm: PreTrainedModel, start: Path, dtype: torch.dtype, device: torch.device) -> None:
    """The matrices of the decoder layers. They are on the meta device: at no time do all have memory.

    Where rows are not whole blocks they stay as they are: bitsandbytes 0.50 unpacks them wrongly on a CPU."""
    stored = {tensor.name: tensor for shard in read_shards(start) for tensor in shard.tensors}
    body = body_of(lm)
    for name, plain in list(lm.get_submodule(body).named_modules(prefix=body)):
        if not isinstance(plain, nn.Linear) or ".layers." not in name or ".lora_" in name:
            continue
        if plain.in_features % BLOCK:
            continue
        weight = stored_name(f"{name}.weight")
        if weight not in stored or stored[weight].shape != plain.weight.shape:
            raise ValueError(f"{start}: it does not store {weight} as such, which lora.base: 4bit needs")
        owner, _, leaf = name.rpartition(".")
        setattr(lm.get_submodule(owner), leaf, QuantizedLinear(plain, stored[weight], dtype, device))


def quantized_layers(lm: nn.Module) -> Iterator[tuple[str, QuantizedLinear]]:
    return ((name, layer) for name, layer in lm.named_modules() if isinstance(layer, QuantizedLinear))
