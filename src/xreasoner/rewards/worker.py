"""The process that calls Math-Verify: one JSON line in, one out. The pool starts and kills it."""

import json
import logging
import os
import signal
import sys

START_SECONDS = 120
MEMORY_LIMIT = 4 << 30
"""Bytes of address space; `9^{9^{9^9}}` would use all memory."""


def limit_memory() -> None:
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))


def die_after(seconds: float) -> None:
    """Of this process's CPU time: what else the machine does must not decide a verdict.

    An unhandled signal stops any code."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def answer_line(line: str) -> str:
    """The verdict on one pair: None if the key cannot be parsed; an answer that raises any error is wrong."""
    from xreasoner.rewards.math import equivalent, read_key

    key, answer, seconds = json.loads(line)
    die_after(seconds)
    correct: bool | None = None
    why = "the key cannot be read as mathematics"
    try:
        read_key(key)
        correct, why = True, ""
        if answer is not None:
            correct, why = False, "it cannot be compared"
            correct, why = equivalent(key, answer)
    except Exception as error:  # a library may raise anything on a model's text
        why += f": {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    die_after(0)
    return json.dumps({"correct": correct, "why": why})


def main() -> None:
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # Output of a library must not be mistaken for a reply.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_memory()
    sys.set_int_max_str_digits(20_000)  # An answer with 5,000 digits is wrong, not an error.
    logging.disable(logging.CRITICAL)
    # Imports and the grammar are loaded at the start, not within the budget of the first answer.
    answer_line(json.dumps(["1", r"\frac{1}{2}", START_SECONDS]))
    print(json.dumps({"ready": True}), file=replies, flush=True)
    for request in sys.stdin:
        print(answer_line(request), file=replies, flush=True)


if __name__ == "__main__":
    main()
