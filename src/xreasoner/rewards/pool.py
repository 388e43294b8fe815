"""Worker processes with hard time limits: whatever an answer does, it costs its budget and no more."""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

START_SECONDS = 120.0
"""A worker imports sympy before its first answer; on a busy machine that takes its time."""
MOST_FAILED_STARTS = 3


class Equivalence(NamedTuple):
    correct: bool | None
    """None: the grader failed, and `why` says how."""
    why: str


@dataclass
class Worker:
    process: subprocess.Popen[bytes]
    task: int | None = None
    """The index of what it works on; None while it starts or waits."""
    ready: bool = False
    deadline: float = 0.0
    heard: bytearray = field(default_factory=bytearray)

    @property
    def ears(self) -> int:
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def send(self, line: str) -> bool:
        """False if nobody is there any more."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return False
        return True

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):  # bytes that a dead process never read
                pipe.close()


def start_worker() -> Worker:
    """A fresh interpreter, so that neither a fork of torch nor the user's main module is involved."""
    process = subprocess.Popen(
        [sys.executable, "-m", "xreasoner.rewards.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"},
    )
    return Worker(process, deadline=time.monotonic() + START_SECONDS)


class Pool:
    """Grades pairs of a key and an answer. No worker is started before it is needed."""

    def __init__(self, workers: int = 2, seconds: float = 5.0) -> None:
        if workers < 1 or seconds <= 0:
            raise ValueError(
                f"the grader needs a worker and a time limit, got {workers} and {seconds} seconds"
            )
        self.wanted = workers
        self.seconds = seconds
        self.failed_starts = 0
        """In a row."""
        self.workers: list[Worker] = []

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Equivalence]:
        """One verdict a pair, in order."""
        verdicts: dict[int, Equivalence] = {}
        waiting = deque(range(len(pairs)))
        while len(verdicts) < len(pairs):
            self._staff(len(pairs) - len(verdicts))
            for worker in self.workers:
                if worker.ready and worker.task is None and waiting:
                    self._hand_over(worker, waiting, pairs)
            self._listen(verdicts)
        return [verdicts[i] for i in range(len(pairs))]

    def close(self) -> None:
        for worker in self.workers:
            worker.end()
        self.workers.clear()

    def _staff(self, tasks: int) -> None:
        while len(self.workers) < min(self.wanted, tasks):
            self.workers.append(start_worker())

    def _hand_over(self, worker: Worker, waiting: deque[int], pairs: Sequence[tuple[str, str]]) -> None:
        task = waiting.popleft()
        if worker.send(json.dumps([*pairs[task], self.seconds], ensure_ascii=False)):
            worker.task, worker.deadline = task, time.monotonic() + self.seconds
        else:
            # It died while it waited, through no fault of this answer.
            waiting.appendleft(task)
            self._dismiss(worker)

    def _listen(self, verdicts: dict[int, Equivalence]) -> None:
        """Wait for a reply, a death or the next deadline."""
        busy = [worker for worker in self.workers if worker.task is not None or not worker.ready]
        if not busy:
            return
        with selectors.DefaultSelector() as selector:
            for worker in busy:
                selector.register(worker.ears, selectors.EVENT_READ, worker)
            patience = max(0.0, min(worker.deadline for worker in busy) - time.monotonic())
            for key, _ in selector.select(patience):
                self._hear(key.data, verdicts)
        for worker in list(self.workers):
            if (worker.task is not None or not worker.ready) and time.monotonic() > worker.deadline:
                self._give_up(worker, f"the grader took more than {self.seconds:g} seconds", verdicts)

    def _hear(self, worker: Worker, verdicts: dict[int, Equivalence]) -> None:
        heard = os.read(worker.ears, 1 << 16)
        if not heard:
            self._give_up(worker, "the grader's process died", verdicts)
            return
        worker.heard += heard
        if not worker.heard.endswith(b"\n"):
            return
        reply = json.loads(worker.heard)
        worker.heard.clear()
        if worker.ready:
            assert worker.task is not None
            verdicts[worker.task] = Equivalence(reply["correct"], reply["why"])
        else:
            self.failed_starts = 0
        worker.ready, worker.task = True, None

    def _give_up(self, worker: Worker, why: str, verdicts: dict[int, Equivalence]) -> None:
        if not worker.ready:
            self.failed_starts += 1
            if self.failed_starts == MOST_FAILED_STARTS:
                self.close()
                raise RuntimeError(
                    "the math grader does not start: `python -m xreasoner.rewards.worker` says why"
                )
        if worker.task is not None:
            verdicts[worker.task] = Equivalence(None, why)
        self._dismiss(worker)

    def _dismiss(self, worker: Worker) -> None:
        worker.end()
        self.workers.remove(worker)
