"""Accuracy by the tags of items (subject, difficulty, ...), and averages over a benchmark's forms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from xreasoner.evals.benchmarks.catalogue import AVERAGES
from xreasoner.evals.samples import Answers, KeptProblem, pooled
from xreasoner.evals.summary import Summary, summarise

MOST_VALUES = 40
"""A tag with more values tells items apart, not groups."""


@dataclass(frozen=True)
class GroupResult:
    """A stage's result on the items of a benchmark with one value of a tag."""

    stage: str
    benchmark: str
    tag: str
    value: str | int
    n: int
    scored: int
    accuracy: float
    low: float
    high: float


def group_results(benchmark: str, stage: str, answers: Answers) -> Iterator[GroupResult]:
    for tag, values in tag_values(list(answers.problems.values())).items():
        for value in values:
            found = summarise(answers.where(lambda problem: problem.tags.get(tag) == value))  # noqa: B023
            yield GroupResult(
                stage, benchmark, tag, value, found.n, found.scored, found.accuracy, found.low, found.high
            )


def tag_values(problems: Sequence[KeptProblem]) -> dict[str, list[str | int]]:
    """The tags by which items fall into several groups, with their values in order."""
    names = dict.fromkeys(name for kept in problems for name in kept.problem.tags)
    found: dict[str, list[str | int]] = {}
    for name in names:
        values = {kept.problem.tags[name] for kept in problems if kept.problem.tags.get(name, "") != ""}
        if 1 < len(values) <= MOST_VALUES:
            found[name] = sorted(values, key=lambda value: (isinstance(value, str), value))
    return found


def official_average(name: str, by_benchmark: dict[str, Answers]) -> Summary | None:
    """The mean over the forms of a benchmark, as its authors report it; None unless all were asked alike.

    The forms ask the same questions, so these stand together in the interval.
    """
    parts = [by_benchmark[part] for part in AVERAGES[name] if part in by_benchmark]
    if len(parts) < len(AVERAGES[name]) or len({len(part.problems) for part in parts}) > 1:
        return None
    linked = [link(part.renamed(form), form) for part, form in zip(parts, AVERAGES[name], strict=True)]
    return summarise(pooled(linked))


def link(answers: Answers, form: str) -> Answers:
    """One item name for a question in all forms."""
    problems = {
        key: replace(kept, problem=replace(kept.problem, item=kept.problem.item.rpartition(f"{form}-")[2]))
        for key, kept in answers.problems.items()
    }
    return replace(answers, problems=problems)
