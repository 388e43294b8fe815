"""From generated tokens to a `Rollout` (see records.py), for all engines that have tokens."""

from collections.abc import Callable, Sequence

from xreasoner.records import Rollout, Stop
from xreasoner.rollout.forced_exit import BudgetTracker


def to_rollout(
    prompt_id: str,
    sample: int,
    prompt_ids: tuple[int, ...],
    token_ids: Sequence[int],
    logprobs: Sequence[float],
    stop: Stop,
    tracker: BudgetTracker,
    decode: Callable[[Sequence[int]], str],
) -> Rollout:
    without_end = token_ids[:-1] if stop == "eos" else token_ids
    injected = tracker.injected
    return Rollout(
        prompt_id=prompt_id,
        sample=sample,
        prompt_ids=prompt_ids,
        token_ids=tuple(token_ids),
        by_policy=tuple(int(position not in injected) for position in range(len(token_ids))),
        logprobs=tuple(logprobs),
        text=decode(without_end),
        stop=stop,
        forced_exit=tracker.forced_at is not None,
        think_tokens=tracker.think_tokens(len(without_end)),
    )


def failed_rollout(prompt_id: str, sample: int, trouble: str) -> Rollout:
    """Stands in for the answer to a prompt that the engine cannot process."""
    return Rollout(
        prompt_id, sample, (), (), (), (), "", "eos", forced_exit=False, think_tokens=0, trouble=trouble
    )
