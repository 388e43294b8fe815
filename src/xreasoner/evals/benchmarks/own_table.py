"""A benchmark from the user's own table: parquet, Arrow, JSON, JSONL, CSV, or a dataset on the hub."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from xreasoner.data.candidates import BadRowError, text_column
from xreasoner.data.corpora.user_table import problem_of
from xreasoner.data.tables import TableRow, read_rows
from xreasoner.evals.benchmarks.image_files import Pictures
from xreasoner.evals.task import Benchmark, Broken
from xreasoner.recipe.schema import TableBenchmark
from xreasoner.records import Modality, Picture, Problem


def read_own_table(entry: TableBenchmark) -> Benchmark:
    """Bad rows up to `max_bad_rows` are listed as broken, as in published benchmarks."""
    path = Path(entry.path)
    pictures = Pictures([path if path.is_dir() else path.parent] if path.exists() else [])
    problems, broken = list[Problem](), list[Broken]()
    rows = islice(read_rows(entry.path, entry.config, entry.split), entry.limit)
    for number, row in enumerate(rows, start=1):
        key = f"{entry.name}-{number:06}"
        try:
            problems.append(_problem(row, key, entry, pictures))
        except BadRowError as bad:
            detail = f": {bad.detail}" if bad.detail else ""
            broken.append(Broken(key, f"{row.position}: {bad.reason}{detail}"))
    total = len(problems) + len(broken)
    if len(broken) > entry.max_bad_rows * total:
        raise ValueError(
            f"{entry.path}: {len(broken)} of {total} rows are bad, "
            f"above max_bad_rows {entry.max_bad_rows:g}; the first one: {broken[0].why}"
        )
    modality: Modality = "image" if any(problem.pictures for problem in problems) else "text"
    return Benchmark(entry.name, modality, entry.domain, tuple(problems), entry.role, broken=tuple(broken))


def _problem(row: TableRow, key: str, entry: TableBenchmark, pictures: Pictures) -> Problem:
    if row.trouble or not isinstance(row.value, dict):
        raise BadRowError(row.trouble or "not an object")
    question = text_column(row.value, entry.columns.question)
    images = tuple(_images(row.value.get(entry.columns.image), pictures))
    problem = problem_of(row.value, question, key, entry)
    return replace(problem, question=(*images, question), reasoning="")


def _images(cell: object, pictures: Pictures) -> Iterator[Picture]:
    """One image or a list of them; the cell may be empty."""
    for one in cell if isinstance(cell, list) else [cell]:
        if one:
            yield pictures.of(one)
