"""Runs each case in its own process, so that the peak memory measured is the case's own."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def run_apart(script: str, *arguments: str) -> dict[str, Any]:
    """The last line that the case printed."""
    command = [sys.executable, script, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{' '.join(arguments)}: {found}", flush=True)
    return found


def print_measured(rows: int, work: Callable[[], int]) -> None:
    """Prints the last line of a case; `work` returns how many rows it kept."""
    worked, began, in_this_thread = processor_seconds(), time.monotonic(), time.thread_time()
    kept = work()
    measured = {
        "rows": rows,
        "kept": kept,
        "seconds": round(time.monotonic() - began, 1),
        "processor_seconds": round(processor_seconds() - worked, 2),
        "main_thread_seconds": round(time.thread_time() - in_this_thread, 2),
        "peak_mib": round(peak_mib()),
    }
    print(json.dumps(measured))


def record_growth(title: str, script: str, rows: int, *arguments: str) -> None:
    """The case with an eighth of the rows and with all, to see whether memory grows with them."""
    from side_by_side import alone, entry, record

    eighth, whole = (
        run_apart(script, "case", *arguments, "--rows", str(count)) for count in (rows // 8, rows)
    )
    speed = whole["rows"] / whole["processor_seconds"]
    memory = ([whole["peak_mib"]], [eighth["peak_mib"]], f"the same, {eighth['rows']:,} rows")
    record(
        [
            alone(title, speed, "rows/CPU second", "minutes"),
            entry(f"{title}, memory", *memory, "MiB at most", "flat", False),
        ]
    )


def processor_seconds() -> float:
    """Of this process and of the children it waited for, such as graders."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def peak_mib() -> float:
    """Of this program alone: `getrusage` starts from the peak of the parent process."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line]
    return int(line.split()[1]) / 1024
