"""Accuracy against tokens of thought, for each thinking budget."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xreasoner.evals.samples import read_answers, read_result
from xreasoner.evals.summary import Summary, summarise
from xreasoner.evals.task import BUDGET_FOLDER, is_asked
from xreasoner.report.figures import as_percent, draw, error_line, legend_below, stage_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS = 12


@dataclass(frozen=True, kw_only=True)
class BudgetResult(Summary):
    stage: str
    benchmark: str
    think_budget: int


def read_budgets(run_dir: Path, stages: Sequence[str]) -> list[BudgetResult]:
    """All budgets of every benchmark that has shorter ones, the longest last."""
    found = []
    for stage in stages:
        folder = run_dir / "evals" / stage
        by_name: dict[str, list[Path]] = {}
        for path in sorted(folder.glob(f"{BUDGET_FOLDER}*/*.json")):
            if is_asked(run_dir, path.stem, path.parent.name):
                by_name.setdefault(path.stem, []).append(path)
        found += [row for name in sorted(by_name) for row in _rows(folder, stage, name, by_name[name])]
    return found


def _rows(folder: Path, stage: str, name: str, shorter: Sequence[Path]) -> Iterator[BudgetResult]:
    paths = [*shorter, folder / f"{name}.json"]
    budgets = {read_result(path)["sampling"]["think_budget"]: path for path in paths if path.exists()}
    for budget, path in sorted(budgets.items()):
        summary = summarise(read_answers(path.with_suffix(".jsonl")))
        yield BudgetResult(**vars(summary), stage=stage, benchmark=name, think_budget=budget)


def budget_plot(rows: Sequence[BudgetResult], stages: Sequence[str]) -> str:
    """One panel per benchmark, one line per stage; x is the mean number of tokens really spent."""
    names = list(dict.fromkeys(row.benchmark for row in rows))[:MOST_PANELS]
    if not names:
        return ""

    def paint(axes: list["Axes"]) -> None:
        for panel, name in zip(axes, names, strict=True):
            for number, stage in enumerate(stages):
                line = [row for row in rows if (row.benchmark, row.stage) == (name, stage)]
                if line:
                    spent = [row.mean_think_tokens for row in line]
                    error_line(panel, spent, line, stage_colour(number), stage)
            panel.set_title(name)
            panel.set_xlabel("mean tokens of thought")
            panel.set_xlim(
                0, 1.08 * max(1.0, *(row.mean_think_tokens for row in rows if row.benchmark == name))
            )
            as_percent(panel)
        legend_below(axes)

    return draw("by-budget", len(names), paint)
