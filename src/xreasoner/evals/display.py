"""A benchmark while it is answered: running accuracy, forced exits, and the time it will still take."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from xreasoner.evals.progress import Progress, Show

SECONDS_BETWEEN_LINES = 30.0


@contextmanager
def shown(console: Console, title: str) -> Iterator[Show]:
    """A bar where people watch, else a line now and then; nothing for what was answered before."""
    with (bar if console.is_terminal else lines)(console, title) as show:
        yield show


@contextmanager
def bar(console: Console, title: str) -> Iterator[Show]:
    drawn = Bar(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[numbers]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    task = drawn.add_task(title, total=None, numbers="")

    def show(progress: Progress) -> None:
        if progress.done < progress.total and not drawn.live.is_started:
            drawn.start()
            drawn.reset(task, total=progress.total, completed=progress.done, numbers="")
        drawn.update(task, completed=progress.done, numbers=numbers(progress))

    try:
        yield show
    finally:
        drawn.stop()


@contextmanager
def lines(console: Console, title: str) -> Iterator[Show]:
    began, last, before = time.monotonic(), time.monotonic(), -1

    def show(progress: Progress) -> None:
        nonlocal last, before
        now, before = time.monotonic(), progress.done if before < 0 else before
        if now - last < SECONDS_BETWEEN_LINES or progress.done == progress.total:
            return
        last = now
        left = time_left(progress, before, now - began)
        said = f"{title} {progress.done:,}/{progress.total:,}  {numbers(progress)}  {left}"
        console.print(said, highlight=False, markup=False, soft_wrap=True)

    yield show


def silent(progress: Progress) -> None:
    """For ranks other than the first."""


def numbers(progress: Progress) -> str:
    said = f"right {progress.accuracy:.1%}  forced {progress.forced / max(1, progress.done):.0%}"
    return said + (f"  no verdict on {progress.unscored:,}" if progress.unscored else "")


def time_left(progress: Progress, before: int, seconds: float) -> str:
    """As fast as since this process began, which found `before` answers there."""
    each = seconds / max(1, progress.done - before)
    left = each * (progress.total - progress.done)
    return f"{left:.0f} s left" if left < 120 else f"{left / 60:,.0f} min left"
