"""Written thoughts: restate the problem, work step by step, then go through the options if there are any.

A few thoughts check their last step; a few steps contain a slip that is corrected.
"""

import random
from collections.abc import Sequence

from xreasoner.miniworld.item import Item, Step
from xreasoner.miniworld.lexicon import OPTION_NAMES

SLIPS, CHECKS = 0.02, 0.05
WITHOUT_WORK = "so say"
"""Comes before the result in a thought that leaves out the work."""


def _write(step: Step) -> list[str]:
    return [*step.words, step.result, ";"]


def _slip(step: Step, rng: random.Random) -> list[str]:
    """The step with a wrong result, noticed and corrected."""
    right = int(step.result)
    wrong = right + rng.choice((-1, 1)) if right else 1
    return [*step.words, str(wrong), ";", "wait", *_write(step)]


def go_through(answer: str, choices: Sequence[str]) -> list[str]:
    """The options in order, up to the right one, each beside the answer: telling whether two words next to
    each other are the same is easier than finding what to compare with."""
    words: list[str] = []
    for name, choice in zip(OPTION_NAMES, choices, strict=False):
        words += [name, choice, "=", answer, "yes" if choice == answer else "no", ";"]
        if choice == answer:
            break
    return words


def write_brief_thought(item: Item, choices: Sequence[str] = ()) -> str:
    """States the result without the work."""
    return " ".join([*item.scene.words(), WITHOUT_WORK, item.answer, ";", *go_through(item.answer, choices)])


def write_thought(item: Item, rng: random.Random, choices: Sequence[str] = ()) -> str:
    words = [*item.scene.words(), "so"]
    for step in item.steps:
        slips = step.result.isdigit() and rng.random() < SLIPS
        words += _slip(step, rng) if slips else _write(step)
    if rng.random() < CHECKS:
        words += ["check", *_write(item.steps[-1])]
    return " ".join(words + go_through(item.answer, choices))
