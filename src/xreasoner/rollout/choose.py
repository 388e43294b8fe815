"""Which engine answers: the recipe's word, or the one that is faster for this model on this device."""

import json
import math
from pathlib import Path
from typing import Any, Literal

import torch

from xreasoner.models.config import read_config
from xreasoner.models.load import load
from xreasoner.models.precision import compute_dtype
from xreasoner.recipe.schema import Dtype, Evaluation
from xreasoner.recipe.settings import EngineName, ServerAddress
from xreasoner.rollout.engine import Engine
from xreasoner.rollout.server_engine.engine import ApiEngine, Server
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.rollout.vllm_engine.version import why_not_vllm

Chosen = Literal["torch", "vllm", "server"]
VLLM_FROM = {"cpu": 1e7, "cuda": 1e9}
"""By device, the parameters from which on `auto` takes vLLM.

On a CPU it was faster from there on (`benchmarks/rollout_vllm.py`). On CUDA nothing was measured: whoever
installs vLLM beside a GPU wants it for models of this size.
"""


def open_engine(checkpoint: Path, evaluation: Evaluation, device: torch.device) -> Engine:
    """The engine that answers an evaluation's questions with this checkpoint."""
    if evaluation.server is not None:
        return open_server(evaluation.server)
    return open_checkpoint(checkpoint, evaluation.engine, evaluation.dtype, evaluation.rows, device)


def open_checkpoint(
    checkpoint: Path, asked: EngineName, dtype: Dtype, rows: int, device: torch.device
) -> Engine:
    """An engine in this process."""
    precision = compute_dtype(dtype, device)
    if choose_engine(asked, checkpoint, device) == "torch":
        return TorchEngine(load(checkpoint, device, precision), max_rows=rows)
    from xreasoner.rollout.vllm_engine.engine import VllmEngine

    return VllmEngine(checkpoint, precision, rows)


def open_server(address: ServerAddress) -> ApiEngine:
    return ApiEngine(Server(**address.model_dump()))


def choose_engine(asked: EngineName, checkpoint: Path, device: torch.device) -> Chosen:
    """What `auto` means here; `vllm`, asked for by name, must be there."""
    trouble = why_not_vllm()
    if asked == "vllm" and trouble:
        raise ValueError(f"engine vllm: {trouble}")
    if asked != "auto":
        return asked
    return "vllm" if vllm_is_worthwhile(checkpoint, device) and not trouble else "torch"


def foregone(asked: EngineName, checkpoint: Path, device: torch.device) -> str | None:
    """Why `auto` does without vLLM where it would take it."""
    trouble = why_not_vllm()
    if asked == "auto" and trouble and vllm_is_worthwhile(checkpoint, device):
        return f"auto takes the torch engine: {trouble}"
    return None


def vllm_is_worthwhile(checkpoint: Path, device: torch.device) -> bool:
    return parameters(checkpoint) >= VLLM_FROM.get(device.type, math.inf)


def parameters(checkpoint: Path) -> int:
    """Counted in the headers of the weight files, which are not read."""
    read_config(checkpoint)
    shapes = (tensor["shape"] for file in checkpoint.glob("*.safetensors") for tensor in _tensors(file))
    return sum(int(torch.Size(shape).numel()) for shape in shapes)


def _tensors(file: Path) -> list[dict[str, Any]]:
    with file.open("rb") as opened:
        header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
    return [tensor for name, tensor in header.items() if name != "__metadata__"]
