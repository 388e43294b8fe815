"""Training curves of every stage, from its `metrics.jsonl`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from xreasoner.report.figures import draw, stage_colour
from xreasoner.storage.folders import CHECKSUMS, refuse_damaged
from xreasoner.storage.run_folder import METRICS, stage_folders

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLES = {
    "reward": "Reward",
    "held_out": "Held-out accuracy",
    "think_tokens": "Mean tokens of thought",
    "forced": "Share of forced exits",
    "skipped": "Share of groups without signal",
    "entropy": "Entropy",
    "loss": "Loss",
    "grad_norm": "Gradient norm",
    "kl": "Divergence from the reference",
    "lr": "Learning rate",
}
"""Metrics to plot, the most important first."""

MOST_PANELS = 6
SMOOTHED_OVER = 0.06
"""The bold line is a running mean over this share of the steps."""

Rows = list[dict[str, float]]


def stage_metrics(folder: Path) -> Rows:
    """A finished stage has checksums."""
    path = folder / METRICS
    if path.exists() and (folder / CHECKSUMS).exists():
        refuse_damaged(folder, "remove it for a report without the curves of this stage", only=path.name)
    return read_metrics(path)


def read_metrics(path: Path) -> Rows:
    """Complete lines only: a running stage may be writing the last one."""
    if not path.exists():
        return []
    whole, _, _ = path.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines() if line.strip()]


def training_curves(run_dir: Path) -> dict[str, str]:
    """Stage name to SVG, for stages with metrics to plot."""
    drawn = {}
    for number, (stage, folder) in enumerate(stage_folders(run_dir).items(), start=1):
        rows = stage_metrics(folder)
        names = [name for name in TITLES if len(_points(rows, name)[0]) > 1][:MOST_PANELS]
        if names:
            drawn[stage] = _curves(stage, rows, names, stage_colour(number))
    return drawn


def _points(rows: Rows, name: str) -> tuple[list[float], list[float]]:
    known = [(row["step"], row[name]) for row in rows if isinstance(row.get(name), int | float)]
    return [step for step, _ in known], [value for _, value in known]


def smoothed(values: list[float]) -> list[float]:
    """A centred running mean, over a shorter window at both ends."""
    reach = round(len(values) * SMOOTHED_OVER / 2)
    windows = [values[max(0, i - reach) : i + reach + 1] for i in range(len(values))]
    return [sum(window) / len(window) for window in windows]


def _curves(stage: str, rows: Rows, names: list[str], colour: str) -> str:
    def paint(axes: list["Axes"]) -> None:
        for panel, name in zip(axes, names, strict=True):
            steps, values = _points(rows, name)
            panel.plot(steps, values, color=colour, alpha=0.3, linewidth=1)
            panel.plot(steps, smoothed(values), color=colour)
            panel.set_title(TITLES[name])
            panel.set_xlabel("step")
            panel.ticklabel_format(axis="y", scilimits=(-2, 4))

    return draw(f"curves-{stage}", len(names), paint, columns=3, height=2.4)
