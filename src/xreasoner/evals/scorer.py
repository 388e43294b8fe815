"""A user's own grader of a benchmark: a function of the same form as a reward."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

from xreasoner.records import Problem, Reply, Score
from xreasoner.rewards.user_function import UserFunction


@dataclass(frozen=True)
class Scorer:
    """1 or more is right, less is wrong, None is unscored. The reply has our grader's score for it to use."""

    name: str
    seconds: float
    function: UserFunction = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "function", UserFunction(self.name, self.seconds, "scorer"))

    @cached_property
    def identity(self) -> list[str]:
        """Another source is another grade, so the question is asked again."""
        return [self.name, self.function.source()]

    def score(self, problem: Problem, reply: Reply, say: Callable[[str], None]) -> Score:
        (value,) = self.function.values([problem], [reply], say)
        correct = None if value is None else value >= 1
        said = "cannot judge it" if value is None else f"gave {value:g}"
        return replace(reply.score, correct=correct, why=f"{self.name} {said}")

    def close(self) -> None:
        self.function.close()
