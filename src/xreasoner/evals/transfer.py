"""Stages compared on the same items: each with the base it came from and with the stage before it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from xreasoner.evals.samples import Sample
from xreasoner.evals.stats import Difference, paired_difference
from xreasoner.evals.summary import item_scores

Subset = Literal["all", "image-needed"]


@dataclass(frozen=True)
class Comparison:
    before: str
    after: str
    benchmark: str
    subset: Subset
    change: Difference

    def as_json(self) -> dict[str, Any]:
        return {
            "from": self.before,
            "to": self.after,
            "benchmark": self.benchmark,
            "subset": self.subset,
            **vars(self.change),
        }


def change_between(before: Sequence[Sample], after: Sequence[Sample]) -> Difference | None:
    """On the items that both were asked and the grader could judge; None if there are none."""
    first, second = item_scores(before), item_scores(after)
    pairs = [
        (one, two)
        for problem, one in first.items()
        if one is not None and (two := second.get(problem)) is not None
    ]
    if not pairs:
        return None
    return paired_difference([one for one, _ in pairs], [two for _, two in pairs])


def compare_stages(
    benchmark: str, by_stage: Mapping[str, Sequence[Sample]], subset: Subset = "all"
) -> list[Comparison]:
    """`by_stage` in the order of the run, the base first."""
    stages = list(by_stage)
    steps = list(pairwise(stages))
    pairs = steps + [(stages[0], stage) for stage in stages[2:]]
    changes = [(before, after, change_between(by_stage[before], by_stage[after])) for before, after in pairs]
    return [
        Comparison(before, after, benchmark, subset, change)
        for before, after, change in changes
        if change is not None
    ]
