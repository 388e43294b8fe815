"""The precision to compute in, where the recipe says `auto`."""

import time
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch

from xreasoner.recipe.schema import Dtype

LEAST_ON_CPU = 100_000_000
"""Parameters. Smaller models spend little of their time in matrix products."""
LEAST_GAIN = 1.2
"""How much faster bfloat16 must be on a CPU."""


def compute_dtype(asked: Dtype, device: torch.device, parameters: int) -> torch.dtype:
    if asked == "auto":
        return torch.bfloat16 if bfloat16_pays(device, parameters) else torch.float32
    return torch.bfloat16 if asked == "bfloat16" else torch.float32


def bfloat16_pays(device: torch.device, parameters: int) -> bool:
    """For a model of this size. A CPU without the instructions takes several times as long as in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return parameters >= LEAST_ON_CPU and has_bfloat16_instructions() and bfloat16_gain() >= LEAST_GAIN


def has_bfloat16_instructions() -> bool:
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@cache
def bfloat16_gain() -> float:
    """How much faster a matrix product is in bfloat16 on this CPU. Other load does not last for every try."""
    left, right = torch.randn(256, 1024), torch.randn(1024, 1024)
    seconds = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    for _ in range(5):
        for dtype, best in seconds.items():
            operands = left.to(dtype), right.to(dtype)
            began = time.perf_counter()
            torch.mm(*operands)
            seconds[dtype] = min(best, time.perf_counter() - began)
    return seconds[torch.float32] / seconds[torch.bfloat16]


def autocast(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[object]:
    """Matrix products in `dtype`, whatever precision the weights have."""
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)
