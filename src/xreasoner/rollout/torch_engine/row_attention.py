"""Attention of the engine: causal for prompts, and for one new token a row over rows of unequal length."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedConfig, PreTrainedModel

NAME = "xreasoner_rollout"
_UNSUPPORTED = ("softcap", "s_aux", "position_bias")
_BLOCK_ROWS = 64


class Block(NamedTuple):
    """Neighbouring rows, and how far the longest of them reaches."""

    rows: slice
    span: int


def row_blocks(lengths: Sequence[int]) -> list[Block]:
    """Rows of unequal length pay for the longest of their own block, not of the whole batch."""
    starts = range(0, len(lengths), _BLOCK_ROWS)
    return [Block(slice(s, s + _BLOCK_ROWS), max(lengths[s : s + _BLOCK_ROWS])) for s in starts]


def rollout_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    row_blocks: Sequence[Block] = (),
    **others: Any,
) -> tuple[Tensor, None]:
    """What transformers' attention modules call. A mask comes with decoding only."""
    if (sliding_window and key.shape[2] > sliding_window) or any(
        others.get(k) is not None for k in _UNSUPPORTED
    ):
        raise ValueError(f"the torch engine has no windows, soft caps or sinks yet: {type(module).__name__}")
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    if attention_mask is None:
        out_BHTD = scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scale, enable_gqa=True
        )
        return out_BHTD.transpose(1, 2), None
    # The query heads that share a key head stand where a sequence would: keys are never repeated.
    rows, heads, _, size = query.shape
    query_AKGD = query.reshape(rows, key.shape[1], -1, size)
    if query.is_cuda:
        mask = attention_mask.to(query.dtype)
        out_AKGD = scaled_dot_product_attention(query_AKGD, key, value, attn_mask=mask, scale=scale)
    else:
        out_AKGD = _decode_in_blocks(query_AKGD * scale, key, value, attention_mask, row_blocks)
    return out_AKGD.reshape(rows, 1, heads, -1), None


def _decode_in_blocks(
    query_AKGD: Tensor, key_AKSD: Tensor, value_AKSD: Tensor, mask_A11S: Tensor, blocks: Sequence[Block]
) -> Tensor:
    """On the CPU two plain products are faster than the fused kernel, which is made for long queries."""
    outs = []
    for rows, span in blocks:
        score_BKGS = torch.matmul(query_AKGD[rows], key_AKSD[rows, :, :span].transpose(2, 3)).float()
        weight_BKGS = score_BKGS.add_(mask_A11S[rows, ..., :span]).softmax(-1).to(value_AKSD.dtype)
        outs.append(torch.matmul(weight_BKGS, value_AKSD[rows, :, :span]))
    return torch.cat(outs)


def attention_configs(model: PreTrainedModel) -> list[PreTrainedConfig]:
    """Where the modules of the language tower look up which attention to call."""
    configs = (module.config for module in model.get_decoder().modules() if hasattr(module, "config"))
    return list({id(config): config for config in configs}.values())


@contextmanager
def rollout_mode(configs: Sequence[PreTrainedConfig]) -> Iterator[None]:
    """Lend the language tower our attention for one call: training may use another on the same model."""
    before = [config._attn_implementation for config in configs]
    for config in configs:
        config._attn_implementation = NAME
    try:
        yield
    finally:
        for config, name in zip(configs, before, strict=True):
            config._attn_implementation = name


AttentionInterface.register(NAME, rollout_attention)
