"""What is shown while a benchmark is answered: running accuracy, forced exits, and the time left."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from rich.console import Console

from xreasoner.evals.samples import Sample


@dataclass(frozen=True)
class Tally:
    benchmark: str
    total: int
    done: int = 0
    right: int = 0
    wrong: int = 0
    forced: int = 0
    cut: int = 0
    missing: int = 0
    think_tokens: int = 0

    @property
    def accuracy(self) -> float:
        return self.right / max(1, self.right + self.wrong)

    @property
    def unscored(self) -> int:
        return self.done - self.right - self.wrong

    @property
    def mean_think_tokens(self) -> float:
        return self.think_tokens / max(1, self.done)

    def plus(self, sample: Sample) -> "Tally":
        return replace(
            self,
            done=self.done + 1,
            right=self.right + (sample.score.correct is True),
            wrong=self.wrong + (sample.score.correct is False),
            forced=self.forced + sample.forced,
            cut=self.cut + sample.cut,
            missing=self.missing + sample.score.missing,
            think_tokens=self.think_tokens + sample.think_tokens,
        )


Show = Callable[[Tally], None]


SECONDS_BETWEEN_LINES = 30.0


@contextmanager
def shown(console: Console, title: str, at_once: int = 1) -> Iterator[Show]:
    """A line every 30 seconds. `at_once`: answers generated together."""
    began, last, before = time.monotonic(), time.monotonic(), -1

    def show(progress: Tally) -> None:
        nonlocal last, before
        now, before = time.monotonic(), progress.done if before < 0 else before
        if now - last < SECONDS_BETWEEN_LINES or progress.done == progress.total:
            return
        last = now
        left = time_left(progress, before, now - began, at_once)
        said = f"{title} {progress.done:,}/{progress.total:,}  {numbers(progress)}  {left}"
        console.print(said, highlight=False, markup=False, soft_wrap=True)

    yield show


def silent(progress: Tally) -> None:
    """For ranks other than the first."""


def numbers(progress: Tally) -> str:
    said = f"right {progress.accuracy:.1%}  forced {progress.forced / max(1, progress.done):.0%}"
    said += f"  cut {progress.cut / progress.done:.0%}" if progress.cut else ""
    return said + (f"  unscored {progress.unscored:,}" if progress.unscored else "")


def time_left(progress: Tally, before: int, seconds: float, at_once: int) -> str:
    """At the rate of this process, which found `before` answers on disk.

    Those that are being generated count as half done: without them, the estimate after the first answers
    would be many times too long.
    """
    unfinished = progress.total - progress.done
    halves = min(at_once, unfinished) / 2
    left = seconds * (unfinished - halves) / (max(1, progress.done - before) + halves)
    return f"{left:.0f} s left" if left < 120 else f"{left / 60:,.0f} min left"
