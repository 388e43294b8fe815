"""From examples and graded answers to packed rows: which tokens learn, and which prompts are shared.

Suffixes: 1 the batch of one row, T tokens of the row, N its target tokens.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xreasoner.chat.template import Example
from xreasoner.models.packed_sequences import PackedSequences
from xreasoner.parallel import World, own_share
from xreasoner.recipe.schema import GrpoStage
from xreasoner.train.collect import GradedRollout, Group


@dataclass(frozen=True)
class PackedRow:
    """Sequences side by side, positions restarting at each. Token t+1 is predicted at position t."""

    ids_1T: Tensor
    positions_1T: Tensor
    sequences: PackedSequences
    predicting_N: Tensor
    """The places in the row at which the target tokens are predicted."""
    target_N: Tensor

    @property
    def targets(self) -> int:
        return self.target_N.numel()


def cut_rows(lengths: Sequence[int], tokens_per_row: int, ranks: int = 1) -> list[list[int]]:
    """Positions of `lengths` spread over rows of at most `tokens_per_row`, longest first, evenly filled.

    A sequence longer than a row gets a row of its own. The number of rows is a multiple of the ranks if
    there are enough sequences.
    """
    needed = -(-sum(lengths) // tokens_per_row)
    while True:
        rows = _spread(lengths, min(-(-needed // ranks) * ranks, len(lengths)))
        if all(len(row) == 1 or sum(lengths[i] for i in row) <= tokens_per_row for row in rows):
            return rows
        needed = len(rows) + 1


def one_per_row(lengths: Sequence[int]) -> list[list[int]]:
    """For models that cannot be packed."""
    return _spread(lengths, len(lengths))


def rank_rows(rows: Sequence[list[int]], world: World) -> list[list[int]]:
    """This rank's rows. Each rank has equally many, since they gather weights together; some are empty."""
    each = -(-len(rows) // world.size)
    own = list(own_share(rows, world))
    return own + [[]] * (each - len(own))


def _spread(lengths: Sequence[int], count: int) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in range(count)]
    filled = [0] * count
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        emptiest = filled.index(min(filled))
        rows[emptiest].append(index)
        filled[emptiest] += lengths[index]
    return rows


# --- rows of written examples (SFT) ---------------------------------------------------------------------


def pack(examples: Sequence[Example], device: torch.device) -> PackedRow:
    """Without examples, a row of two tokens: it only keeps step with the other ranks and does not count."""
    examples = examples or [Example((0, 0), (True, True))]
    lengths = tuple(len(example.ids) for example in examples)
    ids_T = torch.tensor([token for example in examples for token in example.ids])
    is_target_T = torch.tensor([flag for example in examples for flag in example.is_target])
    positions_T = torch.cat([torch.arange(length) for length in lengths])
    # Nothing precedes the first token of a sequence, so nothing predicts it.
    target_at_N = torch.nonzero(is_target_T & (positions_T > 0)).squeeze(1)
    return PackedRow(
        ids_1T=ids_T[None].to(device),
        positions_1T=positions_T[None].to(device),
        sequences=PackedSequences.of(lengths, device),
        predicting_N=(target_at_N - 1).to(device),
        target_N=ids_T[target_at_N].to(device),
    )


# --- rows of sampled answers (GRPO) ---------------------------------------------------------------------


@dataclass(frozen=True)
class PackedReply:
    """A sampled answer as the policy loss takes it."""

    ids: tuple[int, ...]
    is_target: tuple[bool, ...]
    """Which tokens learn."""
    logprobs: tuple[float, ...]
    """Those of sampling."""
    advantage: float


@dataclass(frozen=True)
class SharedPrompt:
    """A prompt and some of the replies sampled from it. A row holds the prompt once."""

    prompt: tuple[int, ...]
    replies: tuple[PackedReply, ...]

    @property
    def tokens(self) -> int:
        return len(self.prompt) + sum(len(reply.ids) for reply in self.replies)

    @property
    def targets(self) -> int:
        return sum(sum(reply.is_target) for reply in self.replies)


@dataclass
class PolicyRow:
    """A packed row and what the policy loss knows about each of its target tokens."""

    row: PackedRow
    advantage_N: Tensor
    sampled_logprob_N: Tensor
    answer_N: Tensor
    """Which answer of the row each token belongs to."""
    share_N: Tensor
    """What each token counts in the sum that is divided by `denominator`."""
    reference_logprob_N: Tensor | None = None
    old_logprob_N: Tensor | None = None
    """The trainer's own, from before the first update on this batch; known once that was computed."""
    weight_N: Tensor | None = None
    """The importance weights, where they depend on whole answers."""
    answer_ratio_N: Tensor | None = None
    """Of the policy now to the old one, for losses that need it; before the first step it is 1."""
    counts: bool = True
    """False: computed only to keep step with the other ranks, with a loss of zero."""


def learns(answer: GradedRollout, overlong: str) -> tuple[bool, ...]:
    """Which tokens get a gradient: those the policy chose, in answers that were scored and not dropped."""
    rollout = answer.rollout
    left_out = answer.reward is None or (overlong == "drop" and rollout.stop == "length")
    return tuple(bool(chosen) and not left_out for chosen in rollout.by_policy)


def denominator(groups: Sequence[Group], settings: GrpoStage) -> int:
    """Of the mean loss. Skipped groups count, or the weight of the others would change."""
    tokens = [sum(learns(answer, settings.overlong)) for group in groups for answer in group.answers]
    match settings.loss_mean:
        case "tokens":
            return sum(tokens)
        case "answers":
            return sum(count > 0 for count in tokens)
        case "limit":
            limit = settings.think_budget + settings.answer_budget
            return limit * sum(count > 0 for count in tokens)


def policy_rows(
    groups: Sequence[Group], settings: GrpoStage, world: World, packs: bool = True
) -> list[PolicyRow]:
    """This rank's rows of all groups that can have a gradient, longest first. Each rank has equally many."""
    everything = settings.kl > 0 or not settings.skip_zero_spread
    tokens_per_row = settings.tokens_per_microbatch if packs else 0
    prompts = [
        shared
        for group in groups
        if everything or group.has_signal
        for shared in shared_prompts(group, settings.overlong, tokens_per_row)
        if shared.targets
    ]
    if not prompts:
        return []
    lengths = [shared.tokens for shared in prompts]
    cut = cut_rows(lengths, tokens_per_row, world.size) if packs else one_per_row(lengths)
    rows = ([prompts[i] for i in row] for row in rank_rows(cut, world))
    return [policy_row(row, settings.loss_mean == "answers", world.device) for row in rows]


def shared_prompts(group: Group, overlong: str, tokens_per_row: int) -> Iterator[SharedPrompt]:
    """The group's prompt with its replies, longest first; in parts where they are more than a row holds.

    With rows of 0 tokens each reply has a prompt of its own.
    """
    prompt = group.answers[0].rollout.prompt_ids
    part: list[PackedReply] = []
    filled = len(prompt)
    for answer in sorted(group.answers, key=lambda answer: -len(answer.rollout.token_ids)):
        rollout = answer.rollout
        reply = PackedReply(rollout.token_ids, learns(answer, overlong), rollout.logprobs, answer.advantage)
        if part and filled + len(reply.ids) > tokens_per_row:
            yield SharedPrompt(prompt, tuple(part))
            part, filled = [], len(prompt)
        part.append(reply)
        filled += len(reply.ids)
    yield SharedPrompt(prompt, tuple(part))


def policy_row(prompts: Sequence[SharedPrompt], by_answer: bool, device: torch.device) -> PolicyRow:
    """`by_answer`: the tokens of an answer count as one together."""
    if not prompts:
        zero_N = torch.zeros(1, device=device)
        return PolicyRow(pack([], device), zero_N, zero_N, zero_N.long(), zero_N, counts=False)
    replies = [reply for shared in prompts for reply in shared.replies]
    advantages = [reply.advantage for reply in replies for _ in range(sum(reply.is_target))]
    lengths = [sum(reply.is_target) for reply in replies]
    numbers = [number for number, length in enumerate(lengths) for _ in range(length)]
    shares = [1 / length if by_answer else 1.0 for length in lengths for _ in range(length)]
    logprobs = [p for reply in replies for p in itertools.compress(reply.logprobs, reply.is_target)]
    return PolicyRow(
        row=pack_shared(prompts, device),
        advantage_N=torch.tensor(advantages, device=device),
        sampled_logprob_N=torch.tensor(logprobs, device=device),
        answer_N=torch.tensor(numbers, device=device),
        share_N=torch.tensor(shares, device=device),
    )


def pack_shared(prompts: Sequence[SharedPrompt], device: torch.device) -> PackedRow:
    """Targets come in the order of the prompts, their replies, and the tokens of these."""
    ids: list[int] = []
    lengths: list[int] = []
    parents: list[int | None] = []
    positions: list[int] = []
    predicting: list[int] = []
    targets: list[int] = []
    for shared in prompts:
        prompt_number, prompt_end = len(lengths), len(ids) + len(shared.prompt)
        ids += shared.prompt
        lengths.append(len(shared.prompt))
        parents.append(None)
        positions += range(len(shared.prompt))
        for reply in shared.replies:
            # The prompt's last token predicts the first of every reply.
            before = [prompt_end - 1, *range(len(ids), len(ids) + len(reply.ids) - 1)]
            predicting += itertools.compress(before, reply.is_target)
            targets += itertools.compress(reply.ids, reply.is_target)
            ids += reply.ids
            lengths.append(len(reply.ids))
            parents.append(prompt_number)
            positions += range(len(shared.prompt), len(shared.prompt) + len(reply.ids))
    return PackedRow(
        ids_1T=torch.tensor([ids], device=device),
        positions_1T=torch.tensor([positions], device=device),
        sequences=PackedSequences.of(lengths, device, parents),
        predicting_N=torch.tensor(predicting, device=device),
        target_N=torch.tensor(targets, device=device),
    )
