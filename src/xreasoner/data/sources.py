"""From the data entries of a recipe to problems, for sources that need no preparation."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from xreasoner.data.corpora.read import name_of
from xreasoner.data.corpora.user_table import training_jsonl
from xreasoner.miniworld.item import Item
from xreasoner.miniworld.problems import make_items, phrase, read_problem
from xreasoner.recipe.training_data import DataSource, JsonlData, MiniworldData
from xreasoner.records import Problem

SEEDS_APART = 1000
"""Distance of the seeds of two entries: a stage with fewer entries than this draws different items."""


def training_problems(entries: Sequence[DataSource], seed: int) -> list[Problem]:
    """The problems of all entries in order. An item of the mini-world that two entries draw is in it once."""
    found: dict[str, Problem] = {}
    for number, (entry, name) in enumerate(zip(entries, names_of(entries), strict=True)):
        for problem in TRAINING[entry.source](entry, seed * SEEDS_APART + number, name):
            found.setdefault(problem.id, problem)
    return list(found.values())


def names_of(entries: Sequence[DataSource]) -> list[str]:
    """Each entry's name: two files of the same name must not give the same ids."""
    names, times = list[str](), Counter[str]()
    for entry in entries:
        name = name_of(entry)
        times[name] += 1
        names.append(name if times[name] == 1 else f"{name}.{times[name]}")
    return names


def _miniworld_training(entry: MiniworldData, seed: int, name: str) -> Iterator[Problem]:
    for family in entry.families:
        for item in make_items(family, entry.steps, entry.count, "train", seed):
            problem = _as_asked(entry, item, seed)
            yield problem if entry.thoughts else without_thought(problem)


def _as_asked(entry: MiniworldData, item: Item, seed: int) -> Problem:
    if entry.task == "read":
        return read_problem(item, "text", seed)
    return phrase(item, "text", seed, entry.choices, entry.brief)


def without_thought(problem: Problem) -> Problem:
    return replace(problem, id=f"{problem.id}-plain", reasoning="")


def _jsonl_training(entry: JsonlData, seed: int, name: str) -> Iterator[Problem]:
    return training_jsonl(entry, name)


TRAINING: dict[str, Callable[[Any, int, str], Iterator[Problem]]] = {
    "miniworld": _miniworld_training,
    "jsonl": _jsonl_training,
}


def refuse_leaks(training: Iterable[Problem], tests: Mapping[str, Sequence[Problem]]) -> None:
    """Raises if a training question is a test question, word for word. Filters find paraphrases too."""
    asked = {(p.question, p.choices): name for name, problems in tests.items() for p in problems}
    for problem in training:
        name = asked.get((problem.question, problem.choices))
        if name:
            raise ValueError(
                f"training problem {problem.id} is also a question of the benchmark {name}; remove it"
            )


def split_held_out(
    problems: Sequence[Problem], count: int, seed: int
) -> tuple[Sequence[Problem], Sequence[Problem]]:
    """The training problems, and `count` held-out ones."""
    if count == 0:
        return problems, ()
    if count >= len(problems) > 0:
        raise ValueError(f"held_out: {count} of {len(problems)} problems leaves none to train on")
    held = set(random.Random(f"held out {seed}").sample(range(len(problems)), count))
    parts: tuple[list[Problem], list[Problem]] = ([], [])
    for index, problem in enumerate(problems):
        parts[index in held].append(problem)
    return parts
