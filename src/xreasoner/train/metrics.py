"""metrics.jsonl: one line a step, in step with the training state after a resume."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from xreasoner.parallel import World
from xreasoner.storage.files import drop_torn_line, write_atomically


class MetricsFile:
    """Appends lines; those beyond the step we resume from (0: the start) are forgotten, as their work is."""

    def __init__(self, path: Path, resumed_from: int) -> None:
        before = _complete_lines(path) if resumed_from else []
        kept = [line for line in before if json.loads(line)["step"] <= resumed_from]
        write_atomically(path, "".join(f"{line}\n" for line in kept).encode())
        self._file = path.open("a", encoding="utf-8")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class NoMetrics:
    """For ranks other than the first."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        pass


@contextmanager
def metrics_of(world: World, path: Path, resumed_from: int) -> Iterator[MetricsFile | NoMetrics]:
    if not world.is_first:
        yield NoMetrics()
        return
    with MetricsFile(path, resumed_from) as metrics:
        yield metrics


def _complete_lines(path: Path) -> list[str]:
    """A kill may leave half a line at the end."""
    if not path.is_file():
        return []
    drop_torn_line(path)
    return path.read_text().splitlines()
