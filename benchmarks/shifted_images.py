"""How a model trained by the quickstart does on its images moved by whole pixels, in %.

    xreasoner run recipes/quickstart.yaml
    python benchmarks/shifted_images.py runs/quickstart/stages/1-sft/checkpoint [--pixels 0 1 2 4]

The mini-world draws every symbol at one of nine offsets of at most one pixel. Larger shifts were never seen.
"""

import argparse
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageChops

from xreasoner.miniworld.eyes.measure import share_right
from xreasoner.miniworld.lessons import THINK_INSTRUCTION
from xreasoner.miniworld.problems import GENERAL, make_items, phrase, read_problem
from xreasoner.models.load import load
from xreasoner.records import Picture, Problem
from xreasoner.rollout.torch_engine.engine import TorchEngine


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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--count", type=int, default=100, help="problems per family")
    parser.add_argument("--pixels", type=int, nargs="+", default=[0, 1, 2, 4])
    wanted = parser.parse_args()
    engine = TorchEngine(load(wanted.checkpoint))
    tasks: dict[str, tuple[Callable[[str], list[Problem]], str | None]] = {
        "read": (
            lambda family: [
                read_problem(one, "image", 0) for one in make_items(family, (2, 4), wanted.count, "test", 0)
            ],
            None,
        ),
        "solve": (
            lambda family: [
                phrase(one, "image", 0) for one in make_items(family, (3, 6), wanted.count, "test", 0)
            ],
            THINK_INSTRUCTION,
        ),
    }
    print(f"| pixels | {' | '.join(f'{task}, {family}' for task in tasks for family in GENERAL)} |")
    for pixels in wanted.pixels:
        cells = [
            100 * share_right(engine, [with_shift(one, pixels) for one in make(family)], instruction)
            for make, instruction in tasks.values()
            for family in GENERAL
        ]
        print(f"| {pixels} | {' | '.join(f'{cell:.0f}' for cell in cells)} |", flush=True)


if __name__ == "__main__":
    main()
