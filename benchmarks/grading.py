"""Answers graded per CPU second of all processes: ours with two workers against Math-Verify called plainly.

Both sides are warm, as in a long run: each has graded as many other answers of the kind, and every round has
new ones. That two workers share what needs algebra is not measured.

Run: python benchmarks/grading.py [--pairs 2000] [--rounds 5] [--only groups]
"""

import argparse
import os
import random
import time
from collections.abc import Callable
from importlib.metadata import version
from itertools import count as count_from
from pathlib import Path

from side_by_side import alternate, entry, record
from xreasoner.records import Problem
from xreasoner.rewards.grade import Grader

Pair = tuple[str, str]
WORKERS = 2
GROUP = 8
"""Answers to the same question, as GRPO samples them."""


def integer_pairs(count: int, rng: random.Random) -> list[Pair]:
    """What a quickstart or a Math-57k rollout mostly is: an integer, half of them right."""
    keys = [str(rng.randint(0, 9999)) for _ in range(count // GROUP) for _ in range(GROUP)]
    return [(key, key if rng.random() < 0.5 else str(int(key) + rng.randint(1, 999))) for key in keys]


def expression_pairs(count: int, rng: random.Random) -> list[Pair]:
    """Fractions and roots, none of them equal as a string."""
    pairs = []
    for _ in range(count // GROUP):
        top, bottom = rng.randint(1, 99), rng.randint(2, 99)
        for scale in range(2, GROUP + 2):
            right = rf"\frac{{{top * scale}}}{{{bottom * scale}}}"
            wrong = rf"\frac{{{top + scale}}}{{{bottom}}}\sqrt{{{scale}}}"
            pairs.append((f"{top}/{bottom}", right if rng.random() < 0.5 else wrong))
    return pairs


def algebra_pairs(count: int, rng: random.Random) -> list[Pair]:
    """Products of two binomials and their expansions: every one needs Math-Verify's algebra."""
    pairs = []
    for _ in range(count // GROUP):
        a, b = rng.randint(1, 9), rng.randint(1, 9)
        for wrong in range(GROUP):
            last = a * b + (0 if rng.random() < 0.5 else wrong + 1)
            pairs.append((f"(x+{a})(x+{b})", f"x^2+{a + b}x+{last}"))
    return pairs


def group_pairs(count: int, rng: random.Random) -> list[Pair]:
    """As a policy in training may answer: 4 of 8 right and alike, 2 right in another form, 2 wrong."""
    pairs = []
    for _ in range(count // GROUP):
        a, b = rng.randint(1, 30), rng.randint(1, 30)
        usual, other = f"x^2+{a + b}x+{a * b}", f"x(x+{a + b})+{a * b}"
        wrong = [f"x^2+{a + b}x+{a * b + rng.randint(1, 9)}" for _ in range(2)]
        pairs += [(f"(x+{a})(x+{b})", answer) for answer in (*[usual] * 4, *[other] * 2, *wrong)]
    return pairs


def ours(grader: Grader, pairs: list[Pair]) -> float:
    problems = [
        (Problem(str(i), ("?",), key, "math"), f"<think>so</think><answer>{answer}</answer>")
        for i, (key, answer) in enumerate(pairs)
    ]
    processes = [worker.process.pid for worker in grader._pool.workers]
    before = time.process_time() + sum(map(cpu_seconds, processes))
    scores = grader.score_many(problems)
    seconds = time.process_time() + sum(map(cpu_seconds, processes)) - before
    assert all(score.correct is not None for score in scores)
    return len(pairs) / seconds


def cpu_seconds(process: int) -> float:
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def direct(pairs: list[Pair]) -> float:
    from math_verify import parse, verify

    started = time.process_time()
    for key, answer in pairs:
        verify(parse(f"${key}$"), parse(f"<think>so</think><answer>${answer}$</answer>"))
    return len(pairs) / (time.process_time() - started)


def compare(
    name: str, make: Callable[[int, random.Random], list[Pair]], count: int, rounds: int
) -> dict[str, object]:
    first = [(str(i), f"y+{i}", f"{i}+y") for i in range(WORKERS)]
    seeds, peer_seeds = count_from(0), count_from(0)
    with Grader(WORKERS) as grader:
        # Both workers start, and read their first formulas.
        grader.score_many(
            [(Problem(i, ("?",), key, "math"), f"<answer>{answer}</answer>") for i, key, answer in first]
        )
        own, peers = alternate(
            lambda: ours(grader, make(count, random.Random(next(seeds)))),
            {"direct": lambda: direct(make(count, random.Random(next(peer_seeds))))},
            rounds,
            "answers/CPU s",
        )
    peer = f"math-verify {version('math-verify')}, called for each answer"
    return entry(f"grading, {name}", own, peers["direct"], peer, "answers/CPU s", "5x", True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=KINDS)
    wanted = parser.parse_args()
    for name, (make, part) in KINDS.items():
        if wanted.only in (None, name):
            record([compare(name, make, wanted.pairs // part, wanted.rounds)])


KINDS = {
    "integers": (integer_pairs, 1),
    "expressions": (expression_pairs, 1),
    "algebra": (algebra_pairs, 4),
    "groups": (group_pairs, 4),
}
"""By name: what makes the pairs, and the part of `--pairs` that is enough."""

if __name__ == "__main__":
    main()
