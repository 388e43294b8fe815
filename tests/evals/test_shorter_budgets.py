"""Shorter budgets from one pass equal separate passes, token by token."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from xreasoner.evals.runner import answer, conclude
from xreasoner.evals.samples import Sample, read_samples
from xreasoner.evals.shorter_budgets import answer_shorter, beginning, is_unaffected
from xreasoner.evals.task import Benchmark, RankShard, Task
from xreasoner.miniworld.problems import make_problems
from xreasoner.models.load import load
from xreasoner.records import Prompt, Rollout, Sampling, Score
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.engine import PartialRollout
from xreasoner.rollout.torch_engine.engine import TorchEngine

SAMPLING = Sampling(n=2, temperature=1.0, think_budget=24, answer_budget=6, seed=3)
BUDGETS = (0, 5, 12)
INSTRUCTION = "think then answer"


class Counting(TorchEngine):
    """Counts the tokens it draws itself."""

    drawn = 0

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        for rollout in super().generate(prompts, sampling):
            self.drawn += sum(rollout.by_policy)
            yield rollout

    def resume(self, begun: Sequence[PartialRollout], sampling: Sampling) -> Iterator[Rollout]:
        given = {(one.prompt.id, one.sample): len(one.token_ids) for one in begun}
        for rollout in super().resume(begun, sampling):
            before = rollout.think_tokens if rollout.forced_exit else given[rollout.prompt_id, rollout.sample]
            self.drawn += max(0, sum(rollout.by_policy) - before)
            yield rollout


@pytest.fixture(scope="module")
def engine(tiny_base: Path) -> Counting:
    """Its template opens the thought, which weights without training never do."""
    loaded = load(tiny_base)
    loaded.tokenizer.chat_template += "{% if add_generation_prompt %}<think>{% endif %}"
    return Counting(loaded, max_rows=8)


def task(out: Path, view: str = "image", sampling: Sampling = SAMPLING) -> Task:
    problems = tuple(make_problems("sums", view, (1, 2), 6, "test", 0))  # type: ignore[arg-type]
    benchmark = Benchmark(f"sums-{view}", view, "general", problems, instruction=INSTRUCTION)  # type: ignore[arg-type]
    return Task(benchmark, sampling, out, out.parent / "pictures", keeps_tokens=True)


def said(path: Path) -> list[Sample]:
    return [replace(sample, tokens=()) for sample in read_samples(path)]


def test_shorter_budgets_are_those_of_separate_passes(engine: Counting, tmp_path: Path) -> None:
    longest, forced = task(tmp_path / "one"), 0
    with Grader() as grader:
        answer(longest, engine, grader, lambda _: None)
        engine.drawn = 0
        for budget in BUDGETS:
            answer_shorter(longest.with_budget(budget), longest, engine, grader, lambda _: None)
            conclude(longest.with_budget(budget))
        drawn_on_top, engine.drawn = engine.drawn, 0
        for budget in BUDGETS:
            separate = task(tmp_path / "separate").with_budget(budget)
            answer(separate, engine, grader, lambda _: None)
            conclude(separate)
            wanted, found = said(separate.samples_path), said(longest.with_budget(budget).samples_path)
            assert found == wanted
            forced += sum(sample.forced for sample in found)
    assert forced > 12
    assert drawn_on_top <= forced * SAMPLING.answer_budget


def test_ranks_share_shorter_budgets_too(engine: Counting, tmp_path: Path) -> None:
    alone, shared = task(tmp_path / "alone", "text"), task(tmp_path / "shared", "text")
    with Grader() as grader:
        for one, shards in ((alone, [RankShard()]), (shared, [RankShard(0, 2), RankShard(1, 2)])):
            for shard in shards:
                answer(one, engine, grader, lambda _: None, shard)
                answer_shorter(one.with_budget(5), one, engine, grader, lambda _: None, shard)
            conclude(one)
            conclude(one.with_budget(5))
    for name in ("sums-text.jsonl", "budget-5/sums-text.jsonl", "budget-5/sums-text.json"):
        assert (shared.out / name).read_bytes() == (alone.out / name).read_bytes()
    assert not list(shared.out.glob("**/shards/*/*"))


class WithoutTokens:
    """What a server gives: text only."""

    def __init__(self, engine: TorchEngine) -> None:
        self.engine = engine

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        for rollout in self.engine.generate(prompts, sampling):
            yield replace(rollout, token_ids=(), by_policy=(), logprobs=())


def test_where_tokens_are_unknown_each_budget_is_asked_by_itself(engine: Counting, tmp_path: Path) -> None:
    longest, server = task(tmp_path / "server", "text"), WithoutTokens(engine)
    direct = task(tmp_path / "direct", "text").with_budget(5)
    with Grader() as grader:
        answer(longest, server, grader, lambda _: None)
        answer_shorter(longest.with_budget(5), longest, server, grader, lambda _: None)
        answer(direct, engine, grader, lambda _: None)
    conclude(longest.with_budget(5))
    conclude(direct)
    assert said(longest.with_budget(5).samples_path) == said(direct.samples_path)


def test_what_ended_before_the_budget_is_taken_as_it_is() -> None:
    ended = Sample("p", 0, "", Score(True, "1", ""), False, "eos", 3, "", tokens=tuple(range(9)))
    assert [is_unaffected(ended, budget) for budget in (8, 9, 10)] == [False, True, True]
    assert not is_unaffected(replace(ended, tokens=()), 10)
    forced = replace(ended, forced=True, think_tokens=5, text="<think>a</think>b")
    without_thought = replace(ended, forced=True, think_tokens=0, text="a <answer>b")
    assert beginning(ended, 7) == tuple(range(9))
    assert beginning(forced, 7) == tuple(range(5))
    assert beginning(without_thought, 7) == tuple(range(7))
