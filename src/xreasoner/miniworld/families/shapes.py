"""Coloured shapes in a grid, to be counted by colour or by shape."""

import random

from xreasoner.miniworld.item import Item, Step
from xreasoner.miniworld.scene import Cell, Scene
from xreasoner.miniworld.vocabulary import COLOURS, SHAPES

SHAPES_PER_STEP = 2
SHAPES_PER_ROW = 4


def make_shapes(rng: random.Random, difficulty: int) -> Item:
    by_colour = rng.random() < 0.5
    wanted = rng.choice(COLOURS if by_colour else SHAPES)
    count, cells, steps = 0, list[Cell](), list[Step]()
    for _ in range(SHAPES_PER_STEP * difficulty):
        # Half of them are what is asked for: otherwise most answers would be 1 or 2.
        asked = wanted if rng.random() < 0.4 else None
        colour = asked if asked and by_colour else rng.choice(COLOURS)
        shape = asked if asked and not by_colour else rng.choice(SHAPES)
        seen = colour if by_colour else shape
        count += seen == wanted
        cells.append(Cell((colour, shape), "shape"))
        steps.append(Step((seen, "yes" if seen == wanted else "no"), str(count)))
    scene = Scene(tuple((cell,) for cell in cells), SHAPES_PER_ROW, separator=";")
    return Item("shapes", "general", difficulty, scene, f"how many {wanted}", tuple(steps), str(count))
