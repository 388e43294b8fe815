"""From a recipe's data entries to problems."""

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from xreasoner.data.corpora.user_table import read_jsonl
from xreasoner.data.problem_store import ProblemStore
from xreasoner.miniworld.item import Item
from xreasoner.miniworld.problems import CHOICE_SHARE, make_items, phrase, read_problem
from xreasoner.recipe.training_data import DataSource, JsonlData, MiniworldData
from xreasoner.records import Problem

SEEDS_APART = 1000
"""Two entries of a stage draw different items, as long as it has fewer entries than this."""


def training_problems(entries: Sequence[DataSource], seed: int) -> list[Problem]:
    """All entries in order, text views of the training split; the same problem is taken once."""
    found: dict[str, Problem] = {}
    for number, entry in enumerate(entries):
        for problem in TRAINING[entry.source](entry, seed * SEEDS_APART + number):
            found.setdefault(problem.id, problem)
    return list(found.values())


def _miniworld_training(entry: MiniworldData, seed: int) -> Iterator[Problem]:
    for family in entry.families:
        for item in make_items(family, entry.steps, entry.count, "train", seed):
            problem = _as_asked(entry, item, seed)
            yield problem if entry.thoughts else without_thought(problem)


def _as_asked(entry: MiniworldData, item: Item, seed: int) -> Problem:
    if entry.task == "read":
        return read_problem(item, "text", seed)
    return phrase(item, "text", seed, CHOICE_SHARE if entry.choices else 0.0)


def without_thought(problem: Problem) -> Problem:
    return replace(problem, id=f"{problem.id}-plain", reasoning="")


def _table_training(entry: JsonlData, seed: int) -> Iterator[Problem]:
    return read_jsonl(entry)


TRAINING: dict[str, Callable[[Any, int], Iterator[Problem]]] = {
    "miniworld": _miniworld_training,
    "jsonl": _table_training,
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
    if isinstance(problems, ProblemStore):
        return problems.fingerprint
    digest = hashlib.sha256()
    for p in problems:
        parts = [part if isinstance(part, str) else part.encoded.hex() for part in p.question]
        digest.update(json.dumps([p.id, parts, p.answer, p.kind, p.choices, p.reasoning]).encode())
    return digest.hexdigest()[:16]
