"""Images of the quickstart moved as a whole, in seen and in new looks: how a checkpoint does, in %.

    xreasoner run recipes/quickstart.yaml
    python benchmarks/shifted_images.py runs/quickstart/stages/1-sft/checkpoint [--pixels 0 1 2 4]

Problems are drawn with their symbols off the middle and the whole picture off by up to 3 pixels; here each is
moved right and down by so many more. What leaves the picture is lost, so there are rows for all problems and
for those that lose no ink by the furthest move. Seen looks are those of the base's lessons, new ones those of
`--split`.
With --level, the pictures are those of another world (docs/miniworld.md).
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from xreasoner.chat.open_image import open_image
from xreasoner.miniworld.base.lessons import THINK_INSTRUCTION
from xreasoner.miniworld.item import Split
from xreasoner.miniworld.pictures.drawing import Pixels
from xreasoner.miniworld.pictures.worlds import LEVELS, QUICKSTART
from xreasoner.miniworld.probes.controls import MANY_STEPS
from xreasoner.miniworld.probes.measure import pictured, share_right
from xreasoner.miniworld.problems import GENERAL, make_items, phrase, read_problem
from xreasoner.models.load import load
from xreasoner.records import Picture, Problem
from xreasoner.rollout.torch_engine.engine import TorchEngine

STEPS = {"read": (2, 4), "solve": MANY_STEPS}
INSTRUCTIONS = {"read": None, "solve": THINK_INSTRUCTION}
INK = 60
"""Noise and JPEG change a channel of a pixel by less."""
Moved = tuple[dict[int, Problem], bool]


def problems_of(family: str, task: str, looks: Split, wanted: argparse.Namespace) -> Iterator[Moved]:
    """Each problem by the pixels that it is moved, and whether it keeps its ink."""
    furthest = max(wanted.pixels)
    for item in make_items(family, STEPS[task], wanted.count, wanted.split, 0):
        asked = (
            read_problem(item, "image", 0) if task == "read" else phrase(item, "image", 0, choice_share=0.0)
        )
        moved = {by: pictured(asked, item, LEVELS[wanted.level], looks, by) for by in {0, *wanted.pixels}}
        yield moved, keeps_ink(decode(moved[0]), furthest)


def decode(problem: Problem) -> Pixels:
    picture = problem.question[0]
    assert isinstance(picture, Picture)
    return np.asarray(open_image(picture.encoded))


def keeps_ink(pixels: Pixels, by: int) -> bool:
    """Whether what leaves the picture, columns on the right and rows at the bottom, is paper or noise."""
    if not by:
        return True
    paper = np.median(pixels.reshape(-1, 3), axis=0)
    leaving = np.concatenate([pixels[:, -by:].reshape(-1, 3), pixels[-by:].reshape(-1, 3)])
    return bool((np.abs(leaving - paper).max(axis=1) < INK).all())


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
    columns = [(task, family) for task in STEPS for family in GENERAL]
    titles = [f"{task}, {family}" for task, family in columns]
    print(f"| looks | problems | pixels | {' | '.join(titles)} |\n{'|---' * (3 + len(columns))}|")
    for looks in ("train", wanted.split):
        drawn = {(task, family): list(problems_of(family, task, looks, wanted)) for task, family in columns}
        for whole in (False, True):
            for by in wanted.pixels:
                cells = []
                for (task, _), moved in drawn.items():
                    asked = [problem[by] for problem, keeps in moved if keeps or not whole]
                    share = f"{100 * share_right(engine, asked, INSTRUCTIONS[task]):.0f} " if asked else ""
                    cells.append(f"{share}(n = {len(asked)})")
                name = "with all their ink" if whole else "all"
                row = ["seen" if looks == "train" else "new", name, str(by), *cells]
                print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
