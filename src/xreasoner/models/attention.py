"""Attention over packed sequences: each segment attends to itself alone, and no mask is ever built."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, PreTrainedModel

PACKED = "packed"


@dataclass(frozen=True)
class Segments:
    """Where the sequences of one packed row begin and end."""

    lengths: tuple[int, ...]
    bounds: Tensor
    """0 and the running sums of the lengths, int32, on the device of the tokens."""

    @classmethod
    def of(cls, lengths: tuple[int, ...], device: torch.device) -> "Segments":
        bounds = F.pad(torch.tensor(lengths, dtype=torch.int32).cumsum(0, dtype=torch.int32), (1, 0))
        return cls(lengths, bounds.to(device))


@contextmanager
def packed_attention(model: PreTrainedModel) -> Iterator[None]:
    """Inside, the model attends segment by segment; outside, as before (the rollout engine shares it)."""
    before = model.config._attn_implementation
    model.config._attn_implementation = PACKED
    try:
        yield
    finally:
        model.config._attn_implementation = before


def packed_forward(
    module: nn.Module,
    query_1HTD: Tensor,
    key_1KTD: Tensor,
    value_1KTD: Tensor,
    attention_mask: Tensor | None,
    *,
    segments: Segments,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    assert query_1HTD.shape[0] == 1 and sum(segments.lengths) == query_1HTD.shape[2]
    # Under autocast the rotary embedding lifts queries and keys to float32; values tell the true precision.
    query_1HTD, key_1KTD = query_1HTD.to(value_1KTD.dtype), key_1KTD.to(value_1KTD.dtype)
    kernel = (
        _varlen if value_1KTD.is_cuda and value_1KTD.dtype in (torch.bfloat16, torch.float16) else _looped
    )
    return kernel(query_1HTD, key_1KTD, value_1KTD, segments, scaling, sliding_window), None


def _varlen(
    query_1HTD: Tensor,
    key_1KTD: Tensor,
    value_1KTD: Tensor,
    segments: Segments,
    scaling: float | None,
    sliding_window: int | None,
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    query_THD, key_TKD, value_TKD = (x[0].transpose(0, 1) for x in (query_1HTD, key_1KTD, value_1KTD))
    longest = max(segments.lengths)
    out_THD = varlen_attn(
        query_THD,
        key_TKD,
        value_TKD,
        segments.bounds,
        segments.bounds,
        longest,
        longest,
        scale=scaling,
        window_size=(-1 if sliding_window is None else sliding_window - 1, 0),
        enable_gqa=True,
    )
    assert isinstance(out_THD, Tensor)
    return out_THD[None]


def _looped(
    query_1HTD: Tensor,
    key_1KTD: Tensor,
    value_1KTD: Tensor,
    segments: Segments,
    scaling: float | None,
    sliding_window: int | None,
) -> Tensor:
    """One call a segment. On a CPU this beat padding to common lengths, whatever the number of buckets."""
    pieces = (x.split(segments.lengths, dim=2) for x in (query_1HTD, key_1KTD, value_1KTD))
    outputs = [
        _causal(query, key, value, scaling, sliding_window) for query, key, value in zip(*pieces, strict=True)
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2)


def _causal(
    query_1HLD: Tensor, key_1KLD: Tensor, value_1KLD: Tensor, scaling: float | None, window: int | None
) -> Tensor:
    length = query_1HLD.shape[2]
    band_LL = None if window is None or length <= window else _band(length, window, query_1HLD.device)
    return F.scaled_dot_product_attention(
        query_1HLD,
        key_1KLD,
        value_1KLD,
        attn_mask=band_LL,
        is_causal=band_LL is None,
        scale=scaling,
        enable_gqa=True,
    )


def _band(length: int, window: int, device: torch.device) -> Tensor:
    at_L = torch.arange(length, device=device)
    distance_LL = at_L[:, None] - at_L[None, :]
    return (distance_LL >= 0) & (distance_LL < window)


AttentionInterface.register(PACKED, packed_forward)
