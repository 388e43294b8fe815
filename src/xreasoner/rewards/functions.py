"""Reward functions: what a reply is worth in RL. Those of users have the same form as these.

A function of `(problem, reply)` is called for every reply, one of `(problems, replies)` once per step. Either
may be an `async def`. They return a number per reply, or None for a reply that they cannot judge.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

from xreasoner.records import Problem, Reply, Rollout, Score

RewardFunction = Callable[..., Any]

OVERLONG_SHARE = 0.2
"""The part of the token limit in which a reply gets a penalty."""

ONE_THOUGHT_ONE_ANSWER = re.compile(
    r"\s*<think>((?!</?think>|</?answer>).)*</think>\s*<answer>((?!</?think>|</?answer>).)*</answer>\s*",
    re.DOTALL,
)


def correct(problem: Problem, reply: Reply) -> float | None:
    """1 if the answer is that of the problem."""
    return None if reply.score.correct is None else float(reply.score.correct)


def form(problem: Problem, reply: Reply) -> float:
    """1 for one thought, then one answer, each in its tags, and nothing else."""
    return float(ONE_THOUGHT_ONE_ANSWER.fullmatch(reply.text) is not None)


def overlong(problem: Problem, reply: Reply) -> float:
    """0 up to 80% of the token limit, from there falling to -1 at the limit."""
    free = (1 - OVERLONG_SHARE) * reply.limit
    return min(0.0, (free - reply.tokens) / (reply.limit - free))


def length(problems: Sequence[Problem], replies: Sequence[Reply]) -> list[float]:
    """From 0.5 for the shortest reply to a problem to -0.5 for the longest; wrong ones gain nothing by it."""
    tokens: dict[str, list[int]] = {}
    for problem, reply in zip(problems, replies, strict=True):
        tokens.setdefault(problem.id, []).append(reply.tokens)

    def value(problem: Problem, reply: Reply) -> float:
        shortest, longest = min(tokens[problem.id]), max(tokens[problem.id])
        if shortest == longest:
            return 0.0
        saved = 0.5 - (reply.tokens - shortest) / (longest - shortest)
        return saved if reply.score.correct else min(0.0, saved)

    return [value(problem, reply) for problem, reply in zip(problems, replies, strict=True)]


SHIPPED: dict[str, RewardFunction] = {
    "correct": correct,
    "form": form,
    "overlong": overlong,
    "length": length,
}


def reply_of(rollout: Rollout, score: Score, limit: int) -> Reply:
    return Reply(
        text=rollout.text,
        score=score,
        sample=rollout.sample,
        tokens=len(rollout.token_ids),
        think_tokens=rollout.think_tokens,
        limit=limit,
        stop=rollout.stop,
        forced_exit=rollout.forced_exit,
    )


def is_batch(function: RewardFunction) -> bool:
    """Whether it takes all replies of a step at once."""
    parameters = list(inspect.signature(function).parameters)
    if parameters not in (["problem", "reply"], ["problems", "replies"]):
        raise ValueError(
            f"its parameters are ({', '.join(parameters)}); write (problem, reply), "
            "or (problems, replies) for all replies of a step"
        )
    return parameters == ["problems", "replies"]


def call_shipped(name: str, problems: Sequence[Problem], replies: Sequence[Reply]) -> list[float | None]:
    function = SHIPPED[name]
    if is_batch(function):
        return list(function(problems, replies))
    return [function(problem, reply) for problem, reply in zip(problems, replies, strict=True)]
