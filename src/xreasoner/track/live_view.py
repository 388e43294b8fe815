"""The view of a run in a terminal: its parts with bars, the newest numbers, the newest thought, the log.

It fills the screen and is drawn anew twice a second at the size that the terminal has then.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO, TextIOBase
from itertools import pairwise
from pathlib import Path

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from xreasoner.storage.journal import Journal
from xreasoner.track.progress import ProgressReader, RunPart, RunProgress, seconds_of

MARKS = {"done": ("✓", "green"), "running": ("▶", "cyan"), "waiting": ("·", "dim")}
BARS = "▁▂▃▄▅▆▇█"
SHOWN = {
    "reward": "reward",
    "correct": "correct",
    "loss": "loss",
    "think_tokens": "thought",
    "answer_length": "answer",
    "forced": "forced",
    "skipped": "skipped",
    "entropy": "entropy",
}
"""Metrics of the newest step, by the words that the view has for them."""
NARROW = 70


class LiveView:
    def __init__(self, progress: RunProgress) -> None:
        self._progress = progress

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        progress, width = self._progress, options.max_width
        height = options.height or console.height
        state = "running" if progress.is_live else "not running"
        head = Text.assemble((progress.title, "bold"), (f"  {state}", "cyan" if progress.is_live else "dim"))
        head.truncate(width, overflow="ellipsis")
        rows = shown_parts(progress.parts, max(3, height // 2 - 2))
        numbers = numbers_line(progress, width)
        yield head
        yield parts_table(rows, width)
        if numbers:
            yield numbers
        room = height - 2 - len(rows) - (len(numbers.wrap(console, width)) if numbers else 0)
        thought = progress.thought
        if thought and (lines := last_lines(thought.text, console, width, 2 * room // 3 - 1)):
            yield Rule(f"newest thought: {thought.where}, {thought.verdict}", style="dim")
            yield from lines
            room -= len(lines) + 1
        if progress.log and room > 2:
            yield Rule("log", style="dim")
            yield from (cut(Text(line, style="dim"), width) for line in progress.log[-(room - 2) :])


def shown_parts(parts: Sequence[RunPart], most: int) -> Sequence[RunPart]:
    """Around the one that runs, where there is no room for all."""
    place = next((place for place, part in enumerate(parts) if part.state != "done"), len(parts))
    first = max(0, min(place - most // 2, len(parts) - most))
    return parts[first : first + most]


def parts_table(parts: Sequence[RunPart], width: int) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0), expand=True)
    table.add_column(width=1)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column(width=11, justify="right", no_wrap=True)
    if width >= NARROW:
        table.add_column(width=width // 6)
    table.add_column(width=32 if width >= NARROW else width // 3, no_wrap=True, overflow="ellipsis")
    for part in parts:
        mark, style = MARKS[part.state]
        name = part.name if part.kind != "evaluation" else f"  evaluate {part.name}"
        counted = f"{part.done:,}" + (f"/{part.total:,}" if part.total else "") if part.done else ""
        bar: RenderableType = ""
        if part.state == "running":
            bar = ProgressBar(
                total=part.total or 1, completed=part.done, width=width // 6, pulse=part.total is None
            )
        cells: list[RenderableType] = [Text(mark, style=style), Text(name), counted]
        cells += [bar] if width >= NARROW else []
        table.add_row(*cells, Text(said_of(part), style="dim" if part.state == "waiting" else ""))
    return table


def said_of(part: RunPart) -> str:
    if part.state == "waiting" and not part.done:
        return ""
    numbers = part.numbers
    said = []
    if "right" in numbers:
        said = [f"right {numbers['right']:.0%}", f"forced {numbers['forced']:.0%}"]
    elif "reward" in numbers:
        said = [f"reward {numbers['reward']:.3g}"]
    elif "loss" in numbers:
        said = [f"loss {numbers['loss']:.3g}"]
    if part.state == "running" and part.seconds_left is not None:
        said.append(f"{duration(part.seconds_left)} left")
    return "  ".join(said)


def numbers_line(progress: RunProgress, width: int) -> Text | None:
    """Of the newest step of the stage that runs, or ran last."""
    trained = [part for part in progress.parts if part.kind != "evaluation" and part.numbers]
    running = progress.current
    part = running if running in trained else (trained[-1] if trained else None)
    if part is None:
        return None
    numbers = part.numbers
    shown = {word: short(numbers[name]) for name, word in SHOWN.items() if name in numbers}
    if part.kind == "grpo":
        shown.pop("loss", None)  # it has no meaning of its own
    seconds = seconds_of(numbers)
    shown |= {"tokens/s": f"{numbers['tokens'] / seconds:,.0f}", "s/step": f"{seconds:.3g}"}
    if "peak_gb" in numbers:
        shown["GPU"] = f"{numbers['peak_gb']:.1f} GB"
    if progress.resident is not None:
        shown["memory"] = f"{progress.resident / 1e9:.1f} GB"
    text = Text.assemble((f"{part.name} ", "bold"), sparkline(progress.curve, min(24, width // 3)))
    for word, value in shown.items():
        text.append(f"  {word} ", style="dim").append(value)
    return text


def last_lines(text: str, console: Console, width: int, most: int) -> list[Text]:
    return list(Text(text.strip()).wrap(console, width))[-most:] if most > 1 else []


def sparkline(values: Sequence[float], width: int) -> str:
    """Means of equal parts, from the least to the most of them."""
    if not values or width < 1:
        return ""
    count = min(width, len(values))
    edges = [round(place * len(values) / count) for place in range(count + 1)]
    means = [sum(values[low:high]) / (high - low) for low, high in pairwise(edges)]
    low, high = min(means), max(means)
    return "".join(BARS[round((len(BARS) - 1) * (mean - low) / ((high - low) or 1))] for mean in means)


def cut(text: Text, width: int) -> Text:
    text.truncate(width, overflow="ellipsis")
    return text


def short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


# --- on the screen --------------------------------------------------------------------------------------


@contextmanager
def filling_the_screen(run_dir: Path, console: Console) -> Iterator[None]:
    reader = ProgressReader(run_dir)
    # Of its own, since the standard output may be redirected meanwhile.
    screen = Console(file=console.file, force_terminal=True)
    with Live(
        get_renderable=lambda: LiveView(reader.read()),
        console=screen,
        screen=True,
        refresh_per_second=2,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as live:
        live.refresh()
        yield


@contextmanager
def live_view(run_dir: Path, console: Console, plain: bool, rank: int = 0) -> Iterator[Console]:
    """On a terminal, the view; the console that it yields holds back what is printed until it ends.

    The first rank draws it. What others print meanwhile would disturb it, and goes to the run's log."""
    if plain or not console.is_terminal or console.is_dumb_terminal:
        yield console
        return
    if rank:
        with LogLines(run_dir / "log", f"rank {rank}: ") as log, redirect_stdout(log), redirect_stderr(log):
            yield Console(quiet=True)
        return
    said = StringIO()
    try:
        with filling_the_screen(run_dir, console), redirect_stdout(said), redirect_stderr(said):
            yield Console(file=said, width=console.width)
    finally:
        console.print(Text(said.getvalue()), end="", soft_wrap=True)


class LogLines(TextIOBase):
    """Whole lines of what is printed, as the run's log has them."""

    def __init__(self, path: Path, start: str) -> None:
        self._journal, self._start, self._begun = Journal(Console(quiet=True), path), start, ""

    def write(self, text: str) -> int:
        *whole, self._begun = (self._begun + text).split("\n")
        for line in whole:
            if line.strip():
                self._journal.say(self._start + line)
        return len(text)


def line_of(progress: RunProgress) -> str:
    """For a file: the part that runs, in a line."""
    part = progress.current
    if part is None:
        return f"{progress.title}: " + ("running" if progress.is_live else "not running")
    kind = f"evaluate {part.name}" if part.kind == "evaluation" else part.name
    total = f"/{part.total:,}" if part.total else ""
    return f"{kind} {part.done:,}{total}  {said_of(part)}".rstrip()
