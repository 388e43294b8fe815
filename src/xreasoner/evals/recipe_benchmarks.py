"""Loads the benchmarks that a recipe names."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from xreasoner.data.probe import make_probe
from xreasoner.evals.benchmarks.own_table import read_own_jsonl, read_own_table
from xreasoner.evals.benchmarks.published import load_benchmark
from xreasoner.evals.benchmarks.python_function import read_python
from xreasoner.evals.comparisons import blind, has_words
from xreasoner.evals.task import Benchmark, name_with_prompt
from xreasoner.miniworld.problems import make_items, make_problems, read_problem
from xreasoner.recipe.benchmark_entries import (
    JsonlBenchmark,
    MiniworldBenchmark,
    ProbeBenchmark,
    PublishedBenchmark,
    PythonBenchmark,
    TableBenchmark,
    prompt_names,
)
from xreasoner.recipe.schema import Evaluation
from xreasoner.records import Modality, Problem


def recipe_benchmarks(evaluation: Evaluation, instruction: str | None) -> tuple[Benchmark, ...]:
    """All of `evaluation.benchmarks`; with `blind`, each image benchmark also without its images."""
    prompts = {"instructed": instruction, "plainly": None, **evaluation.prompts}
    benchmarks = [
        asked
        for entry in evaluation.benchmarks
        for benchmark in BENCHMARKS_OF[entry.source](entry, evaluation.seed)
        for asked in with_prompts(benchmark, {name: prompts[name] for name in prompt_names(entry.asked)})
    ]
    if evaluation.blind:
        first = [one for one in benchmarks if not one.is_repeated]
        seen = [one for one in first if (one.modality, one.role) == ("image", "skill")]
        benchmarks += [blind(one) for one in seen if has_words(one)]
    names = [benchmark.name for benchmark in benchmarks]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"evaluation.benchmarks: two are called {name}; give one of them another `name`")
    return tuple(benchmarks)


def with_prompts(benchmark: Benchmark, prompts: Mapping[str, str | None]) -> list[Benchmark]:
    """The benchmark with each prompt; with the first it keeps its name."""
    names = list(prompts)
    if len(names) == 1:
        return [replace(benchmark, instruction=prompts[names[0]])]
    return [
        replace(
            benchmark,
            name=benchmark.name if name == names[0] else name_with_prompt(benchmark.name, name),
            instruction=prompts[name],
            prompt=name,
        )
        for name in names
    ]


def _miniworld(entry: MiniworldBenchmark, seed: int) -> Iterator[Benchmark]:
    for family in entry.families:
        for view in entry.views:
            problems = _miniworld_problems(entry, family, view, seed)
            name = "-".join(part for part in (entry.name, family, view) if part)
            yield Benchmark(name, view, problems[0].domain, tuple(problems), entry.role)


def _miniworld_problems(entry: MiniworldBenchmark, family: str, view: Modality, seed: int) -> list[Problem]:
    if entry.task == "solve":
        return make_problems(family, view, entry.steps, entry.count, entry.split, seed)
    items = make_items(family, entry.steps, entry.count, entry.split, seed)
    # Items that differ only in their question read the same.
    return list(
        {problem.id: problem for problem in (read_problem(item, view, seed) for item in items)}.values()
    )


def _jsonl(entry: JsonlBenchmark, seed: int) -> Iterator[Benchmark]:
    yield read_own_jsonl(entry)


def _table(entry: TableBenchmark, seed: int) -> Iterator[Benchmark]:
    yield read_own_table(entry)


def _published(entry: PublishedBenchmark, seed: int) -> Iterator[Benchmark]:
    read = load_benchmark(entry.name, entry.path, entry.count, entry.any_size, entry.image_folders)
    yield replace(read, role=entry.role)


def _python(entry: PythonBenchmark, seed: int) -> Iterator[Benchmark]:
    yield read_python(entry)


def _probe(entry: ProbeBenchmark, seed: int) -> Iterator[Benchmark]:
    problems = tuple(make_probe(entry.count, seed))
    yield Benchmark(entry.name, "image", "perception", problems, entry.role)


BENCHMARKS_OF: dict[str, Callable[[Any, int], Iterator[Benchmark]]] = {
    "miniworld": _miniworld,
    "jsonl": _jsonl,
    "table": _table,
    "benchmark": _published,
    "python": _python,
    "probe": _probe,
}
