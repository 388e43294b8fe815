"""The formulas of GRPO: advantages of a group, and the loss of each token.

Both are extension points: a recipe names one of these functions, or one of your own with the same signature.

N: tokens that the policy chose and learns from. A: the answers that these belong to.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from xreasoner.rewards.load_function import load_function

EPSILON = 1e-4

# --- advantages -----------------------------------------------------------------------------------------

AdvantageFunction = Callable[[Sequence[float]], Sequence[float]]
"""From the rewards of the answers to one problem, not all equal, to their advantages."""


def scaled(rewards: Sequence[float]) -> list[float]:
    """GRPO: less the mean, over the standard deviation, so rare successes weigh more."""
    scale = statistics.stdev(rewards) + EPSILON
    return [advantage / scale for advantage in centered(rewards)]


def centered(rewards: Sequence[float]) -> list[float]:
    """Dr. GRPO: less the mean only."""
    mean = statistics.fmean(rewards)
    return [reward - mean for reward in rewards]


ADVANTAGES: dict[str, AdvantageFunction] = {"scaled": scaled, "centered": centered}


@cache
def advantage_function(name: str) -> AdvantageFunction:
    return ADVANTAGES[name] if name in ADVANTAGES else load_function(name)


def group_advantages(rewards: Sequence[float | None], function: AdvantageFunction) -> tuple[float, ...]:
    """None (unscored) takes no part. Equal rewards teach nothing."""
    scored = [reward for reward in rewards if reward is not None]
    if not has_spread(scored):
        return (0.0,) * len(rewards)
    advantages = iter(function(scored))
    return tuple(0.0 if reward is None else float(next(advantages)) for reward in rewards)


def has_spread(scored: Sequence[float]) -> bool:
    return len(scored) > 1 and min(scored) != max(scored)


# --- the loss of each token -----------------------------------------------------------------------------


@dataclass(frozen=True)
class LossInputs:
    """Some of the learned tokens of a batch: a chunk of them, in float32."""

    logprob_N: Tensor
    """Of the policy in training. Only this has a gradient."""
    old_logprob_N: Tensor
    """Of the policy before the first optimizer step on this batch. Until that step it is the same."""
    advantage_N: Tensor
    answer_ratio_N: Tensor
    """The geometric mean of the ratios, new to old, of all tokens of the answer that a token belongs to."""
    clip_low: float
    clip_high: float


@dataclass(frozen=True)
class LossOutputs:
    loss_N: Tensor
    clipped_N: Tensor
    """Where the clip removes the gradient; only counted."""


PolicyLoss = Callable[[LossInputs], LossOutputs]


def token_ratio(inputs: LossInputs) -> LossOutputs:
    """GRPO and DAPO: the ratio of each token, clipped."""
    ratio_N = torch.exp(inputs.logprob_N - inputs.old_logprob_N)
    return clipped_surrogate(ratio_N, ratio_N, inputs)


def sequence_ratio(inputs: LossInputs) -> LossOutputs:
    """GSPO: one ratio for all tokens of an answer. It varies less, so its bounds are usually far tighter."""
    # The factor is 1 and gives each token its share of the gradient.
    ratio_N = inputs.answer_ratio_N * torch.exp(inputs.logprob_N - inputs.logprob_N.detach())
    return clipped_surrogate(ratio_N, inputs.answer_ratio_N, inputs)


def cispo(inputs: LossInputs) -> LossOutputs:
    """CISPO: the ratio is a weight, truncated above and without a gradient, so no token is ever dropped."""
    ratio_N = torch.exp(inputs.logprob_N.detach() - inputs.old_logprob_N)
    weight_N = ratio_N.clamp(max=1 + inputs.clip_high)
    loss_N = -weight_N * inputs.advantage_N * inputs.logprob_N
    return LossOutputs(loss_N, torch.zeros_like(ratio_N, dtype=torch.bool))


POLICY_LOSSES: dict[str, PolicyLoss] = {"token": token_ratio, "sequence": sequence_ratio, "cispo": cispo}
BY_TOKEN = ("token", "cispo")
"""These do not need `answer_ratio_N`, which costs a forward pass before every step but the first."""


@cache  # it is asked for every chunk of tokens, and a user's file is to run once
def policy_loss(name: str) -> PolicyLoss:
    return POLICY_LOSSES[name] if name in POLICY_LOSSES else load_function(name)


def clipped_surrogate(ratio_N: Tensor, judged_N: Tensor, inputs: LossInputs) -> LossOutputs:
    """`judged_N` has the values of `ratio_N`; where it is out of bounds, moving on is not rewarded."""
    advantage_N, low, high = inputs.advantage_N, 1 - inputs.clip_low, 1 + inputs.clip_high
    loss_N = -torch.min(ratio_N * advantage_N, ratio_N.clamp(low, high) * advantage_N)
    too_low_N = (judged_N < low) & (advantage_N < 0)
    too_high_N = (judged_N > high) & (advantage_N > 0)
    return LossOutputs(loss_N, too_low_N | too_high_N)


def kl_estimate(logprob_N: Tensor, old_logprob_N: Tensor, reference_logprob_N: Tensor) -> Tensor:
    """The k3 estimate of KL(policy || reference): unbiased and never negative.

    Weighted by the policy's ratio, so that its gradient is an unbiased estimate too. Without the weight, the
    gradient of k3 on sampled tokens is that of the reverse divergence.
    """
    log_ratio_N = reference_logprob_N - logprob_N
    return torch.exp(logprob_N - old_logprob_N) * (torch.exp(log_ratio_N) - log_ratio_N - 1)


# --- a sampler that differs from the trainer ------------------------------------------------------------


def importance_weight(old_logprob_N: Tensor, sampled_logprob_N: Tensor, cap: float) -> Tensor:
    """Corrects for a sampler whose probabilities differ from the trainer's. Truncated at `cap`."""
    return torch.exp(old_logprob_N - sampled_logprob_N).clamp(max=cap)


def sequence_weight(
    old_logprob_N: Tensor, sampled_logprob_N: Tensor, answer_N: Tensor, low: float, high: float
) -> Tensor:
    """The same for whole answers: the geometric mean of their tokens' ratios, and 0 outside the bounds."""
    weight_N = mean_ratio(old_logprob_N, sampled_logprob_N, answer_N)
    return torch.where((weight_N >= low) & (weight_N <= high), weight_N, 0.0)


def mean_ratio(logprob_N: Tensor, other_logprob_N: Tensor, answer_N: Tensor) -> Tensor:
    """The geometric mean of the ratios of all tokens of an answer, for each of its tokens.

    The product of the ratios would be far from 1 in nearly every long answer. `answer_N`: the number of each
    token's answer, from 0.
    """
    count_A = torch.bincount(answer_N)
    gap_A = torch.zeros(len(count_A), dtype=logprob_N.dtype, device=logprob_N.device)
    gap_A.index_add_(0, answer_N, logprob_N - other_logprob_N)
    # An answer without any token here is indexed by none.
    return torch.exp(gap_A / count_A.clamp(min=1))[answer_N]
