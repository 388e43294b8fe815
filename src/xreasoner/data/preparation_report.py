"""What the preparation of a stage's data found: counts, lengths, and what was left out and why."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from xreasoner.terminal.fitted_table import FittedTable

QUANTILES = (0, 5, 25, 50, 75, 95, 99, 100)
BARS = 16
BAR_WIDTH = 40
COLUMNS = 60
"""Most bars of the plot."""


@dataclass(frozen=True)
class PreparationReport:
    """The preparation of one stage's data in numbers."""

    rows: int
    kept: int
    left_out: dict[str, int]
    """By reason, most frequent first."""
    sources: dict[str, int]
    """Kept problems by source."""
    quantiles: dict[str, int]
    """Percentiles of the lengths in tokens."""
    tokens: int
    with_thought: int
    benchmarks: dict[str, int] = field(default_factory=dict)
    """Problems left out as contaminated, by benchmark."""
    protected: int = 0
    """Benchmarks whose questions were compared."""
    unprotected: list[str] = field(default_factory=list)
    """Benchmarks of the catalogue that were not, because there is no copy of them on this machine."""
    boilerplate: int = 0
    """13-grams that were ignored because many test questions share them."""
    estimated: int = 0
    """Rows whose length was estimated from characters because it is far from any limit."""
    seconds: float = 0.0


def quantiles(values: Sequence[int]) -> dict[str, int]:
    ordered = sorted(values)
    if not ordered:
        return {}
    return {f"{q}%": ordered[round(q / 100 * (len(ordered) - 1))] for q in QUANTILES}


# --- on screen and as a picture -------------------------------------------------------------------------


def print_report(stage: str, report: PreparationReport, tokens: Sequence[int], console: Console) -> None:
    speed = report.rows / max(report.seconds, 0.001)
    console.print(
        f"{stage}: {report.kept:,} of {report.rows:,} rows kept, {report.tokens:,} tokens, "
        f"{report.with_thought:,} with a thought; prepared in {report.seconds:.0f} s, {speed:,.0f} rows/s",
        style="bold",
        highlight=False,
        soft_wrap=True,
    )
    console.print(FittedTable(_counts("source", report.sources)))
    if report.left_out:
        console.print(FittedTable(_counts("left out", report.left_out)))
    if report.benchmarks:
        console.print(FittedTable(_counts("contaminated by", report.benchmarks)))
    if report.unprotected:
        console.print(
            f"decontaminated against {report.protected} benchmarks; no copy here of "
            f"{', '.join(report.unprotected)} (`xreasoner benchmarks NAME` downloads one)",
            highlight=False,
            soft_wrap=True,
        )
    console.print(FittedTable(_lengths(report)))
    if report.estimated:
        console.print(f"{report.estimated:,} rows have estimated lengths, far from any limit", style="dim")
    for line in bars(tokens):
        console.print(line, highlight=False, markup=False)


def _counts(title: str, counts: dict[str, int]) -> Table:
    table = Table(title, "problems", box=None)
    for name, count in counts.items():
        table.add_row(name, f"{count:,}")
    return table


def _lengths(report: PreparationReport) -> Table:
    table = Table("tokens", *report.quantiles, box=None)
    table.add_row("quantile", *(f"{count:,}" for count in report.quantiles.values()))
    return table


def bars(tokens: Sequence[int]) -> list[str]:
    """A text histogram."""
    if not len(tokens):
        return []
    starts, counts = histogram(tokens, BARS)
    return [
        f"{start:>10,} {'█' * round(BAR_WIDTH * count / max(counts)):<{BAR_WIDTH}} {count:,}"
        for start, count in zip(starts, counts, strict=True)
    ]


def histogram(tokens: Sequence[int], most: int) -> tuple[list[int], list[int]]:
    """Starts and counts of equally wide bins."""
    shortest = min(tokens)
    width = -(-(max(tokens) - shortest + 1) // most)
    counts = np.bincount((np.asarray(tokens) - shortest) // width).tolist()
    return [shortest + i * width for i in range(len(counts))], counts


def draw_histogram(stage: str, report: PreparationReport, tokens: Sequence[int], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2 if report.left_out else 1, figsize=(11, 4), layout="constrained")
    lengths, *beside = np.atleast_1d(panels).tolist()
    if len(tokens):
        starts, counts = histogram(tokens, COLUMNS)
        width = starts[1] - starts[0] if len(starts) > 1 else 1
        lengths.bar(starts, counts, width=width, align="edge", color="#3b6ea5")
        for name in ("50%", "95%"):
            lengths.axvline(report.quantiles[name], color="#333333", linestyle=":", linewidth=1)
            at = (report.quantiles[name], 1.0)
            lengths.annotate(f" {name}", at, xycoords=("data", "axes fraction"), va="top", fontsize=8)
    lengths.set(title=f"{stage}: {report.kept:,} problems", xlabel="tokens", ylabel="problems")
    for panel in beside:
        _draw_left_out(panel, report)
    for panel in (lengths, *beside):
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _draw_left_out(panel: Any, report: PreparationReport) -> None:
    reasons = list(reversed(report.left_out.items()))
    drawn = panel.barh([name for name, _ in reasons], [count for _, count in reasons], color="#b5563c")
    panel.bar_label(drawn, fmt="{:,.0f}", padding=3)
    panel.margins(x=0.12)
    panel.set(title=f"{report.rows - report.kept:,} rows left out", xlabel="rows")
