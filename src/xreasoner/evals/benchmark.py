"""A set of problems with a name: what a model is asked in one evaluation."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from xreasoner.records import Problem

Modality = Literal["text", "image"]
Role = Literal["skill", "perception", "blind"]
"""perception: looking without reasoning; blind: an image benchmark asked without its images."""

_NAME = re.compile(r"^[\w][\w.+-]*$")


@dataclass(frozen=True)
class Benchmark:
    name: str
    modality: Modality
    domain: str
    problems: tuple[Problem, ...]
    role: Role = "skill"

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise ValueError(
                f"benchmark {self.name!r}: a name is made of letters, digits, '-', '_', '+' and '.'"
            )
        if not self.problems:
            raise ValueError(f"benchmark {self.name} has no problems")
        twice = [
            name for name, count in Counter(problem.id for problem in self.problems).items() if count > 1
        ]
        if twice:
            raise ValueError(f"benchmark {self.name}: the id {twice[0]!r} belongs to more than one problem")
