"""A bar chart with an axis: bars rise from one line, names below, marks of heights at the left."""

import random

import numpy as np

from xreasoner.miniworld.lexicon import HEIGHTS
from xreasoner.miniworld.pictures.appearance import Appearance
from xreasoner.miniworld.pictures.fonts import text_mask
from xreasoner.miniworld.pictures.symbols import Layer
from xreasoner.miniworld.scene import Scene

Placed = tuple[Layer, tuple[int, int]]
UNIT_SHARE = 0.22
"""Pixels of one unit of height, as a fraction of the size of symbols."""
MARKED = (3, 6, 9)
"""Heights with a line across the chart and a number at the axis."""


def _block(wide: int, high: int, paint: str) -> Layer:
    return np.full((high, wide), 255, np.uint8), paint


def draw_chart(scene: Scene, look: Appearance, rng: random.Random) -> tuple[list[Placed], tuple[int, int]]:
    """Layers with their places, and the size that they need."""
    unit = max(4, round(UNIT_SHARE * look.size))
    capital = max(6, round(0.4 * look.size))
    wide, gap = rng.randint(look.size // 2, look.size - 4), rng.randint(4, 10)
    left, top = rng.randrange(10) + 12, rng.randrange(10) + 2
    ground = top + unit * (HEIGHTS[-1] + 1)
    length = len(scene.cells) * (wide + gap) + gap
    placed: list[Placed] = [
        (_block(1, ground - top, "ink"), (left, top)),
        (_block(length, 1, "ink"), (left, ground)),
    ]
    for height in MARKED:
        number = text_mask(str(height), look.font, max(5, capital - 2), 11)
        y = ground - unit * height
        placed.append(((number, "ink"), (left - 12, max(0, y - number.shape[0] // 2))))
        placed.append((_block(length, 1, "ink"), (left, y)))
    for i, cell in enumerate(scene.cells):
        label, height = cell.parts[0], int(cell.parts[1])
        x = left + gap + i * (wide + gap)
        placed.append((_block(wide, unit * height, "accent"), (x, ground - unit * height)))
        name = text_mask(label, look.font, capital, wide)
        placed.append(((name, "ink"), (x + (wide - name.shape[1]) // 2, ground + 3)))
    return placed, (left + length + 2, ground + 3 + 2 * capital)
