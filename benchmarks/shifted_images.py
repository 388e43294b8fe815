"""How a model trained by the quickstart does on its images moved by whole pixels, in %.

    xreasoner run recipes/quickstart.yaml
    python benchmarks/shifted_images.py runs/quickstart/stages/1-sft/checkpoint [--pixels 0 1 2 4]
    python benchmarks/shifted_images.py runs/curve/level2-seed0/grafted --level 2

The mini-world draws every symbol at one of nine offsets of at most one pixel. Larger shifts were never seen.
With --level, the pictures are those of a looser world (docs/miniworld.md).
"""

import argparse
import io
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image, ImageChops

from xreasoner.miniworld.base.lessons import THINK_INSTRUCTION
from xreasoner.miniworld.pictures.worlds import LEVELS
from xreasoner.miniworld.probes.measure import pictured, share_right
from xreasoner.miniworld.problems import GENERAL, make_items, phrase, read_problem
from xreasoner.models.load import load
from xreasoner.records import Picture, Problem
from xreasoner.rollout.torch_engine.engine import TorchEngine

STEPS = {"read": (2, 4), "solve": (3, 6)}
INSTRUCTIONS = {"read": None, "solve": THINK_INSTRUCTION}


def shifted(picture: Picture, pixels: int) -> Picture:
    """Moved right and down; what leaves on one side is white on the other, as the paper is."""
    image = Image.open(io.BytesIO(picture.encoded)).convert("RGB")
    moved = ImageChops.offset(image, pixels, pixels)
    moved.paste((255, 255, 255), (0, 0, image.width, pixels))
    moved.paste((255, 255, 255), (0, 0, pixels, image.height))
    encoded = io.BytesIO()
    moved.save(encoded, "PNG")
    return Picture(encoded.getvalue())


def with_shift(problem: Problem, pixels: int) -> Problem:
    parts = [shifted(part, pixels) if isinstance(part, Picture) else part for part in problem.question]
    return replace(problem, question=tuple(parts))


def problems(family: str, task: str, pixels: int, wanted: argparse.Namespace) -> list[Problem]:
    items = make_items(family, STEPS[task], wanted.count, wanted.split, 0)
    asked = [read_problem(one, "image", 0) if task == "read" else phrase(one, "image", 0) for one in items]
    if wanted.level is None:
        return [with_shift(problem, pixels) for problem in asked]
    world = LEVELS[wanted.level]
    return [pictured(one, item, world, wanted.split, pixels) for one, item in zip(asked, items, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--count", type=int, default=100, help="problems per family")
    parser.add_argument("--pixels", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--split", choices=["dev", "test"], default="dev")
    parser.add_argument("--level", type=int, help="drawn in this world, in looks that were never trained")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    engine = TorchEngine(load(wanted.checkpoint))
    print(f"| pixels | {' | '.join(f'{task}, {family}' for task in STEPS for family in GENERAL)} |")
    for pixels in wanted.pixels:
        cells = [
            100 * share_right(engine, problems(family, task, pixels, wanted), INSTRUCTIONS[task])
            for task in STEPS
            for family in GENERAL
        ]
        print(f"| {pixels} | {' | '.join(f'{cell:.0f}' for cell in cells)} |", flush=True)


if __name__ == "__main__":
    main()
