"""The main findings: benchmarks of a kind pooled, each stage against its parent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from xreasoner.evals.comparisons import Subset, change_between, stage_before
from xreasoner.evals.samples import Answers, pooled
from xreasoner.evals.statistics import Difference
from xreasoner.evals.summary import Summary, summarise
from xreasoner.report.prompts import PromptGain
from xreasoner.report.results import Evaluated, Results

MARGIN = 0.05
"""Perception counts as kept if its loss is smaller than this, with 97.5% confidence."""


@dataclass(frozen=True)
class StagePoint:
    stage: str
    summary: Summary
    before: str | None
    change: Difference | None
    """Against the stage `before`, this one's parent; None for the base."""


@dataclass(frozen=True)
class Finding:
    """All benchmarks of one kind, along the stages."""

    title: str
    about: str
    modality: str
    domain: str
    role: str
    subset: Subset
    benchmarks: tuple[str, ...]
    points: tuple[StagePoint, ...]
    overall: Difference | None
    """The last stage against the first."""

    @property
    def first(self) -> StagePoint:
        return self.points[0]

    @property
    def last(self) -> StagePoint:
        return self.points[-1]


def find(results: Results) -> list[Finding]:
    """Images first, since training never saw any."""
    kinds: dict[tuple[str, str, str, Subset], list[Evaluated]] = {}
    for one in results.evaluated:
        for subset in () if one.is_repeated else one.subsets:
            kinds.setdefault((one.role, one.domain, one.modality, subset), []).append(one)
    order = sorted(kinds, key=lambda kind: (_ROLES.index(kind[0]), kind[1] != "general", kind[1], kind[2:]))
    found = [_finding(kind, kinds[kind], results.stages, results.parents) for kind in order]
    return [finding for finding in found if finding.points]


_ROLES = ("skill", "perception", "blind")


def _together(members: Sequence[Evaluated], subset: Subset, stages: Sequence[str]) -> dict[str, Answers]:
    """The answers of each stage to all members, for stages that answered all of them."""
    named = [(one.name, one.answers(subset, stages)) for one in members]
    return {
        stage: pooled(answers[stage].renamed(name) for name, answers in named)
        for stage in stages
        if all(stage in answers for _, answers in named)
    }


def _change(members: Sequence[Evaluated], subset: Subset, before: str, after: str) -> Difference | None:
    answers = _together(members, subset, (before, after))
    return change_between(answers[before], answers[after]) if len(answers) == 2 else None


def _finding(
    kind: tuple[str, str, str, Subset],
    members: Sequence[Evaluated],
    stages: Sequence[str],
    parents: Mapping[str, str],
) -> Finding:
    role, domain, modality, subset = kind
    together = _together(members, subset, stages)
    names, points = list(together), list[StagePoint]()
    for stage in names:
        before = stage_before(stage, parents, together)
        change = _change(members, subset, before, stage) if before else None
        points.append(StagePoint(stage, summarise(together[stage]), before, change))
    overall = _change(members, subset, names[0], names[-1]) if len(names) > 1 else None
    about = _about(role, modality, subset, pooled(together.values()))
    title = {"perception": "Perception", "blind": "Without images"}.get(
        role, {"image": "Images", "text": "Text"}[modality]
    )
    benchmarks = tuple(one.name for one in members)
    return Finding(title, about, modality, domain, role, subset, benchmarks, tuple(points), overall)


def _about(role: str, modality: str, subset: Subset, answers: Answers) -> str:
    tags = [kept.problem.tags for kept in answers.problems.values()]
    steps = [own["steps"] for own in tags if isinstance(own.get("steps"), int)]
    many = bool(steps) and min(int(step) for step in steps) >= 2
    if role == "perception":
        return f"perception probe ({modality})"
    if role == "blind":
        return "image problems asked without their images"
    problems = "many-step problems" if many else "problems"
    return problems + (" that need the image" if subset == "image-needed" else "")


def sentence(finding: Finding) -> str:
    """`image accuracy on many-step problems, general: base 9% -> sft 61% (+52, 95% [47, 56])`."""
    steps = [f"{finding.first.stage} {accuracy(finding.first)}"]
    for last, point in pairwise(finding.points):
        origin = f"from {point.before} " if point.before != last.stage else ""
        change = f" ({origin}{gap(point.change)})" if point.change else ""
        steps.append(f"{point.stage} {accuracy(point)}{change}")
    whole = ""
    if len(finding.points) > 2 and finding.overall:
        whole = f"; from {finding.first.stage} to {finding.last.stage} {gap(finding.overall)}"
    n = finding.last.summary.n
    what = f"{finding.modality} accuracy on {finding.about}" if finding.role == "skill" else finding.about
    return f"{what}, {finding.domain} (n = {n:,}): {' -> '.join(steps)}{whole}"


def prompt_sentence(gain: PromptGain) -> str:
    """`gsm8k, sft: +30, 95% [22, 38], p < 0.001 asked instructed; +12 ... between the best prompts`."""
    first = next(iter(gain.accuracies))
    old, new = gain.accuracies[gain.best_of_base][0], gain.accuracies[gain.best_of_stage][1]
    return (
        f"{gain.benchmark}, {gain.stage}: {gap(gain.first) if gain.first else '–'} asked {first}; "
        f"{gap(gain.best) if gain.best else '–'} between the best prompts "
        f"({gain.base} {gain.best_of_base} {percent(old)}, {gain.stage} {gain.best_of_stage} {percent(new)})"
    )


def percent(share: float) -> str:
    """With a decimal only next to 0% and 100%."""
    return f"{100 * share:.0f}%" if 0.005 < share < 0.995 or share in (0, 1) else f"{100 * share:.1f}%"


def accuracy(point: StagePoint) -> str:
    return percent(point.summary.accuracy) if point.summary.scored else "–"


def signed(share: float) -> str:
    return f"{100 * share:+.0f}".replace("-", "−") if abs(share) >= 0.005 else "0"


def interval(change: Difference) -> str:
    low, high = (signed(bound).removeprefix("+") for bound in (change.low, change.high))
    return f"95% [{low}, {high}], p {chance(change.p)}"


def gap(change: Difference) -> str:
    return f"{signed(change.difference)}, {interval(change)}"


def chance(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def verdict(finding: Finding) -> str:
    """The conclusion that the interval of the overall change supports.

    For the perception probe this is a test of non-inferiority: kept means that the interval excludes a loss
    of `MARGIN` or more.
    """
    change = finding.overall
    if change is None:
        return "one stage"
    if finding.role == "perception" and change.low > -MARGIN:
        return "worse, within the margin" if change.high < 0 else "kept"
    if change.low > 0:
        return "better"
    return "worse" if change.high < 0 else "unclear"
