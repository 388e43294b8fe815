"""Requests and slots: what the scheduler knows in Python about each rollout that waits or is generated."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from xreasoner.chat.template import Encoded
from xreasoner.records import Sampling
from xreasoner.rollout.forced_exit import BudgetTracker


@dataclass(frozen=True)
class Request:
    """Samples of one prompt. They start together and share one prefill."""

    prompt_id: str
    encode: Callable[[], Encoded]
    """Called only when the request gets its slots, so that waiting images take no memory."""
    sampling: Sampling
    samples: range
    stream: str
    """Names the random numbers: the same name and seed give the same samples."""
    prefix_ids: tuple[int, ...] = ()
    """The tokens that its one sample already has, if it resumes a partial rollout."""
    tracker: BudgetTracker | None = None
    """The budgets after these tokens."""


@dataclass(eq=False)
class Slot:
    """One sample being generated. Slot i owns row i of the batch's tensors and of the cache."""

    request: Request
    sample: int
    prompt_ids: tuple[int, ...]
    tracker: BudgetTracker
    start: int
    """The scheduler's clock at the slot's first token; moved when tokens are taken back."""

    def steps(self, clock: int) -> int:
        """The number of tokens generated so far."""
        return clock - self.start

    def column(self, clock: int) -> int:
        """The cache column of the next token. The first step feeds the last token of the prompt."""
        return len(self.prompt_ids) - 1 + self.steps(clock)


def split_request(request: Request, max_rows: int) -> Iterator[Request]:
    """Split a request that has more samples than the engine has rows."""
    for first in range(request.samples.start, request.samples.stop, max_rows):
        yield replace(request, samples=range(first, min(first + max_rows, request.samples.stop)))
