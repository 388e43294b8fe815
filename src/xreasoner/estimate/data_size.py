"""How much data each stage has: counted where it is prepared, else typical of its corpora."""

from dataclasses import dataclass
from math import ceil

from xreasoner.data.prepare import read_report
from xreasoner.recipe.schema import Recipe, Stage
from xreasoner.recipe.training_data import Corpus

TYPICAL: dict[str, tuple[int, float]] = {
    "openthoughts": (113_957, 6_000),
    "orz-math": (56_878, 120),
    "medqa": (10_178, 260),
    "gsm8k": (7_473, 200),
}
"""Problems of a corpus and their mean tokens, for an estimate before the data is prepared."""


@dataclass(frozen=True)
class DataSize:
    problems: int
    mean_tokens: float
    is_measured: bool
    """Counted in prepared data; otherwise typical of the corpus."""


def typical_data_size(stage: Stage) -> DataSize:
    """Typical sizes; empty if the size of one entry is unknown, such as that of a user's table."""
    problems, tokens = 0, 0.0
    for entry in stage.data:
        count, mean = TYPICAL.get(entry.source, (getattr(entry, "count", 0), 100.0))
        if isinstance(entry, Corpus):
            count = min(count or entry.limit, entry.limit) if entry.limit is not None else count
            count = ceil(count / entry.every)
        if count == 0:
            return DataSize(0, 0.0, is_measured=False)
        problems, tokens = problems + count, tokens + count * min(mean, stage.max_length or mean)
    return DataSize(problems, tokens / max(1, problems), is_measured=False)


def known_data_sizes(recipe: Recipe) -> dict[str, DataSize]:
    """Of the stages whose data a run or `data stats` has prepared."""
    folders = {name: recipe.run_dir / "data" / name for name in recipe.stages}
    reports = {name: read_report(f) for name, f in folders.items() if (f / "report.json").is_file()}
    return {
        name: DataSize(report.kept, report.tokens / max(1, report.kept), is_measured=True)
        for name, report in reports.items()
    }
