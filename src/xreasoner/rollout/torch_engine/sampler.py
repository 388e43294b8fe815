"""Samples a token for every row at once. Each draw depends on its own row only, not on the batch.

A: active rows, V: vocabulary.
"""

from typing import NamedTuple

import torch
from torch import Tensor

# The constants of splitmix64 as signed integers, because torch's int64 is signed (its products wrap around).
_STEP = 0x9E3779B97F4A7C15 - 2**64
_MIX = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64))
_UNIFORM_BITS = 24


class Draw(NamedTuple):
    token_A: Tensor
    logprob_A: Tensor


def uniforms(key_A: Tensor, step_A: Tensor) -> Tensor:
    """Number `step` of each stream, in [0, 1): the hash of a counter, so there is no generator state."""
    bits_A = key_A + step_A * _STEP
    for shift, factor in _MIX:
        bits_A = (bits_A ^ _shift_right(bits_A, shift)) * factor
    bits_A = bits_A ^ _shift_right(bits_A, 31)
    return _shift_right(bits_A, 64 - _UNIFORM_BITS).float() * 2.0**-_UNIFORM_BITS


def draw(logits_AV: Tensor, temperature: float | Tensor, uniform_A: Tensor) -> Draw:
    """Sample by inverse transform. Greedy draws report the log-probability at temperature 1."""
    if isinstance(temperature, Tensor):
        return _draw_each(logits_AV, temperature, uniform_A)
    if temperature == 0:
        logprob_AV = logits_AV.log_softmax(-1)
        return _look_up(logprob_AV, logits_AV.argmax(-1))
    logprob_AV = (logits_AV / temperature).log_softmax(-1)
    return _look_up(logprob_AV, _by_inverse_transform(logprob_AV, uniform_A))


def _draw_each(logits_AV: Tensor, temperature_A: Tensor, uniform_A: Tensor) -> Draw:
    """One temperature per row, which may be 0; the same work whatever they are."""
    is_greedy_A = temperature_A == 0
    scaled_AV = logits_AV / temperature_A.masked_fill(is_greedy_A, 1.0)[:, None]
    logprob_AV = scaled_AV.log_softmax(-1)
    sampled_A = _by_inverse_transform(logprob_AV, uniform_A)
    return _look_up(logprob_AV, torch.where(is_greedy_A, logits_AV.argmax(-1), sampled_A))


def _by_inverse_transform(logprob_AV: Tensor, uniform_A: Tensor) -> Tensor:
    cumulative_AV = logprob_AV.exp().cumsum(-1)
    total_A = cumulative_AV[:, -1]
    # Strictly below the total, so that the drawn token has a probability above zero.
    target_A = torch.minimum(uniform_A * total_A, total_A.nextafter(torch.zeros_like(total_A)))
    return torch.searchsorted(cumulative_AV, target_A[:, None], right=True)[:, 0]


def _look_up(logprob_AV: Tensor, token_A: Tensor) -> Draw:
    return Draw(token_A, logprob_AV.gather(-1, token_A[:, None])[:, 0])


def _shift_right(bits_A: Tensor, shift: int) -> Tensor:
    """A logical shift: torch's own copies the sign bit."""
    return (bits_A >> shift) & ((1 << (64 - shift)) - 1)
