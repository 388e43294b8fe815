"""Stop-and-continue: one rollout as several requests, for engines that can only continue a list of tokens.

Each segment ends at the end of the turn or at a budget. If the thought closes by itself within a segment, the
answer's budget starts there, and tokens beyond it are dropped.
"""

from collections.abc import Sequence

from xreasoner.chat.think import THINK_OPEN
from xreasoner.records import Prompt, Rollout, Sampling, Stop
from xreasoner.rollout.forced_exit import TAIL_TOKENS, BudgetTracker, Decision
from xreasoner.rollout.rollout_record import to_rollout
from xreasoner.rollout.seeds import segment_seed
from xreasoner.rollout.special_tokens import TokenDecoder


class SegmentedRollout:
    """One sample of a prompt while it is generated: its tokens, and how long the next segment may be."""

    def __init__(
        self,
        prompt: Prompt,
        prompt_ids: tuple[int, ...],
        sample: int,
        sampling: Sampling,
        decoder: TokenDecoder,
    ) -> None:
        self._prompt, self.prompt_ids, self._sample = prompt, prompt_ids, sample
        self._sampling, self._decoder = sampling, decoder
        opened = decoder.decode(prompt_ids[-TAIL_TOKENS:]).rstrip().endswith(THINK_OPEN)
        self.tracker = BudgetTracker(sampling, decoder.special_tokens.exits, opened)
        self._logprobs: list[float] = []
        self.token_ids: list[int] = []
        self.stop: Stop | None = None
        """None until the rollout ends."""
        self._apply(self.tracker.check_start())

    @property
    def max_tokens(self) -> int:
        """The longest that the next segment may be."""
        return self.tracker.deadline - len(self.token_ids)

    @property
    def seed(self) -> int:
        return segment_seed(self._sampling.seed, self._prompt.id, self._sample, len(self.token_ids))

    def add_prefix(self, token_ids: Sequence[int]) -> None:
        """Start from these tokens, of unknown probability; ignored if the exit was forced at once."""
        if self.tracker.forced_at is None:
            self._extend(token_ids, [0.0] * len(token_ids))

    def add_segment(self, token_ids: Sequence[int], logprobs: Sequence[float]) -> None:
        """A segment shorter than asked for that did not stop by itself ran into the engine's own limit."""
        is_short = len(token_ids) < self.max_tokens
        took_all = self._extend(token_ids, logprobs)
        if took_all and is_short:
            self.stop = "length"

    def _extend(self, token_ids: Sequence[int], logprobs: Sequence[float]) -> bool:
        """Append as many tokens as the budgets allow; return whether that was all of them."""
        for count, (token, logprob) in enumerate(zip(token_ids, logprobs, strict=True), 1):
            was_forced = self.tracker.forced_at is not None
            self.append(token, logprob)
            if self.stop or (self.tracker.forced_at is not None and not was_forced):
                return count == len(token_ids) and self.stop is None
        return True

    def rollout(self) -> Rollout:
        assert self.stop is not None
        return to_rollout(
            self._prompt.id,
            self._sample,
            self.prompt_ids,
            self.token_ids,
            self._logprobs,
            self.stop,
            self.tracker,
            self._decoder.decode,
        )

    def append(self, token: int, logprob: float) -> None:
        """One sampled token, and after it the tokens of an exit that it forces."""
        self.token_ids.append(token)
        self._logprobs.append(logprob)
        special, steps = self._decoder.special_tokens, len(self.token_ids)
        stopped = token in special.stops
        if stopped or token in special.may_end_tag or steps >= self.tracker.deadline:
            self._apply(self.tracker.check(steps, stopped, self._decode_tail))

    def _apply(self, decision: Decision) -> None:
        if decision == "eos" or decision == "length":
            self.stop = decision
        elif decision == "force exit":
            injected = self.tracker.injected_ids
            self.token_ids += injected
            self._logprobs += [0.0] * len(injected)
            steps = len(self.token_ids)
            self._apply(self.tracker.check(steps, stopped=False, tail=self._decode_tail))

    def _decode_tail(self, count: int) -> str:
        return self._decoder.decode(self.token_ids[-count:]) if count else ""
