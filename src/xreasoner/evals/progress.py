"""How far an evaluation has come, in answers."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from xreasoner.evals.samples import Sample


@dataclass(frozen=True)
class Progress:
    benchmark: str
    total: int
    done: int = 0
    right: int = 0
    wrong: int = 0
    forced: int = 0
    missing: int = 0
    think_tokens: int = 0

    @property
    def accuracy(self) -> float:
        return self.right / max(1, self.right + self.wrong)

    @property
    def unscored(self) -> int:
        return self.done - self.right - self.wrong

    @property
    def mean_think_tokens(self) -> float:
        return self.think_tokens / max(1, self.done)

    def plus(self, sample: Sample) -> "Progress":
        return replace(
            self,
            done=self.done + 1,
            right=self.right + (sample.correct is True),
            wrong=self.wrong + (sample.correct is False),
            forced=self.forced + sample.forced,
            missing=self.missing + sample.missing,
            think_tokens=self.think_tokens + sample.think_tokens,
        )


Show = Callable[[Progress], None]
