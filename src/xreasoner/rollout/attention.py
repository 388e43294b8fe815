"""Attention of the engine: causal for prompts, and for one new token a row over rows of unequal length."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

NAME = "xreasoner_rollout"
_UNSUPPORTED = ("softcap", "s_aux", "position_bias")


def rollout_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """What transformers' attention modules call. A mask comes with decoding only."""
    if (sliding_window and key.shape[2] > sliding_window) or any(
        others.get(k) is not None for k in _UNSUPPORTED
    ):
        raise ValueError(
            f"the torch engine has no {type(module).__name__} with windows, soft caps or sinks yet"
        )
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    if attention_mask is None:
        out_BHTD = scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scale, enable_gqa=True
        )
        return out_BHTD.transpose(1, 2), None
    return _decode(query, key, value, attention_mask, scale), None


def _decode(
    query_AH1D: Tensor, key_AKSD: Tensor, value_AKSD: Tensor, mask_A11S: Tensor, scale: float
) -> Tensor:
    rows, heads, _, size = query_AH1D.shape
    # The query heads that share a key head stand where a sequence would: keys are never repeated.
    query_AKGD = query_AH1D.reshape(rows, key_AKSD.shape[1], -1, size)
    if query_AKGD.is_cuda:
        mask = mask_A11S.to(query_AKGD.dtype)
        out_AKGD = scaled_dot_product_attention(query_AKGD, key_AKSD, value_AKSD, attn_mask=mask, scale=scale)
    else:
        # On the CPU two plain products are faster than the fused kernel, which is made for long queries.
        score_AKGS = torch.matmul(query_AKGD * scale, key_AKSD.transpose(2, 3)).float() + mask_A11S
        out_AKGD = torch.matmul(score_AKGS.softmax(-1).to(value_AKSD.dtype), value_AKSD)
    return out_AKGD.reshape(rows, 1, heads, size)


@contextmanager
def rollout_mode(model: PreTrainedModel) -> Iterator[None]:
    """Lend the language tower our attention for one call: training may use another on the same model."""
    configs = {id(m.config): m.config for m in model.get_decoder().modules() if hasattr(m, "config")}
    before = {key: config._attn_implementation for key, config in configs.items()}
    for config in configs.values():
        config._attn_implementation = NAME
    try:
        yield
    finally:
        for key, config in configs.items():
            config._attn_implementation = before[key]


AttentionInterface.register(NAME, rollout_attention)
