"""Draws the README's picture from finished runs: `python docs/picture.py runs/quickstart [RUN...]`."""

import json
import sys
from pathlib import Path

from matplotlib.figure import Figure

OUT = Path(__file__).parent / "quickstart.svg"
FAMILIES = {"sums": "a sum", "bars": "a bar chart", "shapes": "shapes to count", "labs": "laboratory values"}
COLOURS = {"sums": "#3b6fd4", "bars": "#d9822b", "shapes": "#2e9e6b", "labs": "#b0468f"}
GREY = "#7a7f87"


def is_of(row: dict, benchmark: str) -> bool:
    return row["benchmark"] == benchmark and row["subset"] == "all"


def draw(runs: list[dict], out: Path) -> None:
    figure = Figure(figsize=(7.6, 3.6), layout="constrained")
    panel = figure.subplots()
    stages = list(dict.fromkeys(row["stage"] for row in runs[0]["results"]))
    for family, label in FAMILIES.items():
        name = f"many-{family}-image"
        rows = [
            [r for r in run["results"] if r["benchmark"] == name and r["subset"] == "all"] for run in runs
        ]
        for number, of_run in enumerate(rows):
            heights = [100 * row["accuracy"] for row in of_run]
            errors = [
                [100 * (row["accuracy"] - row["low"]) for row in of_run],
                [100 * (row["high"] - row["accuracy"]) for row in of_run],
            ]
            panel.errorbar(
                range(len(of_run)), heights, yerr=errors, color=COLOURS[family], linewidth=2, capsize=2,
                marker="o", markersize=4,
                alpha=1 if number == 0 else 0.35, label=label if number == 0 else None,
            )  # fmt: skip
    panel.set_xticks(range(len(stages)), stages)
    panel.set_ylim(0, 100)
    panel.set_ylabel("right answers about pictures, %", color=GREY)
    panel.tick_params(colors=GREY, length=0)
    panel.grid(axis="y", color=GREY, alpha=0.2)
    panel.spines[:].set_visible(False)
    panel.legend(frameon=False, labelcolor=GREY, loc="upper left", ncols=2)
    figure.savefig(out, transparent=True, metadata={"Date": None})


if __name__ == "__main__":
    draw([json.loads((Path(run) / "results.json").read_text()) for run in sys.argv[1:]], OUT)
