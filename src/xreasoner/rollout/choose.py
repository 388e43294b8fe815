"""Opens the engine that the recipe names; for `auto`, the faster one for this model on this device."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch

from xreasoner.models.image_support import PixelRange, pixel_range
from xreasoner.models.load import load
from xreasoner.models.precision import compute_dtype
from xreasoner.models.tensor_files import parameters
from xreasoner.recipe.schema import Dtype, Evaluation
from xreasoner.recipe.settings import EngineName
from xreasoner.rollout.engine import Engine
from xreasoner.rollout.server_engine.engine import ServerEngine
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.rollout.vllm_engine.options import why_not_vllm

Chosen = Literal["torch", "vllm", "server"]
Longest = Callable[[], int | None]
"""The most tokens of a prompt and its reply; None if unknown. Only vLLM asks, because counting takes time."""
VLLM_FROM = {"cpu": 1e7, "cuda": 1e9}
"""By device: the number of parameters from which `auto` picks vLLM.

On a CPU this is where vLLM becomes faster (`benchmarks/rollout_vllm.py`). The CUDA value was not measured: it
assumes that a user who installs vLLM on a GPU machine wants it for models of this size.
"""


def open_engine(
    checkpoint: Path, evaluation: Evaluation, device: torch.device, longest: Longest = lambda: None
) -> Engine:
    """The engine that evaluates this checkpoint."""
    if evaluation.server is not None:
        return ServerEngine(evaluation.server)
    pixels = None
    if evaluation.min_pixels or evaluation.max_pixels:
        pixels = pixel_range(checkpoint, evaluation.min_pixels, evaluation.max_pixels)
    return open_checkpoint(
        checkpoint, evaluation.engine, evaluation.dtype, evaluation.rows, device, pixels, longest
    )


def open_checkpoint(
    checkpoint: Path,
    requested: EngineName,
    dtype: Dtype,
    rows: int,
    device: torch.device,
    pixels: PixelRange | None = None,
    longest: Longest = lambda: None,
) -> Engine:
    """An engine in this process. `pixels` replaces the checkpoint's own limits."""
    precision = compute_dtype(dtype, device, parameters(checkpoint))
    if choose_engine(requested, checkpoint, device) == "torch":
        return TorchEngine(load(checkpoint, device, precision, pixels=pixels), max_rows=rows)
    from xreasoner.rollout.vllm_engine.engine import VllmEngine

    return VllmEngine(checkpoint, precision, rows, pixels=pixels, longest=longest())


def choose_engine(requested: EngineName, checkpoint: Path, device: torch.device) -> Chosen:
    """Resolve `auto`. An explicit `vllm` that is not installed is an error."""
    trouble = why_not_vllm()
    if requested == "vllm" and trouble:
        raise ValueError(f"engine vllm: {trouble}")
    if requested != "auto":
        return requested
    return "vllm" if vllm_is_worthwhile(checkpoint, device) and not trouble else "torch"


def auto_fallback(requested: EngineName, checkpoint: Path, device: torch.device) -> str | None:
    """Why `auto` does not use vLLM although it would be worth it here; None otherwise."""
    trouble = why_not_vllm()
    if requested == "auto" and trouble and vllm_is_worthwhile(checkpoint, device):
        return f"auto uses the torch engine: {trouble}"
    return None


def vllm_is_worthwhile(checkpoint: Path, device: torch.device) -> bool:
    return parameters(checkpoint) >= VLLM_FROM.get(device.type, math.inf)
