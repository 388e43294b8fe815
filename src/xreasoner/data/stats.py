"""What became of a stage's data: counts, lengths, what was left out and why, on screen and as a picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from xreasoner.data.report import Report

BARS = 16
BAR_WIDTH = 40


def print_report(stage: str, report: Report, tokens: Sequence[int], console: Console) -> None:
    speed = report.rows / max(report.seconds, 0.001)
    console.print(
        f"{stage}: {report.kept:,} of {report.rows:,} rows kept, {report.tokens:,} tokens, "
        f"{report.with_thought:,} with a thought; prepared in {report.seconds:.0f} s, {speed:,.0f} rows/s",
        style="bold",
        highlight=False,
        soft_wrap=True,
    )
    console.print(_counts("kept from", report.sources))
    if report.left_out:
        console.print(_counts("left out for", report.left_out))
    console.print(_lengths(report))
    if report.estimated:
        console.print(f"{report.estimated:,} rows far from any limit have estimated lengths", style="dim")
    for line in bars(tokens):
        console.print(line, highlight=False, markup=False)


def _counts(title: str, counts: dict[str, int]) -> Table:
    table = Table(title, "problems", box=None)
    for name, count in counts.items():
        table.add_row(name, f"{count:,}")
    return table


def _lengths(report: Report) -> Table:
    table = Table("tokens", *report.quantiles, box=None)
    table.add_row("quantile", *(f"{count:,}" for count in report.quantiles.values()))
    return table


def bars(tokens: Sequence[int]) -> list[str]:
    """The histogram in characters; every bar stands for equally many lengths."""
    if not len(tokens):
        return []
    shortest = min(tokens)
    width = -(-(max(tokens) - shortest + 1) // BARS)
    counts = np.bincount((np.asarray(tokens) - shortest) // width).tolist()
    return [
        f"{shortest + i * width:>10,} {'█' * round(BAR_WIDTH * count / max(counts)):<{BAR_WIDTH}} {count:,}"
        for i, count in enumerate(counts)
    ]


def draw_histogram(stage: str, report: Report, tokens: Sequence[int], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (lengths, left_out) = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    lengths.hist(np.asarray(tokens), bins=60, color="#3b6ea5")
    lengths.set(title=f"{stage}: {report.kept:,} problems", xlabel="tokens", ylabel="problems")
    reasons = list(reversed(report.left_out.items()))
    left_out.barh([name for name, _ in reasons], [count for _, count in reasons], color="#b5563c")
    left_out.set(title=f"{report.rows - report.kept:,} rows left out")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
