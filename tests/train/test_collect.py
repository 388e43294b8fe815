"""Groups of a step from an engine whose answers arrive in any order."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from tests.train.rollouts import settings

from xreasoner.parallel import join_world
from xreasoner.records import Problem, Prompt, Rollout, Sampling
from xreasoner.rewards.grade import Grader
from xreasoner.rewards.reward_sum import RewardSum
from xreasoner.train.collect import Collector, RolloutBatch, draw

PROBLEMS = [Problem(f"p{i}", ("?",), str(i), "exact") for i in range(8)]


class BackwardEngine:
    """Answers the last prompt first. Sample s of problem p<i> says i + s % `period`, so sample 0 is right."""

    def __init__(self, period: dict[str, int] | None = None) -> None:
        self.period = period or {}
        self.asked: list[list[str]] = []

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        self.asked.append([prompt.id for prompt in prompts])
        for prompt in reversed(prompts):
            name = prompt.id.partition(":")[2]
            for sample in reversed(range(sampling.n)):
                said = int(name[1:]) + sample % self.period.get(name, 2)
                text = f"<think></think><answer>{said}</answer>"
                yield Rollout(prompt.id, sample, (1,), (2, 3), (1, 1), (-1.0, -1.0), text, "eos", False, 1)


def collect(engine: BackwardEngine, step: int = 0, **changes: Any) -> RolloutBatch:
    chosen = settings(**{"prompts_per_step": 3, "samples_per_prompt": 2, **changes})
    with Grader() as grader, RewardSum(chosen.rewards, print) as rewards:
        collector = Collector(engine, grader, rewards, None, chosen, 0, join_world())
        return collector.collect(PROBLEMS, step)


def test_groups_come_in_the_order_of_drawing_and_their_answers_by_number() -> None:
    engine = BackwardEngine()
    batch = collect(engine)
    drawn = [group.problem.id for group in batch.groups]
    assert engine.asked == [[f"{place}:{name}" for place, name in enumerate(drawn)]]
    for group in batch.groups:
        assert [answer.rollout.sample for answer in group.answers] == [0, 1]
        assert {answer.rollout.prompt_id.partition(":")[2] for answer in group.answers} == {group.problem.id}
        assert [answer.reward for answer in group.answers] == [1.0, 0.0]
        assert [answer.advantage for answer in group.answers] == pytest.approx([0.7071, -0.7071], abs=1e-3)


def silent(*names: str) -> BackwardEngine:
    """All answers to these problems are right."""
    return BackwardEngine(period=dict.fromkeys(names, 1))


def names_of(batch: RolloutBatch) -> list[str]:
    return [group.problem.id for group in batch.groups]


def test_oversampling_keeps_the_first_drawn_that_have_signal() -> None:
    """Not the first to finish: this engine answers the last prompt first."""
    drawn = [draw(PROBLEMS, 0, place).id for place in range(6)]
    batch = collect(silent(drawn[0], drawn[3]), oversample=2.0)
    assert names_of(batch) == [drawn[1], drawn[2], drawn[4]]
    assert (batch.drawn, batch.drawn_without_signal) == (6, 2)
    few = collect(silent(*drawn[1:5]), oversample=2.0)
    assert names_of(few) == [drawn[0], drawn[5]]


def test_without_oversampling_the_silent_stay_in_the_batch() -> None:
    """Their tokens count in the mean loss."""
    drawn = [draw(PROBLEMS, 0, place).id for place in range(3)]
    batch = collect(silent(*drawn))
    assert names_of(batch) == drawn
    assert (batch.drawn, batch.drawn_without_signal) == (3, 3)


@pytest.mark.parametrize(("oversample", "count"), [(1.0, 3), (1.1, 4), (1.5, 5), (2.0, 6), (7 / 3, 7)])
def test_each_step_draws_where_the_last_one_ended(oversample: float, count: int) -> None:
    """Whatever was kept, so that a resumed run and one that samples ahead draw the same."""
    for step in range(3):
        engine = silent("p1", "p4")
        collect(engine, step, oversample=oversample)
        places = range(step * count, (step + 1) * count)
        assert engine.asked == [[f"{place}:{draw(PROBLEMS, 0, place).id}" for place in places]]
