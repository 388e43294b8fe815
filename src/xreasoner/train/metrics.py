"""metrics.jsonl: one line a step, in step with the training state after a resume."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self


class MetricsFile:
    """Appends lines; those beyond the step we resume from (0: the start) are forgotten, as their work is."""

    def __init__(self, path: Path, resumed_from: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        before = _complete_lines(path) if resumed_from else []
        kept = [line for line in before if json.loads(line)["step"] <= resumed_from]
        self._file = path.open("w")
        self._file.writelines(f"{line}\n" for line in kept)
        self._file.flush()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _complete_lines(path: Path) -> list[str]:
    """A kill may leave half a line at the end."""
    if not path.is_file():
        return []
    whole, _, _ = path.read_text().rpartition("\n")
    return whole.splitlines()
