"""One optimizer step of GRPO: the gradient of a batch of groups, row by row."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from xreasoner.data.packing import cut_rows
from xreasoner.models.packed_attention import packed_attention
from xreasoner.parallel import own_share, sum_over_ranks
from xreasoner.recipe.schema import GrpoStage
from xreasoner.train.groups import Group, is_learned, shared_prompts
from xreasoner.train.loss import PackedRow, SharedPrompt, pack_shared
from xreasoner.train.policy import Policy
from xreasoner.train.policy_loss import divergence, importance, is_clipped, surrogate


@dataclass
class PolicyRow:
    """A packed row and what the loss knows about each of its target tokens."""

    row: PackedRow
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


def policy_rows(groups: Sequence[Group], settings: GrpoStage, policy: Policy) -> list[PolicyRow]:
    """This rank's rows of all groups that can have a gradient, longest first; each rank has equally many."""
    everything = settings.kl > 0 or not settings.skip_zero_spread
    computed = [group for group in groups if everything or group.has_signal]
    parts = [
        (group, shared, samples)
        for group in computed
        for shared, samples in shared_prompts([group], settings.overlong, settings.tokens_per_microbatch)
        if shared.targets
    ]
    if not parts:
        return []
    ranks = policy.world.size
    lengths = [shared.tokens for _, shared, _ in parts]
    cut = cut_rows(lengths, settings.tokens_per_microbatch, ranks if len(parts) >= ranks else 1)
    own = own_share(cut, policy.world)
    rows = [
        _policy_row([parts[index] for index in row], settings.overlong, policy) for row in own or cut[-1:]
    ]
    return rows if own else [replace(row, counts=False) for row in rows]


def backward(policy: Policy, rows: Sequence[PolicyRow], tokens: int, settings: GrpoStage) -> Gradient:
    """Leave the gradient of the batch's loss in `.grad`; `tokens` are all that count, skipped ones too."""
    world = policy.world
    sums = torch.zeros(5, device=world.device)
    with packed_attention(policy.lm), policy.precision():
        for item in rows:
            logprob_N = -policy.nll(item.row, temperature=settings.temperature)
            if item.old_logprob_N is None:
                item.old_logprob_N = logprob_N.detach()
            loss, measured = row_loss(item, logprob_N, settings)
            # Sharded gradients are averaged over the ranks: the world's size makes a sum of it.
            (loss * (item.counts * world.size / tokens)).backward()
            sums += item.counts * measured
    loss_sum, clipped, distance, kl, computed = sum_over_ranks(sums, world).tolist()
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
def add_reference(reference: Policy, rows: Sequence[PolicyRow], temperature: float) -> None:
    with packed_attention(reference.lm), reference.precision():
        for item in rows:
            item.reference_logprob_N = -reference.nll(item.row, temperature=temperature)


def _policy_row(
    parts: Sequence[tuple[Group, SharedPrompt, list[int]]], overlong: str, policy: Policy
) -> PolicyRow:
    advantages: list[float] = []
    sampled: list[float] = []
    for group, _, samples in parts:
        for sample in samples:
            rollout = group.rollouts[sample]
            learned = is_learned(rollout, group.scores[sample], overlong)
            advantages += [group.advantages[sample]] * sum(learned)
            sampled += [logprob for logprob, kept in zip(rollout.logprobs, learned, strict=True) if kept]
    device = policy.world.device
    return PolicyRow(
        row=pack_shared([shared for _, shared, _ in parts], device),
        advantage_N=torch.tensor(advantages, device=device),
        sampled_logprob_N=torch.tensor(sampled, device=device),
    )
