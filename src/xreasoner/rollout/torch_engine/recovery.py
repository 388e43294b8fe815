"""A failed step loses only the request that made it fail. Out of memory, it continues with fewer rows."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch

from xreasoner.records import Rollout
from xreasoner.rollout.rollout_record import failed_rollout
from xreasoner.rollout.torch_engine.scheduler import Scheduler
from xreasoner.rollout.torch_engine.slots import Request

log = logging.getLogger(__name__)


class Recovery:
    """Runs requests. After a failed step those in its rows are tried once more, each alone.

    A request that fails again is a failed rollout. If each of them fails again, the engine is broken and no
    request is to blame: the first error is raised. What is generated twice is the same, because rows do not
    depend on each other.
    """

    def __init__(self, open_scheduler: Callable[[int], Scheduler], rows: int) -> None:
        self._open_scheduler = open_scheduler
        self.rows = rows
        """Halved each time memory runs out."""

    def run(self, requests: Sequence[Request]) -> Iterator[Rollout]:
        while requests:
            scheduler = self._open_scheduler(self.rows)
            scheduler.add(requests)
            done = set[tuple[str, int]]()
            error: Exception | None = None
            while error is None and scheduler.has_unfinished:
                finished, error = attempt(scheduler)
                done.update((rollout.prompt_id, rollout.sample) for rollout in finished)
                yield from finished
            requests = list(without(requests, done))
            if error is None:
                return
            waiting = scheduler.waiting
            del scheduler  # and its cache
            if isinstance(error, torch.OutOfMemoryError) and self.rows > 1:
                self._shed(error)
                continue
            lost = [one for one in requests if key_of(one) not in waiting]
            yield from self._each_alone(lost, error)
            requests = [one for one in requests if key_of(one) in waiting]

    def _shed(self, error: torch.OutOfMemoryError) -> None:
        self.rows //= 2
        log.warning("out of memory while sampling: continuing with rows=%d", self.rows)
        error.__traceback__ = None  # it holds on to the tensors of the failed step
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _each_alone(self, lost: Sequence[Request], error: Exception) -> Iterator[Rollout]:
        log.warning(
            "a step of the engine failed (%s): retrying its %d samples one by one", said(error), len(lost)
        )
        failed, any_succeeded = list[Rollout](), False
        for request in lost:
            scheduler = self._open_scheduler(1)
            scheduler.add([request])
            while scheduler.has_unfinished:
                finished, again = attempt(scheduler)
                yield from finished
                any_succeeded |= bool(finished)
                if again is not None:
                    failed.append(failed_rollout(request.prompt_id, request.samples.start, said(again)))
                    break
        if not any_succeeded:
            raise error
        yield from failed


def attempt(scheduler: Scheduler) -> tuple[list[Rollout], Exception | None]:
    try:
        return scheduler.step(), None
    except Exception as error:  # whatever a model or a library raises: a request must not fail the others
        return [], error


def without(requests: Sequence[Request], done: set[tuple[str, int]]) -> Iterator[Request]:
    """What is left of them, one request for each sample."""
    for request in requests:
        for sample in request.samples:
            if (request.prompt_id, sample) not in done:
                yield replace(request, samples=range(sample, sample + 1))


def key_of(request: Request) -> tuple[str, int]:
    return request.prompt_id, request.samples.start


def said(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"
