"""A bar chart with names and lengths; the question adds and subtracts some bars."""

import random

from xreasoner.miniworld.families.sums import pick_operator
from xreasoner.miniworld.item import Item, Step, arithmetic
from xreasoner.miniworld.lexicon import HEIGHTS, LABELS
from xreasoner.miniworld.scene import Scene, cell


def make_bars(rng: random.Random, difficulty: int) -> Item:
    labels = rng.sample(LABELS, rng.randint(max(3, difficulty), max(6, difficulty)))
    bars = {label: cell("bar", label, str(rng.choice(HEIGHTS))) for label in labels}
    first, *others = rng.sample(labels, difficulty)
    total = int(bars[first].parts[1])
    asked, steps = [first], [Step((bars[first].word,), str(total))]
    for label in others:
        height = int(bars[label].parts[1])
        operator = pick_operator(rng, total, height)
        sum_ = arithmetic(total, operator, height)
        steps.append(Step((operator, bars[label].word, *sum_.words), sum_.result))
        total = int(sum_.result)
        asked += [operator, label]
    question = "work out " + " ".join(asked)
    return Item(
        "bars", "general", difficulty, Scene(tuple(bars.values())), question, tuple(steps), str(total)
    )
