"""The model that is trained: loaded, frozen in part, given adapters, sharded over ranks, and saved."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_model_state_dict
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xreasoner.models.checkpoint import ALL_WEIGHTS, save_model
from xreasoner.models.config import has_vision, read_config
from xreasoner.models.load import load
from xreasoner.models.precision import autocast, compute_dtype
from xreasoner.models.tensor_files import parameters
from xreasoner.parallel import World, seed_step, shard, wait_for_all
from xreasoner.recipe.schema import Lora, Optimization
from xreasoner.train.loss import LanguageModelLoss
from xreasoner.train.packing_check import check_packing


@dataclass(frozen=True)
class Policy:
    lm: PreTrainedModel
    loss: LanguageModelLoss
    """Wraps `lm` for the losses. FSDP shards this module, so every forward pass goes through it."""
    tokenizer: PreTrainedTokenizerBase
    world: World
    compute_dtype: torch.dtype
    saved_dtype: torch.dtype
    lora: Lora | None

    def precision(self) -> AbstractContextManager[object]:
        return autocast(self.compute_dtype, self.world.device)


def open_policy(start: Path, settings: Optimization, seed: int, world: World) -> Policy:
    if has_vision(start):
        raise ValueError(
            f"{start} has a vision tower: training is text-only, "
            "so detach the language model first (xreasoner detach)"
        )
    if settings.lora and world.size > 1:
        raise ValueError("LoRA on several processes is not supported yet: train it on one")
    dtype = compute_dtype(settings.dtype, world.device, parameters(start))
    # Trained weights are kept in float32: in bfloat16 small updates would be lost to rounding.
    frozen_dtype = dtype if settings.lora else torch.float32
    loaded = load(start, device=world.device, dtype=frozen_dtype)
    return make_policy(loaded.model, loaded.tokenizer, settings, seed, world, _dtype_of(start))


def make_policy(
    lm: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    settings: Optimization,
    seed: int,
    world: World,
    saved_dtype: torch.dtype,
) -> Policy:
    dtype = compute_dtype(settings.dtype, world.device, lm.num_parameters())
    lm.train()
    if settings.lora:
        seed_step(seed, 0)  # the same on every rank and after a resume
        _add_adapters(lm, settings.lora)
    if "embeddings" in settings.freeze:
        lm.get_input_embeddings().requires_grad_(False)
        lm.get_output_embeddings().requires_grad_(False)
    if settings.gradient_checkpointing:
        lm.enable_input_require_grads()
        lm.gradient_checkpointing_enable({"use_reentrant": False})
    loss, layers = LanguageModelLoss(lm), lm.base_model.layers
    assert isinstance(layers, nn.ModuleList)
    with autocast(dtype, world.device):
        loss.packs = check_packing(loss, dtype)
    shard(loss, layers, dtype, world)
    return Policy(lm, loss, tokenizer, world, dtype, saved_dtype, settings.lora)


def save_policy(policy: Policy, out: Path) -> None:
    """A plain Hugging Face checkpoint, in the precision of the one training started from, adapters merged."""
    weights = _gather(policy.loss).items() if policy.world.size > 1 else trained_weights(policy)
    if policy.world.is_first:
        tied = policy.lm.all_tied_weights_keys
        # One weight at a time, and not on a GPU: a second model may not fit beside the first.
        saved = {name: weight.to("cpu", policy.saved_dtype) for name, weight in weights if name not in tied}
        save_model(policy.lm, policy.tokenizer, out, saved)
    wait_for_all(policy.world)


def _gather(model: LanguageModelLoss) -> dict[str, torch.Tensor]:
    """The full weights of a sharded model, in the first rank's memory. All ranks call this together."""
    found = get_model_state_dict(model, options=ALL_WEIGHTS).items()
    return {name.removeprefix("lm."): weight for name, weight in found if isinstance(weight, torch.Tensor)}


def trained_weights(policy: Policy) -> Iterator[tuple[str, Tensor]]:
    """As a checkpoint names them: adapters merged one weight at a time, tied weights once, still sharded."""
    tied = policy.lm.all_tied_weights_keys
    for name, weight in policy.lm.state_dict().items():
        if name in tied or ".lora_" in name:
            continue
        owner, is_adapted, leaf = name.rpartition(".base_layer.")
        if not is_adapted:
            yield name, weight
            continue
        yield f"{owner}.{leaf}", weight + _adapter(policy, owner, weight) if leaf == "weight" else weight


def _adapter(policy: Policy, owner: str, weight: Tensor) -> Tensor:
    from peft.tuners.lora import LoraLayer

    layer = policy.lm.get_submodule(owner)
    assert isinstance(layer, LoraLayer)
    (adapter,) = layer.active_adapters
    delta: Tensor = layer.get_delta_weight(adapter)  # type: ignore[operator]
    return delta.detach().to(weight.dtype)


def _add_adapters(lm: PreTrainedModel, lora: Lora) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # any number works
        target_modules=list(lora.targets),
        lora_dropout=0.0,
    )
    lm.requires_grad_(False)
    inject_adapter_in_model(config, lm)
    for parameter in lm.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def _dtype_of(checkpoint: Path) -> torch.dtype:
    config = read_config(checkpoint)
    name = config.get("dtype") or config.get("torch_dtype") or "float32"
    dtype = getattr(torch, str(name))
    assert isinstance(dtype, torch.dtype), name
    return dtype
