"""A chain of additions and subtractions, drawn as an expression."""

import random

from xreasoner.miniworld.item import Item, Step, arithmetic
from xreasoner.miniworld.lexicon import LARGEST
from xreasoner.miniworld.scene import Scene, cell


def pick_operator(rng: random.Random, total: int, operand: int) -> str:
    """An operator that keeps the running total inside the world's numbers."""
    allowed = [op for op, value in (("+", total + operand), ("-", total - operand)) if 0 <= value <= LARGEST]
    return rng.choice(allowed)


def make_sum(rng: random.Random, difficulty: int) -> Item:
    total = rng.randint(0, LARGEST)
    symbols, steps = [str(total)], list[Step]()
    for _ in range(difficulty):
        operand = rng.randint(1, 9)
        operator = pick_operator(rng, total, operand)
        steps.append(arithmetic(total, operator, operand))
        symbols.append(f"{operator}{operand}")
        total = int(steps[-1].result)
    scene = Scene(tuple(cell("glyph", symbol) for symbol in symbols))
    return Item("sums", "general", difficulty, scene, "work out", tuple(steps), str(total))
