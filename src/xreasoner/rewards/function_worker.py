"""The process that calls a user's reward function: it may print, hang or die without harm to the run.

It first writes a line on what it loaded. For each line of problems and replies that it reads, it writes lines
of values: one per reply, or a single one if the function takes all replies at once.
"""

import asyncio
import contextlib
import dataclasses
import inspect
import io
import json
import math
import numbers
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from xreasoner.records import Problem, Reply, Score
from xreasoner.rewards.functions import RewardFunction, is_batch
from xreasoner.rewards.load_function import error_in_words, load_function, source_hash

CallResult = dict[str, Any]


def problem_as_json(problem: Problem) -> dict[str, Any]:
    """Without its pictures: training is text-only."""
    values = {field.name: getattr(problem, field.name) for field in dataclasses.fields(problem)}
    question = "".join(part for part in problem.question if isinstance(part, str))
    return values | {"question": [question], "tags": dict(problem.tags)}


def pair_from_json(problem: dict[str, Any], reply: dict[str, Any]) -> tuple[Problem, Reply]:
    texts = {name: tuple(problem[name]) for name in ("question", "choices")}
    return Problem(**problem | texts), Reply(**reply | {"score": Score(**reply["score"])})


def number(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(f"it returned {value!r:.80}; a finite number or None is needed")
    return float(value)


def guarded(work: Callable[[], list[float | None]]) -> CallResult:
    """What the function returned, raised and printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            answer: CallResult = {"values": work()}
        except Exception as error:  # a user's code may raise anything; the run stops and names the reply
            answer = {"error": error_in_words(error, __file__)}
    return answer | {"printed": " ".join(printed.getvalue().split())[:300]}


def one_value(function: RewardFunction, problem: Problem, reply: Reply) -> list[float | None]:
    return [number(function(problem, reply))]


def all_values(
    function: RewardFunction, problems: Sequence[Problem], replies: Sequence[Reply]
) -> list[float | None]:
    """Of a batch function, an async one, or both. Calls of an async one wait together."""
    if is_batch(function):
        found = function(problems, replies)
        values = asyncio.run(found) if inspect.iscoroutine(found) else found
    else:

        async def every() -> list[object]:
            return await asyncio.gather(*map(function, problems, replies))

        values = asyncio.run(every())
    if not isinstance(values, Sequence) or len(values) != len(replies):
        count = f"{len(values)} values" if isinstance(values, Sequence) else type(values).__name__
        raise ValueError(f"it returned {count} for {len(replies)} replies")
    return [number(value) for value in values]


def main() -> None:
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints below Python must not be mistaken for an answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def write(answer: CallResult) -> None:
        print(json.dumps(answer), file=lines, flush=True)

    try:
        function: RewardFunction = load_function(sys.argv[1])
        at_once = is_batch(function) or inspect.iscoroutinefunction(function)
        write({"at_once": at_once, "source": source_hash(function)})
    except Exception as error:  # importing a user's module may raise anything
        write({"error": str(error) if isinstance(error, ValueError) else error_in_words(error, __file__)})
        return
    for line in sys.stdin:
        pairs = [pair_from_json(*pair) for pair in json.loads(line)]
        if at_once:
            problems, replies = zip(*pairs, strict=True)
            write(guarded(lambda: all_values(function, problems, replies)))  # noqa: B023
        else:
            for problem, reply in pairs:
                write(guarded(lambda: one_value(function, problem, reply)))  # noqa: B023


if __name__ == "__main__":
    main()
