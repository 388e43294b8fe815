"""The model that is trained: loaded, frozen in part, given adapters, sharded over ranks, and saved."""

import copy
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
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
    gathered = policy.world.size > 1
    weights = _gather(policy.loss) if gathered else None
    if policy.world.is_first:
        finished = _merged(copy.deepcopy(policy.lm)) if policy.lora else policy.lm
        _save(finished, policy, weights or finished.state_dict(), out)
    wait_for_all(policy.world)


def _gather(model: LanguageModelLoss) -> dict[str, torch.Tensor]:
    """The full weights of a sharded model, in the first rank's memory. All ranks call this together."""
    found = get_model_state_dict(model, options=ALL_WEIGHTS).items()
    return {name.removeprefix("lm."): weight for name, weight in found if isinstance(weight, torch.Tensor)}


def _save(finished: PreTrainedModel, policy: Policy, weights: dict[str, torch.Tensor], out: Path) -> None:
    tied = finished.all_tied_weights_keys
    converted = {name: w.to(policy.saved_dtype) for name, w in weights.items() if name not in tied}
    save_model(finished, policy.tokenizer, out, converted)


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


def _merged(lm: PreTrainedModel) -> PreTrainedModel:
    from peft.tuners.lora import LoraLayer

    for name, module in list(lm.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(lm.get_submodule(parent), child, module.get_base_layer())
    return lm


def _dtype_of(checkpoint: Path) -> torch.dtype:
    config = read_config(checkpoint)
    name = config.get("dtype") or config.get("torch_dtype") or "float32"
    dtype = getattr(torch, str(name))
    assert isinstance(dtype, torch.dtype), name
    return dtype
