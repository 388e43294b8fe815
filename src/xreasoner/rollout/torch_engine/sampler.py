"""Draw a token for every row at once, so that each draw depends on its own row and on nothing else."""

import hashlib
from typing import NamedTuple

import torch
from torch import Tensor

# The constants of splitmix64, as the signed integers torch computes with (its products wrap around).
_STEP = 0x9E3779B97F4A7C15 - 2**64
_MIX = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64))
_UNIFORM_BITS = 24


class Draw(NamedTuple):
    token_A: Tensor
    logprob_A: Tensor


def stream_key(seed: int, prompt_id: str, sample: int) -> int:
    """Names the row's own stream of random numbers, wherever and beside whomever it is generated."""
    digest = hashlib.blake2b(f"{seed}\n{sample}\n{prompt_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def uniforms(key_A: Tensor, step_A: Tensor) -> Tensor:
    """The step-th number of each stream, in [0, 1): a counter hashed, no generator to carry along."""
    bits_A = key_A + step_A * _STEP
    for shift, factor in _MIX:
        bits_A = (bits_A ^ _shift_right(bits_A, shift)) * factor
    bits_A = bits_A ^ _shift_right(bits_A, 31)
    return _shift_right(bits_A, 64 - _UNIFORM_BITS).float() * 2.0**-_UNIFORM_BITS


def draw(logits_AV: Tensor, temperature: float | Tensor, uniform_A: Tensor) -> Draw:
    """Sample by inverting the distribution function. Greedy draws report the log-probability at 1."""
    if isinstance(temperature, Tensor):
        return _draw_each(logits_AV, temperature, uniform_A)
    if temperature == 0:
        logprob_AV = logits_AV.log_softmax(-1)
        return _look_up(logprob_AV, logits_AV.argmax(-1))
    logprob_AV = (logits_AV / temperature).log_softmax(-1)
    cumulative_AV = logprob_AV.exp().cumsum(-1)
    total_A = cumulative_AV[:, -1]
    # Strictly below the total, so that the token found has a probability above zero.
    target_A = torch.minimum(uniform_A * total_A, total_A.nextafter(torch.zeros_like(total_A)))
    token_A1 = torch.searchsorted(cumulative_AV, target_A[:, None], right=True)
    return _look_up(logprob_AV, token_A1[:, 0])


def _draw_each(logits_AV: Tensor, temperature_A: Tensor, uniform_A: Tensor) -> Draw:
    """Every row at its own temperature."""
    is_greedy_A = temperature_A == 0
    greedy = draw(logits_AV, 0.0, uniform_A)
    sampled = draw(logits_AV / temperature_A.masked_fill(is_greedy_A, 1.0)[:, None], 1.0, uniform_A)
    return Draw(*(torch.where(is_greedy_A, *both) for both in zip(greedy, sampled, strict=True)))


def _look_up(logprob_AV: Tensor, token_A: Tensor) -> Draw:
    return Draw(token_A, logprob_AV.gather(-1, token_A[:, None])[:, 0])


def _shift_right(bits_A: Tensor, shift: int) -> Tensor:
    """Torch shifts the sign bit along; a hash wants zeros."""
    return (bits_A >> shift) & ((1 << (64 - shift)) - 1)
