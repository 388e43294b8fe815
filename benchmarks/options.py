"""Why multiple choice is weaker than free answers in the mini-world: where each wrong answer went wrong.

    OMP_NUM_THREADS=1 python benchmarks/options.py runs/quickstart/stages/1-sft/checkpoint [--count 100]

The same many-step development problems of the general families, as text: asked freely, and with four options.
"""

import argparse
from collections import Counter
from pathlib import Path
from statistics import mean
from typing import get_args

import torch

from xreasoner.miniworld.base.lessons import THINK_INSTRUCTION
from xreasoner.miniworld.probes.controls import MANY_STEPS, replies, solved
from xreasoner.miniworld.probes.option_errors import Outcome, outcome_of
from xreasoner.miniworld.problems import GENERAL, make_items, phrase
from xreasoner.models.load import load
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.torch_engine.engine import TorchEngine


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--count", type=int, default=100, help="problems per family")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    engine, outcomes = TorchEngine(load(wanted.checkpoint)), get_args(Outcome)
    print(f"| family | asked freely | {' | '.join(outcomes)} |\n{'|---' * (2 + len(outcomes))}|")
    with Grader() as grader:
        for family in GENERAL:
            items = make_items(family, MANY_STEPS, wanted.count, "dev", 0)
            free = solved(engine, [phrase(item, "text", 0, choice_share=0.0) for item in items], grader)
            problems = [phrase(item, "text", 0, choice_share=1.0) for item in items]
            said = replies(engine, problems, THINK_INSTRUCTION)
            found = Counter(
                outcome_of(
                    said[problem.id],
                    item.answer,
                    problem.choices,
                    grader.score(problem, said[problem.id]).correct is True,
                )
                for item, problem in zip(items, problems, strict=True)
            )
            shares = [f"{100 * found[outcome] / len(items):.0f}" for outcome in outcomes]
            print(f"| {family} | {100 * mean(free):.0f} | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    main()
