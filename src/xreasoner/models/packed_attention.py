"""Attention over packed sequences: each attends only to itself, or to its prompt and itself.

Suffixes: 1 the batch of one row, H query heads, K key heads, T tokens of the row, L tokens of one sequence,
S tokens it attends to (with its prompt), D head size.
"""

import inspect
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, PreTrainedModel

PACKED = "packed"
# The kernel takes fewer key heads than query heads on every torch; those after 2.11 have to be told.
_GROUPED_HEADS: dict[str, Any] = (
    {"enable_gqa": True} if "enable_gqa" in inspect.signature(varlen_attn).parameters else {}
)


@dataclass(frozen=True)
class PackedSequences:
    """Where the sequences of a packed row begin and end, and which of them continue an earlier one."""

    lengths: tuple[int, ...]
    parents: tuple[int | None, ...]
    """The sequence each continues: samples share their prompt instead of repeating it. None: a whole one."""
    query_bounds: Tensor
    """0 and the running sums of the lengths, int32, on the device of the tokens."""
    key_bounds: Tensor
    """The same for what each sequence attends to: its parent's tokens and its own."""
    keys_at: Tensor | None
    """The places of those keys in the row; None where no sequence has a parent."""
    after_LS: Tensor | None
    """Whether query i attends to key j, for the longest continuation of the longest parent."""

    @classmethod
    def of(
        cls, lengths: Sequence[int], device: torch.device, parents: Sequence[int | None] | None = None
    ) -> "PackedSequences":
        parents = parents or (None,) * len(lengths)
        starts = [0, *itertools.accumulate(lengths)]
        own = [torch.arange(start, start + length) for start, length in zip(starts, lengths, strict=False)]
        seen = [
            own[i] if parent is None else torch.cat([own[parent], own[i]]) for i, parent in enumerate(parents)
        ]
        continued = [i for i, parent in enumerate(parents) if parent is not None]
        return cls(
            lengths=tuple(lengths),
            parents=tuple(parents),
            query_bounds=_bounds([len(at) for at in own], device),
            key_bounds=_bounds([len(at) for at in seen], device),
            keys_at=torch.cat(seen).to(device) if continued else None,
            after_LS=_after([lengths[i] for i in continued], [len(seen[i]) for i in continued], device),
        )

    def prefix(self, sequence: int) -> int:
        parent = self.parents[sequence]
        return 0 if parent is None else self.lengths[parent]


def _bounds(lengths: Sequence[int], device: torch.device) -> Tensor:
    return F.pad(torch.tensor(lengths, dtype=torch.int32).cumsum(0, dtype=torch.int32), (1, 0)).to(device)


def _after(lengths: Sequence[int], seen: Sequence[int], device: torch.device) -> Tensor | None:
    if not lengths or device.type == "cuda":
        return None
    longest, prefix = max(lengths), max(k - q for q, k in zip(lengths, seen, strict=True))
    return torch.ones(longest, prefix + longest, dtype=torch.bool, device=device).tril(prefix)


@contextmanager
def packed_attention(model: PreTrainedModel) -> Iterator[None]:
    """Inside, the model attends sequence by sequence; outside, as before: the rollout engine uses it too."""
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
    sequences: PackedSequences,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    assert query_1HTD.shape[0] == 1 and sum(sequences.lengths) == query_1HTD.shape[2]
    # Under autocast the rotary embedding turns queries and keys to float32; the values keep the precision.
    query_1HTD, key_1KTD = query_1HTD.to(value_1KTD.dtype), key_1KTD.to(value_1KTD.dtype)
    if value_1KTD.is_cuda and value_1KTD.dtype in (torch.bfloat16, torch.float16):
        return _varlen(query_1HTD, key_1KTD, value_1KTD, sequences, scaling, sliding_window), None
    with torch.autocast(value_1KTD.device.type, enabled=False):
        # On a CPU the backward pass of attention is several times slower in bfloat16 than in float32.
        out_1THD = _looped(
            query_1HTD.float(), key_1KTD.float(), value_1KTD.float(), sequences, scaling, sliding_window
        )
    return out_1THD.to(value_1KTD.dtype), None


def _varlen(
    query_1HTD: Tensor,
    key_1KTD: Tensor,
    value_1KTD: Tensor,
    sequences: PackedSequences,
    scaling: float | None,
    sliding_window: int | None,
) -> Tensor:
    query_THD, key_SKD, value_SKD = (x[0].transpose(0, 1) for x in (query_1HTD, key_1KTD, value_1KTD))
    if sequences.keys_at is not None:
        key_SKD, value_SKD = (x.index_select(0, sequences.keys_at) for x in (key_SKD, value_SKD))
    out_THD = varlen_attn(
        query_THD,
        key_SKD,
        value_SKD,
        sequences.query_bounds,
        sequences.key_bounds,
        max(sequences.lengths),
        max(length + sequences.prefix(i) for i, length in enumerate(sequences.lengths)),
        scale=scaling,
        window_size=(-1 if sliding_window is None else sliding_window - 1, 0),
        **_GROUPED_HEADS,
    )
    assert isinstance(out_THD, Tensor)
    return out_THD[None]


def _looped(
    query_1HTD: Tensor,
    key_1KTD: Tensor,
    value_1KTD: Tensor,
    sequences: PackedSequences,
    scaling: float | None,
    sliding_window: int | None,
) -> Tensor:
    """One call per sequence. On a CPU this was faster than padding to common lengths."""
    queries, keys, values = (x.split(sequences.lengths, dim=2) for x in (query_1HTD, key_1KTD, value_1KTD))
    outputs = []
    for i, parent in enumerate(sequences.parents):
        key, value, mask_LS = keys[i], values[i], None
        if parent is not None:
            key, value = torch.cat([keys[parent], key], dim=2), torch.cat([values[parent], value], dim=2)
            mask_LS = _cut(sequences, i)
        outputs.append(_attend(queries[i], key, value, mask_LS, scaling, sliding_window))
    return torch.cat(outputs, dim=2).transpose(1, 2)


def _cut(sequences: PackedSequences, i: int) -> Tensor:
    assert sequences.after_LS is not None
    length, own_from = sequences.lengths[i], sequences.after_LS.shape[1] - sequences.after_LS.shape[0]
    return sequences.after_LS[:length, own_from - sequences.prefix(i) : own_from + length]


def _attend(
    query_1HLD: Tensor,
    key_1KSD: Tensor,
    value_1KSD: Tensor,
    mask_LS: Tensor | None,
    scaling: float | None,
    window: int | None,
) -> Tensor:
    if window is not None and key_1KSD.shape[2] > window:
        mask_LS = _band(query_1HLD.shape[2], key_1KSD.shape[2], window, query_1HLD.device)
    return F.scaled_dot_product_attention(
        query_1HLD,
        key_1KSD,
        value_1KSD,
        attn_mask=mask_LS,
        is_causal=mask_LS is None,
        scale=scaling,
        enable_gqa=True,
    )


def _band(queries: int, keys: int, window: int, device: torch.device) -> Tensor:
    query_at_L = torch.arange(keys - queries, keys, device=device)
    distance_LS = query_at_L[:, None] - torch.arange(keys, device=device)
    return (distance_LS >= 0) & (distance_LS < window)


AttentionInterface.register(PACKED, packed_forward)
