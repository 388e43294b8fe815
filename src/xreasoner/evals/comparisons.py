"""What changes from stage to stage on the same items, and from image benchmarks to their words alone."""

import math
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from xreasoner.evals.samples import Answers
from xreasoner.evals.statistics import (
    SIGNIFICANCE,
    Difference,
    clusters_of,
    difference_over_seeds,
    holm,
    paired_difference,
)
from xreasoner.evals.summary import item_scores
from xreasoner.evals.task import Benchmark
from xreasoner.records import Picture, Problem

Subset = Literal["all", "image-needed"]


@dataclass(frozen=True)
class Comparison:
    before: str
    after: str
    benchmark: str
    subset: Subset
    change: Difference
    p_corrected: float
    """Corrected for all the comparisons of the report."""

    def as_json(self) -> dict[str, Any]:
        return {
            "from": self.before,
            "to": self.after,
            "benchmark": self.benchmark,
            "subset": self.subset,
            **vars(self.change),
            "p_corrected": self.p_corrected,
        }


def change_between(before: Answers, after: Answers) -> Difference | None:
    """On the items that both answered and the grader scored; None if there are none."""
    first, second = item_scores(before.samples), item_scores(after.samples)
    pairs = {
        problem: (one, two)
        for problem, one in first.items()
        if one is not None and (two := second.get(problem)) is not None
    }
    if not pairs:
        return None
    clusters = clusters_of(kept for name, kept in before.problems.items() if name in pairs)
    ones, twos = zip(*pairs.values(), strict=True)
    return paired_difference(ones, twos, [clusters[problem] for problem in pairs])


def change_over_seeds(before: Sequence[Answers], after: Sequence[Answers]) -> Difference | None:
    """On the items that were graded for every seed on both sides."""
    scores = [[item_scores(answers.samples) for answers in side] for side in (before, after)]
    every = [one for side in scores for one in side]
    shared = [name for name in every[0] if all(one.get(name) is not None for one in every)]
    clusters = clusters_of(kept for name, kept in before[0].problems.items() if name in set(shared))
    if len(set(clusters.values())) < 2:
        return None
    a, b = ([[one[name] or 0.0 for name in shared] for one in side] for side in scores)
    return difference_over_seeds(a, b, [clusters[name] for name in shared])


def stage_before(stage: str, parents: Mapping[str, str], known: Container[str]) -> str | None:
    """The nearest known ancestor of `stage`; None for the base."""
    before = parents.get(stage)
    while before is not None and before not in known:
        before = parents.get(before)
    return before


def compare_stages(
    benchmark: str,
    stages: Sequence[str],
    parents: Mapping[str, str],
    answers_of: Callable[[Sequence[str]], Mapping[str, Answers]],
    subset: Subset = "all",
) -> list[Comparison]:
    """Each stage against its parent and against the base. `stages` are in the order of the run.

    `answers_of` gives the answers to compare for a pair of stages: which items need the image depends on it.
    """
    steps = [(before, stage) for stage in stages if (before := stage_before(stage, parents, stages))]
    pairs = steps + [(stages[0], stage) for stage in stages[1:] if (stages[0], stage) not in steps]
    found = []
    for before, after in pairs:
        answers = answers_of((before, after))
        change = change_between(answers[before], answers[after]) if len(answers) == 2 else None
        if change is not None:
            found.append(Comparison(before, after, benchmark, subset, change, change.p))
    return found


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """With many comparisons some look significant by chance: add Holm's corrected p to each."""
    chances = holm([one.change.p for one in comparisons])
    return [replace(one, p_corrected=p) for one, p in zip(comparisons, chances, strict=True)]


# --- without the image -------------------------------------------------------------------------------


BLIND = "-without-image"


def without_image(problem: Problem) -> Problem:
    """The same words without their pictures."""
    words = tuple(part for part in problem.question if not isinstance(part, Picture))
    return replace(problem, id=problem.id + BLIND, item=problem.item or problem.id, question=words)


def blind(benchmark: Benchmark) -> Benchmark:
    """The same benchmark without images: it shows which items the text alone solves."""
    if benchmark.modality != "image":
        raise ValueError(f"benchmark {benchmark.name} has no images to leave out")
    problems = tuple(without_image(problem) for problem in benchmark.problems)
    return replace(benchmark, name=benchmark.name + BLIND, modality="text", problems=problems, role="blind")


def has_words(benchmark: Benchmark) -> bool:
    """Without its images something is left to ask: not so where the image shows question and options."""
    return not all(problem.choices_in_picture for problem in benchmark.problems)


@dataclass(frozen=True)
class References:
    """A benchmark's answers without images: they decide which items the text alone solves.

    A compared model must not choose the items alone: its lucky guesses without the image are often the
    same with it, so its accuracy on the items left falls, and any other model seems to gain.
    """

    by_stage: Mapping[str, Answers]
    named: Container[str] = ()
    """Stages that the user chose as references."""
    outside: tuple[Answers, ...] = ()
    """From other runs."""

    def judges_for(self, stages: Sequence[str]) -> "Judges | None":
        """References that are not among `stages`; without such, all stages of the run, each in the same role.

        All of them, so that a row and every comparison of its stage keep the same items.
        """
        others = [
            answers for name, answers in self.by_stage.items() if name in self.named and name not in stages
        ]
        if self.outside or others:
            return Judges((*self.outside, *others), are_compared=False)
        if not all(stage in self.by_stage for stage in stages):
            return None
        return Judges(tuple(self.by_stage.values()), are_compared=True)


@dataclass(frozen=True)
class Judges:
    answers: tuple[Answers, ...]
    """Without images."""
    are_compared: bool
    """Then half of their samples choose the items, on which the other half is measured."""

    @property
    def samples_drawn(self) -> int:
        return min(max(sample.epoch + 1 for sample in one.samples) for one in self.answers)

    @property
    def samples(self) -> int:
        """How many samples of an item one judge has for its decision."""
        drawn = self.samples_drawn
        return drawn // 2 if self.are_compared and drawn > 1 else drawn

    def needing_image(self, answers: Answers, least_right: int | None = None) -> Answers:
        """Without the items that any judge solves; `least_right` is as in `text_solvable`."""
        judges, measured = self.answers, answers
        if self.are_compared and self.samples_drawn > 1:
            judges, measured = tuple(one.half(1) for one in judges), answers.half(0)
        solvable = text_solvable(judges, least_right)
        return measured.where(lambda problem: problem.item not in solvable)


def text_solvable(without_images: Iterable[Answers], least_right: int | None = None) -> frozenset[str]:
    """Items that a model answers right without the image in at least `least_right` samples.

    By default in more samples than guessing explains.
    """
    found = set[str]()
    for answers in without_images:
        grades = defaultdict[str, list[bool]](list)
        for sample in answers.samples:
            if sample.score.correct is not None:
                grades[sample.problem_id].append(sample.score.correct)
        for name, known in grades.items():
            problem = answers.problems[name].problem
            chance = 1 / len(problem.choices) if problem.choices else 0.0
            if sum(known) >= (least_right or least_above_chance(len(known), chance)):
                found.add(problem.item)
    return frozenset(found)


def least_above_chance(n: int, chance: float) -> int:
    """The smallest number right of n that guessing reaches in at most 5% of items; n if none is so rare."""
    tail = 1.0
    for right in range(n):
        tail -= math.comb(n, right) * chance**right * (1 - chance) ** (n - right)
        if tail <= SIGNIFICANCE:
            return right + 1
    return n
