"""The examples that the page shows: one card per item, with every stage's answer."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xreasoner.chat.open_image import open_image, pixels_of
from xreasoner.evals.samples import KeptProblem, Sample
from xreasoner.report.results import Evaluated

FIRST, TELLING = 1, 3
"""Cards per benchmark: the first item, then some on which stages differ."""
LARGEST_AS_IT_IS = 120_000
MOST_PIXELS_AS_IT_IS = 4_000_000
THUMBNAIL = (640, 640)


@dataclass(frozen=True)
class Card:
    benchmark: str
    role: str
    why: str
    """Why this item is shown."""
    asked: KeptProblem
    answers: Mapping[str, Sample]
    """By stage; the first sample of each."""


def choose(evaluated: Evaluated, first: int = FIRST, telling: int = TELLING) -> list[Card]:
    by_problem: dict[str, dict[str, Sample]] = {}
    problems: dict[str, KeptProblem] = {}
    for stage, answers in evaluated.by_stage.items():
        problems = {**answers.problems, **problems}
        for sample in answers.samples:
            by_problem.setdefault(sample.problem_id, {}).setdefault(stage, sample)
    items = list(by_problem.values())
    chosen = [(by_stage, "first items") for by_stage in items[:first]]
    chosen += spread_out(items[first:], telling)
    return [Card(evaluated.name, evaluated.role, why, asked(problems, one), one) for one, why in chosen]


def asked(problems: Mapping[str, KeptProblem], by_stage: Mapping[str, Sample]) -> KeptProblem:
    return problems[next(iter(by_stage.values())).problem_id]


def spread_out(items: Sequence[dict[str, Sample]], wanted: int) -> list[tuple[dict[str, Sample], str]]:
    """Takes from each kind in turn, so that all kinds are shown."""
    kinds: dict[str, list[dict[str, Sample]]] = {}
    for answers in items:
        kinds.setdefault(tells(list(answers.values())), []).append(answers)
    kinds.pop("", None)
    found: list[tuple[dict[str, Sample], str]] = []
    while len(found) < wanted and any(kinds.values()):
        for why, waiting in sorted(kinds.items()):
            if waiting and len(found) < wanted:
                found.append((waiting.pop(0), why))
    return found


def tells(answers: Sequence[Sample]) -> str:
    """How the stages differ on this item; empty if they do not."""
    first, last = answers[0], answers[-1]
    if any(sample.score.correct is None for sample in answers):
        return "grader failed"
    if first.score.correct and not last.score.correct:
        return "right before, wrong after"
    if any(sample.score.missing for sample in answers[1:]):
        return "answer missing"
    if any(sample.forced for sample in answers[1:]):
        return "forced exit"
    return "" if first.score.correct == last.score.correct else "wrong before, right after"


def embedded(folder: Path, name: str) -> str | None:
    """The picture as a data URI, a large one as a thumbnail; None if it is missing or not an image."""
    path = folder / name
    if name != path.name:
        return None  # of another folder
    kind = path.suffix.lstrip(".").replace("jpg", "jpeg")
    try:
        encoded = path.read_bytes()
        if len(encoded) > LARGEST_AS_IT_IS or pixels_of(encoded) > MOST_PIXELS_AS_IT_IS:
            encoded, kind = thumbnail(encoded), "jpeg"
    except (OSError, ValueError):  # ImageError is one; so is a name with a NUL character
        return None
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode()}"


def thumbnail(encoded: bytes) -> bytes:
    small = open_image(encoded).convert("RGB")
    small.thumbnail(THUMBNAIL)
    written = io.BytesIO()
    small.save(written, "JPEG", quality=80)
    return written.getvalue()
