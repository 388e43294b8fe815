"""The process that calls math-verify: one JSON line in, one out. Started by the pool, and killed by it."""

import json
import logging
import os
import signal
import sys
from collections.abc import Callable

MEMORY_LIMIT = 4 << 30
"""Bytes of address space; `9^{9^{9^9}}` would take all there is."""


def limit_memory() -> None:
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))


def die_after(seconds: int) -> None:
    """The backstop for a worker whose parent is gone: the unhandled alarm ends it, whatever code it is in."""
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)


def answer_line(line: str, equivalent: Callable[[str, str], tuple[bool, str]]) -> str:
    gold, answer, seconds = json.loads(line)
    die_after(int(seconds) + 2)
    try:
        correct, why = equivalent(gold, answer)
        reply: dict[str, bool | str | None] = {"correct": correct, "why": why}
    except (
        Exception
    ) as error:  # Whatever goes wrong in here is the grader's failure: it is reported, not judged.
        reply = {"correct": None, "why": f"the grader failed: {type(error).__name__}: {str(error)[:200]}"}
    die_after(0)
    return json.dumps(reply)


def main() -> None:
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # Whatever a library prints must not be taken for a reply.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_memory()
    sys.set_int_max_str_digits(20_000)  # An answer of 5,000 digits is wrong, not beyond us.
    from xreasoner.rewards.math import equivalent

    logging.disable(logging.CRITICAL)
    equivalent(
        "1", r"\frac{1}{2}"
    )  # Imports and grammar belong to the start, not to the first answer's budget.
    print(json.dumps({"ready": True}), file=replies, flush=True)
    for request in sys.stdin:
        print(answer_line(request, equivalent), file=replies, flush=True)


if __name__ == "__main__":
    main()
