"""The messages of a run: printed, and appended with a time stamp to its `log`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from xreasoner.storage.disk import LineFile

Say = Callable[[str], None]
"""Where progress messages go."""


@dataclass(frozen=True)
class Journal:
    console: Console
    path: Path

    def say(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)
        with LineFile(self.path) as log:
            log.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {line}\n")
