"""Attention over packed sequences: each attends only to itself, or to its prompt and itself.

Suffixes: 1 the batch of one row, H query heads, K key heads, T tokens of the row, L tokens of one sequence,
S tokens it attends to (with its prompt), D head size.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, PreTrainedModel

from xreasoner.models.find_tower import body_of
from xreasoner.models.packed_sequences import PackedSequences
from xreasoner.models.stateful_mixers import per_sequence

PACKED = "packed"
# The kernel takes fewer key heads than query heads on every torch; those after 2.11 have to be told.
_GROUPED_HEADS: dict[str, Any] = (
    {"enable_gqa": True} if "enable_gqa" in inspect.signature(varlen_attn).parameters else {}
)


@contextmanager
def packed_attention(model: PreTrainedModel) -> Iterator[None]:
    """Inside, no sequence of a packed row sees another; outside, as before: rollouts use the model too."""
    before = model.config._attn_implementation
    model.config._attn_implementation = PACKED
    try:
        with per_sequence(model.get_submodule(body_of(model))):
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
    sequences: PackedSequences | None = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    s_aux: Tensor | None = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    """What transformers calls in place of its own attention. `s_aux`: gpt-oss's sinks, one per head."""
    if sequences is None:
        raise ValueError(
            f"transformers {transformers.__version__} does not hand packed sequences to "
            f"{type(module).__name__}, so this model cannot be trained with it; install a newer transformers"
        )
    assert query_1HTD.shape[0] == 1 and sum(sequences.lengths) == query_1HTD.shape[2]
    # Under autocast the rotary embedding turns queries and keys to float32; the values keep the precision.
    query_1HTD, key_1KTD = query_1HTD.to(value_1KTD.dtype), key_1KTD.to(value_1KTD.dtype)
    if value_1KTD.is_cuda and value_1KTD.dtype in (torch.bfloat16, torch.float16) and s_aux is None:
        return _varlen(query_1HTD, key_1KTD, value_1KTD, sequences, scaling, sliding_window), None
    with torch.autocast(value_1KTD.device.type, enabled=False):
        # On a CPU the backward pass of attention is several times slower in bfloat16 than in float32.
        inputs = (query_1HTD.float(), key_1KTD.float(), value_1KTD.float())
        sink_H = None if s_aux is None else s_aux.float()
        out_1THD = _looped(*inputs, sequences, scaling, sliding_window, sink_H)
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
    sink_H: Tensor | None,
) -> Tensor:
    """One call per sequence. On a CPU this was faster than padding to common lengths."""
    queries, keys, values = (x.split(sequences.lengths, dim=2) for x in (query_1HTD, key_1KTD, value_1KTD))
    outputs = []
    for i, parent in enumerate(sequences.parents):
        key, value, mask_LS = keys[i], values[i], None
        if parent is not None:
            key, value = torch.cat([keys[parent], key], dim=2), torch.cat([values[parent], value], dim=2)
            mask_LS = sequences.mask(i)
        outputs.append(_attend(queries[i], key, value, mask_LS, scaling, sliding_window, sink_H))
    return torch.cat(outputs, dim=2).transpose(1, 2)


def _attend(
    query_1HLD: Tensor,
    key_1KSD: Tensor,
    value_1KSD: Tensor,
    mask_LS: Tensor | None,
    scaling: float | None,
    window: int | None,
    sink_H: Tensor | None,
) -> Tensor:
    queries, keys = query_1HLD.shape[2], key_1KSD.shape[2]
    mask_1HLS = mask_LS
    if window is not None and keys > window:
        mask_1HLS = _band(queries, keys, window, query_1HLD.device)
    elif mask_LS is None and sink_H is not None:
        mask_1HLS = _band(queries, keys, keys, query_1HLD.device)
    if sink_H is not None:
        # A sink is one more key, with a score of its own and a value of zero.
        assert mask_1HLS is not None
        key_1KSD, value_1KSD = F.pad(key_1KSD, (0, 0, 1, 0)), F.pad(value_1KSD, (0, 0, 1, 0))
        hidden_HLS = torch.zeros_like(mask_1HLS, dtype=sink_H.dtype).masked_fill(~mask_1HLS, -torch.inf)
        sink_HL1 = sink_H[:, None, None].expand(-1, queries, 1)
        mask_1HLS = torch.cat([sink_HL1, hidden_HLS.expand(len(sink_H), -1, -1)], dim=-1)[None]
    return F.scaled_dot_product_attention(
        query_1HLD,
        key_1KSD,
        value_1KSD,
        attn_mask=mask_1HLS,
        is_causal=mask_1HLS is None,
        scale=scaling,
        enable_gqa=True,
    )


def _band(queries: int, keys: int, window: int, device: torch.device) -> Tensor:
    query_at_L = torch.arange(keys - queries, keys, device=device)
    distance_LS = query_at_L[:, None] - torch.arange(keys, device=device)
    return (distance_LS >= 0) & (distance_LS < window)


# Loops over sequences depend on their lengths: compiled, each row would be compiled anew.
AttentionInterface.register(PACKED, torch.compiler.disable(packed_forward))
