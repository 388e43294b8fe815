"""A problem independent of its modality: a scene, a question and the steps of the solution."""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal, NamedTuple

from xreasoner.miniworld.scene import Scene

Split = Literal["train", "dev", "test"]


class Step(NamedTuple):
    """One step of a thought: the words before the result, and the result."""

    words: tuple[str, ...]
    result: str


@dataclass(frozen=True)
class Item:
    family: str
    domain: str
    difficulty: int
    """The requested number of steps; the thought may have more."""
    scene: Scene
    question: str
    steps: tuple[Step, ...]
    answer: str

    @cached_property
    def key(self) -> str:
        """Two items with the same key are the same problem."""
        return f"{self.family} | {' '.join(self.scene.words())} | {self.question}"


@cache
def arithmetic(left: int, operator: str, right: int) -> Step:
    result = left + right if operator == "+" else left - right
    return Step((str(left), f"{operator}{right}", "="), str(result))
