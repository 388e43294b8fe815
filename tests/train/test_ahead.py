"""Rollouts that are sampled while the policy is updated, on a model that stands in for the server."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pytest
import torch
from tests.train.processes import difference, read_metrics, run_on_ranks
from tests.train.rollouts import settings
from tests.train.test_sft import KilledError, weights

from xreasoner.models.load import load
from xreasoner.parallel import World, join_world, seed_step
from xreasoner.recipe.schema import GrpoStage
from xreasoner.records import Problem, Prompt, Rollout, Sampling
from xreasoner.rewards.grade import Grader
from xreasoner.rewards.reward_sum import RewardSum
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.train import ahead, grpo
from xreasoner.train.collect import Collector, sampling_of
from xreasoner.train.grpo import train_grpo
from xreasoner.train.metrics import rollout_metrics
from xreasoner.train.optim import GuardedStep, adamw, cosine, set_lr
from xreasoner.train.policy import Policy, open_policy, save_policy, trained_weights
from xreasoner.train.samplers import CopiedEngine
from xreasoner.train.step_display import NoDisplay
from xreasoner.train.update import UpdateMetrics, update

SEED = 3
SERVER = {"rollout": "server", "server": {"url": "http://127.0.0.1:9/v1", "model": "policy"}}


def open_copy(chosen: GrpoStage, start: Path, world: World) -> CopiedEngine:
    return CopiedEngine(load(start, world.device, torch.float32), chosen.rows)


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "open_server", open_copy)


def stage(lag: int, **changes: Any) -> GrpoStage:
    return settings(**{**SERVER, "max_lag": lag, "steps": 5, "lr": 3e-3, **changes})


def train(chosen: GrpoStage, start: Path, problems: Sequence[Problem], out: Path) -> None:
    train_grpo(chosen, start, problems, problems[:2], out, SEED, NoDisplay())


def in_turn(
    chosen: GrpoStage, start: Path, problems: Sequence[Problem], out: Path, version_of: Callable[[int], int]
) -> list[dict[str, float]]:
    """The same steps one after the other: sample with the weights of a version, update, keep the weights."""
    policy, engine = open_policy(start, chosen, SEED, join_world()), open_copy(chosen, start, join_world())
    optimizer = adamw(policy.loss, chosen.lr, chosen.betas, chosen.weight_decay)
    take_step = GuardedStep(policy.loss, optimizer, chosen.clip_norm)
    lr_at = cosine(chosen.lr, chosen.steps or 0, chosen.warmup, chosen.min_lr_ratio)
    kept, found = [snapshot(policy)], []
    with Grader() as grader, RewardSum(chosen.rewards, print) as rewards:
        collector = Collector(engine, grader, rewards, None, chosen, SEED, join_world())
        for step in range(chosen.steps or 0):
            engine.take_weights(kept[version_of(step)].items())
            batch = collector.collect(problems, step)
            seed_step(SEED, step)
            set_lr(optimizer, lr_at(step))
            update(policy, None, take_step, batch, chosen, step)
            kept.append(snapshot(policy))
            found.append(rollout_metrics(batch))
    save_policy(policy, out)
    return found


def snapshot(policy: Any) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in trained_weights(policy, torch.float32)}


def assert_equal(found: Path, expected: Path) -> None:
    ours, theirs = weights(found), weights(expected)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("lag", [1, 2])
def test_each_step_has_the_weights_of_its_lag(
    gambler: Path, arms: list[Problem], tmp_path: Path, lag: int
) -> None:
    chosen = stage(lag, samples_every=1)
    train(chosen, gambler, arms, tmp_path / "out")
    expected = in_turn(chosen, gambler, arms, tmp_path / "expected", lambda step: max(0, step - lag))
    assert_equal(tmp_path / "out" / "model", tmp_path / "expected")
    lines = read_metrics(tmp_path / "out")
    assert [line["reward"] for line in lines] == [one["reward"] for one in expected]
    assert [line["lag"] for line in lines] == [min(step, lag) for step in range(5)]
    for step, line in enumerate(lines):
        file = tmp_path / "out" / "samples" / f"step-{step + 1:06}.jsonl"
        assert {json.loads(one)["lag"] for one in file.read_text().splitlines()} == {line["lag"]}
    assert all(0 < line["sync_seconds"] < line["sampling_seconds"] for line in lines)
    assert lines[-1]["mismatch"] > 10 * lines[0]["mismatch"]


def test_without_lag_it_is_another_run(gambler: Path, arms: list[Problem], tmp_path: Path) -> None:
    in_turn(stage(1), gambler, arms, tmp_path / "late", lambda step: max(0, step - 1))
    in_turn(stage(1), gambler, arms, tmp_path / "now", lambda step: step)
    late, now = weights(tmp_path / "late"), weights(tmp_path / "now")
    assert any(not torch.equal(late[name], now[name]) for name in now)


class WatchedEngine(CopiedEngine):
    """Tells which steps it has sampled, and with which places of the draw."""

    asked: list[list[int]]
    finished: list[threading.Event]

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        yield from super().generate(prompts, sampling)
        self.asked.append([int(prompt.id.partition(":")[0]) for prompt in prompts])
        self.finished[len(self.asked) - 1].set()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> type[WatchedEngine]:
    def opened(chosen: GrpoStage, start: Path, world: World) -> WatchedEngine:
        return WatchedEngine(load(start, world.device, torch.float32), chosen.rows)

    WatchedEngine.asked, WatchedEngine.finished = [], [threading.Event() for _ in range(20)]
    monkeypatch.setattr(ahead, "open_server", opened)
    return WatchedEngine


@pytest.mark.parametrize("lag", [1, 2])
def test_the_answers_ahead_are_sampled_during_the_update(
    gambler: Path,
    arms: list[Problem],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    watched: type[WatchedEngine],
    lag: int,
) -> None:
    """Each update waits for them, which would never end if they waited for it."""

    def waiting(*args: Any, step: int) -> UpdateMetrics:
        assert watched.finished[min(step + lag, 4)].wait(120)
        return update(*args, step=step)

    monkeypatch.setattr(grpo, "update", waiting)
    train(stage(lag), gambler, arms, tmp_path / "out")
    assert len(watched.asked) == 5


@pytest.mark.parametrize("lag", [1, 2])
def test_a_copy_of_the_weights_is_held_for_each_step_under_way(
    gambler: Path, arms: list[Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lag: int
) -> None:
    """Where sampling is the slower one; the estimate counts as many."""
    made, alive, seen = [threading.Event() for _ in range(5)], WeakSet[Any](), list[int]()

    class CountedWeights(ahead.CopiedWeights):
        def __init__(self, policy: Policy) -> None:
            super().__init__(policy)
            alive.add(self)
            next(event for event in made if not event.is_set()).set()

    class SlowEngine(CopiedEngine):
        def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
            assert made[min(len(seen), 4 - lag)].wait(120), "the copy that is made while this step is awaited"
            seen.append(len(alive))
            yield from super().generate(prompts, sampling)

    monkeypatch.setattr(ahead, "CopiedWeights", CountedWeights)
    monkeypatch.setattr(
        ahead, "open_server", lambda chosen, start, world: SlowEngine(load(start), chosen.rows)
    )
    train(stage(lag), gambler, arms, tmp_path / "out")
    assert max(seen) == lag + 1


def test_a_killed_run_samples_again_what_it_had_not_learned_from(
    gambler: Path,
    arms: list[Problem],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    watched: type[WatchedEngine],
) -> None:
    """States are saved every second step, and step 3 is killed: of the five steps, three are to be done."""
    chosen, out = stage(1, oversample=1.5), tmp_path / "out"

    def killed(*args: Any, step: int) -> UpdateMetrics:
        if step == 3:
            raise KilledError
        return update(*args, step=step)

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(grpo, "update", killed)
        train(chosen, gambler, arms, out)
    watched.asked.clear()
    train(chosen, gambler, arms, out)
    assert watched.asked == [list(range(6 * step, 6 * step + 6)) for step in (2, 3, 4)]
    assert [line["lag"] for line in read_metrics(out)] == [0, 1, 0, 1, 1]
    versions = [0, 0, 2, 2, 3]
    in_turn(chosen, gambler, arms, tmp_path / "expected", versions.__getitem__)
    assert_equal(out / "model", tmp_path / "expected")


def test_held_out_problems_are_answered_with_the_weights_of_now(
    gambler: Path, arms: list[Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best checkpoint is the result: an engine of its own finds the accuracy that made it the best."""
    chosen = stage(1, eval_every=1, lr=1e-2, prompts_per_step=2, samples_per_prompt=16, steps=8)
    train_grpo(chosen, gambler, [arms[3]], arms, tmp_path / "out", SEED, NoDisplay())
    measured = [line["held_out"] for line in read_metrics(tmp_path / "out") if "held_out" in line]
    assert len(measured) == 9
    with Grader() as grader, RewardSum(chosen.rewards, print) as rewards:
        engine = TorchEngine(load(tmp_path / "out" / "model"))
        collector = Collector(engine, grader, rewards, None, chosen, SEED, join_world())
        assert collector.accuracy(arms) == max(measured)


def test_an_error_while_sampling_ends_training_and_the_thread(
    gambler: Path, arms: list[Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FailingEngine(CopiedEngine):
        def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
            if sampling.seed == sampling_of(stage(1), SEED, step=2).seed:
                raise ValueError("the server did not answer")
            return super().generate(prompts, sampling)

    def opened(chosen: GrpoStage, start: Path, world: World) -> FailingEngine:
        return FailingEngine(load(start, world.device, torch.float32), chosen.rows)

    monkeypatch.setattr(ahead, "open_server", opened)
    with pytest.raises(ValueError, match="the server did not answer"):
        train(stage(1), gambler, arms, tmp_path / "out")
    assert len(read_metrics(tmp_path / "out")) == 2
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("sampling")]


def train_on_a_rank(
    start: Path, problems: Sequence[Problem], out: Path, stages: dict[str, GrpoStage]
) -> None:
    ahead.open_server = open_copy  # type: ignore[assignment]
    for name, chosen in stages.items():
        train(chosen, start, problems, out / name)


@pytest.mark.slow
def test_two_processes_train_as_one(gambler: Path, arms: list[Problem], tmp_path: Path) -> None:
    stages = {"plain": stage(2, steps=4, lr=1e-3), "evaluated": stage(1, steps=2, lr=1e-3, eval_every=1)}
    run_on_ranks(train_on_a_rank, 2, gambler, arms, tmp_path / "two", stages)
    train_on_a_rank(gambler, arms, tmp_path / "one", stages)
    for name in stages:
        one, two = tmp_path / "one" / name, tmp_path / "two" / name
        for mine, theirs in zip(read_metrics(one), read_metrics(two), strict=True):
            untimed = {key for key in mine if not key.endswith("seconds")}
            assert [theirs[key] for key in untimed] == pytest.approx(
                [mine[key] for key in untimed], rel=1e-3, abs=1e-5
            ), name
    assert difference(tmp_path / "two/plain/model", tmp_path / "one/plain/model", gambler) < 1e-3
