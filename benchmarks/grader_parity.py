"""Our rules for numbers and open questions against MathVista's and MMMU's own functions, on random answers.

Run: python benchmarks/grader_parity.py --mmmu MMMU/mmmu/utils/eval_utils.py \\
       --mathvista MathVista/evaluation/calculate_score.py [--answers 20000]
"""

import argparse
import random
from pathlib import Path

from grader_agreement import mathvista_judge, mmmu_judge
from grader_cases import Case
from xreasoner.rewards.number import match_number
from xreasoner.rewards.open import match_open

OPEN_WORDS = (
    *(
        "the",
        "answer",
        "is",
        "=",
        "so",
        "thus",
        "final",
        "could",
        "be",
        "result",
        "therefore",
        ".",
        ":",
        "\n",
    ),
    *("5", "6.25", "1,234", "$6", "6", "dollars", "-3", "1e3", "2.5e-1", ".5", "100", "3.14159", "3.14", "%"),
    *("x", "y", "a", "no", "known", "osteo", "arthritis", "yes", "NO", "nan", "inf"),
)
OPEN_KEYS = ("5", "6.25", "1,234", "$6", '["$6", "6 dollars"]', "x", "no", "-3", "1000", "osteo", "3.14", "a")


def open_case(rng: random.Random) -> Case:
    text = " ".join(rng.choice(OPEN_WORDS) for _ in range(rng.randint(1, 9)))
    return Case("open", rng.choice(OPEN_KEYS), (), False, "random", text)


def number_case(rng: random.Random) -> Case:
    """A bare number, as MathVista's first half hands it to the second."""
    places = rng.randint(0, 2)
    key = f"{rng.uniform(-20, 20):.{places}f}"
    if float(key) == 0:
        key = key.lstrip("-")  # no benchmark writes a negative zero
    near = float(key) + rng.choice((0, 0, 0.004, -0.004, 0.05, -0.05, 0.5, 1, -1))
    return Case("number", key, (), False, "random", f"{near:.{rng.randint(0, 4)}f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mmmu", type=Path, required=True)
    parser.add_argument("--mathvista", type=Path, required=True)
    parser.add_argument("--answers", type=int, default=20_000)
    wanted = parser.parse_args()
    rng = random.Random(0)
    mmmu = mmmu_judge(wanted.mmmu, lambda case: case.text)
    mathvista = mathvista_judge(wanted.mathvista, lambda case: case.text)
    for name, judge, rule, make in (
        ("MMMU, open", mmmu, match_open, open_case),
        ("MathVista, numbers", mathvista, match_number, number_case),
    ):
        cases = [make(rng) for _ in range(wanted.answers)]
        differ = [case for case in cases if judge(case) is not rule(case.key, case.text)[0]]
        right = sum(rule(case.key, case.text)[0] for case in cases)
        print(f"{name}: {len(cases):,} answers, {right:,} right, {len(differ):,} judged differently")
        for case in differ[:5]:
            print(f"  key {case.key!r}, answer {case.text!r}")


if __name__ == "__main__":
    main()
