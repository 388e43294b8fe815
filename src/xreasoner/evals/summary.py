"""The summary of one evaluation: accuracy, its interval, and the shares an accuracy alone hides."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean

from xreasoner.evals.samples import Answers, Sample
from xreasoner.evals.statistics import clustered_interval, clusters_of, majority, mean_pass_at
from xreasoner.evals.task import Benchmark, ResultRole
from xreasoner.records import Modality, Sampling

SHARES = ("forced", "cut", "missing", "unscored", "broken")
"""Shown beside an accuracy where they are not zero."""


@dataclass(frozen=True)
class Summary:
    n: int
    """Items in the benchmark, broken ones included."""
    clusters: int
    """Independent groups of items: those that share a picture or a problem are one group."""
    scored: int
    """Items with at least one graded answer; the accuracy is over these."""
    accuracy: float
    """The mean over items; an item with several answers counts as their mean (pass@1)."""
    low: float
    high: float
    forced: float
    """Shares of all answers: forced exits, answers cut off by the token limit, answers not found, answers the
    grader failed on, and questions that could not be asked."""
    cut: float
    missing: float
    unscored: float
    broken: float
    mean_think_tokens: float
    rules: Mapping[str, float]
    """By which rule answers were found, as shares of all answers: shows a change of form between stages."""
    majority: float | None = field(default=None, kw_only=True)
    """The accuracy of majority votes; None if each item has one answer."""
    pass_at: Mapping[int, float] = field(default_factory=dict, kw_only=True)
    """For each k the chance that one of k answers is right; empty if each item has one answer."""


@dataclass(frozen=True)
class Result(Summary):
    benchmark: str
    modality: Modality
    domain: str
    role: ResultRole
    chance: float
    """The expected accuracy of guessing among the options."""
    sampling: Mapping[str, int | float | bool]
    prompt: str
    """Its name, if the benchmark was asked with several; else empty."""
    scorer: str
    """The name of the user's own; else empty."""


def by_item(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    found = defaultdict[str, list[Sample]](list)
    for sample in samples:
        found[sample.problem_id].append(sample)
    return dict(found)


def item_scores(samples: Sequence[Sample]) -> dict[str, float | None]:
    """The mean over a problem's graded samples; None if none was graded."""
    return {problem: _mean(_grades(answers)) for problem, answers in by_item(samples).items()}


def summarise(answers: Answers) -> Summary:
    """Several samples of an item count as one item with their mean: they are not independent evidence."""
    samples, problems = answers.samples, answers.problems
    items, clusters = by_item(samples), clusters_of(problems.values())
    grades = {problem: known for problem, answers in items.items() if (known := _grades(answers))}
    scores = {problem: fmean(known) for problem, known in grades.items()}
    low, high = clustered_interval(scores, clusters) if scores else (0.0, 1.0)
    votes = [
        majority([sample.score for sample in items[name]], problems[name].problem.choices) for name in grades
    ]
    rules = Counter(sample.score.rule for sample in samples if sample.score.rule)
    several = any(len(known) > 1 for known in grades.values())
    return Summary(
        n=len(items),
        clusters=len(set(clusters.values())),
        scored=len(scores),
        accuracy=_mean(list(scores.values())) or 0.0,
        low=low,
        high=high,
        forced=_share([sample.forced for sample in samples]),
        cut=_share([sample.cut for sample in samples]),
        missing=_share([sample.score.missing for sample in samples]),
        unscored=_share([sample.unscored for sample in samples]),
        broken=_share([sample.broken for sample in samples]),
        mean_think_tokens=_mean([sample.think_tokens for sample in samples]) or 0.0,
        rules={rule: count / len(samples) for rule, count in sorted(rules.items())},
        majority=fmean(votes) if several else None,
        pass_at=mean_pass_at(list(grades.values())),
    )


def _grades(samples: Sequence[Sample]) -> list[bool]:
    return [sample.score.correct for sample in samples if sample.score.correct is not None]


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else 0.0


def result_of(benchmark: Benchmark, sampling: Sampling, answers: Answers) -> Result:
    return Result(
        **vars(summarise(answers)),
        benchmark=benchmark.name,
        modality=benchmark.modality,
        domain=benchmark.domain,
        role=benchmark.role,
        chance=benchmark.chance,
        sampling=asdict(sampling),
        prompt=benchmark.prompt,
        scorer=benchmark.scorer.name if benchmark.scorer else "",
    )
