"""Worker processes with hard time limits: no answer costs more than its budget."""

import json
import os
import selectors
import signal
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
PATIENCE = 10
"""A worker ends itself when its CPU time is over. By the clock it has so many times as long, because other
programs may keep it waiting."""
BATCH = 16
"""Comparisons per batch of a worker: neighbours often share a key, which is then parsed once."""


class Equivalence(NamedTuple):
    correct: bool | None
    """None if the key cannot be parsed; `why` has the reason."""
    why: str


@dataclass(eq=False)
class GradingTask:
    """A key and an answer. Without an answer, a worker only checks that the key can be parsed."""

    key: str
    answer: str | None
    verdict: Equivalence | None = None
    """Known once a worker has compared them."""


@dataclass
class Worker:
    process: subprocess.Popen[bytes]
    tasks: deque[GradingTask] = field(default_factory=deque)
    """It works on the first."""
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
    """Compares answers with keys while its caller does other work. Workers start when they are needed."""

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
        self.waiting: deque[GradingTask] = deque()
        """Those that no worker has yet."""

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Equivalence]:
        """One verdict per pair, in order."""
        return self.verdicts([self.begin(key, answer) for key, answer in pairs])

    def begin(self, key: str, answer: str | None) -> GradingTask:
        """Queue a task. Also the moment at which idle workers get more to do, without waiting."""
        task = GradingTask(key, answer)
        self.waiting.append(task)
        self.advance()
        return task

    def verdicts(self, tasks: Sequence[GradingTask]) -> list[Equivalence]:
        """Wait for them. If a worker fails on an answer whose key parses, it is wrong."""
        found = self._wait_for(tasks)
        failed = [i for i, verdict in enumerate(found) if verdict.correct is None]
        keys = sorted({tasks[i].key for i in failed})
        read = self._wait_for([self.begin(key, None) for key in keys])
        readable = dict(zip(keys, read, strict=True))
        for i in failed:
            if readable[tasks[i].key].correct:
                found[i] = Equivalence(False, found[i].why)
        return found

    def advance(self, wait: bool = False) -> None:
        """Send waiting tasks to idle workers and receive finished ones; `wait`: block until there is one."""
        self._start_workers(len(self.waiting) + sum(len(worker.tasks) for worker in self.workers))
        for worker in self.workers:
            if worker.ready and not worker.tasks and self.waiting:
                self._hand_over(worker)
        self._receive_all(wait)

    def close(self) -> None:
        for worker in self.workers:
            worker.end()
        self.workers.clear()

    def _wait_for(self, tasks: Sequence[GradingTask]) -> list[Equivalence]:
        found = []
        for task in tasks:
            while task.verdict is None:
                self.advance(wait=True)
            found.append(task.verdict)
        return found

    def _start_workers(self, tasks: int) -> None:
        while len(self.workers) < min(self.wanted, tasks):
            self.workers.append(start_worker())

    def _hand_over(self, worker: Worker) -> None:
        # Smaller batches toward the end, so that no worker is idle while another has a queue.
        count = max(1, min(BATCH, len(self.waiting) // (2 * len(self.workers))))
        worker.tasks.extend(self.waiting.popleft() for _ in range(count))
        lines = (json.dumps([task.key, task.answer, self.seconds]) + "\n" for task in worker.tasks)
        worker.deadline = self._deadline()
        if not worker.send("".join(lines)):
            # It died while idle, so these answers are not the cause.
            self._dismiss(worker)

    def _receive_all(self, wait: bool) -> None:
        """What has arrived; with `wait`, after the next reply, death or deadline."""
        busy = [worker for worker in self.workers if worker.tasks or not worker.ready]
        if not busy:
            return
        with selectors.DefaultSelector() as selector:
            for worker in busy:
                selector.register(worker.output, selectors.EVENT_READ, worker)
            left = min(worker.deadline for worker in busy) - time.monotonic()
            for key, _ in selector.select(max(0.0, left) if wait else 0.0):
                self._receive(key.data)
        for worker in list(self.workers):
            if (worker.tasks or not worker.ready) and time.monotonic() > worker.deadline:
                self._give_up(worker, self._took_too_long())

    def _receive(self, worker: Worker) -> None:
        received = os.read(worker.output, 1 << 16)
        if not received:
            is_over = worker.process.wait() == -signal.SIGPROF
            self._give_up(worker, self._took_too_long() if is_over else "the grader's process died")
            return
        *lines, rest = (worker.received + received).split(b"\n")
        worker.received = bytearray(rest)
        for line in lines:
            reply = json.loads(line)
            if worker.ready:
                worker.tasks.popleft().verdict = Equivalence(reply["correct"], reply["why"])
            else:
                self.failed_starts = 0
            worker.ready, worker.deadline = True, self._deadline()

    def _deadline(self) -> float:
        return time.monotonic() + PATIENCE * self.seconds

    def _took_too_long(self) -> str:
        return f"the grader took more than {self.seconds:g} seconds"

    def _give_up(self, worker: Worker, why: str) -> None:
        if not worker.ready:
            self.failed_starts += 1
            if self.failed_starts == MOST_FAILED_STARTS:
                self.close()
                raise RuntimeError(
                    "the math grader does not start: `python -m xreasoner.rewards.worker` says why"
                )
        if worker.tasks:
            worker.tasks.popleft().verdict = Equivalence(None, why)
        self._dismiss(worker)

    def _dismiss(self, worker: Worker) -> None:
        """What it had not started goes to another worker."""
        self.waiting.extendleft(reversed(worker.tasks))
        worker.end()
        self.workers.remove(worker)
