"""A benchmark from the user's own table: parquet, Arrow, JSON, JSONL, CSV, or a dataset on the hub."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from xreasoner.data.candidates import BadRowError
from xreasoner.data.corpora.user_table import problem_of, read_jsonl
from xreasoner.data.tables import read_rows
from xreasoner.evals.benchmarks.image_files import Pictures
from xreasoner.evals.task import Benchmark, Broken
from xreasoner.recipe.benchmark_entries import JsonlBenchmark, TableBenchmark
from xreasoner.records import Modality, Problem


def read_own_jsonl(entry: JsonlBenchmark) -> Benchmark:
    pictures = pictures_of(entry)
    problems = list(
        read_jsonl(entry, entry.path.stem, lambda row, key: shown_problem(row, key, entry, pictures))
    )
    if not problems:
        raise ValueError(f"benchmark {entry.name}: {entry.path} has no problems")
    return benchmark_of(entry, problems, ())


def read_own_table(entry: TableBenchmark) -> Benchmark:
    """Bad rows up to `max_bad_rows` are listed as broken, as in published benchmarks."""
    pictures = pictures_of(entry)
    problems, broken = list[Problem](), list[Broken]()
    rows = islice(read_rows(entry.path, entry.config, entry.split), 0, entry.limit, entry.every)
    for number, row in enumerate(rows, start=1):
        key = f"{entry.name}-{number:06}"
        try:
            if row.trouble:
                raise BadRowError(row.trouble, row.detail)
            problems.append(shown_problem(row.value, key, entry, pictures))
        except BadRowError as bad:
            detail = f": {bad.detail}" if bad.detail else ""
            broken.append(Broken(key, f"{row.position}: {bad.reason}{detail}"))
    total = len(problems) + len(broken)
    if len(broken) > entry.max_bad_rows * total:
        raise ValueError(
            f"{entry.path}: {len(broken)} of {total} rows are bad, "
            f"above max_bad_rows {entry.max_bad_rows:g}; the first one: {broken[0].why}"
        )
    return benchmark_of(entry, problems, broken)


def pictures_of(entry: JsonlBenchmark | TableBenchmark) -> Pictures:
    """In the table's folder and those that the recipe names; a dataset on the hub has its images inside."""
    path = Path(entry.path)
    own = [path if path.is_dir() else path.parent] if path.exists() else []
    return Pictures([*own, *entry.image_folders])


def shown_problem(row: Any, key: str, entry: JsonlBenchmark | TableBenchmark, pictures: Pictures) -> Problem:
    """The image column holds one image or a list of them, or nothing."""
    problem = problem_of(row, key, entry)
    cell = row.get(entry.columns.image)
    shown = pictures.of_item(one for one in (cell if isinstance(cell, list) else [cell]) if one)
    return replace(problem, question=(*shown, *problem.question), reasoning="")


def benchmark_of(
    entry: JsonlBenchmark | TableBenchmark, problems: Sequence[Problem], broken: Sequence[Broken]
) -> Benchmark:
    modality: Modality = "image" if any(problem.pictures for problem in problems) else "text"
    return Benchmark(entry.name, modality, entry.domain, tuple(problems), entry.role, broken=tuple(broken))
