"""A step's rollouts: sampled when they are needed, or ahead of that while the policy is updated.

The schedule is fixed. With `max_lag: k`, the rollouts of step s are sampled with the weights after step
s - k; those of the first k steps of a process, with the weights it started from. So timing decides nothing,
and no rollout is sampled with two versions of the weights.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from xreasoner.parallel import World, full_weight, gather_shares
from xreasoner.recipe.schema import GrpoStage
from xreasoner.records import Problem, Prompt, Rollout, Sampling
from xreasoner.rollout.choose import Longest
from xreasoner.rollout.engine import Engine
from xreasoner.train.collect import Collector, RolloutBatch
from xreasoner.train.policy import Policy, trained_weights
from xreasoner.train.samplers import Sampler, open_sampler, open_server

T = TypeVar("T")
MakeCollector = Callable[[Engine, World], Collector]


class RolloutSource(Protocol):
    def take(self, step: int) -> RolloutBatch:
        """The graded rollouts of a step. All ranks call this together."""
        ...

    def accuracy(self, held_out: Sequence[Problem]) -> float:
        """Greedy accuracy of the policy as it is now."""
        ...

    @contextmanager
    def training(self) -> Iterator[None]:
        """Around everything that changes the weights."""
        ...


@contextmanager
def open_rollouts(
    settings: GrpoStage,
    start: Path,
    policy: Policy,
    problems: Sequence[Problem],
    steps: range,
    make_collector: MakeCollector,
    longest: Longest,
) -> Iterator[RolloutSource]:
    if settings.max_lag == 0:
        with open_sampler(settings, start, policy, longest) as sampler:
            yield RolloutsNow(make_collector(sampler, policy.world), sampler, problems)
        return
    with RolloutsAhead(settings, start, policy, problems, steps, make_collector) as ahead:
        yield ahead


class RolloutsNow:
    def __init__(self, collector: Collector, sampler: Sampler, problems: Sequence[Problem]) -> None:
        self._collector, self._sampler, self._problems = collector, sampler, problems
        self.training = sampler.training

    def take(self, step: int) -> RolloutBatch:
        batch = self._collector.collect(self._problems, step)
        return replace(batch, sync_seconds=self._sampler.sync_seconds)

    def accuracy(self, held_out: Sequence[Problem]) -> float:
        return self._collector.accuracy(held_out)


class RolloutsAhead:
    """The first rank asks the server and grades, in a thread; the others only train.

    So no thread takes part in a collective. What the thread does, it does in order: it sends the weights of a
    batch before it, if the server has others.
    """

    def __init__(
        self,
        settings: GrpoStage,
        start: Path,
        policy: Policy,
        problems: Sequence[Problem],
        steps: range,
        make_collector: MakeCollector,
    ) -> None:
        self._policy, self._problems = policy, problems
        self._lag, self._steps = settings.max_lag, steps
        self._version = self._begun = steps.start
        self._sent: int | None = None
        self._ended = Event()
        self._sampled: dict[int, Future[RolloutBatch]] = {}
        self._thread = ThreadPoolExecutor(1, "sampling", self._enter_thread)
        if policy.world.is_first:
            alone = World(0, 1, policy.world.device)
            self._server = open_server(settings, start, alone)
            self._collector = make_collector(EndableEngine(self._server, self._ended), alone)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What is sampled and was not taken is dropped."""
        self._ended.set()
        self._thread.shutdown(wait=True, cancel_futures=True)

    def take(self, step: int) -> RolloutBatch:
        """Also begins with the rollouts of the steps ahead that are to have the weights of now."""
        assert step == self._version
        due = range(self._begun, min(step + self._lag + 1, self._steps.stop))
        if due:
            weights = CopiedWeights(self._policy)
            for later in due if self._policy.world.is_first else ():
                self._sampled[later] = self._thread.submit(self._sample, later, step, weights)
            self._begun = due.stop
        return self._from_first(self._sampled.pop(step, None))

    def accuracy(self, held_out: Sequence[Problem]) -> float:
        """After the rollouts that are being sampled."""
        weights, version = CopiedWeights(self._policy), self._version

        def measure() -> float:
            self._send(version, weights)
            return self._collector.accuracy(held_out)

        return self._from_first(self._thread.submit(measure) if self._policy.world.is_first else None)

    @contextmanager
    def training(self) -> Iterator[None]:
        yield
        self._version += 1

    def _from_first(self, result: Future[T] | None) -> T:
        return gather_shares([result.result()] if result else [], self._policy.world)[0]

    def _enter_thread(self) -> None:
        if self._policy.world.device.type == "cuda":
            torch.cuda.set_device(self._policy.world.device)

    def _sample(self, step: int, version: int, weights: "CopiedWeights") -> RolloutBatch:
        began = time.monotonic()
        self._send(version, weights)
        sent = time.monotonic()
        batch = self._collector.collect(self._problems, step)
        seconds = time.monotonic() - began
        return replace(batch, lag=step - version, seconds=seconds, sync_seconds=sent - began)

    def _send(self, version: int, weights: "CopiedWeights") -> None:
        if version != self._sent:
            self._server.take_weights(weights)
            self._sent = version


class CopiedWeights:
    """The weights as a checkpoint would hold them now, in the first rank's host memory."""

    def __init__(self, policy: Policy) -> None:
        self._device = policy.world.device
        self._weights: list[tuple[str, Tensor]] = []
        for name, weight in trained_weights(policy, policy.compute_dtype):
            full = full_weight(weight)
            if policy.world.is_first:
                self._weights.append((name, full.detach().to("cpu", copy=True)))

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, weight.to(self._device)) for name, weight in self._weights)


class EndableEngine:
    """Stops between two rollouts when training ends early."""

    def __init__(self, engine: Engine, ended: Event) -> None:
        self._engine, self._ended = engine, ended

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        for rollout in self._engine.generate(prompts, sampling):
            if self._ended.is_set():
                raise InterruptedError("training has ended")
            yield rollout
