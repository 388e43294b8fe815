"""The engine's attention, as transformers calls it: causal for prefill, see decode_attention.py for the rest.

Suffixes: A rows of a decoding step, B prompts, H query heads, K key heads, G query heads per key head,
T queries, S keys, D head size.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedConfig, PreTrainedModel

from xreasoner.rollout.torch_engine.decode_attention import AttentionSoftmax, DecodeRows, decode_attention

_NAME = "xreasoner_rollout"
_UNSUPPORTED = ("position_bias",)
_QUERY_CHUNK = 256
"""Queries per matrix product where prefill needs its scores explicitly."""
_LAYER_TYPES = {"full_attention", "sliding_attention", "attention"}


def rollout_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    decode_rows: DecodeRows | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Called by the attention modules of transformers, with `decode_rows` while decoding."""
    if any(others.get(name) is not None for name in _UNSUPPORTED):
        raise ValueError(f"{type(module).__name__}: the torch engine does not support its position bias")
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    key_heads = key.shape[1]
    softmax = AttentionSoftmax(softcap, s_aux.reshape(key_heads, -1) if s_aux is not None else None)
    window = sliding_window if sliding_window and key.shape[2] > sliding_window else None
    if decode_rows is not None:
        # Query heads that share a key head form the query dimension, so that keys are never repeated.
        rows, heads, _, size = query.shape
        query_AKGD = query.reshape(rows, key_heads, -1, size)
        out_AKGD = decode_attention(query_AKGD, key, value, decode_rows, window, scale, softmax)
        return out_AKGD.reshape(rows, 1, heads, -1), None
    if window is None and softmax.is_plain:
        out_BHTD = scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scale, enable_gqa=True
        )
    else:
        out_BHTD = _prefill_in_chunks(query * scale, key, value, window, softmax)
    return out_BHTD.transpose(1, 2), None


def _prefill_in_chunks(
    query_BHTD: Tensor, key_BKSD: Tensor, value_BKSD: Tensor, window: int | None, softmax: AttentionSoftmax
) -> Tensor:
    """Causal attention with explicit scores, a chunk of queries at a time to bound the memory."""
    batch, heads, count, size = query_BHTD.shape
    query_BKGTD = query_BHTD.reshape(batch, key_BKSD.shape[1], -1, count, size)
    column_S, outs = torch.arange(count, device=query_BHTD.device), []
    for first in range(0, count, _QUERY_CHUNK):
        # Keys before the window of the chunk's first query and after its last query are never seen.
        last = min(first + _QUERY_CHUNK, count)
        seen = slice(0 if window is None else max(0, first - window + 1), last)
        distance_TS = column_S[first:last, None] - column_S[seen]
        unseen_TS = distance_TS < 0 if window is None else (distance_TS < 0) | (distance_TS >= window)
        mask_TS = torch.where(unseen_TS, float("-inf"), 0.0)
        key_BK1DS = key_BKSD[:, :, None, seen].transpose(3, 4)
        score_BKGTS = torch.matmul(query_BKGTD[:, :, :, first:last], key_BK1DS).float()
        weight_BKGTS = softmax.weights(score_BKGTS, mask_TS).to(value_BKSD.dtype)
        outs.append(torch.matmul(weight_BKGTS, value_BKSD[:, :, None, seen]))
    return torch.cat(outs, 3).reshape(batch, heads, count, -1)


def check_supported(model: PreTrainedModel) -> None:
    if lack := unsupported(model.config, model._is_stateful):
        raise ValueError(f"{model.config.model_type}: {lack}; use engine vllm or server")


def unsupported(config: PreTrainedConfig, is_stateful: bool) -> str | None:
    """The cache holds keys and values of every token; a recurrent state would be silently wrong."""
    text = config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ()) - _LAYER_TYPES
    if is_stateful:
        kinds = kinds or {"a recurrent state"}
    if getattr(text, "num_kv_shared_layers", 0):
        kinds |= {"layers that share keys and values"}
    if getattr(text, "cross_attention_layers", None):
        kinds |= {"cross-attention to images"}
    return f"the torch engine does not support {', '.join(sorted(kinds))}" if kinds else None


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
