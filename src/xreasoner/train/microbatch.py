"""Micro-batches that turn out to need more memory than there is are halved, once."""

from collections.abc import Callable
from typing import Generic, TypeVar

import torch

from xreasoner.parallel import World
from xreasoner.recipe.schema import GrpoStage, SftStage
from xreasoner.storage.journal import Say

T = TypeVar("T")
AnyStage = TypeVar("AnyStage", SftStage, GrpoStage)


class MicroBatch(Generic[AnyStage]):
    """The settings of a stage, with half of `tokens_per_microbatch` after an error of memory.

    The gradient is the same but for rounding. With several ranks, only one would repeat its work: no retry.
    """

    def __init__(self, settings: AnyStage, world: World, say: Say) -> None:
        self.settings: AnyStage = settings
        self._say = say
        self._may_halve = world.size == 1

    def fit(self, compute: Callable[[AnyStage], T], undo: Callable[[], None], repeatable: bool = True) -> T:
        """`undo` removes what a `compute` that failed left behind."""
        try:
            return compute(self.settings)
        except torch.OutOfMemoryError:
            if not (self._may_halve and repeatable):
                raise
        # Outside `except`: the error holds on to the tensors of the failed attempt.
        self._may_halve = False
        tokens = self.settings.tokens_per_microbatch
        self.settings = self.settings.model_copy(update={"tokens_per_microbatch": max(1, tokens // 2)})
        self._say(f"out of GPU memory with tokens_per_microbatch={tokens}: continuing with {tokens // 2}")
        undo()
        torch.cuda.empty_cache()
        return compute(self.settings)
