"""The precision to compute in, where the recipe says `auto`."""

from contextlib import AbstractContextManager, nullcontext

import torch

from xreasoner.recipe.schema import Dtype

LEAST_ON_CPU = 100_000_000
"""Parameters. Smaller models spend little of their time in matrix products."""


def compute_dtype(asked: Dtype, device: torch.device, parameters: int) -> torch.dtype:
    if asked == "auto":
        return torch.bfloat16 if bfloat16_pays(device, parameters) else torch.float32
    return torch.bfloat16 if asked == "bfloat16" else torch.float32


def bfloat16_pays(device: torch.device, parameters: int) -> bool:
    """For a model of this size. A CPU without the instructions takes several times as long as in float32.

    Nothing is timed: a busy moment must not make a resumed stage or an evaluation choose otherwise.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return parameters >= LEAST_ON_CPU and has_bfloat16_instructions()


def has_bfloat16_instructions() -> bool:
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def autocast(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[object]:
    """Matrix products in `dtype`, whatever precision the weights have."""
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)
