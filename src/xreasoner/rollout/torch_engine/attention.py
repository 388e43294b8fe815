"""The engine's attention: causal for prefill; for decoding, one query a row over rows of unequal length.

Suffixes: A active rows, B rows of a block, H query heads, K key heads, G query heads per key head, T queries,
S cache columns, D head size.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedConfig, PreTrainedModel

_NAME = "xreasoner_rollout"
_UNSUPPORTED = ("softcap", "s_aux", "position_bias")
_BLOCK_ROWS = 64


class RowBlock(NamedTuple):
    """Adjacent rows and the length of the longest."""

    rows: slice
    span: int


def row_blocks(lengths: Sequence[int]) -> list[RowBlock]:
    """In blocks, a row costs as much as the longest of its block, not of the whole batch."""
    starts = range(0, len(lengths), _BLOCK_ROWS)
    return [RowBlock(slice(s, s + _BLOCK_ROWS), max(lengths[s : s + _BLOCK_ROWS])) for s in starts]


def rollout_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    row_blocks: Sequence[RowBlock] = (),
    **others: Any,
) -> tuple[Tensor, None]:
    """Called by the attention modules of transformers. Only decoding passes a mask."""
    if (sliding_window and key.shape[2] > sliding_window) or any(
        others.get(k) is not None for k in _UNSUPPORTED
    ):
        raise ValueError(
            f"{type(module).__name__}: the torch engine does not support sliding windows, soft caps or sinks"
        )
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    if attention_mask is None:
        out_BHTD = scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scale, enable_gqa=True
        )
        return out_BHTD.transpose(1, 2), None
    # Query heads that share a key head form the query dimension, so that keys are never repeated.
    rows, heads, _, size = query.shape
    query_AKGD = query.reshape(rows, key.shape[1], -1, size)
    if query.is_cuda:
        mask = attention_mask.to(query.dtype)
        out_AKGD = scaled_dot_product_attention(query_AKGD, key, value, attn_mask=mask, scale=scale)
    else:
        out_AKGD = _decode_in_blocks(query_AKGD * scale, key, value, attention_mask, row_blocks)
    return out_AKGD.reshape(rows, 1, heads, -1), None


def _decode_in_blocks(
    query_AKGD: Tensor, key_AKSD: Tensor, value_AKSD: Tensor, mask_A11S: Tensor, blocks: Sequence[RowBlock]
) -> Tensor:
    """On a CPU two plain matrix products beat the fused kernel, which is made for long queries."""
    outs = []
    for rows, span in blocks:
        score_BKGS = torch.matmul(query_AKGD[rows], key_AKSD[rows, :, :span].transpose(2, 3)).float()
        weight_BKGS = score_BKGS.add_(mask_A11S[rows, ..., :span]).softmax(-1).to(value_AKSD.dtype)
        outs.append(torch.matmul(weight_BKGS, value_AKSD[rows, :, :span]))
    return torch.cat(outs)


def attention_configs(model: PreTrainedModel) -> list[PreTrainedConfig]:
    """The configs in which the modules of the language model look up their attention function."""
    configs = (module.config for module in model.get_decoder().modules() if hasattr(module, "config"))
    return list({id(config): config for config in configs}.values())


@contextmanager
def use_rollout_attention(configs: Sequence[PreTrainedConfig]) -> Iterator[None]:
    """Switch the language model to this attention for one call; training may use another one on it."""
    before = [config._attn_implementation for config in configs]
    for config in configs:
        config._attn_implementation = _NAME
    try:
        yield
    finally:
        for config, name in zip(configs, before, strict=True):
            config._attn_implementation = name


AttentionInterface.register(_NAME, rollout_attention)
