"""The clinical family: laboratory readings on dials, to be judged by reference ranges the model must know."""

import random
from collections.abc import Sequence
from functools import cache

from xreasoner.miniworld.item import Item, Step
from xreasoner.miniworld.lexicon import ANALYTES, LEVELS
from xreasoner.miniworld.scene import Cell, Scene, cell

REFERENCE = {
    "na": (3, 6),
    "k": (2, 4),
    "ca": (4, 7),
    "glu": (3, 5),
    "hb": (5, 8),
    "crp": (1, 3),
    "tsh": (2, 6),
    "alt": (1, 5),
}
READINGS_PER_STEP = 2


def verdict(analyte: str, level: int) -> str:
    low, high = REFERENCE[analyte]
    return "low" if level < low else "high" if level > high else "ok"


@cache
def levels_of(analyte: str, normal: bool) -> Sequence[int]:
    return [level for level in LEVELS if (verdict(analyte, level) == "ok") == normal]


def pick_level(rng: random.Random, analyte: str, normal: bool) -> int:
    return rng.choice(levels_of(analyte, normal))


def make_labs(rng: random.Random, difficulty: int) -> Item:
    """One step: judge one of a few readings. More steps: count the abnormal readings."""
    if difficulty == 1:
        return _one_reading(rng)
    size = READINGS_PER_STEP * difficulty
    abnormal = set(rng.sample(range(size), rng.randint(0, size)))
    count, cells, steps = 0, list[Cell](), list[Step]()
    for place, analyte in enumerate(rounds(rng, size)):
        level = pick_level(rng, analyte, normal=place not in abnormal)
        count += place in abnormal
        cells.append(cell("dial", analyte, str(level)))
        steps.append(Step((cells[-1].word, verdict(analyte, level)), str(count)))
    scene = Scene(tuple(cells))
    return Item("labs", "clinical", difficulty, scene, "how many abnormal", tuple(steps), str(count))


def rounds(rng: random.Random, size: int) -> list[str]:
    """Each analyte is measured once before any is measured again."""
    names: list[str] = []
    while len(names) < size:
        names += rng.sample(ANALYTES, min(size - len(names), len(ANALYTES)))
    return names


def _one_reading(rng: random.Random) -> Item:
    analytes = rng.sample(ANALYTES, rng.randint(2, 4))
    levels = {name: pick_level(rng, name, normal=rng.random() < 0.4) for name in analytes}
    asked = rng.choice(analytes)
    found = verdict(asked, levels[asked])
    scene = Scene(tuple(cell("dial", name, str(level)) for name, level in levels.items()))
    step = Step((f"{asked}{levels[asked]}",), found)
    return Item("labs", "clinical", 1, scene, f"what is {asked}", (step,), found)
