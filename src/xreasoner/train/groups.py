"""Drawing problems, having them answered and graded: what one GRPO step learns from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from xreasoner.chat.template import Example, problem_prompt
from xreasoner.data.packing import shuffled
from xreasoner.parallel import World, gather_shares, own_share
from xreasoner.recipe.schema import GrpoStage
from xreasoner.records import Problem, Prompt, Rollout, Sampling, Score
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.engine import Engine
from xreasoner.train.advantages import group_advantages
from xreasoner.train.loss import SharedPrompt

Graded = tuple[list[Rollout], list[Score]]
"""The answers to one prompt."""


@dataclass(frozen=True)
class Group:
    """One problem, its sampled answers, their scores and advantages."""

    problem: Problem
    rollouts: tuple[Rollout, ...]
    scores: tuple[Score, ...]
    advantages: tuple[float, ...]

    @property
    def has_signal(self) -> bool:
        return any(self.advantages)


@dataclass(frozen=True)
class Batch:
    groups: tuple[Group, ...]
    cursor: int
    """How many problems the run has drawn, this batch included."""
    drawn: int
    drawn_without_signal: int


@dataclass(frozen=True)
class Rewarder:
    """Everything needed to turn problems into groups."""

    engine: Engine
    grader: Grader
    instruction: str | None
    settings: GrpoStage
    seed: int
    world: World

    def collect(self, problems: Sequence[Problem], step: int, cursor: int) -> Batch:
        """The step's groups; with refilling, prompts whose group shows no spread are drawn anew."""
        wanted = self.settings.prompts_per_step
        if not self.settings.refill:
            groups = self._answer(problems, step, cursor, wanted)
            return Batch(tuple(groups), cursor + wanted, wanted, _silent(groups))
        kept: list[Group] = []
        drawn = silent = 0
        for _ in range(1 + self.settings.max_refills):
            missing = wanted - len(kept)
            groups = self._answer(problems, step, cursor + drawn, missing)
            drawn, silent = drawn + missing, silent + _silent(groups)
            kept += [group for group in groups if group.has_signal]
            if len(kept) == wanted:
                break
        return Batch(tuple(kept), cursor + drawn, drawn, silent)

    def accuracy(self, held_out: Sequence[Problem]) -> float:
        """Greedy, as evaluation asks; answers the grader failed on are left out."""
        sampling = replace(self._sampling(step=0), n=1, temperature=0.0)
        graded = gather_shares(
            self._graded(own_share(list(enumerate(held_out)), self.world), sampling), self.world
        )
        verdicts = [scores[0].correct for _, scores in graded if scores[0].correct is not None]
        return sum(verdicts) / max(1, len(verdicts))

    def _answer(self, problems: Sequence[Problem], step: int, cursor: int, count: int) -> list[Group]:
        """Each rank has its share of the prompts answered; then all ranks know all groups."""
        drawn = [(place, draw(problems, self.seed, place)) for place in range(cursor, cursor + count)]
        graded = gather_shares(self._graded(own_share(drawn, self.world), self._sampling(step)), self.world)
        return [
            _group(problem, rollouts, scores, self.settings.std_scaling)
            for (_, problem), (rollouts, scores) in zip(drawn, graded, strict=True)
        ]

    def _graded(self, drawn: Sequence[tuple[int, Problem]], sampling: Sampling) -> list[Graded]:
        prompts = [self._prompt(problem, place) for place, problem in drawn]
        rollouts = _by_prompt(self.engine.generate(prompts, sampling), sampling.n)
        answers = [(p, r) for (_, p), prompt in zip(drawn, prompts, strict=True) for r in rollouts[prompt.id]]
        scores = iter(self.grader.score_many([(problem, rollout.text) for problem, rollout in answers]))
        return [(rollouts[prompt.id], [next(scores) for _ in range(sampling.n)]) for prompt in prompts]

    def _prompt(self, problem: Problem, position: int) -> Prompt:
        # The same problem may be drawn twice in a step: the position keeps its samples apart.
        return replace(problem_prompt(problem, self.instruction), id=f"{position}:{problem.id}")

    def _sampling(self, step: int) -> Sampling:
        return Sampling(
            n=self.settings.samples_per_prompt,
            temperature=self.settings.temperature,
            think_budget=self.settings.think_budget,
            answer_budget=self.settings.answer_budget,
            forced_exit=self.settings.forced_exit,
            seed=self.seed * 1_000_003 + step,
        )


def draw(problems: Sequence[Problem], seed: int, position: int) -> Problem:
    """The problem at a position of the endless sequence of shuffled epochs."""
    epoch, place = divmod(position, len(problems))
    return problems[_order(len(problems), seed, epoch)[place]]


def shared_prompts(
    groups: Sequence[Group], overlong: str, tokens_per_row: int
) -> Iterator[tuple[SharedPrompt, list[int]]]:
    """Prompts with their replies, cut where a group is longer than a row, and the samples in each."""
    for group in groups:
        prompt = group.rollouts[0].prompt_ids
        part: list[int] = []
        filled = len(prompt)
        longest_first = sorted(range(len(group.rollouts)), key=lambda i: -len(group.rollouts[i].token_ids))
        for sample in longest_first:
            length = len(group.rollouts[sample].token_ids)
            if part and filled + length > tokens_per_row:
                yield _family(group, part, overlong), part
                part, filled = [], len(prompt)
            part.append(sample)
            filled += length
        yield _family(group, part, overlong), part


def is_learned(rollout: Rollout, score: Score, overlong: str) -> tuple[bool, ...]:
    """Which tokens get gradient: those the policy chose, in an answer that was scored and not left out."""
    left_out = score.correct is None or (overlong == "drop" and rollout.stop == "length")
    return tuple(bool(chosen) and not left_out for chosen in rollout.by_policy)


def learned_tokens(groups: Sequence[Group], overlong: str) -> int:
    return sum(
        sum(is_learned(rollout, score, overlong))
        for group in groups
        for rollout, score in zip(group.rollouts, group.scores, strict=True)
    )


def _family(group: Group, samples: Sequence[int], overlong: str) -> SharedPrompt:
    replies = tuple(
        Example(group.rollouts[i].token_ids, is_learned(group.rollouts[i], group.scores[i], overlong))
        for i in samples
    )
    return SharedPrompt(group.rollouts[0].prompt_ids, replies)


def _group(
    problem: Problem, rollouts: Sequence[Rollout], scores: Sequence[Score], std_scaling: bool
) -> Group:
    rewards = [None if score.correct is None else float(score.correct) for score in scores]
    return Group(problem, tuple(rollouts), tuple(scores), group_advantages(rewards, std_scaling))


def _by_prompt(rollouts: Iterator[Rollout], samples: int) -> dict[str, list[Rollout]]:
    found: dict[str, list[Rollout]] = {}
    for rollout in rollouts:
        if rollout.trouble:
            raise ValueError(f"training prompt {rollout.prompt_id}: {rollout.trouble}")
        found.setdefault(rollout.prompt_id, []).append(rollout)
    for answers in found.values():
        answers.sort(key=lambda rollout: rollout.sample)
        assert len(answers) == samples
    return found


def _silent(groups: Sequence[Group]) -> int:
    return sum(not group.has_signal for group in groups)


@lru_cache(maxsize=4)
def _order(count: int, seed: int, epoch: int) -> list[int]:
    return shuffled(count, seed, epoch)
