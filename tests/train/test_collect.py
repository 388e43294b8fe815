"""Groups of a step from an engine whose answers arrive in any order."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from tests.train.rollouts import settings

from xreasoner.parallel import join_world
from xreasoner.records import Problem, Prompt, Rollout, Sampling
from xreasoner.rewards.grade import Grader
from xreasoner.rewards.reward_sum import RewardSum
from xreasoner.train.collect import Collector, RolloutBatch

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


def collect(engine: BackwardEngine, **changes: Any) -> RolloutBatch:
    chosen = settings(**{"prompts_per_step": 3, "samples_per_prompt": 2, **changes})
    with Grader() as grader, RewardSum(chosen.rewards, print) as rewards:
        collector = Collector(engine, grader, rewards, None, chosen, 0, join_world())
        return collector.collect(PROBLEMS, 0, 0)


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
