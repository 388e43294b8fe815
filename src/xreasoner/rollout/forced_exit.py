"""Token budgets, and the forced exit: when the thinking budget is spent, injected tokens start the answer.

They close an open thought with `</think>`; in a reply without a thought, they open `<answer>`.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

from xreasoner.chat.think import ANSWER_OPEN, THINK_CLOSE, THINK_OPEN
from xreasoner.records import Sampling

Phase = Literal["before", "thought", "exit", "answer"]
Decision = Literal["continue", "force exit", "eos", "length"]
TAIL_TOKENS = 16
"""A tag spans at most this many tokens, even with one token per character."""


class ExitTokens(NamedTuple):
    """The tokens that a forced exit injects."""

    closing_thought: tuple[int, ...]
    opening_answer: tuple[int, ...]

    @property
    def longest(self) -> int:
        return max(map(len, self))


def max_tokens(sampling: Sampling, exit_tokens: int) -> int:
    """The longest possible rollout, if the forced exit has at most `exit_tokens` tokens."""
    think, answer = sampling.think_budget, sampling.answer_budget
    # A thought that opens with the last token of both budgets is still closed and answered.
    thought = think + answer + 1 + exit_tokens + answer
    # A reply that may be opening a thought at its budget gets the tokens of the tag first.
    reply = max(think, TAIL_TOKENS) + 1 + exit_tokens + answer
    return max(thought, reply) if sampling.exit_without_thought else thought


class BudgetTracker:
    """Follows one rollout through its budgets and decides when the exit is forced and when it ends.

    An engine needs to call `check` only after a stop token, a token that can end a tag, the last injected
    token, or when the number of tokens reaches `deadline`.
    """

    def __init__(self, sampling: Sampling, exits: ExitTokens, opened_by_prompt: bool) -> None:
        self._sampling = sampling
        self._exits = exits
        self._total = sampling.think_budget + sampling.answer_budget
        self._can_open_answer = sampling.exit_without_thought and sampling.answer_budget > 0
        self.phase: Phase = "thought" if opened_by_prompt else "before"
        self.forced_at: int | None = None
        """The number of tokens before the injected ones."""
        self.injected_ids: tuple[int, ...] = ()
        """The tokens that the policy did not sample."""
        self.thought_end: int | None = None
        """The number of tokens before the thought closed."""
        self.deadline = sampling.think_budget if sampling.forced_exit else self._total
        """The number of tokens at which to check again, whatever they are."""

    @property
    def injected(self) -> range:
        """The positions of the injected tokens."""
        if self.forced_at is None:
            return range(0)
        return range(self.forced_at, self.forced_at + len(self.injected_ids))

    def check(self, steps: int, stopped: bool, tail: Callable[[int], str]) -> Decision:
        """Decide after `steps` tokens; `tail(k)` decodes the last k of them."""
        if self.phase == "exit":
            self._begin_answer(steps)
        elif stopped:
            return "eos"
        elif self.phase != "answer":
            self._look_for_tags(steps, tail)
        if steps < self.deadline:
            return "continue"
        if self.phase == "answer" or not self._sampling.forced_exit:
            return "length"
        if self.phase == "thought":
            self.thought_end = steps
            return self._force(steps, self._exits.closing_thought)
        return self._check_without_thought(steps, tail)

    def check_start(self) -> Decision:
        """Before the first token, because a budget may be zero."""
        return self.check(0, stopped=False, tail=lambda _: "") if self.deadline == 0 else "continue"

    def think_tokens(self, count: int) -> int:
        """How many of the `count` tokens came before the thought closed; all of them if it never did."""
        if self.thought_end is not None:
            return self.thought_end
        return count if self.phase == "thought" else 0

    def _check_without_thought(self, steps: int, tail: Callable[[int], str]) -> Decision:
        if self._can_open_answer:
            if not may_be_opening_thought(steps, tail):
                return self._force(steps, self._exits.opening_answer)
            self.deadline = steps + 1
            return "continue"
        # There is nothing to close and the answer is open or not wanted: both budgets are one limit.
        self.deadline = self._total
        return "length" if steps >= self._total else "continue"

    def _force(self, steps: int, injected_ids: tuple[int, ...]) -> Decision:
        self.phase, self.forced_at, self.injected_ids = "exit", steps, injected_ids
        self.deadline = steps + len(injected_ids)
        return "force exit"

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
        elif self.phase == "before" and ANSWER_OPEN in text:
            self._can_open_answer = False

    def _begin_answer(self, steps: int) -> None:
        self.phase = "answer"
        if self._sampling.forced_exit:
            self.deadline = steps + self._sampling.answer_budget


def may_be_opening_thought(steps: int, tail: Callable[[int], str]) -> bool:
    """The whole reply so far is the beginning of `<think>`; for example, it is empty."""
    return steps <= TAIL_TOKENS and THINK_OPEN.startswith(tail(steps).strip())
