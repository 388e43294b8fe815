"""A table of laboratory values against their reference ranges: the clinical family."""

import random

from xreasoner.miniworld.item import Item, Step
from xreasoner.miniworld.scene import Cell, Entry, Scene
from xreasoner.miniworld.vocabulary import ANALYTES


def verdict(value: int, low: int, high: int) -> str:
    return "low" if value < low else "high" if value > high else "ok"


def _row(rng: random.Random, analyte: str) -> tuple[Entry, str]:
    low = rng.randint(3, 20)
    high = low + rng.randint(2, 9)
    wanted = rng.choice(("low", "ok", "high"))
    value = {"low": rng.randint(0, low - 1), "ok": rng.randint(low, high), "high": rng.randint(high + 1, 35)}[
        wanted
    ]
    return tuple(Cell((word,)) for word in (analyte, str(value), str(low), str(high))), wanted


def make_labs(rng: random.Random, difficulty: int) -> Item:
    """One step: the verdict on one value of a few. More: how many values are abnormal."""
    analytes = rng.sample(ANALYTES, difficulty if difficulty > 1 else rng.randint(1, 3))
    rows = [_row(rng, analyte) for analyte in analytes]
    scene = Scene(tuple(entry for entry, _ in rows), per_row=1, separator=";")
    if difficulty == 1:
        asked = rng.randrange(len(analytes))
        found = rows[asked][1]
        steps: tuple[Step, ...] = (Step((analytes[asked], "is"), found),)
        return Item("labs", "clinical", 1, scene, f"what is {analytes[asked]}", steps, found)
    count, counted = 0, list[Step]()
    for analyte, (_, found) in zip(analytes, rows, strict=True):
        count += found != "ok"
        counted.append(Step((analyte, "is", found, "so"), str(count)))
    return Item("labs", "clinical", difficulty, scene, "how many abnormal", tuple(counted), str(count))
