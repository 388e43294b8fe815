"""Rows that are not trained on: one line each in `left_out.jsonl`, and their number by reason."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from xreasoner.storage.disk import LineFile


@dataclass(frozen=True)
class LeftOut:
    position: str
    reason: str
    """One of a few fixed reasons, to count by."""
    detail: str = ""
    id: str = ""
    is_bad: bool = False
    """The row could not be read; False for rows that a filter left out."""


class LeftOutFile:
    """`left_out.jsonl` with position, id, reason and detail per line, and the counts by reason."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._file = LineFile(path)
        self.counts: Counter[str] = Counter()

    def add(self, one: LeftOut) -> None:
        self.counts[one.reason] += 1
        fields = {"position": one.position, "id": one.id, "reason": one.reason, "detail": one.detail}
        self._file.write(json.dumps(fields, ensure_ascii=True) + "\n")

    def close(self) -> None:
        self._file.close()
