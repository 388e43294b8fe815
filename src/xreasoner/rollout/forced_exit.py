"""Token budgets, and the forced exit: `</think>` is injected when the thinking budget is spent."""

from collections.abc import Callable
from typing import Literal

from xreasoner.chat.think import THINK_CLOSE, THINK_OPEN
from xreasoner.records import Sampling

Phase = Literal["before", "thought", "exit", "answer"]
Decision = Literal["continue", "force exit", "eos", "length"]
TAIL_TOKENS = 16
"""A tag spans at most this many tokens, even with one token per character."""


def max_tokens(sampling: Sampling, exit_tokens: int) -> int:
    """The longest possible rollout: the thought opens with the last token of both budgets, is closed by
    force, and is still answered."""
    return sampling.think_budget + 2 * sampling.answer_budget + exit_tokens + 1


class BudgetTracker:
    """Follows one rollout through its budgets and decides when the exit is forced and when it ends.

    An engine needs to call `check` only after a stop token, a token that can end a tag, the last injected
    token, or when the number of tokens reaches `deadline`.
    """

    def __init__(self, sampling: Sampling, exit_tokens: int, opened_by_prompt: bool) -> None:
        self._sampling = sampling
        self._exit_tokens = exit_tokens
        self._total = sampling.think_budget + sampling.answer_budget
        self.phase: Phase = "thought" if opened_by_prompt else "before"
        self.forced_at: int | None = None
        """The number of tokens before the injected ones."""
        self.thought_end: int | None = None
        """The number of tokens before the thought closed."""
        self.deadline = sampling.think_budget if sampling.forced_exit else self._total
        """The number of tokens at which to check again, whatever they are."""

    @property
    def injected(self) -> range:
        """The positions of the tokens that the policy did not sample."""
        if self.forced_at is None:
            return range(0)
        return range(self.forced_at, self.forced_at + self._exit_tokens)

    def check(self, steps: int, stopped: bool, tail: Callable[[int], str]) -> Decision:
        """Decide after `steps` tokens; `tail(k)` decodes the last k of them."""
        if self.phase == "exit":
            self._begin_answer(steps)
        elif stopped:
            return "eos"
        elif self.phase != "answer":
            self._look_for_tags(steps, tail)
        return self.check_budget(steps)

    def check_budget(self, steps: int) -> Decision:
        if steps < self.deadline:
            return "continue"
        if self.phase == "answer" or not self._sampling.forced_exit:
            return "length"
        if self.phase == "thought":
            self.phase, self.forced_at, self.thought_end = "exit", steps, steps
            self.deadline = steps + self._exit_tokens
            return "force exit"
        # No thought was opened, so there is none to close: both budgets together are one limit.
        self.deadline = self._total
        return "length" if steps >= self._total else "continue"

    def think_tokens(self, count: int) -> int:
        """How many of the `count` tokens came before the thought closed; all of them if it never did."""
        if self.thought_end is not None:
            return self.thought_end
        return count if self.phase == "thought" else 0

    def _look_for_tags(self, steps: int, tail: Callable[[int], str]) -> None:
        window = min(steps, TAIL_TOKENS)
        text = tail(window)
        if THINK_CLOSE in text:
            tag_tokens = next(k for k in range(1, window + 1) if THINK_CLOSE in tail(k))
            self.thought_end = steps - tag_tokens
            self._begin_answer(steps)
        elif self.phase == "before" and THINK_OPEN in text:
            self.phase = "thought"
            if self._sampling.forced_exit:
                self.deadline = self._sampling.think_budget

    def _begin_answer(self, steps: int) -> None:
        self.phase = "answer"
        if self._sampling.forced_exit:
            self.deadline = steps + self._sampling.answer_budget
