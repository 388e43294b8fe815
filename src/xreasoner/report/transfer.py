"""What carried over: every benchmark's difference to the base, stage by stage, beside the paper's."""

from collections.abc import Sequence
from dataclasses import dataclass

from xreasoner.evals.stats import Difference
from xreasoner.evals.transfer import Subset
from xreasoner.report.collect import Results
from xreasoner.report.paper import paper


@dataclass(frozen=True)
class TransferRow:
    benchmark: str
    subset: Subset
    n: int
    base: float
    changes: tuple[Difference | None, ...]
    """One for each later stage."""
    published: tuple[float | None, ...]
    """The paper's accuracies, all items; empty where it does not have this benchmark."""


def transfer_rows(results: Results) -> list[TransferRow]:
    """Nothing where only one stage was evaluated: there is no difference then."""
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
    """The paper's, if it has any of these benchmarks."""
    return paper().columns if any(row.published for row in rows) else ()
