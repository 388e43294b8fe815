"""The policy-gradient loss of GRPO, token by token: higher upper clip, optional divergence, importance."""

import torch
from torch import Tensor


def surrogate(
    logprob_N: Tensor, old_logprob_N: Tensor, advantage_N: Tensor, clip_low: float, clip_high: float
) -> Tensor:
    ratio_N = torch.exp(logprob_N - old_logprob_N)
    clipped_N = ratio_N.clamp(1 - clip_low, 1 + clip_high)
    return -torch.min(ratio_N * advantage_N, clipped_N * advantage_N)


def is_clipped(
    logprob_N: Tensor, old_logprob_N: Tensor, advantage_N: Tensor, clip_low: float, clip_high: float
) -> Tensor:
    """Where the clip took the gradient away."""
    ratio_N = torch.exp(logprob_N - old_logprob_N)
    too_low_N = (ratio_N < 1 - clip_low) & (advantage_N < 0)
    too_high_N = (ratio_N > 1 + clip_high) & (advantage_N > 0)
    return too_low_N | too_high_N


def divergence(logprob_N: Tensor, old_logprob_N: Tensor, reference_logprob_N: Tensor) -> Tensor:
    """The k3 estimate of KL(policy || reference): unbiased and never negative.

    Weighted by the policy's ratio, so that its gradient is that of this divergence too: k3 alone, derived on
    samples, pulls along the gradient of the reverse one.
    """
    log_ratio_N = reference_logprob_N - logprob_N
    return torch.exp(logprob_N - old_logprob_N) * (torch.exp(log_ratio_N) - log_ratio_N - 1)


def importance(old_logprob_N: Tensor, sampled_logprob_N: Tensor, cap: float) -> Tensor:
    """Corrects for a sampler that gave tokens other probabilities than the trainer does; truncated."""
    return torch.exp(old_logprob_N - sampled_logprob_N).clamp(max=cap)
