"""The questions of all published benchmarks that are on this machine, without images, for decontamination."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xreasoner.data.hub import is_on_disk
from xreasoner.evals.benchmarks.catalogue import BENCHMARKS
from xreasoner.evals.benchmarks.copies import open_copy
from xreasoner.evals.benchmarks.image_files import Pictures
from xreasoner.evals.benchmarks.published import read_item
from xreasoner.evals.task import Broken
from xreasoner.recipe.benchmark_entries import PublishedBenchmark
from xreasoner.recipe.schema import Evaluation
from xreasoner.records import Picture, Problem


class Catalogue(NamedTuple):
    questions: Mapping[str, Sequence[Problem]]
    missing: Sequence[str]
    """Benchmarks without a copy on this machine."""


class NoPictures(Pictures):
    """Reads no image: decontamination compares text."""

    def of(self, cell: Any) -> Picture:
        return Picture(b"")

    def of_item(self, cells: Iterable[Any]) -> Iterator[Picture]:
        return map(self.of, cells)


def read_catalogue(evaluation: Evaluation) -> Catalogue:
    """All items of each benchmark, also of those that the recipe asks only in part or not at all."""
    entries = [entry for entry in evaluation.benchmarks if isinstance(entry, PublishedBenchmark)]
    paths = {entry.name: entry.path for entry in entries if entry.path}
    questions: dict[str, list[Problem]] = {}
    missing = []
    for name, definition in BENCHMARKS.items():
        if name in paths or (definition.hub and is_on_disk(definition.hub)):
            questions[name] = read_questions(name, paths.get(name))
        else:
            missing.append(name)
    return Catalogue(questions, missing)


def read_questions(name: str, path: Path | None) -> list[Problem]:
    definition, pictures = BENCHMARKS[name], NoPictures()
    found = []
    for number, row in enumerate(open_copy(name, definition, path).rows, start=1):
        if not row.trouble and isinstance(row.value, dict) and definition.belongs(row.value):
            item = read_item(f"{name}-{number}", definition, row, pictures)
            if not isinstance(item, Broken):
                found.append(item)
    return found
