"""What changes from stage to stage on the same items, and from image benchmarks to their words alone."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from xreasoner.evals.samples import Answers
from xreasoner.evals.statistics import Difference, clusters_of, holm, paired_difference
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


def stage_before(stage: str, parents: Mapping[str, str], known: Container[str]) -> str | None:
    """The nearest known ancestor of `stage`; None for the base."""
    before = parents.get(stage)
    while before is not None and before not in known:
        before = parents.get(before)
    return before


def compare_stages(
    benchmark: str,
    by_stage: Mapping[str, Answers],
    parents: Mapping[str, str],
    subset: Subset = "all",
) -> list[Comparison]:
    """Each stage against its parent and against the base. `by_stage` is in the order of the run."""
    stages = list(by_stage)
    steps = [(before, stage) for stage in stages if (before := stage_before(stage, parents, by_stage))]
    pairs = steps + [(stages[0], stage) for stage in stages[1:] if (stages[0], stage) not in steps]
    changes = [(before, after, change_between(by_stage[before], by_stage[after])) for before, after in pairs]
    return [
        Comparison(before, after, benchmark, subset, change, change.p)
        for before, after, change in changes
        if change is not None
    ]


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


def text_solvable(without_images: Iterable[Answers]) -> frozenset[str]:
    """The items that a reference model got right, in any sample, without the image."""
    return frozenset(
        answers.problems[sample.problem_id].problem.item
        for answers in without_images
        for sample in answers.samples
        if sample.score.correct
    )


def image_needed(answers: Answers, solvable: frozenset[str]) -> Answers:
    return answers.where(lambda problem: problem.item not in solvable)
