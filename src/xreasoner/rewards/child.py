"""A child process that runs one of our modules and exchanges lines with it."""

import contextlib
import os
import subprocess
import sys


def start_child(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A fresh interpreter: no fork of a process with torch, no import of the user's main module."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"},
    )


def end_child(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with contextlib.suppress(BrokenPipeError):  # bytes that the dead process did not read
            pipe.close()
