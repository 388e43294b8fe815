"""Who sits in a row: the prompt's side of a rollout, and the record it becomes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from transformers import PreTrainedTokenizerBase

from xreasoner.chat.template import Encoded
from xreasoner.records import Rollout, Sampling, Stop
from xreasoner.rollout.budget import Course


@dataclass(frozen=True)
class Group:
    """Samples of one prompt that start together and share its prefill."""

    prompt_id: str
    encode: Callable[[], Encoded]
    """Called when there is a place for it: pictures of those who wait take no memory."""
    sampling: Sampling
    samples: range
    stream: str
    """Names its random numbers: the same name and seed draw the same."""
    written: tuple[int, ...] = ()
    """What its one sample begins with."""
    course: Course | None = None
    """Where that has led."""


@dataclass(frozen=True)
class Seat:
    group: Group
    sample: int
    prompt_ids: tuple[int, ...]
    course: Course
    born: int
    """The engine's clock when the row was seated."""

    def steps(self, clock: int) -> int:
        return clock - self.born

    def column(self, clock: int) -> int:
        """Where the row's next token goes: its last prompt token is fed first."""
        return len(self.prompt_ids) - 1 + self.steps(clock)


def in_parts(group: Group, max_rows: int) -> Iterator[Group]:
    """A group larger than the engine is seated in parts."""
    for first in range(group.samples.start, group.samples.stop, max_rows):
        yield replace(group, samples=range(first, min(first + max_rows, group.samples.stop)))


def refusal(prompt_id: str, sample: int, trouble: str) -> Rollout:
    """In place of an answer, for a prompt that cannot be asked."""
    return Rollout(
        prompt_id, sample, (), (), (), (), "", "eos", forced_exit=False, think_tokens=0, trouble=trouble
    )


def to_rollout(
    seat: Seat,
    token_ids: Sequence[int],
    logprobs: Sequence[float],
    stop: Stop,
    exit_tokens: int,
    tokenizer: PreTrainedTokenizerBase,
) -> Rollout:
    written = token_ids[:-1] if stop == "eos" else token_ids
    forced_at = seat.course.forced_at
    injected = range(forced_at, forced_at + exit_tokens) if forced_at is not None else range(0)
    return Rollout(
        prompt_id=seat.group.prompt_id,
        sample=seat.sample,
        prompt_ids=seat.prompt_ids,
        token_ids=tuple(token_ids),
        by_policy=tuple(int(place not in injected) for place in range(len(token_ids))),
        logprobs=tuple(logprobs),
        text=str(tokenizer.decode(list(written), clean_up_tokenization_spaces=False)),
        stop=stop,
        forced_exit=forced_at is not None,
        think_tokens=seat.course.think_tokens(len(written)),
    )
