"""Says after the first few questions that an engine refuses all of them, instead of after a night."""

from collections.abc import Iterable, Iterator

from xreasoner.records import Rollout, Sampling
from xreasoner.storage.journal import Say

FIRST = 5


def watched(rollouts: Iterable[Rollout], sampling: Sampling, say: Say) -> Iterator[Rollout]:
    """The rollouts as they are. One line if each of the first few was refused."""
    refused = 0
    for number, rollout in enumerate(rollouts, start=1):
        refused += bool(rollout.trouble)
        if number == refused == FIRST:
            say(f"the first {FIRST} questions were all refused: {rollout.trouble}{advice(rollout, sampling)}")
        yield rollout


def advice(rollout: Rollout, sampling: Sampling) -> str:
    """What to change, where the refusal is about lengths."""
    said = rollout.trouble.lower()
    if not any(word in said for word in ("context", "max_tokens", "maximum", "limit", "too long")):
        return ""
    budgets = f"{sampling.think_budget:,} and {sampling.answer_budget:,}"
    return f"; lower think_budget and answer_budget, which are {budgets} tokens"
