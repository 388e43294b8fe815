"""What was left out of a corpus, counted by reason; every single case is listed in a file."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from xreasoner.data.candidates import LeftOut

QUANTILES = (0, 5, 25, 50, 75, 95, 99, 100)


class LeftOutFile:
    """`left_out.jsonl`: position, reason, detail, one line each; and their counts."""

    def __init__(self, path: Path) -> None:
        self._file: IO[str] = path.open("w", encoding="utf-8")
        self.counts: Counter[str] = Counter()

    def add(self, one: LeftOut) -> None:
        self.counts[one.reason] += 1
        fields = {"position": one.position, "id": one.id, "reason": one.reason, "detail": one.detail}
        self._file.write(json.dumps(fields, ensure_ascii=True) + "\n")

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True)
class Report:
    """Of the preparation of one stage's data."""

    rows: int
    kept: int
    left_out: dict[str, int]
    """By reason, the most frequent first."""
    sources: dict[str, int]
    """Kept problems by source."""
    quantiles: dict[str, int]
    """Of the lengths in tokens, by percentage."""
    tokens: int
    with_thought: int
    benchmarks: dict[str, int] = field(default_factory=dict)
    """What was left out because a benchmark asks it, by benchmark."""
    boilerplate: int = 0
    """Stretches of 13 words that many test questions share, and that were not held against a problem."""
    estimated: int = 0
    """Rows far from any limit, whose tokens were not counted but estimated from their characters."""
    seconds: float = 0.0


def quantiles(values: Sequence[int]) -> dict[str, int]:
    ordered = sorted(values)
    if not ordered:
        return {}
    return {f"{q}%": ordered[round(q / 100 * (len(ordered) - 1))] for q in QUANTILES}
