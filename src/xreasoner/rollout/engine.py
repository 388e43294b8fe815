"""What every engine can do; training, evaluation, distillation and chat know no more than this."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from xreasoner.records import Prompt, Rollout, Sampling


class Engine(Protocol):
    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        """Rollouts as they finish, in any order: `(prompt_id, sample)` says which one it is."""
        ...


@dataclass(frozen=True)
class Begun:
    """One sample of a prompt, and the tokens it begins with."""

    prompt: Prompt
    sample: int
    token_ids: tuple[int, ...] = ()


@runtime_checkable
class ResumingEngine(Engine, Protocol):
    """Engines that know their tokens can also do this."""

    def resume(self, begun: Sequence[Begun], sampling: Sampling) -> Iterator[Rollout]:
        """What `generate` would give had these tokens been drawn first, as far as the budgets let them.

        Where a budget ends the thought earlier, the tokens after that are dropped and the exit is forced;
        where the tokens are a whole answer, it comes back as it is. `sampling.n` is not looked at.
        """
        ...


@runtime_checkable
class ClosingEngine(Engine, Protocol):
    """Engines that hold more than an object does."""

    def close(self) -> None:
        """By all processes at the same time."""
        ...


def go_on(engine: Engine, begun: Sequence[Begun], sampling: Sampling) -> Iterator[Rollout]:
    """Resumed where the engine can; else asked from the start: the same answers, at a higher price."""
    if not begun:
        return
    if isinstance(engine, ResumingEngine):
        yield from engine.resume(begun, sampling)
        return
    wanted = {(one.prompt.id, one.sample) for one in begun}
    prompts = list({one.prompt.id: one.prompt for one in begun}.values())
    most = max(one.sample for one in begun) + 1
    for rollout in engine.generate(prompts, replace(sampling, n=most)):
        if (rollout.prompt_id, rollout.sample) in wanted:
            yield rollout
