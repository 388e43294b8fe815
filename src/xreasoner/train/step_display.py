"""The progress of a training stage as plain lines; `track/live_view.py` draws it in a terminal."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console

from xreasoner.storage.files import write_json

LINES_PER_STAGE = 20


class StepDisplay(Protocol):
    def begin(self, title: str, steps: int, done: int = 0) -> None: ...

    def step(self, done: int, shown: Mapping[str, float]) -> None:
        """`done` steps are finished; `shown` are the numbers to print."""
        ...

    def note(self, line: str) -> None: ...

    def end(self) -> None: ...


@contextmanager
def displaying(display: StepDisplay, title: str, steps: int, done: int) -> Iterator[None]:
    display.begin(title, steps, done)
    try:
        yield
    finally:
        display.end()


class StepLines:
    """A line at the start and after the first step, then a few per stage."""

    def __init__(self, console: Console, length_file: Path | None = None) -> None:
        self._console, self._length_file = console, length_file
        self._title, self._steps = "", 0
        self._first: tuple[int, float] | None = None
        """The first step of this process, and when it ended: estimates leave out its warm-up."""

    def begin(self, title: str, steps: int, done: int = 0) -> None:
        self._title, self._steps, self._first = title, steps, None
        if self._length_file:
            self._length_file.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._length_file, {"steps": steps})
        self.note(f"{title}: {f'resuming after step {done} of {steps}' if done else f'{steps} steps'}")

    def step(self, done: int, shown: Mapping[str, float]) -> None:
        line = f"{self._title} {done}/{self._steps}  {_numbers(shown)}"
        if self._first is None:
            self._first = done, time.monotonic()
            self.note(line)
        elif done % max(1, self._steps // LINES_PER_STAGE) == 0 or done == self._steps:
            first, ended = self._first
            left = (time.monotonic() - ended) / (done - first) * (self._steps - done)
            self.note(f"{line}  {left:.0f} s left")

    def note(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)

    def end(self) -> None:
        pass


class NoDisplay:
    """For ranks other than the first, and for tests."""

    def begin(self, title: str, steps: int, done: int = 0) -> None:
        pass

    def step(self, done: int, shown: Mapping[str, float]) -> None:
        pass

    def note(self, line: str) -> None:
        pass

    def end(self) -> None:
        pass


def _numbers(shown: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {_short(value)}" for name, value in shown.items())


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
