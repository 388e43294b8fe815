"""The gain of every stage over the base, beside the figures of the paper (shipped as data)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from xreasoner.evals.comparisons import Subset
from xreasoner.evals.statistics import Difference
from xreasoner.report.results import Results


@dataclass(frozen=True)
class Paper:
    source: str
    columns: tuple[str, ...]
    accuracies: Mapping[str, tuple[float | None, ...]]
    """Per benchmark, as fractions; None if the paper gives none."""


@lru_cache(maxsize=1)
def paper() -> Paper:
    content = json.loads(files("xreasoner.report").joinpath("paper.json").read_text(encoding="utf-8"))
    accuracies = {
        name: tuple(None if value is None else round(value / 100, 4) for value in values)
        for name, values in content["benchmarks"].items()
    }
    return Paper(content["source"], tuple(content["columns"]), accuracies)


@dataclass(frozen=True)
class TransferRow:
    benchmark: str
    subset: Subset
    n: int
    base: float
    changes: tuple[Difference | None, ...]
    """One per later stage."""
    published: tuple[float | None, ...]
    """The paper's accuracies on all items; empty if it lacks this benchmark."""


def transfer_rows(results: Results) -> list[TransferRow]:
    """Empty if only one stage was evaluated."""
    base, *later = results.stages
    changes = {(one.benchmark, one.subset, one.before, one.after): one.change for one in results.comparisons}
    return [
        TransferRow(
            row.benchmark,
            row.subset,
            row.n,
            row.accuracy,
            tuple(changes.get((row.benchmark, row.subset, base, stage)) for stage in later),
            paper().accuracies.get(row.benchmark, ()) if row.subset == "all" else (),
        )
        for row in results.rows
        if (row.role, row.stage) == ("skill", base) and later
    ]


def published_columns(rows: Sequence[TransferRow]) -> tuple[str, ...]:
    """The paper's columns, if it has any of these benchmarks."""
    return paper().columns if any(row.published for row in rows) else ()
