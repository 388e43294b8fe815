"""Command lines in processes of their own, forked from a server that has imported everything.

A start takes milliseconds, where `python -m xreasoner` imports for four CPU seconds.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from xreasoner.cli.main import main

forks = multiprocessing.get_context("forkserver")
PRELOADED = ["tests.forked", "tests.train.processes", "xreasoner.pipeline.run", "xreasoner.distill.distill"]
forks.set_forkserver_preload(PRELOADED)


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


class Command:
    """`xreasoner` with these arguments, running; or another program, given by what it runs."""

    def __init__(
        self,
        *arguments: object,
        environment: Mapping[str, str] | None = None,
        program: Callable[[], int | None] = main,
    ) -> None:
        self._said = TemporaryDirectory(prefix="xreasoner-said-")
        line = ["xreasoner", *map(str, arguments)]
        self._process: ForkServerProcess = forks.Process(
            target=_run, args=(program, line, dict(environment or {}), Path(self._said.name))
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        """Unless it has ended: a machine that became faster may finish before the moment that a test drew."""
        self._process.kill()

    def wait(self, timeout: float = 300) -> Done:
        self._process.join(timeout)
        code = self._process.exitcode
        assert code is not None, f"still running after {timeout} s"
        out, error = ((Path(self._said.name) / name).read_text() for name in ("out", "err"))
        return Done(code, out, error)


def call(*arguments: object, environment: Mapping[str, str] | None = None) -> Done:
    return Command(*arguments, environment=environment).wait()


def _run(program: Callable[[], int | None], line: list[str], environment: dict[str, str], said: Path) -> None:
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(said / name, os.O_WRONLY | os.O_CREAT), number)
    os.environ |= environment
    torch.set_num_threads(1)
    sys.argv = line
    sys.exit(program())
