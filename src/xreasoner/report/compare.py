"""Compares two models, of one run or of two, on the items that both answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xreasoner.evals.comparisons import change_between, change_over_seeds
from xreasoner.evals.samples import Answers, read_answers
from xreasoner.evals.statistics import Difference, holm
from xreasoner.evals.summary import summarise
from xreasoner.records import Problem
from xreasoner.report.results import PICTURES


@dataclass(frozen=True)
class Compared:
    benchmark: str
    seeds: int
    before: float
    after: float
    """Accuracies on the shared items, over all seeds."""
    change: Difference
    p_corrected: float


def compare_runs(before: Sequence[str], after: Sequence[str]) -> list[Compared]:
    """Each side is one model, or the same model trained with several seeds, in the same order."""
    if len(before) != len(after):
        raise ValueError(f"{len(before)} seeds before, {len(after)} after: name as many on both sides")
    folders = [answers_folder(name) for name in (*before, *after)]
    names = set.intersection(*({path.stem for path in folder.glob("*.jsonl")} for folder in folders))
    found = []
    for name in sorted(names):
        answers = common([folder / f"{name}.jsonl" for folder in folders])
        first, second = answers[: len(before)], answers[len(before) :]
        change = change_between(first[0], second[0]) if len(before) == 1 else change_over_seeds(first, second)
        if change is not None:
            found.append((name, accuracy(first), accuracy(second), change))
    if not found:
        raise ValueError(f"{', '.join(before)} and {', '.join(after)} have no benchmark in common")
    corrected = holm([change.p for *_, change in found])
    return [
        Compared(name, len(before), first, second, change, p)
        for (name, first, second, change), p in zip(found, corrected, strict=True)
    ]


def accuracy(by_seed: Sequence[Answers]) -> float:
    return fmean(summarise(answers).accuracy for answers in by_seed)


def answers_folder(name: str) -> Path:
    """`RUN:NAME`, or `RUN` if it has a single model."""
    run, colon, model = name.rpartition(":") if not Path(name).is_dir() else (name, "", "")
    run_dir = Path(run) if colon else Path(name)
    models = sorted(path.name for path in (run_dir / "evals").glob("*/") if path.name != PICTURES)
    if not models:
        raise ValueError(f"{run_dir}: no evaluation under evals/; name a run directory")
    if not colon and len(models) > 1:
        raise ValueError(f"{name}: name one of its models: {', '.join(f'{name}:{one}' for one in models)}")
    if colon and model not in models:
        raise ValueError(f"{name}: no model {model!r}; it has {', '.join(models)}")
    return run_dir / "evals" / (model or models[0])


def common(paths: Sequence[Path]) -> list[Answers]:
    """Matches question and key as well as the id, since a benchmark may have changed."""
    every = [read_answers(path) for path in paths]
    same = set.intersection(*map(questions, every))
    return [answers.where(lambda problem: question_of(problem) in same) for answers in every]


def questions(answers: Answers) -> set[tuple[object, ...]]:
    return {question_of(kept.problem) for kept in answers.problems.values()}


def question_of(problem: Problem) -> tuple[object, ...]:
    return problem.id, problem.question, problem.answer


def print_comparison(rows: Sequence[Compared], console: Console) -> None:
    """One line for each benchmark if the window is wide enough, else four."""
    seeds = f" over {rows[0].seeds} seeds" if rows[0].seeds > 1 else ""
    console.print(f"Change in accuracy{seeds}, in percentage points with 95% intervals.", highlight=False)
    table = comparison_table(rows)
    width = console.measure(table, options=console.options.update(max_width=1_000)).maximum
    if width <= console.width:
        console.print(table)
        return
    for row in rows:
        lines = (
            f"{accuracies(row)}%: {gain(row)}",
            f"{row.change.n:,} items, p {row.change.p:.2g}, corrected {row.p_corrected:.2g}",
            f"for 80% power: {needed(row)} items",
        )
        console.print(Text.assemble((row.benchmark, "bold"), *(f"\n  {line}" for line in lines)))


def comparison_table(rows: Sequence[Compared]) -> Table:
    table = Table(box=SIMPLE_HEAD, header_style="bold")
    table.add_column("benchmark")
    for head in ("n", "accuracy, %", "change [95%]", "p", "corrected", "n for 80% power"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        chances = (f"{row.change.p:.2g}", f"{row.p_corrected:.2g}")
        cells = (row.benchmark, f"{row.change.n:,}", accuracies(row), gain(row), *chances, needed(row))
        table.add_row(*map(Text, cells))
    return table


def accuracies(row: Compared) -> str:
    return f"{100 * row.before:.1f} → {100 * row.after:.1f}"


def gain(row: Compared) -> str:
    change = row.change
    return f"{100 * change.difference:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"


def needed(row: Compared) -> str:
    """Items that detect a change of this size with 80% power."""
    return "–" if row.change.needed is None else f"{row.change.needed:,}"
