"""Answers graded per second: ours with one and two workers, against Math-Verify in the calling process.

Run: python benchmarks/grading.py [--pairs 2000] [--rounds 5]
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version

from side_by_side import entry, record
from xreasoner.records import Problem
from xreasoner.rewards.grade import Grader

Pair = tuple[str, str]
GROUP = 8
"""Answers to the same question, as GRPO samples them."""


def integer_pairs(count: int, rng: random.Random) -> list[Pair]:
    """What a quickstart or a Math-57k rollout mostly is: an integer, half of them right."""
    keys = [str(rng.randint(0, 9999)) for _ in range(count // GROUP) for _ in range(GROUP)]
    return [(key, key if rng.random() < 0.5 else str(int(key) + rng.randint(1, 999))) for key in keys]


def expression_pairs(count: int, rng: random.Random) -> list[Pair]:
    """Fractions and roots, none of them equal as a string: every one needs math-verify."""
    pairs = []
    for _ in range(count // GROUP):
        top, bottom = rng.randint(1, 99), rng.randint(2, 99)
        for scale in range(2, GROUP + 2):
            right = rf"\frac{{{top * scale}}}{{{bottom * scale}}}"
            wrong = rf"\frac{{{top + scale}}}{{{bottom}}}\sqrt{{{scale}}}"
            pairs.append((f"{top}/{bottom}", right if rng.random() < 0.5 else wrong))
    return pairs


def ours(pairs: list[Pair], workers: int) -> float:
    problems = [
        (
            Problem(id=str(i), question=("?",), answer=key, kind="math"),
            f"<think>so</think><answer>{answer}</answer>",
        )
        for i, (key, answer) in enumerate(pairs)
    ]
    with Grader(workers=workers) as grader:
        grader.score_many(
            [
                (Problem(id=str(i), question=("?",), answer=f"1/{i + 2}", kind="math"), "\\boxed{0}")
                for i in range(workers)
            ]
        )
        started = time.perf_counter()
        scores = grader.score_many(problems)
        seconds = time.perf_counter() - started
    assert all(score.correct is not None for score in scores)
    return len(pairs) / seconds


def direct(pairs: list[Pair]) -> float:
    from math_verify import parse, verify

    started = time.perf_counter()
    for key, answer in pairs:
        verify(parse(f"${key}$"), parse(f"<think>so</think><answer>${answer}$</answer>"))
    return len(pairs) / (time.perf_counter() - started)


def compare(name: str, pairs: list[Pair], rounds: int) -> dict[str, object]:
    runs: dict[str, Callable[[], float]] = {
        "one": lambda: ours(pairs, 1),
        "two": lambda: ours(pairs, 2),
        "direct": lambda: direct(pairs),
    }
    speeds: dict[str, list[float]] = {run: [] for run in runs}
    for _ in range(rounds):
        for run, measure in runs.items():
            speeds[run].append(measure())
    print(f"{name}: {', '.join(f'{run} {statistics.median(found):,.0f}/s' for run, found in speeds.items())}")
    peer = f"math-verify {version('math-verify')}, in process; ours with 2 workers"
    return entry(f"grading, {name}", speeds["two"], speeds["direct"], peer, "answers/s", "", True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args()
    rng = random.Random(0)
    rows = [
        compare("integers", integer_pairs(wanted.pairs, rng), wanted.rounds),
        compare("expressions", expression_pairs(wanted.pairs, rng), wanted.rounds),
    ]
    record(rows)


if __name__ == "__main__":
    main()
