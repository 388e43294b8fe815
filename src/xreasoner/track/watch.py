"""`xreasoner watch RUN`: the view of a run from another terminal, until the run ends."""

import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from xreasoner.launch.interrupts import Interrupted
from xreasoner.storage.run_folder import is_in_use
from xreasoner.track.live_view import LiveView, filling_the_screen, line_of
from xreasoner.track.progress import ProgressReader

LOOK, SAY = 1.0, 10.0
"""Seconds between two reads, and between two lines if the output is not a terminal."""


def watch(run_dir: Path, console: Console) -> None:
    if not (run_dir / "recipe.yaml").is_file():
        raise ValueError(f"{run_dir}: not a run directory; it has no recipe.yaml")
    with suppress(Interrupted, KeyboardInterrupt):  # this does not stop the watched run
        if console.is_terminal and not console.is_dumb_terminal:
            with filling_the_screen(run_dir, console):
                while is_in_use(run_dir):
                    time.sleep(LOOK)
        else:
            say_lines(run_dir, console)
    progress = ProgressReader(run_dir).read()
    console.print(LiveView(progress), height=30)


def say_lines(run_dir: Path, console: Console) -> None:
    reader, before = ProgressReader(run_dir), ""
    while is_in_use(run_dir):
        line = line_of(reader.read())
        if line != before:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        before = line
        time.sleep(SAY)
