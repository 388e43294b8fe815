"""Why multiple choice is weaker than free answers in the mini-world: where each wrong answer went wrong.

    OMP_NUM_THREADS=1 python benchmarks/options.py runs/quickstart/stages/1-sft/checkpoint [--count 100]

The same many-step development problems of the general families, as text: asked freely, and with four options.
In brackets: of 3, 4, 5 and 6 steps.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import get_args

import torch

from xreasoner.miniworld.base.lessons import THINK_INSTRUCTION
from xreasoner.miniworld.probes.controls import DIFFICULTIES, MANY_STEPS, replies, solved
from xreasoner.miniworld.probes.option_errors import Outcome, outcome_of
from xreasoner.miniworld.problems import GENERAL, make_items, phrase
from xreasoner.models.load import load
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.torch_engine.engine import TorchEngine


def by_steps(right: Sequence[bool]) -> str:
    """Difficulties take turns."""
    of_each = (f"{100 * mean(right[first::DIFFICULTIES]):.0f}" for first in range(DIFFICULTIES))
    return f"{100 * mean(right):.0f} ({', '.join(of_each)})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--count", type=int, default=100, help="problems per family")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    engine = TorchEngine(load(wanted.checkpoint))
    outcomes = [one for one in get_args(Outcome) if one != "right"]
    print(
        f"| family | asked freely | with options | {' | '.join(outcomes)} |\n{'|---' * (3 + len(outcomes))}|"
    )
    with Grader() as grader:
        for family in GENERAL:
            items = make_items(family, MANY_STEPS, wanted.count, "dev", 0)
            free = solved(engine, [phrase(item, "text", 0, choice_share=0.0) for item in items], grader)
            problems = [phrase(item, "text", 0, choice_share=1.0) for item in items]
            said = replies(engine, problems, THINK_INSTRUCTION)
            right = [grader.score(problem, said[problem.id]).correct is True for problem in problems]
            found = Counter(
                outcome_of(said[problem.id], item.answer, problem.choices, one)
                for item, problem, one in zip(items, problems, right, strict=True)
            )
            shares = [f"{100 * found[outcome] / len(items):.0f}" for outcome in outcomes]
            cells = (family, by_steps(free), by_steps(right), *shares)
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
