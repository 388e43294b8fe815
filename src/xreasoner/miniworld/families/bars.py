"""A bar chart: a row per bar, its label and its length. The question adds and subtracts some bars."""

import random

from xreasoner.miniworld.families.sums import pick_operator
from xreasoner.miniworld.item import Item, Step, arithmetic
from xreasoner.miniworld.scene import Cell, Scene
from xreasoner.miniworld.vocabulary import LABELS


def make_bars(rng: random.Random, difficulty: int) -> Item:
    labels = rng.sample(LABELS, rng.randint(3, 5))
    heights = {label: rng.randint(1, 9) for label in labels}
    first = rng.choice(labels)
    total = heights[first]
    asked, steps = [first], [Step((first, "is"), str(total))]
    for _ in range(difficulty - 1):
        label = rng.choice(labels)
        operator = pick_operator(rng, total, heights[label])
        steps.append(Step((label, "is"), str(heights[label])))
        steps.append(arithmetic(total, operator, heights[label]))
        total = int(steps[-1].result)
        asked += [operator, label]
    entries = tuple((Cell((label,)), Cell((str(heights[label]),), "bar")) for label in labels)
    scene = Scene(entries, per_row=1, separator=";")
    question = "work out " + " ".join(asked)
    return Item("bars", "general", difficulty, scene, question, tuple(steps), str(total))
