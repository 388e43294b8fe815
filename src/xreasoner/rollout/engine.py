"""What every engine can do; training, evaluation, distillation and chat know no more than this."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from xreasoner.records import Prompt, Rollout, Sampling


class Engine(Protocol):
    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        """Rollouts as they finish, in any order: `(prompt_id, sample)` says which one it is."""
        ...
