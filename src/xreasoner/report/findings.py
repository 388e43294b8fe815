"""The main findings: benchmarks of a kind pooled, each stage against its parent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from xreasoner.evals.comparisons import Subset, change_between, stage_before
from xreasoner.evals.samples import Answers, pooled
from xreasoner.evals.statistics import Difference
from xreasoner.evals.summary import Summary, summarise
from xreasoner.report.results import Evaluated, Results, subsets_of


@dataclass(frozen=True)
class Point:
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
    points: tuple[Point, ...]
    overall: Difference | None
    """The last stage against the first."""

    @property
    def first(self) -> Point:
        return self.points[0]

    @property
    def last(self) -> Point:
        return self.points[-1]


def find(results: Results) -> list[Finding]:
    """Images first, since training never saw any."""
    kinds: dict[tuple[str, str, str, Subset], list[tuple[Evaluated, Mapping[str, Answers]]]] = {}
    for one in results.evaluated:
        for subset, by_stage in subsets_of(one, results.solvable):
            kind = (one.role, one.domain, one.modality, subset)
            kinds.setdefault(kind, []).append((one, by_stage))
    order = sorted(kinds, key=lambda kind: (_ROLES.index(kind[0]), kind[1] != "general", kind[1], kind[2:]))
    found = [_finding(kind, kinds[kind], results.stages, results.parents) for kind in order]
    return [finding for finding in found if finding.points]


_ROLES = ("skill", "perception", "blind")


def _finding(
    kind: tuple[str, str, str, Subset],
    members: Sequence[tuple[Evaluated, Mapping[str, Answers]]],
    stages: Sequence[str],
    parents: Mapping[str, str],
) -> Finding:
    role, domain, modality, subset = kind
    together = {
        stage: pooled(by_stage[stage].renamed(one.name) for one, by_stage in members)
        for stage in stages
        if all(stage in by_stage for _, by_stage in members)
    }
    names, points = list(together), list[Point]()
    for stage in names:
        before = stage_before(stage, parents, together)
        change = change_between(together[before], together[stage]) if before else None
        points.append(Point(stage, summarise(together[stage]), before, change))
    overall = change_between(together[names[0]], together[names[-1]]) if len(names) > 1 else None
    about = _about(role, modality, subset, pooled(together.values()))
    title = {"perception": "Perception", "blind": "Without images"}.get(
        role, {"image": "Images", "text": "Text"}[modality]
    )
    benchmarks = tuple(one.name for one, _ in members)
    return Finding(title, about, modality, domain, role, subset, benchmarks, tuple(points), overall)


def _about(role: str, modality: str, subset: Subset, answers: Answers) -> str:
    tags = [kept.problem.tags for kept in answers.problems.values()]
    steps = [own["steps"] for own in tags if isinstance(own.get("steps"), int)]
    many = bool(steps) and min(int(step) for step in steps) >= 2
    if role == "perception":
        return f"perception probe ({modality})"
    if role == "blind":
        return "image problems without their images"
    problems = "many-step problems" if many else "problems"
    return problems + (" that need the image" if subset == "image-needed" else "")


def sentence(finding: Finding) -> str:
    """`image accuracy on many-step problems, general: base 9% -> sft 61% (+52, 95% [47, 56])`."""
    steps = [f"{finding.first.stage} {percent(finding.first.summary.accuracy)}"]
    for last, point in pairwise(finding.points):
        origin = f"from {point.before} " if point.before != last.stage else ""
        change = f" ({origin}{gap(point.change)})" if point.change else ""
        steps.append(f"{point.stage} {percent(point.summary.accuracy)}{change}")
    whole = ""
    if len(finding.points) > 2 and finding.overall:
        whole = f"; from {finding.first.stage} to {finding.last.stage} {gap(finding.overall)}"
    n = finding.last.summary.n
    what = f"{finding.modality} accuracy on {finding.about}" if finding.role == "skill" else finding.about
    return f"{what}, {finding.domain} (n = {n:,}): {' -> '.join(steps)}{whole}"


def percent(share: float) -> str:
    """With a decimal only next to 0% and 100%."""
    return f"{100 * share:.0f}%" if 0.005 < share < 0.995 or share in (0, 1) else f"{100 * share:.1f}%"


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
    """The conclusion that the interval of the overall change supports."""
    change = finding.overall
    if change is None:
        return "one stage"
    if finding.role == "perception" and change.low > -0.05:
        return "kept"
    if change.low > 0:
        return "better"
    return "worse" if change.high < 0 else "unclear"
