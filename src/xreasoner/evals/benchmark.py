"""A set of problems with a name: what a model is asked in one evaluation."""

import re
from collections import Counter
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from xreasoner.records import Problem

Modality = Literal["text", "image"]
Role = Literal["skill", "perception", "blind"]
"""perception: looking without reasoning; blind: an image benchmark asked without its images."""

_NAME = re.compile(r"^[\w][\w.+-]*$")


@dataclass(frozen=True)
class Broken:
    """An item that cannot be asked. It counts as unscored, never as wrong."""

    id: str
    why: str


@dataclass(frozen=True)
class Benchmark:
    name: str
    modality: Modality
    domain: str
    problems: tuple[Problem, ...]
    role: Role = "skill"
    broken: tuple[Broken, ...] = ()

    @property
    def chance(self) -> float:
        """The accuracy of guessing among the options; a question without options is never guessed right."""
        return fmean(1 / len(p.choices) if p.kind == "choice" else 0.0 for p in self.problems)

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise ValueError(
                f"benchmark {self.name!r}: a name is made of letters, digits, '-', '_', '+' and '.'"
            )
        if not self.problems:
            why = f"; all of its items are broken, the first one: {self.broken[0].why}" if self.broken else ""
            raise ValueError(f"benchmark {self.name} has no problems{why}")
        ids = [problem.id for problem in self.problems] + [item.id for item in self.broken]
        twice = [name for name, count in Counter(ids).items() if count > 1]
        if twice:
            raise ValueError(f"benchmark {self.name}: the id {twice[0]!r} belongs to more than one problem")
