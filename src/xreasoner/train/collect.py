"""The data of one GRPO step: problems drawn, answered, graded, and the advantages. No tensors."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice

from xreasoner.chat.template import problem_prompt
from xreasoner.data.steps import shuffled
from xreasoner.parallel import World, gather_shares, own_share
from xreasoner.recipe.schema import GrpoStage
from xreasoner.records import Problem, Prompt, Rollout, Sampling, Score
from xreasoner.rewards.functions import reply_of
from xreasoner.rewards.grade import Grader
from xreasoner.rewards.reward_sum import RewardSum, Values
from xreasoner.rollout.engine import Engine
from xreasoner.train.policy_loss import AdvantageFunction, advantage_function, group_advantages

Scored = tuple[Rollout, Score]


@dataclass(frozen=True)
class Judged:
    """A rollout with its score and the value of each reward function."""

    rollout: Rollout
    score: Score
    values: Values


@dataclass(frozen=True)
class GradedRollout:
    rollout: Rollout
    score: Score
    advantage: float
    reward: float | None
    """None if a reward function could not judge it; then it gets no gradient."""
    values: Values = field(default_factory=dict)
    """Of each reward function."""


@dataclass(frozen=True)
class Group:
    """One problem and the answers sampled for it, in the order of their sample numbers."""

    problem: Problem
    answers: tuple[GradedRollout, ...]

    @property
    def has_signal(self) -> bool:
        """Some answers were better than others. Without that the policy loss has no gradient."""
        return any(answer.advantage for answer in self.answers)


@dataclass(frozen=True)
class RolloutBatch:
    groups: tuple[Group, ...]
    drawn: int
    drawn_without_signal: int
    lag: int = 0
    """How many steps the policy has taken since the weights that all these answers were sampled with."""
    seconds: float = 0.0
    """Spent on sampling and grading beside the updates."""
    grading_seconds: float = 0.0
    """After the last answer was sampled; the rest of grading overlaps with sampling."""
    sync_seconds: float = 0.0
    """Spent on sending the weights to the sampler."""


@dataclass
class GradingClock:
    sampled_at: float = 0.0
    """When the last answer was sampled."""
    seconds: float = 0.0
    """From then until all were graded."""


@dataclass(frozen=True)
class Collector:
    """Turns problems into groups: draws them, has them answered and graded."""

    engine: Engine
    grader: Grader
    rewards: RewardSum
    instruction: str | None
    settings: GrpoStage
    seed: int
    world: World
    clock: GradingClock = field(default_factory=GradingClock)

    def collect(self, problems: Sequence[Problem], step: int) -> RolloutBatch:
        """The groups of a step. Which problems it draws depends on nothing that was sampled."""
        wanted = self.settings.prompts_per_step
        count = math.ceil(round(self.settings.oversample * wanted, 6))
        groups = self._groups(problems, step, range(step * count, (step + 1) * count))
        kept = groups if count == wanted else first_with_signal(groups, wanted)
        silent = sum(not group.has_signal for group in groups)
        return RolloutBatch(tuple(kept), count, silent, grading_seconds=self.clock.seconds)

    def accuracy(self, held_out: Sequence[Problem]) -> float:
        """Greedy accuracy, as in an evaluation. Answers that the grader failed on are left out."""
        sampling = replace(sampling_of(self.settings, self.seed, step=0), n=1, temperature=0.0)
        own = own_share(list(enumerate(held_out)), self.world)
        graded = gather_shares(self._scored(own, sampling), self.world)
        verdicts = [score.correct for ((_, score),) in graded if score.correct is not None]
        return sum(verdicts) / max(1, len(verdicts))

    def _groups(self, problems: Sequence[Problem], step: int, places: range) -> list[Group]:
        """Each rank asks its share of the prompts; afterwards all ranks know all groups."""
        drawn = [(place, draw(problems, self.seed, place)) for place in places]
        own = own_share(drawn, self.world)
        scored = self._scored(own, sampling_of(self.settings, self.seed, step))
        own_judged = self._judged(own, scored)
        self.clock.seconds = time.monotonic() - self.clock.sampled_at
        judged = gather_shares(own_judged, self.world)
        return [
            make_group(problem, answers, self.rewards, advantage_function(self.settings.advantage))
            for (_, problem), answers in zip(drawn, judged, strict=True)
        ]

    def _judged(
        self, drawn: Sequence[tuple[int, Problem]], scored: Sequence[list[Scored]]
    ) -> list[list[Judged]]:
        """With the values of the reward functions, which are called once for all replies."""
        limit = self.settings.think_budget + self.settings.answer_budget
        problems = [problem for (_, problem), answers in zip(drawn, scored, strict=True) for _ in answers]
        replies = [reply_of(rollout, score, limit) for answers in scored for rollout, score in answers]
        values = iter(self.rewards.values(problems, replies))
        return [[Judged(rollout, score, next(values)) for rollout, score in answers] for answers in scored]

    def _scored(self, drawn: Sequence[tuple[int, Problem]], sampling: Sampling) -> list[list[Scored]]:
        """All answers to each prompt. Those that are finished are graded while others are sampled."""
        asked = {prompt.id: (prompt, problem) for prompt, problem in self._prompts(drawn)}
        finished: list[Rollout] = []

        def as_they_finish() -> Iterator[tuple[Problem, str]]:
            for rollout in self.engine.generate([prompt for prompt, _ in asked.values()], sampling):
                check_rollout(rollout)
                finished.append(rollout)
                yield asked[rollout.prompt_id][1], rollout.text
            self.clock.sampled_at = time.monotonic()

        scores = self.grader.score_many(as_they_finish())
        return by_prompt(asked, zip(finished, scores, strict=True), sampling.n)

    def _prompts(self, drawn: Sequence[tuple[int, Problem]]) -> Iterator[tuple[Prompt, Problem]]:
        for place, problem in drawn:
            # The same problem may be drawn twice in a step: its place keeps the samples of the two apart.
            yield replace(problem_prompt(problem, self.instruction), id=f"{place}:{problem.id}"), problem


def sampling_of(settings: GrpoStage, seed: int, step: int) -> Sampling:
    return Sampling(
        n=settings.samples_per_prompt,
        temperature=settings.temperature,
        think_budget=settings.think_budget,
        answer_budget=settings.answer_budget,
        forced_exit=settings.forced_exit,
        seed=seed * 1_000_003 + step,
        exit_without_thought=settings.exit_without_thought,
    )


def draw(problems: Sequence[Problem], seed: int, place: int) -> Problem:
    """The problem at this place of an endless sequence of shuffled epochs."""
    epoch, within = divmod(place, len(problems))
    return problems[_order(len(problems), seed, epoch)[within]]


@lru_cache(maxsize=4)
def _order(count: int, seed: int, epoch: int) -> list[int]:
    return shuffled(count, seed, epoch)


def check_rollout(rollout: Rollout) -> None:
    if rollout.trouble:
        raise ValueError(f"training prompt {rollout.prompt_id}: {rollout.trouble}")
    if not all(map(math.isfinite, rollout.logprobs)):
        what = "the engine returned a log-probability that is not finite"
        raise ValueError(f"training prompt {rollout.prompt_id}: {what}")


def by_prompt(asked: Iterable[str], answers: Iterable[Scored], samples: int) -> list[list[Scored]]:
    """In the order of the prompts and of their samples."""
    found: dict[str, list[Scored]] = {name: [] for name in asked}
    for rollout, score in answers:
        found[rollout.prompt_id].append((rollout, score))
    for scored in found.values():
        scored.sort(key=lambda one: one[0].sample)
        assert len(scored) == samples
    return list(found.values())


def make_group(
    problem: Problem, judged: Sequence[Judged], rewards: RewardSum, function: AdvantageFunction
) -> Group:
    sums = rewards.sums([one.values for one in judged])
    advantages = group_advantages(sums, function)
    answers = (
        GradedRollout(one.rollout, one.score, advantage, reward, one.values)
        for one, advantage, reward in zip(judged, advantages, sums, strict=True)
    )
    return Group(problem, tuple(answers))


def first_with_signal(groups: Sequence[Group], wanted: int) -> list[Group]:
    """In the order of drawing. The first to finish would be those with short answers."""
    return list(islice((group for group in groups if group.has_signal), wanted))
