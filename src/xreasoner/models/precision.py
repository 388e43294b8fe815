"""The precision to compute in, where the recipe says `auto`."""

from contextlib import AbstractContextManager, nullcontext

import torch

from xreasoner.recipe.schema import Dtype


def compute_dtype(asked: Dtype, device: torch.device) -> torch.dtype:
    if asked == "auto":
        has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if has_bfloat16 else torch.float32
    return torch.bfloat16 if asked == "bfloat16" else torch.float32


def autocast(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[object]:
    """Matrix products in `dtype`, whatever precision the weights have."""
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)
