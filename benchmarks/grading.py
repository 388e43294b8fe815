"""Answers graded a second: ours with one and two workers, against Math-Verify called directly in one process.

Run: python benchmarks/grading.py [--pairs 2000] [--rounds 5] [--json results.json]
"""

import argparse
import datetime
import json
import platform
import random
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

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
    median = {run: statistics.median(values) for run, values in speeds.items()}
    ratios = [two / peer for two, peer in zip(speeds["two"], speeds["direct"], strict=True)]
    print(f"{name}: {', '.join(f'{run} {speed:,.0f}/s' for run, speed in median.items())}")
    return {
        "name": f"grading, {name}",
        "ours": round(median["two"], 1),
        "peer": round(median["direct"], 1),
        "peer_version": f"math-verify {version('math-verify')}, in process",
        "unit": "answers/s",
        "ratio": round(statistics.median(ratios), 2),
        "spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "aim": None,
        "device": f"{platform.machine()}, 2 workers",
        "command": f"python benchmarks/grading.py --pairs {len(pairs)} --rounds {rounds}",
        "date": datetime.date.today().isoformat(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="append the rows to this results file")
    wanted = parser.parse_args()
    rng = random.Random(0)
    rows = [
        compare("integers", integer_pairs(wanted.pairs, rng), wanted.rounds),
        compare("expressions", expression_pairs(wanted.pairs, rng), wanted.rounds),
    ]
    if wanted.json:
        known = json.loads(wanted.json.read_text()) if wanted.json.exists() else []
        kept = [row for row in known if row["name"] not in {new["name"] for new in rows}]
        wanted.json.write_text(json.dumps(kept + rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
