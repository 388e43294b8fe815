"""The model that is trained: loaded, frozen in part, given adapters, sharded over ranks, and saved."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xreasoner.models.checkpoint import save_model
from xreasoner.models.config import has_vision, read_config
from xreasoner.models.find_tower import body_of
from xreasoner.models.load import load_tokenizer
from xreasoner.models.precision import autocast, compute_dtype
from xreasoner.models.read_weights import empty_model, give_memory, own_weights, read_weights, stored_name
from xreasoner.models.tensor_files import parameters
from xreasoner.models.write_weights import folder_of_all_ranks, write_side_files, write_weights
from xreasoner.parallel import World, full_weight, gather_shares, keep_only_shards, shard, wait_for_all
from xreasoner.recipe.schema import Lora, Optimization
from xreasoner.train.adapters import add_adapters, fill_adapters, merged, save_adapters
from xreasoner.train.loss import LanguageModelLoss
from xreasoner.train.optim import weights_not_finite
from xreasoner.train.packing_check import check_packing
from xreasoner.train.quantized import is_4bit, quantize_layers, quantized_layers, refuse_4bit
from xreasoner.train.speed import Utilisation, utilisation


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
    streams: bool
    """Its checkpoint stores the model's own tensors, so they are read and written one at a time."""
    used: Utilisation

    def precision(self) -> AbstractContextManager[object]:
        return autocast(self.compute_dtype, self.world.device)


def open_policy(start: Path, settings: Optimization, seed: int, world: World) -> Policy:
    if has_vision(start):
        raise ValueError(
            f"{start} has a vision tower: training is text-only, "
            "so detach the language model first (xreasoner detach)"
        )
    refuse_4bit(settings)
    dtype = agreed_dtype(settings, parameters(start), world)
    # Trained weights are kept in float32: in bfloat16 small updates would be lost to rounding.
    lm = empty_model(start, dtype if settings.lora else torch.float32, world.device)
    return make_policy(lm, load_tokenizer(start), settings, seed, world, _dtype_of(start), start)


def make_policy(
    lm: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    settings: Optimization,
    seed: int,
    world: World,
    saved_dtype: torch.dtype,
    start: Path | None = None,
) -> Policy:
    """`lm` may be on the meta device: its weights are then read from `start` after they are sharded."""
    dtype = agreed_dtype(settings, lm.num_parameters(), world)
    lm.train()
    used = utilisation(lm, settings.lora is not None, world)
    if settings.lora:
        add_adapters(lm, settings.lora)
    if "embeddings" in settings.freeze:
        lm.get_input_embeddings().requires_grad_(False)
        lm.get_output_embeddings().requires_grad_(False)
    if settings.gradient_checkpointing:
        lm.enable_input_require_grads()
        lm.gradient_checkpointing_enable({"use_reentrant": False})
    if start and is_4bit(settings.lora):
        quantize_layers(lm, start, dtype, world.device)
    loss, layers = LanguageModelLoss(lm), lm.get_submodule(body_of(lm)).layers
    assert isinstance(layers, nn.ModuleList)
    shard(loss, layers, dtype, world, settings.shard_over)
    give_memory(loss, world.device)
    streams = read_weights(lm, start) if start else True
    if settings.lora:
        fill_adapters(lm, seed)
    if name := weights_not_finite(lm):
        raise ValueError(
            f"{start or 'the model'}: the weights {name} are not finite: download this checkpoint again"
        )
    with autocast(dtype, world.device):
        loss.packs = check_packing(loss, dtype)
    keep_only_shards(loss)
    if settings.compile:
        for layer in layers:
            layer.forward = torch.compile(layer.forward, dynamic=True)
    return Policy(lm, loss, tokenizer, world, dtype, saved_dtype, settings.lora, streams, used)


def agreed_dtype(settings: Optimization, parameters: int, world: World) -> torch.dtype:
    """The first rank's choice: the machines of other ranks may have other CPUs."""
    return gather_shares([compute_dtype(settings.dtype, world.device, parameters)], world)[0]


def save_policy(policy: Policy, out: Path) -> None:
    """A Hugging Face checkpoint, in the precision of the one training started from, adapters merged.

    All ranks call this."""
    if not policy.streams:
        _save_whole(policy, out)
        return
    dtype, world = policy.saved_dtype, policy.world
    shapes = {stored_name(name): tuple(weight.shape) for name, weight in base_weights(policy.lm)}
    for name, layer in quantized_layers(policy.lm):
        shapes[stored_name(f"{name}.weight")] = layer.stored.shape
    with folder_of_all_ranks(out, world) as folder:
        write_weights(shapes, trained_weights(policy, dtype, exact=True), dtype, folder, world)
        if policy.lora:
            save_adapters(policy.lm, policy.lora, folder / "adapter", world)
        if world.is_first:
            write_side_files(policy.lm, policy.tokenizer, dtype, folder)


def _save_whole(policy: Policy, out: Path) -> None:
    """transformers renames the tensors, for which it needs them all."""
    whole: dict[str, Tensor] = {}
    for name, weight in trained_weights(policy, policy.saved_dtype):
        full = full_weight(weight)
        if policy.world.is_first:
            whole[name] = full.cpu()
    if policy.world.is_first:
        save_model(policy.lm, policy.tokenizer, out, whole)
    wait_for_all(policy.world)


def base_weights(lm: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """Without adapters; tied weights once."""
    return ((name, weight) for name, weight in own_weights(lm).items() if ".lora_" not in name)


@torch.no_grad()
def trained_weights(policy: Policy, dtype: torch.dtype, exact: bool = False) -> Iterator[tuple[str, Tensor]]:
    """As a checkpoint would hold them now: adapters merged one weight at a time, other weights sharded.

    A base in 4 bits is dequantised, or `exact`: read again as it was before."""
    for name, weight in base_weights(policy.lm):
        owner, is_adapted, leaf = name.rpartition(".base_layer.")
        if is_adapted and leaf == "weight":
            weight = merged(policy.lm.get_submodule(owner), weight)
        yield stored_name(name), weight.to(dtype)
    for name, layer in quantized_layers(policy.lm):
        weight = layer.exact(policy.world.device) if exact else layer.dequantized()
        owner, is_adapted, _ = name.rpartition(".base_layer")
        if is_adapted:
            weight = merged(policy.lm.get_submodule(owner), weight)
        yield stored_name(f"{name}.weight"), weight.to(dtype)


def _dtype_of(checkpoint: Path) -> torch.dtype:
    config = read_config(checkpoint)
    name = config.get("dtype") or config.get("torch_dtype") or "float32"
    dtype = getattr(torch, str(name))
    assert isinstance(dtype, torch.dtype), name
    return dtype
