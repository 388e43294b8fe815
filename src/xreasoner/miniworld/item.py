"""A problem before it is phrased: the scene, the question about it, and the steps that solve it."""

from dataclasses import dataclass

from xreasoner.miniworld.scene import Scene


@dataclass(frozen=True)
class Step:
    """One step of a thought: what is written before its result, and the result."""

    words: tuple[str, ...]
    result: str


@dataclass(frozen=True)
class Item:
    family: str
    domain: str
    difficulty: int
    """The number of steps asked for; the thought may write more."""
    scene: Scene
    question: str
    steps: tuple[Step, ...]
    answer: str


def arithmetic(left: int, operator: str, right: int) -> Step:
    result = left + right if operator == "+" else left - right
    return Step((str(left), f"{operator}{right}", "="), str(result))
