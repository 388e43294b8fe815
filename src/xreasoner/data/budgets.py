"""Budgets of thinking and answering that fit a model, from the lengths of its replies to a few questions.

They are numbers in a recipe, and no run chooses them by itself: a run is planned before it starts, and stages
that are compared need equal budgets.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.table import Table

from xreasoner.chat.template import problem_prompt
from xreasoner.records import Problem, Rollout, Sampling
from xreasoner.rollout.engine import Engine

COVERED = 0.95
"""The share of replies that end within the suggested budgets, before the spare."""
THINK_SPARE, THINK_STEP = 1.25, 64
ANSWER_SPARE, ANSWER_STEP = 1.5, 16
SHOWN = (0.5, 0.9, 0.95, 1.0)


@dataclass(frozen=True)
class ReplyLengths:
    """Tokens of each reply. One without a thought, or with an open one, counts as a thought."""

    thoughts: tuple[int, ...]
    answers: tuple[int, ...]
    cut: int
    """How many replies the limit ended."""


def lengths_of(
    problems: Sequence[Problem], engine: Engine, instruction: str | None, longest: int
) -> ReplyLengths:
    prompts = [
        replace(problem_prompt(problem, instruction), id=str(number))
        for number, problem in enumerate(problems)
    ]
    free = Sampling(
        temperature=1.0,
        think_budget=longest,
        answer_budget=0,
        forced_exit=False,
        exit_without_thought=False,
    )
    return count_tokens(list(engine.generate(prompts, free)))


def count_tokens(rollouts: Sequence[Rollout]) -> ReplyLengths:
    replies = [one for one in rollouts if not one.trouble]
    if not replies:
        raise ValueError(f"no question could be asked: {rollouts[0].trouble}")
    answered = [one for one in replies if one.stop == "eos" and one.think_tokens]
    return ReplyLengths(
        tuple(one.think_tokens or len(one.token_ids) for one in replies),
        tuple(len(one.token_ids) - one.think_tokens for one in answered),
        sum(one.stop == "length" for one in replies),
    )


def budgets_for(lengths: ReplyLengths) -> tuple[int, int]:
    """For the thought and for the answer."""
    think = THINK_SPARE * quantile(lengths.thoughts, COVERED)
    answer = ANSWER_SPARE * quantile(lengths.answers, COVERED) if lengths.answers else 0
    return rounded_up(think, THINK_STEP), rounded_up(answer, ANSWER_STEP)


def quantile(values: Sequence[int], share: float) -> int:
    """The smallest value that at least this share of `values` does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def rounded_up(tokens: float, step: int) -> int:
    return max(1, math.ceil(tokens / step)) * step


def lengths_table(lengths: ReplyLengths) -> Table:
    table = Table("tokens", *(f"{100 * share:.0f}%" for share in SHOWN[:-1]), "longest", box=None)
    for name, values in (("thought", lengths.thoughts), ("answer", lengths.answers)):
        table.add_row(name, *(f"{quantile(values, share):,}" if values else "–" for share in SHOWN))
    return table


def suggestion(stage: str, lengths: ReplyLengths, longest: int) -> str:
    """As overrides of the recipe."""
    think, answer = budgets_for(lengths)
    total, line = len(lengths.thoughts), f"{stage}.think_budget={think} {stage}.answer_budget={answer}"
    if lengths.cut > (1 - COVERED) * total:
        return (
            f"{lengths.cut} of {total} replies did not end within {longest:,} tokens. With a forced exit, "
            f"{line} are enough to answer; to see longer thoughts, raise --longest"
        )
    return f"{line}: 95% of {total} replies end within these by themselves, with a spare of a quarter"
