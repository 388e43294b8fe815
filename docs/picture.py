"""Draws the README's picture from finished runs: `python docs/picture.py runs/quickstart [RUN...]`.

The runs differ in their seed: each is a thin line with its 95% intervals, their mean a thick one.
"""

import json
import sys
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

OUT = Path(__file__).parent / "quickstart.svg"
FAMILIES = {
    "sums": ("sums", "#3b6fd4"),
    "bars": ("bar charts", "#d9822b"),
    "shapes": ("shapes to count", "#2e9e6b"),
    "labs": ("clinical readings", "#b0468f"),
}
STAGES = {"base": "base", "sft": "SFT", "rl": "GRPO", "med-sft": "clinical SFT", "med-rl": "clinical GRPO"}
GREY = "#7a7f87"

Row = dict[str, Any]


def rows_of(run: dict[str, Any], family: str) -> list[Row]:
    """One row a stage."""
    name = f"many-{family}-image"
    return [row for row in run["results"] if row["benchmark"] == name and row["subset"] == "all"]


def draw_family(panel: Axes, runs: list[list[Row]], colour: str) -> float:
    """Returns where the mean line ends."""
    stages = range(len(runs[0]))
    for rows in runs:
        heights = [100 * row["accuracy"] for row in rows]
        below = [100 * (row["accuracy"] - row["low"]) for row in rows]
        above = [100 * (row["high"] - row["accuracy"]) for row in rows]
        panel.errorbar(
            stages, heights, yerr=[below, above], color=colour, linewidth=0.8, capsize=2, alpha=0.35
        )
    mean = [
        100 * sum(row["accuracy"] for row in at_stage) / len(runs) for at_stage in zip(*runs, strict=True)
    ]
    panel.plot(stages, mean, color=colour, linewidth=2.4, marker="o", markersize=5)
    return mean[-1]


def spread(wanted: list[float], apart: float) -> list[float]:
    """Heights of labels near the wanted ones, from low to high, at least so far apart."""
    heights: list[float] = []
    for height in sorted(wanted):
        heights.append(max(height, heights[-1] + apart) if heights else height)
    return heights


def draw(runs: list[dict[str, Any]], out: Path) -> None:
    figure = Figure(figsize=(7.8, 3.7), layout="constrained")
    panel = figure.subplots()
    ends = {
        family: draw_family(panel, [rows_of(run, family) for run in runs], colour)
        for family, (_, colour) in FAMILIES.items()
    }
    names = list(dict.fromkeys(row["stage"] for row in runs[0]["results"]))
    for family, height in zip(sorted(ends, key=ends.__getitem__), spread([*ends.values()], 6), strict=True):
        label, colour = FAMILIES[family]
        panel.text(len(names) - 0.85, height, label, color=colour, va="center", fontsize=10)
    panel.set_xticks(range(len(names)), [STAGES.get(name, name) for name in names])
    panel.set_xlim(-0.2, len(names) - 0.1)
    panel.set_ylim(0, 100)
    panel.set_ylabel("accuracy on images, %", color=GREY)
    panel.tick_params(colors=GREY, length=0)
    panel.grid(axis="y", color=GREY, alpha=0.2)
    panel.spines[:].set_visible(False)
    figure.savefig(out, transparent=True, metadata={"Date": None})


if __name__ == "__main__":
    draw([json.loads((Path(run) / "results.json").read_text()) for run in sys.argv[1:]], OUT)
