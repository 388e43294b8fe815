"""What one evaluation comes to: accuracy with its interval, and beside it what an accuracy alone hides."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from xreasoner.evals.benchmark import Benchmark, Modality, Role
from xreasoner.evals.samples import Sample
from xreasoner.evals.stats import wilson_interval


@dataclass(frozen=True)
class Summary:
    n: int
    """Items asked."""
    scored: int
    """Items the accuracy is about: those with an answer that the grader could judge."""
    accuracy: float
    low: float
    high: float
    forced: float
    """Shares of all answers: thoughts closed by force, answers not found, answers the grader failed on."""
    missing: float
    unscored: float
    mean_think_tokens: float


@dataclass(frozen=True)
class Result(Summary):
    benchmark: str
    modality: Modality
    domain: str
    role: Role


def item_scores(samples: Sequence[Sample]) -> dict[str, float | None]:
    """Per problem the mean over its samples; None where the grader failed on all of them."""
    grades: dict[str, list[bool]] = defaultdict(list)
    for sample in samples:
        known = grades[sample.id]
        if sample.correct is not None:
            known.append(sample.correct)
    return {problem: fmean(known) if known else None for problem, known in grades.items()}


def summarise(samples: Sequence[Sample]) -> Summary:
    """Several samples of an item count as one item with their mean: they are no independent evidence."""
    scores = item_scores(samples)
    known = [score for score in scores.values() if score is not None]
    low, high = wilson_interval(sum(known), len(known))
    return Summary(
        n=len(scores),
        scored=len(known),
        accuracy=fmean(known) if known else 0.0,
        low=low,
        high=high,
        forced=_share([sample.forced for sample in samples]),
        missing=_share([sample.missing for sample in samples]),
        unscored=_share([sample.correct is None for sample in samples]),
        mean_think_tokens=fmean([sample.think_tokens for sample in samples]) if samples else 0.0,
    )


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else 0.0


def result_of(benchmark: Benchmark, samples: Sequence[Sample]) -> Result:
    return Result(
        **vars(summarise(samples)),
        benchmark=benchmark.name,
        modality=benchmark.modality,
        domain=benchmark.domain,
        role=benchmark.role,
    )
