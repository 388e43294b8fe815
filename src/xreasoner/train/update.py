"""One batch of graded answers changes the policy: the gradient row by row, then the optimizer's steps.

N: target tokens of a packed row.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from xreasoner.parallel import reduces_gradients, sum_over_ranks
from xreasoner.recipe.schema import GrpoStage
from xreasoner.train.adapters import adapters_off
from xreasoner.train.collect import RolloutBatch
from xreasoner.train.loss import TargetLoss
from xreasoner.train.optim import GuardedStep
from xreasoner.train.policy import Policy
from xreasoner.train.policy_loss import clipped_surrogate, importance_weight, is_clipped, kl_estimate
from xreasoner.train.rows import PolicyRow, learned_tokens, policy_rows


@dataclass(frozen=True)
class UpdateMetrics:
    loss: float = 0.0
    clip_fraction: float = 0.0
    mismatch: float = 0.0
    """Mean distance between the sampler's log-probabilities and the trainer's."""
    kl: float = 0.0
    grad_norm: float = 0.0


def update(
    policy: Policy,
    reference: Policy | None,
    take_step: GuardedStep,
    batch: RolloutBatch,
    settings: GrpoStage,
    step: int,
) -> UpdateMetrics:
    """The optimizer steps on one batch. None where there is no signal, so momentum moves no weight."""
    has_signal = settings.kl > 0 or any(group.has_signal for group in batch.groups)
    rows = policy_rows(batch.groups, settings, policy.world, policy.loss.packs) if has_signal else []
    if not rows:
        return UpdateMetrics()
    if reference:
        add_reference(reference, rows, settings.temperature)
    tokens = learned_tokens(batch.groups, settings.overlong)
    for _ in range(settings.updates_per_batch):
        metrics = backward(policy, rows, tokens, settings)
        grad_norm = take_step(metrics.loss, step)
    return dataclasses.replace(metrics, grad_norm=grad_norm)


def backward(policy: Policy, rows: Sequence[PolicyRow], tokens: int, settings: GrpoStage) -> UpdateMetrics:
    """Leave the gradient of the batch's loss in `.grad`. `tokens`: all that count, skipped ones included."""
    world = policy.world
    sums = torch.zeros(5, device=world.device)
    with policy.loss.computing(), policy.precision():
        for number, item in enumerate(rows):
            reduces_gradients(policy.loss, settings.gradient_reduction == "row" or number == len(rows) - 1)
            found = policy.loss(item.row, partial(token_loss, item, settings), settings.temperature)
            if item.old_logprob_N is None:
                item.old_logprob_N = found.logprob_N
            # FSDP averages gradients over the ranks: times the world's size, that is a sum.
            (found.loss * (world.size / tokens)).backward()
            sums += measured(item, settings, found) if item.counts else 0
    loss_sum, clipped, distance, kl, computed = sum_over_ranks(sums, world).tolist()
    return UpdateMetrics(loss_sum / tokens, clipped / computed, distance / computed, kl / computed)


def token_loss(item: PolicyRow, settings: GrpoStage, logprob_N: Tensor, at: slice) -> Tensor:
    """The loss of some of a row's targets: those `at` these places."""
    if not item.counts:
        return 0 * logprob_N
    # The first update on a batch is made by the policy that is the old one for the next.
    old_N = logprob_N.detach() if item.old_logprob_N is None else item.old_logprob_N[at]
    clip = (settings.clip_low, settings.clip_high)
    weight_N = importance_weight(old_N, item.sampled_logprob_N[at], settings.importance_cap)
    loss_N = weight_N * clipped_surrogate(logprob_N, old_N, item.advantage_N[at], *clip)
    if item.reference_logprob_N is None:
        return loss_N
    return loss_N + settings.kl * kl_estimate(logprob_N, old_N, item.reference_logprob_N[at])


def measured(item: PolicyRow, settings: GrpoStage, found: TargetLoss) -> Tensor:
    """Sums over a row's targets: loss, clipped tokens, mismatch, KL, tokens."""
    logprob_N, old_N = found.logprob_N, item.old_logprob_N
    assert old_N is not None
    clipped_N = is_clipped(logprob_N, old_N, item.advantage_N, settings.clip_low, settings.clip_high)
    distance_N = (old_N - item.sampled_logprob_N).abs()
    kl_N = torch.zeros_like(old_N)
    if item.reference_logprob_N is not None:
        kl_N = kl_estimate(logprob_N, old_N, item.reference_logprob_N)
    computed = torch.tensor(item.row.targets, device=old_N.device)
    return torch.stack([found.loss.detach(), clipped_N.sum(), distance_N.sum(), kl_N.sum(), computed])


@torch.no_grad()
def add_reference(reference: Policy, rows: Sequence[PolicyRow], temperature: float) -> None:
    with adapters_off(reference.lm), reference.loss.computing(), reference.precision():
        for item in rows:
            item.reference_logprob_N = reference.loss(item.row, temperature=temperature).logprob_N
