"""How a rollout runs its course: thought opened, thought closed or forced to close, answer, end."""

from collections.abc import Callable
from typing import Literal

from xreasoner.chat.think import THINK_CLOSE, THINK_OPEN
from xreasoner.records import Sampling

Phase = Literal["before", "thought", "exit", "answer"]
Verdict = Literal["go on", "force exit", "eos", "length"]
TAIL_TOKENS = 16
"""Enough for any spelling of a tag, one character a token included."""


def most_tokens(sampling: Sampling, exit_tokens: int) -> int:
    """A thought opened with the last token of both budgets is still closed, and still has its answer."""
    return sampling.think_budget + 2 * sampling.answer_budget + exit_tokens + 1


class Course:
    """One rollout's budgets, asked only when something may have happened.

    That is: a stop token, a token that can end a tag, the last injected token, or the deadline.
    """

    def __init__(self, sampling: Sampling, exit_tokens: int, opened_by_prompt: bool) -> None:
        self._sampling = sampling
        self._exit_tokens = exit_tokens
        self._total = sampling.think_budget + sampling.answer_budget
        self.phase: Phase = "thought" if opened_by_prompt else "before"
        self.forced_at: int | None = None
        self.thought_end: int | None = None
        """How many tokens came before the thought closed."""
        self.deadline = sampling.think_budget if sampling.forced_exit else self._total
        """The number of tokens at which to ask again, whatever they are."""

    def check(self, steps: int, stopped: bool, tail: Callable[[int], str]) -> Verdict:
        """`tail(k)` reads the last k generated tokens."""
        if self.phase == "exit":
            self._begin_answer(steps)
        elif stopped:
            return "eos"
        elif self.phase != "answer":
            self._look_for_tags(steps, tail)
        return self.check_budget(steps)

    def check_budget(self, steps: int) -> Verdict:
        if steps < self.deadline:
            return "go on"
        if self.phase == "answer" or not self._sampling.forced_exit:
            return "length"
        if self.phase == "thought":
            self.phase, self.forced_at, self.thought_end = "exit", steps, steps
            self.deadline = steps + self._exit_tokens
            return "force exit"
        # Nothing was opened, so there is nothing to close: the two budgets are one limit.
        self.deadline = self._total
        return "length" if steps >= self._total else "go on"

    def think_tokens(self, written: int) -> int:
        """Of so many tokens written, those before the thought closed; all of them if it never did."""
        if self.thought_end is not None:
            return self.thought_end
        return written if self.phase == "thought" else 0

    def _look_for_tags(self, steps: int, tail: Callable[[int], str]) -> None:
        window = min(steps, TAIL_TOKENS)
        text = tail(window)
        if THINK_CLOSE in text:
            spelled_with = next(k for k in range(1, window + 1) if THINK_CLOSE in tail(k))
            self.thought_end = steps - spelled_with
            self._begin_answer(steps)
        elif self.phase == "before" and THINK_OPEN in text:
            self.phase = "thought"
            if self._sampling.forced_exit:
                self.deadline = self._sampling.think_budget

    def _begin_answer(self, steps: int) -> None:
        self.phase = "answer"
        if self._sampling.forced_exit:
            self.deadline = steps + self._sampling.answer_budget
