"""The interface of all engines. Training, evaluation, distillation and serving use nothing else."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from xreasoner.records import Prompt, Rollout, Sampling


class Engine(Protocol):
    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        """Yield rollouts as they finish, in any order; `(prompt_id, sample)` identifies each."""
        ...


@dataclass(frozen=True)
class PartialRollout:
    """One sample of a prompt and the tokens it already has."""

    prompt: Prompt
    sample: int
    token_ids: tuple[int, ...] = ()


@runtime_checkable
class ResumableEngine(Engine, Protocol):
    """An engine that can continue from given tokens."""

    def resume(self, partials: Sequence[PartialRollout], sampling: Sampling) -> Iterator[Rollout]:
        """Yield what `generate` would yield if it had sampled these tokens first.

        If a budget ends the thought earlier, the tokens after that point are dropped and the exit is forced.
        Tokens that already form a whole answer are returned as they are. `sampling.n` is ignored.
        """
        ...


@runtime_checkable
class ClosableEngine(Engine, Protocol):
    """An engine that holds memory or processes which must be released."""

    def close(self) -> None:
        """All processes must call this together."""
        ...


def resume_rollouts(
    engine: Engine, partials: Sequence[PartialRollout], sampling: Sampling
) -> Iterator[Rollout]:
    """Resume if the engine can; otherwise generate again from the start, which gives the same answers."""
    if not partials:
        return
    if isinstance(engine, ResumableEngine):
        yield from engine.resume(partials, sampling)
        return
    wanted = {(partial.prompt.id, partial.sample) for partial in partials}
    prompts = list({partial.prompt.id: partial.prompt for partial in partials}.values())
    samples = max(partial.sample for partial in partials) + 1
    for rollout in engine.generate(prompts, replace(sampling, n=samples)):
        if (rollout.prompt_id, rollout.sample) in wanted:
            yield rollout
