"""The programmatic teacher: restates the problem, works step by step, now and then checks or mends a slip."""

import random

from xreasoner.miniworld.item import Item, Step

SLIPS, CHECKS = 0.02, 0.05


def _write(step: Step) -> list[str]:
    return [*step.words, step.result, ";"]


def _slip(step: Step, rng: random.Random) -> list[str]:
    """The step with a wrong number, noticed and done again."""
    wrong = max(0, int(step.result) + rng.choice((-1, 1)))
    return [*step.words, str(wrong), ";", "wait", *_write(step)]


def write_thought(item: Item, rng: random.Random) -> str:
    words = [*item.scene.words(), "so"]
    for step in item.steps:
        slips = step.result.isdigit() and rng.random() < SLIPS
        words += _slip(step, rng) if slips else _write(step)
    if rng.random() < CHECKS:
        words += ["check", *_write(item.steps[-1])]
    return " ".join(words)
