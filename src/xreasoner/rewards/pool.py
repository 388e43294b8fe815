"""Worker processes with hard time limits: no answer costs more than its budget."""

import json
import os
import selectors
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from xreasoner.rewards.child import end_child, start_child

START_SECONDS = 120.0
"""A worker first imports sympy, which is slow on a busy machine."""
MOST_FAILED_STARTS = 3
BATCH = 16
"""Pairs per batch of a worker: neighbours often share a key, which is then parsed once."""

Pair = tuple[str, str | None]
"""A key and an answer. Without an answer, the worker only checks that the key can be parsed."""


class Equivalence(NamedTuple):
    correct: bool | None
    """None if the key cannot be parsed; `why` has the reason."""
    why: str


@dataclass
class Worker:
    process: subprocess.Popen[bytes]
    tasks: deque[int] = field(default_factory=deque)
    """The indices of its pairs; it works on the first."""
    ready: bool = False
    deadline: float = 0.0
    received: bytearray = field(default_factory=bytearray)

    @property
    def output(self) -> int:
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def send(self, lines: str) -> bool:
        """False if the process has ended."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(lines.encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            return False
        return True

    def end(self) -> None:
        end_child(self.process)


def start_worker() -> Worker:
    process = start_child("xreasoner.rewards.worker")
    return Worker(process, deadline=time.monotonic() + START_SECONDS)


class Pool:
    """Grades pairs of a key and an answer. Workers start when they are needed."""

    def __init__(self, workers: int = 2, seconds: float = 5.0) -> None:
        if workers < 1 or seconds <= 0:
            raise ValueError(
                f"the grader needs a worker and a time limit, got {workers} and {seconds} seconds"
            )
        self.wanted = workers
        self.seconds = seconds
        self.failed_starts = 0
        """Consecutive failures."""
        self.workers: list[Worker] = []

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Equivalence]:
        """One verdict per pair, in order. If a worker fails on an answer whose key parses, it is wrong."""
        verdicts = self._run(pairs)
        failed = [i for i, verdict in enumerate(verdicts) if verdict.correct is None]
        keys = sorted({pairs[i][0] for i in failed})
        readable = dict(zip(keys, self._run([(key, None) for key in keys]), strict=True))
        for i in failed:
            if readable[pairs[i][0]].correct:
                verdicts[i] = Equivalence(False, verdicts[i].why)
        return verdicts

    def _run(self, pairs: Sequence[Pair]) -> list[Equivalence]:
        verdicts: dict[int, Equivalence] = {}
        waiting = deque(range(len(pairs)))
        while len(verdicts) < len(pairs):
            self._start_workers(len(pairs) - len(verdicts))
            for worker in self.workers:
                if worker.ready and not worker.tasks and waiting:
                    self._hand_over(worker, waiting, pairs)
            self._wait(verdicts, waiting)
        return [verdicts[i] for i in range(len(pairs))]

    def close(self) -> None:
        for worker in self.workers:
            worker.end()
        self.workers.clear()

    def _start_workers(self, tasks: int) -> None:
        while len(self.workers) < min(self.wanted, tasks):
            self.workers.append(start_worker())

    def _hand_over(self, worker: Worker, waiting: deque[int], pairs: Sequence[Pair]) -> None:
        # Smaller batches toward the end, so that no worker is idle while another has a queue.
        count = max(1, min(BATCH, len(waiting) // (2 * len(self.workers))))
        worker.tasks.extend(waiting.popleft() for _ in range(count))
        lines = (json.dumps([*pairs[task], self.seconds]) + "\n" for task in worker.tasks)
        worker.deadline = time.monotonic() + self.seconds
        if not worker.send("".join(lines)):
            # It died while idle, so these answers are not the cause.
            self._dismiss(worker, waiting)

    def _wait(self, verdicts: dict[int, Equivalence], waiting: deque[int]) -> None:
        """Wait for a reply, a death or the next deadline."""
        busy = [worker for worker in self.workers if worker.tasks or not worker.ready]
        if not busy:
            return
        with selectors.DefaultSelector() as selector:
            for worker in busy:
                selector.register(worker.output, selectors.EVENT_READ, worker)
            timeout = max(0.0, min(worker.deadline for worker in busy) - time.monotonic())
            for key, _ in selector.select(timeout):
                self._receive(key.data, verdicts, waiting)
        for worker in list(self.workers):
            if (worker.tasks or not worker.ready) and time.monotonic() > worker.deadline:
                self._give_up(
                    worker, f"the grader took more than {self.seconds:g} seconds", verdicts, waiting
                )

    def _receive(self, worker: Worker, verdicts: dict[int, Equivalence], waiting: deque[int]) -> None:
        received = os.read(worker.output, 1 << 16)
        if not received:
            self._give_up(worker, "the grader's process died", verdicts, waiting)
            return
        *lines, rest = (worker.received + received).split(b"\n")
        worker.received = bytearray(rest)
        for line in lines:
            reply = json.loads(line)
            if worker.ready:
                verdicts[worker.tasks.popleft()] = Equivalence(reply["correct"], reply["why"])
            else:
                self.failed_starts = 0
            worker.ready, worker.deadline = True, time.monotonic() + self.seconds

    def _give_up(
        self, worker: Worker, why: str, verdicts: dict[int, Equivalence], waiting: deque[int]
    ) -> None:
        if not worker.ready:
            self.failed_starts += 1
            if self.failed_starts == MOST_FAILED_STARTS:
                self.close()
                raise RuntimeError(
                    "the math grader does not start: `python -m xreasoner.rewards.worker` says why"
                )
        if worker.tasks:
            verdicts[worker.tasks.popleft()] = Equivalence(None, why)
        self._dismiss(worker, waiting)

    def _dismiss(self, worker: Worker, waiting: deque[int]) -> None:
        """Pairs that it had not started go to another worker."""
        waiting.extendleft(reversed(worker.tasks))
        worker.end()
        self.workers.remove(worker)
