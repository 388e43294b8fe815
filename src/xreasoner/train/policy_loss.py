"""The formulas of GRPO: advantages of a group, and the loss of each token.

N: tokens that the policy chose and learns from. A: the answers that these belong to.
"""

import statistics
from collections.abc import Sequence

import torch
from torch import Tensor

EPSILON = 1e-4


def group_advantages(rewards: Sequence[float | None], std_scaling: bool) -> tuple[float, ...]:
    """Reward less the group's mean, over its standard deviation if asked. None (unscored) takes no part."""
    scored = [reward for reward in rewards if reward is not None]
    if not has_spread(scored):
        return (0.0,) * len(rewards)
    mean = statistics.fmean(scored)
    scale = statistics.stdev(scored) + EPSILON if std_scaling else 1.0
    return tuple(0.0 if reward is None else (reward - mean) / scale for reward in rewards)


def has_spread(scored: Sequence[float]) -> bool:
    return len(scored) > 1 and min(scored) != max(scored)


def clipped_surrogate(
    logprob_N: Tensor, old_logprob_N: Tensor, advantage_N: Tensor, clip_low: float, clip_high: float
) -> Tensor:
    ratio_N = torch.exp(logprob_N - old_logprob_N)
    clipped_N = ratio_N.clamp(1 - clip_low, 1 + clip_high)
    return -torch.min(ratio_N * advantage_N, clipped_N * advantage_N)


def is_clipped(
    logprob_N: Tensor, old_logprob_N: Tensor, advantage_N: Tensor, clip_low: float, clip_high: float
) -> Tensor:
    """Where the clip removes the gradient."""
    ratio_N = torch.exp(logprob_N - old_logprob_N)
    too_low_N = (ratio_N < 1 - clip_low) & (advantage_N < 0)
    too_high_N = (ratio_N > 1 + clip_high) & (advantage_N > 0)
    return too_low_N | too_high_N


def kl_estimate(logprob_N: Tensor, old_logprob_N: Tensor, reference_logprob_N: Tensor) -> Tensor:
    """The k3 estimate of KL(policy || reference): unbiased and never negative.

    Weighted by the policy's ratio, so that its gradient is an unbiased estimate too. Without the weight, the
    gradient of k3 on sampled tokens is that of the reverse divergence.
    """
    log_ratio_N = reference_logprob_N - logprob_N
    return torch.exp(logprob_N - old_logprob_N) * (torch.exp(log_ratio_N) - log_ratio_N - 1)


def importance_weight(old_logprob_N: Tensor, sampled_logprob_N: Tensor, cap: float) -> Tensor:
    """Corrects for a sampler whose probabilities differ from the trainer's. Truncated at `cap`."""
    return torch.exp(old_logprob_N - sampled_logprob_N).clamp(max=cap)


def sequence_weight(
    old_logprob_N: Tensor, sampled_logprob_N: Tensor, answer_N: Tensor, low: float, high: float
) -> Tensor:
    """The same for whole answers: the geometric mean of their tokens' ratios, and 0 outside the bounds.

    The product of the ratios would leave the bounds in nearly every long answer. `answer_N`: the number of
    each token's answer, from 0.
    """
    count_A = torch.bincount(answer_N)
    gap_A = torch.zeros(len(count_A), dtype=old_logprob_N.dtype, device=old_logprob_N.device)
    gap_A.index_add_(0, answer_N, old_logprob_N - sampled_logprob_N)
    # An answer without any token here is indexed by none.
    weight_A = torch.exp(gap_A / count_A.clamp(min=1))
    return torch.where((weight_A >= low) & (weight_A <= high), weight_A, 0.0)[answer_N]
