"""A rollout told in legs, for engines that know no more than "go on after these tokens, so many at most".

Every leg ends at the turn's end or at a budget. In between the thought may have closed by itself: then the
answer's budget begins in the middle of a leg, and what was written beyond it is dropped.
"""

from collections.abc import Sequence

from xreasoner.chat.think import THINK_OPEN
from xreasoner.records import Prompt, Rollout, Sampling, Stop
from xreasoner.rollout.budget import TAIL_TOKENS, Course, Verdict
from xreasoner.rollout.token_decoder import Speech
from xreasoner.rollout.torch_engine.sampler import stream_key


class Journey:
    """One sample of a prompt on its way: what was written, and how many tokens the next leg may have."""

    def __init__(
        self, prompt: Prompt, prompt_ids: tuple[int, ...], sample: int, sampling: Sampling, speech: Speech
    ) -> None:
        self._prompt, self.prompt_ids, self._sample = prompt, prompt_ids, sample
        self._sampling, self._speech = sampling, speech
        opened = speech.read(prompt_ids[-TAIL_TOKENS:]).rstrip().endswith(THINK_OPEN)
        self._course = Course(sampling, len(speech.vocabulary.forced_exit), opened)
        self._logprobs: list[float] = []
        self.token_ids: list[int] = []
        self.stop: Stop | None = None
        """Known at the journey's end."""
        # Budgets of zero are spent before the first step.
        self._obey(self._course.check_budget(0) if self._course.deadline == 0 else "go on")

    @property
    def course(self) -> Course:
        return self._course

    @property
    def wanted(self) -> int:
        """The length of the next leg, at most."""
        return self._course.deadline - len(self.token_ids)

    @property
    def seed(self) -> int:
        """Every leg of every sample has its own, whoever else is generated beside it."""
        name = f"{len(self.token_ids)} {self._prompt.id}"
        return stream_key(self._sampling.seed, name, self._sample) % 2**31

    def follow(self, token_ids: Sequence[int]) -> None:
        """What the policy began with, of unknown probability; dropped where the exit is forced at once."""
        if self._course.forced_at is None:
            self.write(token_ids, [0.0] * len(token_ids))

    def go(self, token_ids: Sequence[int], logprobs: Sequence[float]) -> None:
        """A leg was travelled. One that is neither as long as wanted nor stopped ran out of room."""
        cut_short = len(token_ids) < self.wanted
        took_all = self.write(token_ids, logprobs)
        if took_all and cut_short:
            self.stop = "length"

    def write(self, token_ids: Sequence[int], logprobs: Sequence[float]) -> bool:
        """As many of these tokens as the budgets admit; tells whether that was all of them."""
        for place, (token, logprob) in enumerate(zip(token_ids, logprobs, strict=True), 1):
            was_forced = self._course.forced_at is not None
            self._step(token, logprob)
            if self.stop or (self._course.forced_at is not None and not was_forced):
                return place == len(token_ids) and self.stop is None
        return True

    def rollout(self) -> Rollout:
        assert self.stop is not None
        written = self.token_ids[:-1] if self.stop == "eos" else self.token_ids
        return Rollout(
            prompt_id=self._prompt.id,
            sample=self._sample,
            prompt_ids=self.prompt_ids,
            token_ids=tuple(self.token_ids),
            by_policy=tuple(int(place not in self._injected) for place in range(len(self.token_ids))),
            logprobs=tuple(self._logprobs),
            text=self._speech.read(written),
            stop=self.stop,
            forced_exit=self._course.forced_at is not None,
            think_tokens=self._course.think_tokens(len(written)),
        )

    @property
    def _injected(self) -> range:
        forced_at = self._course.forced_at
        if forced_at is None:
            return range(0)
        return range(forced_at, forced_at + len(self._speech.vocabulary.forced_exit))

    def _step(self, token: int, logprob: float) -> None:
        self.token_ids.append(token)
        self._logprobs.append(logprob)
        vocabulary, steps = self._speech.vocabulary, len(self.token_ids)
        stopped = token in vocabulary.stops
        if stopped or token in vocabulary.may_end_tag or steps >= self._course.deadline:
            self._obey(self._course.check(steps, stopped, self._read_last))

    def _obey(self, verdict: Verdict) -> None:
        if verdict == "eos" or verdict == "length":
            self.stop = verdict
        elif verdict == "force exit":
            injected = self._speech.vocabulary.forced_exit
            self.token_ids += injected
            self._logprobs += [0.0] * len(injected)
            steps = len(self.token_ids)
            self._obey(self._course.check(steps, stopped=False, tail=self._read_last))

    def _read_last(self, count: int) -> str:
        return self._speech.read(self.token_ids[-count:]) if count else ""
