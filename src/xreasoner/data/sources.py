"""From a recipe's data and benchmark entries to problems."""

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from xreasoner.data.candidates import LeftOut
from xreasoner.data.corpora.read import read_corpus
from xreasoner.data.jsonl import read_table
from xreasoner.data.store import Store
from xreasoner.miniworld.problems import make_items, make_problems, read_problem
from xreasoner.recipe import (
    BenchmarkRole,
    BenchmarkSource,
    DataSource,
    Gsm8kBenchmark,
    JsonlBenchmark,
    JsonlData,
    Manner,
    MedqaBenchmark,
    MiniworldBenchmark,
    MiniworldData,
    View,
)
from xreasoner.recipe_data import Gsm8kData, MedqaData
from xreasoner.records import Problem

SEEDS_APART = 1000
"""Two entries of a stage draw different items, as long as it has fewer entries than this."""


@dataclass(frozen=True)
class ProblemSet:
    """The problems of one benchmark."""

    name: str
    modality: View
    domain: str
    role: BenchmarkRole
    asked: Manner
    problems: tuple[Problem, ...]


def training_problems(entries: Sequence[DataSource], seed: int) -> list[Problem]:
    """All entries in order, text views of the training split; the same problem is taken once."""
    found: dict[str, Problem] = {}
    for number, entry in enumerate(entries):
        for problem in TRAINING[entry.source](entry, seed * SEEDS_APART + number):
            found.setdefault(problem.id, problem)
    return list(found.values())


def problem_sets(entries: Sequence[BenchmarkSource], seed: int) -> list[ProblemSet]:
    sets = [made for entry in entries for made in BENCHMARKS[entry.source](entry, seed)]
    names = [made.name for made in sets]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"evaluation.benchmarks: two are called {name}; tell them apart by `name`")
    return sets


def _miniworld_training(entry: MiniworldData, seed: int) -> Iterator[Problem]:
    for family in entry.families:
        yield from make_problems(family, "text", entry.steps, entry.count, "train", seed)


def _table_training(entry: JsonlData, seed: int) -> Iterator[Problem]:
    return read_table(entry)


def _miniworld_sets(entry: MiniworldBenchmark, seed: int) -> Iterator[ProblemSet]:
    for family in entry.families:
        for view in entry.views:
            problems = _miniworld_test(entry, family, view, seed)
            name = "-".join(part for part in (entry.name, family, view) if part)
            yield ProblemSet(name, view, problems[0].domain, entry.role, entry.asked, tuple(problems))


def _miniworld_test(entry: MiniworldBenchmark, family: str, view: View, seed: int) -> list[Problem]:
    if entry.task == "solve":
        return make_problems(family, view, entry.steps, entry.count, "test", seed)
    items = make_items(family, entry.steps, entry.count, "test", seed)
    # Items that differ only in their question read the same.
    return list(
        {problem.id: problem for problem in (read_problem(item, view, seed) for item in items)}.values()
    )


def _table_sets(entry: JsonlBenchmark, seed: int) -> Iterator[ProblemSet]:
    problems = tuple(read_table(entry))
    if not problems:
        raise ValueError(f"benchmark {entry.name}: {entry.path} has no problems")
    modality: View = "image" if any(problem.pictures for problem in problems) else "text"
    yield ProblemSet(entry.name, modality, entry.domain, entry.role, entry.asked, problems)


def _corpus_sets(entry: Gsm8kBenchmark | MedqaBenchmark, seed: int) -> Iterator[ProblemSet]:
    """A test question that cannot be read is not skipped: a score is over all of them."""
    form = {"gsm8k": Gsm8kData, "medqa": MedqaData}[entry.source]
    corpus = form(source=entry.source, path=entry.path, split=entry.split, limit=entry.limit)
    problems = []
    for found in read_corpus(corpus):
        if isinstance(found, LeftOut):
            raise ValueError(f"benchmark {entry.source}: {found.position}: {found.reason}")
        problems.append(replace(found.problem, reasoning=""))
    name = entry.name or entry.source
    yield ProblemSet(name, "text", problems[0].domain, entry.role, entry.asked, tuple(problems))


TRAINING: dict[str, Callable[[Any, int], Iterator[Problem]]] = {
    "miniworld": _miniworld_training,
    "jsonl": _table_training,
}
BENCHMARKS: dict[str, Callable[[Any, int], Iterator[ProblemSet]]] = {
    "miniworld": _miniworld_sets,
    "jsonl": _table_sets,
    "gsm8k": _corpus_sets,
    "medqa": _corpus_sets,
}


def refuse_leaks(training: Iterable[Problem], tests: Mapping[str, Sequence[Problem]]) -> None:
    """A question that is trained on measures memory. Only the same text is found here, not a paraphrase."""
    asked = {(p.question, p.choices): name for name, problems in tests.items() for p in problems}
    for problem in training:
        name = asked.get((problem.question, problem.choices))
        if name:
            raise ValueError(
                f"training problem {problem.id} is also asked in the benchmark {name}; remove it"
            )


def split_held_out(problems: Sequence[Problem], count: int, seed: int) -> tuple[list[Problem], list[Problem]]:
    """What is trained on, and `count` problems that are only watched."""
    if count >= len(problems) > 0:
        raise ValueError(f"held_out: {count} of {len(problems)} problems leave nothing to train on")
    held = set(random.Random(f"held out {seed}").sample(range(len(problems)), count))
    parts: tuple[list[Problem], list[Problem]] = ([], [])
    for index, problem in enumerate(problems):
        parts[index in held].append(problem)
    return parts


def problems_fingerprint(problems: Iterable[Problem]) -> str:
    """Of everything training reads from them, in order."""
    if isinstance(problems, Store):
        return problems.fingerprint
    digest = hashlib.sha256()
    for p in problems:
        parts = [part if isinstance(part, str) else part.encoded.hex() for part in p.question]
        digest.update(json.dumps([p.id, parts, p.answer, p.kind, p.choices, p.reasoning]).encode())
    return digest.hexdigest()[:16]
