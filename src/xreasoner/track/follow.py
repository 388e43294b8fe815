"""Follow a run with a tracker, from a process of its own: one that fails or hangs does not affect the run."""

import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from xreasoner.storage.journal import Say
from xreasoner.track.run_reader import RunReader, read_shown
from xreasoner.track.trackers import TRACKERS, refuse_uninstalled

SECONDS = 3.0
"""Between two reads of the run's folder."""
LAST_SECONDS = 120.0
"""For a tracker to send the rest after the run has ended."""


def track(run_dir: Path, name: str, ended: Callable[[], bool]) -> None:
    """Show what is there, then what is added, until `ended`."""
    refuse_uninstalled((name,))
    note = run_dir / "track" / f"{name}.json"
    note.parent.mkdir(parents=True, exist_ok=True)
    reader = RunReader(run_dir, read_shown(note))
    tracker = TRACKERS[name].open(reader)
    reader.shown.run_id = tracker.run_id
    while True:
        is_last = ended()
        for values in reader.new_values():
            tracker.values(values)
        for table in reader.new_tables():
            tracker.answers(table)
        if is_last:
            break
        reader.shown.write(note)
    tracker.results(reader.results(), run_dir / "report.html")
    tracker.close()
    reader.shown.write(note)


def input_closes() -> bool:
    """Waits up to SECONDS. The input of a tracker's process closes when the run ends, however it ends."""
    ready, _, _ = select.select([sys.stdin], [], [], SECONDS)
    return bool(ready) and not os.read(sys.stdin.fileno(), 4096)


@contextmanager
def tracking(run_dir: Path, names: tuple[str, ...], say: Say) -> Iterator[None]:
    """Each tracker runs in a process of its own during the run."""
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(_tracker_process(run_dir, name, say))
        yield


@contextmanager
def _tracker_process(run_dir: Path, name: str, say: Say) -> Iterator[None]:
    log = run_dir / "track" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "xreasoner", "track", str(run_dir), "--to", name, "--follow"]
    with log.open("ab") as output:
        # A session of its own: Ctrl-C ends the run, and the tracker then sends the rest.
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield
    finally:
        assert process.stdin is not None
        process.stdin.close()
        _say_how_it_ended(process, log, run_dir, name, say)


def _say_how_it_ended(
    process: "subprocess.Popen[bytes]", log: Path, run_dir: Path, name: str, say: Say
) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(LAST_SECONDS)
    again = f"the run is complete without it; to send the rest: xreasoner track {run_dir} --to {name}"
    if process.returncode is None:
        process.kill()
        say(f"track: {name} did not finish within {LAST_SECONDS:.0f} s; {again}")
    elif process.returncode:
        say(f"track: {name} failed, see {log}; {again}")
