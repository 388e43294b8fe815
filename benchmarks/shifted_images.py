"""Images of the quickstart moved as a whole, in seen and in new looks: how a checkpoint does, in %.

    xreasoner run recipes/quickstart.yaml
    python benchmarks/shifted_images.py runs/quickstart/stages/1-sft/checkpoint [--pixels 0 1 2 4]

Problems are drawn with their symbols off the middle and the whole picture off by up to 3 pixels; here each is
moved right and down by so many more. Seen looks are those of the base's lessons, new ones those of `--split`.
With --level, the pictures are those of another world (docs/miniworld.md).
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch

from xreasoner.miniworld.base.lessons import THINK_INSTRUCTION
from xreasoner.miniworld.item import Split
from xreasoner.miniworld.pictures.worlds import LEVELS, QUICKSTART
from xreasoner.miniworld.probes.controls import MANY_STEPS
from xreasoner.miniworld.probes.measure import pictured, share_right
from xreasoner.miniworld.problems import GENERAL, make_items, phrase, read_problem
from xreasoner.models.load import load
from xreasoner.records import Problem
from xreasoner.rollout.torch_engine.engine import TorchEngine

STEPS = {"read": (2, 4), "solve": MANY_STEPS}
INSTRUCTIONS = {"read": None, "solve": THINK_INSTRUCTION}


def moved_problems(
    family: str, task: str, looks: Split, pixels: int, wanted: argparse.Namespace
) -> Iterator[Problem]:
    for item in make_items(family, STEPS[task], wanted.count, wanted.split, 0):
        asked = (
            read_problem(item, "image", 0) if task == "read" else phrase(item, "image", 0, choice_share=0.0)
        )
        yield pictured(asked, item, LEVELS[wanted.level], looks, pixels)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--count", type=int, default=100, help="problems per family")
    parser.add_argument("--pixels", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--split", choices=["dev", "test"], default="dev")
    parser.add_argument("--level", type=int, default=LEVELS.index(QUICKSTART))
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    engine = TorchEngine(load(wanted.checkpoint))
    columns = [f"{task}, {family}" for task in STEPS for family in GENERAL]
    print(f"| looks | pixels | {' | '.join(columns)} |\n{'|---' * (2 + len(columns))}|")
    for looks in ("train", wanted.split):
        for pixels in wanted.pixels:
            shares = [
                share_right(
                    engine, list(moved_problems(family, task, looks, pixels, wanted)), INSTRUCTIONS[task]
                )
                for task in STEPS
                for family in GENERAL
            ]
            cells = " | ".join(f"{100 * share:.0f}" for share in shares)
            print(f"| {'seen' if looks == 'train' else 'new'} | {pixels} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
