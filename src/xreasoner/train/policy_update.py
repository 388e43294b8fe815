"""One optimizer step of GRPO: the gradient of a batch of groups, row by row."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from xreasoner.data.packing import cut_rows
from xreasoner.models.packed_attention import packed_attention
from xreasoner.parallel import share, total
from xreasoner.recipe.schema import GrpoStage
from xreasoner.train.groups import Group, families, is_learned
from xreasoner.train.loss import Family, Row, pack_families
from xreasoner.train.policy_loss import divergence, importance, is_clipped, surrogate
from xreasoner.train.trainee import Trainee


@dataclass
class PolicyRow:
    """A packed row and what the loss knows about each of its target tokens."""

    row: Row
    advantage_N: Tensor
    sampled_logprob_N: Tensor
    reference_logprob_N: Tensor | None = None
    old_logprob_N: Tensor | None = None
    """The trainer's own, before the first update on this batch; known once that was computed."""
    counts: bool = True
    """False: computed for nothing but to keep step with the other ranks."""


@dataclass(frozen=True)
class Gradient:
    """What a backward pass over the batch left behind, besides the gradient itself."""

    loss: float
    clip_fraction: float
    mismatch: float
    """Mean distance between the sampler's log-probabilities and the trainer's."""
    kl: float


def policy_rows(groups: Sequence[Group], settings: GrpoStage, trainee: Trainee) -> list[PolicyRow]:
    """This rank's rows of all groups that can have a gradient, longest first; each rank has equally many."""
    everything = settings.kl > 0 or not settings.skip_zero_spread
    computed = [group for group in groups if everything or group.has_signal]
    parts = [
        (group, family, samples)
        for group in computed
        for family, samples in families([group], settings.overlong, settings.tokens_per_microbatch)
        if family.targets
    ]
    if not parts:
        return []
    ranks = trainee.world.size
    lengths = [family.tokens for _, family, _ in parts]
    cut = cut_rows(lengths, settings.tokens_per_microbatch, ranks if len(parts) >= ranks else 1)
    own = share(cut, trainee.world)
    rows = [
        _policy_row([parts[index] for index in row], settings.overlong, trainee) for row in own or cut[-1:]
    ]
    return rows if own else [replace(row, counts=False) for row in rows]


def backward(trainee: Trainee, rows: Sequence[PolicyRow], tokens: int, settings: GrpoStage) -> Gradient:
    """Leave the gradient of the batch's loss in `.grad`; `tokens` are all that count, skipped ones too."""
    world = trainee.world
    sums = torch.zeros(5, device=world.device)
    with packed_attention(trainee.lm), trainee.precision():
        for item in rows:
            logprob_N = -trainee.nll(item.row, temperature=settings.temperature)
            if item.old_logprob_N is None:
                item.old_logprob_N = logprob_N.detach()
            loss, measured = row_loss(item, logprob_N, settings)
            # Sharded gradients are averaged over the ranks: the world's size makes a sum of it.
            (loss * (item.counts * world.size / tokens)).backward()
            sums += item.counts * measured
    loss_sum, clipped, distance, kl, computed = total(sums, world).tolist()
    return Gradient(loss_sum / tokens, clipped / computed, distance / computed, kl / computed)


def row_loss(item: PolicyRow, logprob_N: Tensor, settings: GrpoStage) -> tuple[Tensor, Tensor]:
    """The summed loss of a row; and the sums of loss, clipped tokens, mismatch, divergence, tokens."""
    old_N, advantage_N = item.old_logprob_N, item.advantage_N
    assert old_N is not None
    clip = (settings.clip_low, settings.clip_high)
    weight_N = importance(old_N, item.sampled_logprob_N, settings.importance_cap)
    loss_N = weight_N * surrogate(logprob_N, old_N, advantage_N, *clip)
    kl = torch.zeros((), device=logprob_N.device)
    if item.reference_logprob_N is not None:
        kl_N = divergence(logprob_N, old_N, item.reference_logprob_N)
        loss_N = loss_N + settings.kl * kl_N
        kl = kl_N.detach().sum()
    loss = loss_N.sum()
    clipped = is_clipped(logprob_N.detach(), old_N, advantage_N, *clip).sum()
    distance = (old_N - item.sampled_logprob_N).abs().sum()
    computed = torch.tensor(item.row.targets, device=logprob_N.device)
    return loss, torch.stack([loss.detach(), clipped, distance, kl, computed])


@torch.no_grad()
def add_reference(reference: Trainee, rows: Sequence[PolicyRow], temperature: float) -> None:
    with packed_attention(reference.lm), reference.precision():
        for item in rows:
            item.reference_logprob_N = -reference.nll(item.row, temperature=temperature)


def _policy_row(
    parts: Sequence[tuple[Group, Family, list[int]]], overlong: str, trainee: Trainee
) -> PolicyRow:
    advantages: list[float] = []
    sampled: list[float] = []
    for group, _, samples in parts:
        for sample in samples:
            rollout = group.rollouts[sample]
            learned = is_learned(rollout, group.scores[sample], overlong)
            advantages += [group.advantages[sample]] * sum(learned)
            sampled += [logprob for logprob, kept in zip(rollout.logprobs, learned, strict=True) if kept]
    device = trainee.world.device
    return PolicyRow(
        row=pack_families([family for _, family, _ in parts], device),
        advantage_N=torch.tensor(advantages, device=device),
        sampled_logprob_N=torch.tensor(sampled, device=device),
    )
