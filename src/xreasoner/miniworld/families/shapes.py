"""Coloured shapes in a row, to be counted by colour or by shape."""

import random

from xreasoner.miniworld.item import Item, Step
from xreasoner.miniworld.lexicon import COLOURS, SHAPES
from xreasoner.miniworld.scene import Cell, Scene, cell

SHAPES_PER_STEP = 2


def make_shapes(rng: random.Random, difficulty: int) -> Item:
    by_colour = rng.random() < 0.5
    wanted, others = pick(rng, COLOURS if by_colour else SHAPES)
    size = SHAPES_PER_STEP * difficulty
    # Every count is as likely as any other: no guess does well.
    counted = set(rng.sample(range(size), rng.randint(0, size)))
    count, cells, steps = 0, list[Cell](), list[Step]()
    for place in range(size):
        seen = wanted if place in counted else rng.choice(others)
        count += place in counted
        look = (seen, rng.choice(SHAPES)) if by_colour else (rng.choice(COLOURS), seen)
        cells.append(cell("shape", *look))
        steps.append(Step((cells[-1].word, "yes" if place in counted else "no"), str(count)))
    return Item(
        "shapes", "general", difficulty, Scene(tuple(cells)), f"how many {wanted}", tuple(steps), str(count)
    )


def pick(rng: random.Random, options: tuple[str, ...]) -> tuple[str, list[str]]:
    """One of them, and the others."""
    chosen = rng.choice(options)
    return chosen, [option for option in options if option != chosen]
