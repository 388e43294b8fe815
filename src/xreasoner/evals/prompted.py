"""The benchmarks of a recipe, each with the system prompt it is asked with."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from xreasoner.data.jsonl import read_table
from xreasoner.data.probe import make_probe
from xreasoner.evals.ablations import blind
from xreasoner.evals.benchmark import Benchmark
from xreasoner.evals.benchmarks.load import load_benchmark
from xreasoner.miniworld.problems import make_items, make_problems, read_problem
from xreasoner.recipe.schema import (
    BenchmarkSource,
    Evaluation,
    JsonlBenchmark,
    MiniworldBenchmark,
    ProbeBenchmark,
    PublishedBenchmark,
    View,
)
from xreasoner.records import Problem


@dataclass(frozen=True)
class PromptedBenchmark:
    benchmark: Benchmark
    instruction: str | None
    """The system prompt; None asks without one."""


def prompted_benchmarks(evaluation: Evaluation, instruction: str | None) -> tuple[PromptedBenchmark, ...]:
    """All benchmarks of `evaluation`; with `blind`, each image benchmark once more without its images."""
    found = [
        PromptedBenchmark(benchmark, instruction if entry.asked == "instructed" else None)
        for entry in evaluation.benchmarks
        for benchmark in load_entry(entry, evaluation.seed)
    ]
    refuse_equal_names([one.benchmark.name for one in found])
    if evaluation.blind:
        found += [
            PromptedBenchmark(blind(one.benchmark), one.instruction)
            for one in found
            if one.benchmark.modality == "image" and one.benchmark.role == "skill"
        ]
    return tuple(found)


def load_entry(entry: BenchmarkSource, seed: int) -> Iterator[Benchmark]:
    return BENCHMARKS_OF[entry.source](entry, seed)


def refuse_equal_names(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"evaluation.benchmarks: two are called {name}; tell them apart by `name`")


def _miniworld(entry: MiniworldBenchmark, seed: int) -> Iterator[Benchmark]:
    for family in entry.families:
        for view in entry.views:
            problems = _miniworld_test(entry, family, view, seed)
            name = "-".join(part for part in (entry.name, family, view) if part)
            yield Benchmark(name, view, problems[0].domain, tuple(problems), entry.role)


def _miniworld_test(entry: MiniworldBenchmark, family: str, view: View, seed: int) -> list[Problem]:
    if entry.task == "solve":
        return make_problems(family, view, entry.steps, entry.count, "test", seed)
    items = make_items(family, entry.steps, entry.count, "test", seed)
    # Items that differ only in their question read the same.
    return list(
        {problem.id: problem for problem in (read_problem(item, view, seed) for item in items)}.values()
    )


def _table(entry: JsonlBenchmark, seed: int) -> Iterator[Benchmark]:
    problems = tuple(read_table(entry))
    if not problems:
        raise ValueError(f"benchmark {entry.name}: {entry.path} has no problems")
    modality: View = "image" if any(problem.pictures for problem in problems) else "text"
    yield Benchmark(entry.name, modality, entry.domain, problems, entry.role)


def _published(entry: PublishedBenchmark, seed: int) -> Iterator[Benchmark]:
    yield replace(load_benchmark(entry.name, entry.path, entry.count), role=entry.role)


def _probe(entry: ProbeBenchmark, seed: int) -> Iterator[Benchmark]:
    problems = tuple(make_probe(entry.count, seed))
    yield Benchmark(entry.name, "image", "perception", problems, entry.role)


BENCHMARKS_OF: dict[str, Callable[[Any, int], Iterator[Benchmark]]] = {
    "miniworld": _miniworld,
    "jsonl": _table,
    "benchmark": _published,
    "probe": _probe,
}
