"""A user's function on replies, a reward or a scorer, in processes of its own with a time limit."""

import contextlib
import json
import os
import selectors
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from xreasoner.records import Problem, Reply
from xreasoner.rewards.child import end_child, start_child
from xreasoner.rewards.function_worker import problem_as_json

START_SECONDS = 120.0
"""A user's module may import torch."""
PROCESSES = 2

Pair = tuple[Problem, Reply]


def place_of(pair: Pair) -> str:
    problem, reply = pair
    return f"problem {problem.id}, sample {reply.sample}"


@dataclass
class FunctionProcess:
    name: str
    seconds: float
    what: str
    """What the function is, for messages: a reward or a scorer."""
    process: subprocess.Popen[bytes] = field(init=False)
    at_once: bool = False
    """It takes all replies in one call."""
    source: str = ""
    _received: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self.process = start_child("xreasoner.rewards.function_worker", self.name)

    def load(self) -> None:
        loaded = self.read("its module", START_SECONDS)
        self.at_once, self.source = loaded["at_once"], loaded["source"]

    def read(self, where: str, seconds: float) -> dict[str, Any]:
        """The next line that the process writes."""
        place = f"{self.what} {self.name}: {where}"
        assert self.process.stdout is not None
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._received:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise ValueError(f"{place}: it took more than {seconds:g} seconds")
                data = os.read(self.process.stdout.fileno(), 1 << 16)
                if not data:
                    code = self.process.wait()
                    raise ValueError(f"{place}: its process ended with exit code {code}")
                self._received += data
        line, _, rest = self._received.partition(b"\n")
        self._received = bytearray(rest)
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise ValueError(f"{place}: {found['error']}")
        return found

    def values(self, pairs: Sequence[Pair], say: Callable[[str], None]) -> list[float | None]:
        assert self.process.stdin is not None
        content = [[problem_as_json(problem), asdict(reply)] for problem, reply in pairs]
        with contextlib.suppress(BrokenPipeError):  # it has ended, which the next line finds out
            self.process.stdin.write(json.dumps(content).encode() + b"\n")
            self.process.stdin.flush()
        return [value for where in self._places(pairs) for value in self._answer(where, say)]

    def _places(self, pairs: Sequence[Pair]) -> Iterator[str]:
        if self.at_once:
            yield f"{len(pairs)} replies, the first of {place_of(pairs[0])}"
        else:
            yield from map(place_of, pairs)

    def _answer(self, where: str, say: Callable[[str], None]) -> list[float | None]:
        answer = self.read(where, self.seconds)
        if answer["printed"]:
            say(f"{self.what} {self.name}: {where}: it printed: {answer['printed']}")
        values: list[float | None] = answer["values"]
        return values

    def end(self) -> None:
        end_child(self.process)


class UserFunction:
    """Processes start with the first call and stay until `close`."""

    def __init__(self, name: str, seconds: float, what: str = "reward") -> None:
        self.name, self.seconds, self.what = name, seconds, what
        self._processes: list[FunctionProcess] = []

    def source(self) -> str:
        """The hash of its source; raises a ValueError if it cannot be loaded."""
        return self._started(1)[0].source

    def values(
        self, problems: Sequence[Problem], replies: Sequence[Reply], say: Callable[[str], None]
    ) -> list[float | None]:
        pairs = list(zip(problems, replies, strict=True))
        if not pairs:
            return []
        at_once = self._started(1)[0].at_once
        processes = self._started(1 if at_once else min(PROCESSES, len(pairs)))
        share = -(-len(pairs) // len(processes))
        parts = [pairs[start : start + share] for start in range(0, len(pairs), share)]
        with ThreadPoolExecutor(len(parts)) as threads:
            found = threads.map(lambda process, part: process.values(part, say), processes, parts)
            return [value for values in found for value in values]

    def close(self) -> None:
        for process in self._processes:
            process.end()
        self._processes.clear()

    def _started(self, count: int) -> list[FunctionProcess]:
        while len(self._processes) < count:
            process = FunctionProcess(self.name, self.seconds, self.what)
            self._processes.append(process)
            process.load()
        return self._processes[:count]
