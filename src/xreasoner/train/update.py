"""One batch of graded answers changes the policy: gradients row by row, then the optimizer's steps.

N: target tokens of a packed row.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from statistics import fmean

import torch
from torch import Tensor

from xreasoner.parallel import reduces_gradients, sum_over_ranks
from xreasoner.recipe.schema import GrpoStage
from xreasoner.train.adapters import adapters_off
from xreasoner.train.collect import Group, RolloutBatch
from xreasoner.train.loss import TargetLoss
from xreasoner.train.optim import GuardedStep
from xreasoner.train.policy import Policy
from xreasoner.train.policy_loss import (
    BY_TOKEN,
    LossInputs,
    importance_weight,
    kl_estimate,
    mean_ratio,
    policy_loss,
    sequence_weight,
)
from xreasoner.train.rows import PolicyRow, denominator, policy_rows


@dataclass(frozen=True)
class UpdateMetrics:
    """Where there are several mini-batches: means over them. Of the last pass over the batch."""

    loss: float = 0.0
    clip_fraction: float = 0.0
    mismatch: float = 0.0
    """Mean distance between the sampler's log-probabilities and the trainer's."""
    importance_cut: float = 0.0
    """The share of tokens whose importance weight was truncated, or set to zero with their answer."""
    kl: float = 0.0
    grad_norm: float = 0.0


@dataclass(frozen=True)
class MiniBatch:
    """What one optimizer step learns from."""

    rows: Sequence[PolicyRow]
    denominator: int


def update(
    policy: Policy,
    reference: Policy | None,
    take_step: GuardedStep,
    batch: RolloutBatch,
    settings: GrpoStage,
    step: int,
) -> UpdateMetrics:
    """`updates_per_batch` passes over the mini-batches of one batch, with an optimizer step for each.

    A mini-batch without signal takes none, so momentum moves no weight. The ratio of every step is to the
    policy before the first one.
    """
    made = (
        minibatch(policy, groups, settings) for groups in split_groups(batch.groups, settings.minibatches)
    )
    minibatches = [one for one in made if one.rows]
    if not minibatches:
        return UpdateMetrics()
    for one in minibatches if reference else ():
        assert reference is not None
        add_reference(reference, one.rows, settings.temperature)
    # The first step computes its own; with weights of whole answers it needs them before its loss.
    for one in minibatches if settings.importance == "sequence" else minibatches[1:]:
        add_old(policy, one.rows, settings)
    for _ in range(settings.updates_per_batch):
        metrics = [learn(policy, one, take_step, settings, step) for one in minibatches]
    return mean_of(metrics)


def split_groups(groups: Sequence[Group], count: int) -> list[Sequence[Group]]:
    """In the order of drawing, as equal as possible."""
    ends = [len(groups) * part // count for part in range(count + 1)]
    return [groups[start:end] for start, end in pairwise(ends)]


def minibatch(policy: Policy, groups: Sequence[Group], settings: GrpoStage) -> MiniBatch:
    has_signal = settings.kl > 0 or any(group.has_signal for group in groups)
    rows = policy_rows(groups, settings, policy.world, policy.loss.packs) if has_signal else []
    return MiniBatch(rows, denominator(groups, settings))


def learn(
    policy: Policy, one: MiniBatch, take_step: GuardedStep, settings: GrpoStage, step: int
) -> UpdateMetrics:
    metrics = backward(policy, one.rows, one.denominator, settings)
    return dataclasses.replace(metrics, grad_norm=take_step(metrics.loss, step))


def mean_of(metrics: Sequence[UpdateMetrics]) -> UpdateMetrics:
    names = [field.name for field in dataclasses.fields(UpdateMetrics)]
    return UpdateMetrics(**{name: fmean(getattr(one, name) for one in metrics) for name in names})


def backward(policy: Policy, rows: Sequence[PolicyRow], count: int, settings: GrpoStage) -> UpdateMetrics:
    """Leave the gradient of the mean loss in `.grad`. `count`: what the sum is divided by."""
    world = policy.world
    if settings.loss not in BY_TOKEN:
        add_answer_ratio(policy, rows, settings.temperature)
    sums = torch.zeros(6, device=world.device)
    with policy.loss.computing(), policy.precision():
        for number, item in enumerate(rows):
            reduces_gradients(policy.loss, settings.gradient_reduction == "row" or number == len(rows) - 1)
            found = policy.loss(item.row, partial(token_loss, item, settings), settings.temperature)
            if item.old_logprob_N is None:
                item.old_logprob_N = found.logprob_N
            # FSDP averages gradients over the ranks: times the world's size, that is a sum.
            (found.loss * (world.size / count)).backward()
            sums += measured(item, settings, found) if item.counts else 0
    loss_sum, computed, *others = sum_over_ranks(sums, world).tolist()
    return UpdateMetrics(loss_sum / count, *(total / computed for total in others))


def token_loss(item: PolicyRow, settings: GrpoStage, logprob_N: Tensor, at: slice) -> Tensor:
    """The loss of some of a row's targets: those `at` these places."""
    if not item.counts:
        return 0 * logprob_N
    inputs = loss_inputs(item, settings, logprob_N, at)
    old_N = inputs.old_logprob_N
    weight_N = importance_weight(old_N, item.sampled_logprob_N[at], settings.importance_cap)
    if item.weight_N is not None:
        weight_N = item.weight_N[at]
    loss_N = weight_N * policy_loss(settings.loss)(inputs).loss_N
    if item.reference_logprob_N is not None:
        loss_N = loss_N + settings.kl * kl_estimate(logprob_N, old_N, item.reference_logprob_N[at])
    return item.share_N[at] * loss_N


def loss_inputs(item: PolicyRow, settings: GrpoStage, logprob_N: Tensor, at: slice) -> LossInputs:
    # The first update on a batch is made by the policy that is the old one for the next.
    old_N = logprob_N.detach() if item.old_logprob_N is None else item.old_logprob_N[at]
    ratio_N = torch.ones_like(old_N) if item.answer_ratio_N is None else item.answer_ratio_N[at]
    clip = (settings.clip_low, settings.clip_high)
    return LossInputs(logprob_N, old_N, item.advantage_N[at], ratio_N, *clip)


def measured(item: PolicyRow, settings: GrpoStage, found: TargetLoss) -> Tensor:
    """Sums over a row's targets: loss, tokens, clipped ones, mismatch, cut importance weights, KL."""
    logprob_N, old_N = found.logprob_N, item.old_logprob_N
    assert old_N is not None
    clipped_N = policy_loss(settings.loss)(loss_inputs(item, settings, logprob_N, slice(None))).clipped_N
    distance_N = (old_N - item.sampled_logprob_N).abs()
    log_cap = math.log(settings.importance_cap)
    is_cut_N = item.weight_N == 0 if item.weight_N is not None else old_N - item.sampled_logprob_N > log_cap
    kl_N = torch.zeros_like(old_N)
    if item.reference_logprob_N is not None:
        kl_N = kl_estimate(logprob_N, old_N, item.reference_logprob_N)
    computed = torch.tensor(item.row.targets, device=old_N.device)
    sums = (found.loss.detach(), computed, clipped_N.sum(), distance_N.sum(), is_cut_N.sum(), kl_N.sum())
    return torch.stack(sums)


@torch.no_grad()
def add_reference(reference: Policy, rows: Sequence[PolicyRow], temperature: float) -> None:
    with adapters_off(reference.lm), reference.loss.computing(), reference.precision():
        for item in rows:
            item.reference_logprob_N = reference.loss(item.row, temperature=temperature).logprob_N


@torch.no_grad()
def add_old(policy: Policy, rows: Sequence[PolicyRow], settings: GrpoStage) -> None:
    """The log-probabilities before the first step on the batch, and the weights of whole answers."""
    with policy.loss.computing(), policy.precision():
        for item in rows:
            old_N = policy.loss(item.row, temperature=settings.temperature).logprob_N
            item.old_logprob_N = old_N
            if settings.importance == "sequence":
                item.weight_N = sequence_weight(
                    old_N, item.sampled_logprob_N, item.answer_N, *settings.importance_bounds
                )


@torch.no_grad()
def add_answer_ratio(policy: Policy, rows: Sequence[PolicyRow], temperature: float) -> None:
    """How far each answer has moved from the old policy. Before the first step it has not moved."""
    with policy.loss.computing(), policy.precision():
        for item in rows:
            if item.old_logprob_N is not None:
                now_N = policy.loss(item.row, temperature=temperature).logprob_N
                item.answer_ratio_N = mean_ratio(now_N, item.old_logprob_N, item.answer_N)
