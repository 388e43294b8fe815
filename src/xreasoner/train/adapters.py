"""LoRA: low-rank adapters beside frozen weights, on one rank or sharded over several."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copymode
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from xreasoner.models.read_weights import read_into
from xreasoner.parallel import World, full_weight, seed_step
from xreasoner.recipe.schema import Lora

if TYPE_CHECKING:
    from peft import LoraConfig

ADAPTER = "default"
"""peft's name for the only one."""


def add_adapters(lm: PreTrainedModel, lora: Lora) -> None:
    """On the meta device and in float32; everything else is frozen."""
    # On a CPU, bitsandbytes warns that it lacks a kernel for 4 bits, also where nothing has them.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    from peft import inject_adapter_in_model

    lm.requires_grad_(False)
    inject_adapter_in_model(peft_config(lora), lm, low_cpu_mem_usage=True)
    for parameter in lm.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def peft_config(lora: Lora) -> "LoraConfig":
    from peft import LoraConfig

    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # any number works
        target_modules=list(lora.targets),
        lora_dropout=0.0,
    )


def adapted_layers(lm: nn.Module) -> list[Any]:
    """peft's, without importing it where there are none."""
    return [module for module in lm.modules() if hasattr(module, "lora_A")]


@torch.no_grad()
def fill_adapters(lm: PreTrainedModel, seed: int) -> None:
    """As peft does it, and the same on any number of ranks: each takes its rows of the same numbers."""
    seed_step(seed, 0)
    for layer in adapted_layers(lm):
        down, up = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
        drawn = torch.empty(down.shape)
        nn.init.kaiming_uniform_(drawn, a=math.sqrt(5))
        read_into(down, drawn)
        nn.init.zeros_(up)


@contextmanager
def adapters_off(lm: PreTrainedModel) -> Iterator[None]:
    """Inside, the model computes as before training."""
    layers = adapted_layers(lm)
    for layer in layers:
        layer.enable_adapters(False)
    yield
    for layer in layers:
        layer.enable_adapters(True)


def merged(layer: Any, weight: Tensor) -> Tensor:
    """A layer's whole weight with its adapter, added in float32."""
    down, up = full_weight(layer.lora_A[ADAPTER].weight), full_weight(layer.lora_B[ADAPTER].weight)
    return full_weight(weight).float() + layer.scaling[ADAPTER] * (up @ down)


@torch.no_grad()
def save_adapters(lm: PreTrainedModel, lora: Lora, folder: Path, world: World) -> None:
    """As peft reads them, beside the merged weights. All ranks call this."""
    found = {}
    for name, weight in lm.state_dict().items():
        if ".lora_" in name:
            whole = full_weight(weight)
            found[f"base_model.model.{name.replace(f'.{ADAPTER}.', '.')}"] = whole.cpu().contiguous()
    if world.is_first:
        folder.mkdir()
        peft_config(lora).save_pretrained(str(folder))
        save_file(found, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        # safetensors lets only the owner read what it writes.
        copymode(folder / "adapter_config.json", folder / "adapter_model.safetensors")
