"""Attention of one query a row over cached rows of unequal length.

Suffixes: A rows of the step, B rows of a block, K key heads, G query heads per key head, H query heads,
S cache columns, D head size, N places of the cache over rows and heads, 1 a size of one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

_BLOCK_ROWS = 64
_LARGEST_FLASH_HEAD = 256


class RowBlock(NamedTuple):
    """Adjacent rows and the length of the longest."""

    rows: slice
    span: int


def row_blocks(lengths: Sequence[int]) -> list[RowBlock]:
    """In blocks, a row costs as much as the longest of its block, not of the whole batch."""
    starts = range(0, len(lengths), _BLOCK_ROWS)
    return [RowBlock(slice(s, s + _BLOCK_ROWS), max(lengths[s : s + _BLOCK_ROWS])) for s in starts]


@dataclass
class DecodeRows:
    """The rows of one decoding step: where each one's query is, and what follows from it for every layer."""

    column_A: Tensor
    blocks: Sequence[RowBlock]
    _masks: dict[int | None, Tensor] = field(default_factory=dict)

    @property
    def span(self) -> int:
        return max(block.span for block in self.blocks)

    def mask(self, window: int | None = None) -> Tensor:
        """[A, 1, 1, S], built once per step and window; `window` counts the query's own column."""
        if window not in self._masks:
            column_S = torch.arange(self.span, device=self.column_A.device)
            unseen_AS = column_S > self.column_A[:, None]
            if window is not None:
                unseen_AS |= column_S <= self.column_A[:, None] - window
            # Filled in place: two numbers to choose from would be copied from the host.
            mask_AS = torch.zeros_like(unseen_AS, dtype=torch.float32).masked_fill_(unseen_AS, float("-inf"))
            self._masks[window] = mask_AS[:, None, None]
        return self._masks[window]

    @cached_property
    def lengths(self) -> Tensor:
        """[A], the number of keys that each query sees."""
        return (self.column_A + 1).int()

    @cached_property
    def bounds(self) -> Tensor:
        """[A + 1], counting up from 0: where the query of each row begins, and the last one ends."""
        return torch.arange(len(self.column_A) + 1, dtype=torch.int32, device=self.column_A.device)


class AttentionSoftmax(NamedTuple):
    """The softmax of a layer, with what some models add to it."""

    softcap: float | None
    sink_KG: Tensor | None
    """The logit of an attention sink per query head: part of the softmax, but without a value."""

    @property
    def is_plain(self) -> bool:
        return self.softcap is None and self.sink_KG is None

    def weights(self, score: Tensor, mask: Tensor) -> Tensor:
        """`score` is [B, K, G, ...queries, S] in float32; it is overwritten."""
        if self.softcap is not None:
            score = torch.tanh(score / self.softcap) * self.softcap
        score = score.add_(mask)
        if self.sink_KG is None:
            return score.softmax(-1)
        sink = self.sink_KG.float().reshape(*self.sink_KG.shape, *[1] * (score.ndim - 3))
        return torch.cat([score, sink.expand(*score.shape[:-1], 1)], -1).softmax(-1)[..., :-1]


def decode_attention(
    query_AKGD: Tensor,
    key_AKSD: Tensor,
    value_AKSD: Tensor,
    decode_rows: DecodeRows,
    window: int | None,
    scale: float,
    softmax: AttentionSoftmax,
) -> Tensor:
    if softmax.is_plain and has_flash(key_AKSD, value_AKSD):
        return by_lengths(query_AKGD, key_AKSD, value_AKSD, decode_rows, window, scale)
    mask_A11S = decode_rows.mask(window)
    if query_AKGD.is_cuda and softmax.is_plain:
        mask = mask_A11S.to(query_AKGD.dtype)
        return scaled_dot_product_attention(query_AKGD, key_AKSD, value_AKSD, attn_mask=mask, scale=scale)
    # On a CPU two plain matrix products beat the fused kernel, which is made for long queries.
    query_AKGD, outs = query_AKGD * scale, []
    for rows, span in decode_rows.blocks:
        score_BKGS = torch.matmul(query_AKGD[rows], key_AKSD[rows, :, :span].transpose(2, 3)).float()
        weight_BKGS = softmax.weights(score_BKGS, mask_A11S[rows, ..., :span]).to(value_AKSD.dtype)
        outs.append(torch.matmul(weight_BKGS, value_AKSD[rows, :, :span]))
    return torch.cat(outs)


def has_flash(key_AKSD: Tensor, value_AKSD: Tensor) -> bool:
    size = value_AKSD.shape[-1]
    fits = size == key_AKSD.shape[-1] and size % 8 == 0 and size <= _LARGEST_FLASH_HEAD
    return fits and value_AKSD.is_cuda and value_AKSD.dtype in (torch.bfloat16, torch.float16)


def by_lengths(
    query_AKGD: Tensor,
    key_AKSD: Tensor,
    value_AKSD: Tensor,
    decode_rows: DecodeRows,
    window: int | None,
    scale: float,
) -> Tensor:
    """Each row reads its own keys only: short rows do not pay for the longest."""
    rows, key_heads, _, size = query_AKGD.shape
    # The kernel wants keys one after the other, and where each row's begin. So place n of head k is what lies
    # n places after the first of head k, and a row begins as many places later as all its heads have.
    places = key_AKSD.stride(0) // size
    out_AHD = flash_kernel(
        query_AKGD.reshape(rows, -1, size),
        _one_after_the_other(key_AKSD),
        _one_after_the_other(value_AKSD),
        decode_rows.bounds,
        decode_rows.bounds * places,
        decode_rows.lengths,
        decode_rows.span,
        window,
        scale,
    )
    return out_AHD.view(rows, key_heads, -1, size)


def _one_after_the_other(states_AKSD: Tensor) -> Tensor:
    """[N, K, D]: a view. The last row and head end where the memory ends."""
    rows, heads, span, size = states_AKSD.shape
    count = (rows - 1) * states_AKSD.stride(0) // size + span
    return states_AKSD.as_strided((count, heads, size), (size, states_AKSD.stride(1), 1))


def flash_kernel(
    query_AHD: Tensor,
    key_NKD: Tensor,
    value_NKD: Tensor,
    query_bound_A1: Tensor,
    key_bound_A1: Tensor,
    length_A: Tensor,
    span: int,
    window: int | None,
    scale: float,
) -> Tensor:
    """What `varlen_attn` calls, which takes the rows' lengths only after torch 2.11."""
    out_AHD: Tensor = torch.ops.aten._flash_attention_forward(
        query_AHD,
        key_NKD,
        value_NKD,
        query_bound_A1,
        key_bound_A1,
        1,
        span,
        0.0,
        False,
        False,
        scale=scale,
        window_size_left=None if window is None else window - 1,
        window_size_right=None if window is None else 0,
        seqused_k=length_A,
    )[0]
    return out_AHD
