"""Which answers the page shows, as cards: one item, its picture, and what every stage said to it."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from xreasoner.evals.samples import Sample
from xreasoner.report.collect import Evaluated

FIRST, TELLING = 8, 10
"""Cards of each benchmark: the first ones as they come, then some chosen because they tell something."""
LARGEST_AS_IT_IS = 120_000
THUMBNAIL = (640, 640)


@dataclass(frozen=True)
class Card:
    benchmark: str
    role: str
    why: str
    """Why this item is shown."""
    answers: Mapping[str, Sample]
    """By stage; the first sample of each."""

    @property
    def any(self) -> Sample:
        return next(iter(self.answers.values()))


def choose(evaluated: Evaluated, first: int = FIRST, telling: int = TELLING) -> list[Card]:
    by_item: dict[str, dict[str, Sample]] = {}
    for stage, samples in evaluated.by_stage.items():
        for sample in samples:
            by_item.setdefault(sample.id, {}).setdefault(stage, sample)
    chosen = [(items, "among the first") for items in list(by_item.values())[:first]]
    chosen += spread_out(list(by_item.values())[first:], telling)
    return [Card(evaluated.name, evaluated.role, why, answers) for answers, why in chosen]


def spread_out(items: Sequence[dict[str, Sample]], wanted: int) -> list[tuple[dict[str, Sample], str]]:
    """Some of every telling kind in turn, so that one kind does not push out the others."""
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
    """What an item has to say about the stages; nothing if it was right or wrong throughout."""
    first, last = answers[0], answers[-1]
    if any(sample.correct is None for sample in answers):
        return "the grader failed"
    if first.correct and not last.correct:
        return "lost on the way"
    if any(sample.missing for sample in answers[1:]):
        return "an answer is missing"
    if any(sample.forced for sample in answers[1:]):
        return "a thought was closed by force"
    return "" if first.correct == last.correct else "learned on the way"


def embedded(path: Path) -> str | None:
    """The picture as a data URI; a large one as a thumbnail. None if it is gone or no picture."""
    if not path.is_file():
        return None
    encoded = path.read_bytes()
    kind = {".jpg": "jpeg"}.get(path.suffix, path.suffix.lstrip("."))
    if len(encoded) > LARGEST_AS_IT_IS:
        encoded, kind = thumbnail(encoded), "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode()}"


def thumbnail(encoded: bytes) -> bytes:
    small = Image.open(io.BytesIO(encoded)).convert("RGB")
    small.thumbnail(THUMBNAIL)
    written = io.BytesIO()
    small.save(written, "JPEG", quality=80)
    return written.getvalue()
