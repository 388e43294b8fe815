"""Opens the engine that the recipe names; for `auto`, the faster one for this model on this device."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
)

from xreasoner.models.config import has_vision
from xreasoner.models.families import FAMILIES
from xreasoner.models.image_support import PixelRange, known_placeholder, pixel_range
from xreasoner.models.load import load
from xreasoner.models.precision import compute_dtype
from xreasoner.models.tensor_files import parameters
from xreasoner.recipe.schema import Dtype, Evaluation
from xreasoner.recipe.settings import VLLM_FROM, EngineName, EvaluationEngine
from xreasoner.rollout.engine import Engine
from xreasoner.rollout.generate_engine import GenerateEngine, own_processor
from xreasoner.rollout.server_engine.engine import ServerEngine
from xreasoner.rollout.torch_engine.attention import unsupported
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.rollout.vllm_engine.options import why_not_vllm

Chosen = Literal["torch", "vllm", "server", "generate"]
Longest = Callable[[], int | None]
"""The most tokens of a prompt and its reply; None if unknown. Only vLLM asks, because counting takes time."""


def open_engine(
    checkpoint: Path,
    evaluation: Evaluation,
    device: torch.device,
    longest: Longest = lambda: None,
    images: bool = True,
) -> Engine:
    """The engine that evaluates this checkpoint. `images`: it may be asked about some."""
    if evaluation.server is not None:
        return ServerEngine(evaluation.server)
    pixels = None
    if evaluation.min_pixels or evaluation.max_pixels:
        pixels = pixel_range(checkpoint, evaluation.min_pixels, evaluation.max_pixels)
    chosen = choose_to_evaluate(evaluation.engine, checkpoint, device, images)
    if chosen == "generate":
        return open_generate(checkpoint, evaluation.dtype, device, pixels)
    return open_checkpoint(checkpoint, chosen, evaluation.dtype, evaluation.rows, device, pixels, longest)


def open_generate(
    checkpoint: Path, dtype: Dtype, device: torch.device, pixels: PixelRange | None
) -> GenerateEngine:
    loaded = load(checkpoint, device, compute_dtype(dtype, device, parameters(checkpoint)), pixels=pixels)
    needs_own = has_vision(checkpoint) and loaded.image_processor is None
    own = own_processor(checkpoint, loaded.model.config.model_type) if needs_own else None
    return GenerateEngine(loaded, own)


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


def choose_to_evaluate(
    requested: EvaluationEngine, checkpoint: Path, device: torch.device, images: bool = True
) -> Chosen:
    """As above; what our torch engine cannot answer goes to transformers' own `generate`."""
    if requested == "generate":
        return "generate"
    chosen = choose_engine(requested, checkpoint, device)
    lack = why_not_torch(checkpoint, images) if chosen == "torch" else None
    if lack and requested == "torch":
        raise ValueError(f"engine torch: {lack}; use engine auto, vllm, server or generate")
    return "generate" if lack else chosen


def why_not_torch(checkpoint: Path, images: bool) -> str | None:
    """Why our engine cannot evaluate this checkpoint; None if it can."""
    config = AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)
    sees = has_vision(checkpoint)
    if sees and images and known_placeholder(checkpoint) is None:
        return f"the torch engine does not know the images of {config.model_type} models"
    told = unsupported(config, is_stateful=False)
    if told or config.model_type in FAMILIES:  # of these the configuration tells all
        return told
    models: Any = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING if sees else MODEL_FOR_CAUSAL_LM_MAPPING
    return unsupported(config, type(config) in models and models[type(config)]._is_stateful)


def slow_line(
    requested: EvaluationEngine, checkpoint: Path, device: torch.device, images: bool
) -> str | None:
    """What to know before an evaluation that answers one question at a time; None for others."""
    if choose_to_evaluate(requested, checkpoint, device, images) != "generate":
        return None
    why = why_not_torch(checkpoint, images) or "the recipe says so"
    return (
        f"transformers' own generate answers, one question at a time and slowly: {why}. "
        "vLLM, in process or as a server, is faster where it knows the model (docs/vllm.md)"
    )


def auto_fallback(requested: EvaluationEngine, checkpoint: Path, device: torch.device) -> str | None:
    """Why `auto` does not use vLLM although it would be worth it here; None otherwise."""
    trouble = why_not_vllm()
    if requested == "auto" and trouble and vllm_is_worthwhile(checkpoint, device):
        return f"auto uses the torch engine: {trouble}"
    return None


def vllm_is_worthwhile(checkpoint: Path, device: torch.device) -> bool:
    return parameters(checkpoint) >= VLLM_FROM.get(device.type, math.inf)
