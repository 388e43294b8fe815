"""One thread owns the model: requests join its running batch, and hear from it piece by piece."""

import logging
import threading
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from uuid import uuid4

from xreasoner.models.load import Loaded
from xreasoner.records import Rollout
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.rollout.torch_engine.scheduler import Batch
from xreasoner.rollout.torch_engine.slots import Group, Seat
from xreasoner.serve.limits import Wanted
from xreasoner.serve.prompts import Asked
from xreasoner.serve.refusal import RefusalError
from xreasoner.serve.transcript import Transcript

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Piece:
    """All that a sample has written so far."""

    sample: int
    text: str


@dataclass(frozen=True)
class Done:
    sample: int
    text: str
    reason: str
    """`stop` or `length`."""
    stopped_at: str | None
    tokens: int
    think_tokens: int
    forced_exit: bool


@dataclass(frozen=True)
class Failed:
    why: str


Mail = Piece | Done | Failed


@dataclass(frozen=True)
class Ticket:
    """A request under way. Its mail is written by the desk's thread and read by the request's own."""

    asked: Asked
    wanted: Wanted
    follows: bool
    """It wants pieces, not only the end."""
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    mail: "SimpleQueue[Mail]" = field(default_factory=SimpleQueue)


class _Line:
    """One sample of a ticket, as it is being written."""

    def __init__(self, ticket: Ticket, sample: int, loaded: Loaded) -> None:
        self.ticket, self.sample, self.tokens = ticket, sample, 0
        self.transcript = Transcript(loaded.tokenizer, ticket.asked.begun)
        self.stopped_at: str | None = None

    def hear(self, token: int) -> None:
        self.transcript.add(token)
        self.tokens += 1
        self._look_for_stop()

    def _look_for_stop(self) -> None:
        text, wanted = self.transcript.text, self.ticket.wanted
        found = [(place, stop) for stop in wanted.stops if (place := text.find(stop)) >= 0]
        if found:
            place, self.stopped_at = min(found)
            self.transcript.text = text[: place + (len(self.stopped_at) if wanted.keeps_stop else 0)]

    @property
    def is_full(self) -> bool:
        return self.stopped_at is not None or self.tokens >= self.ticket.wanted.most

    def end(self, rollout: Rollout) -> Done:
        """The batch knows the tokens that came last, the line how much of them counts."""
        if self.stopped_at is None:
            is_turn_end = rollout.stop == "eos"
            for token in rollout.token_ids[self.tokens : len(rollout.token_ids) - is_turn_end]:
                self.hear(token)
                if self.is_full:
                    break
            else:
                self.tokens += is_turn_end
        if self.stopped_at is None:
            self.transcript.finish()
        stopped = self.stopped_at is not None or rollout.stop == "eos"
        return Done(
            self.sample,
            self.transcript.text,
            "stop" if stopped else "length",
            self.stopped_at,
            self.tokens,
            rollout.think_tokens,
            rollout.forced_exit,
        )


class Desk:
    def __init__(self, loaded: Loaded, rows: int, context: int, most_waiting: int) -> None:
        self._loaded, self._rows, self._context = loaded, rows, context
        self._vocabulary = TorchEngine(loaded, rows).vocabulary
        self._most_waiting = most_waiting
        self._new: SimpleQueue[Ticket | None] = SimpleQueue()
        self._left: SimpleQueue[Ticket] = SimpleQueue()
        self._tickets: dict[str, Ticket] = {}
        self._lines: dict[tuple[str, int], _Line] = {}
        self._batch: Batch | None = None
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._under_way, self._lock = 0, threading.Lock()

    def open(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._new.put(None)
        self._thread.join()

    @property
    def is_open(self) -> bool:
        return self._thread.is_alive()

    @property
    def under_way(self) -> int:
        return self._under_way

    @property
    def rows_in_use(self) -> int:
        return len(self._lines)

    def take(self, ticket: Ticket) -> None:
        with self._lock:
            if self._under_way >= self._most_waiting:
                raise RefusalError(429, f"{self._under_way} requests are under way: try again in a moment")
            self._under_way += 1
        self._new.put(ticket)

    def leave(self, ticket: Ticket) -> None:
        """Its client is served or gone: whatever still runs for it ends."""
        with self._lock:
            self._under_way -= 1
        self._left.put(ticket)

    def _work(self) -> None:
        while True:
            busy = self._batch is not None and self._batch.unfinished
            if not busy:
                self._batch = None  # with its cache
            if not self._let_in(wait=not busy):
                return
            self._let_out()
            try:
                self._advance()
            # A batch that broke must not take the server along.
            except Exception as error:
                log.exception("the engine failed; %d requests are lost", len(self._tickets))
                self._fail(f"{type(error).__name__}: {str(error)[:200]}")

    def _let_in(self, wait: bool) -> bool:
        """False: time to close."""
        try:
            while True:
                ticket = self._new.get() if wait else self._new.get_nowait()
                if ticket is None:
                    self._fail("the server is closing")
                    return False
                wait = False
                self._seat(ticket)
        except Empty:
            return True

    def _seat(self, ticket: Ticket) -> None:
        if self._batch is None:
            self._batch = Batch(self._loaded, self._vocabulary, self._rows, self._context)
        self._tickets[ticket.id] = ticket
        sampling = ticket.wanted.sampling
        samples = range(sampling.n)
        for sample in samples:
            self._lines[ticket.id, sample] = _Line(ticket, sample, self._loaded)
        # The same request with the same seed is answered the same, whatever its id.
        self._batch.admit([Group(ticket.id, lambda: ticket.asked.encoded, sampling, samples, stream="")])

    def _let_out(self) -> None:
        while not self._left.empty():
            ticket = self._left.get()
            if self._tickets.pop(ticket.id, None) is None:
                continue
            for sample in range(ticket.wanted.sampling.n):
                self._lines.pop((ticket.id, sample), None)
            if self._batch is not None:
                self._batch.dismiss(ticket.id)

    def _advance(self) -> None:
        if self._batch is None or not self._batch.unfinished:
            return
        for rollout in self._batch.advance():
            self._finish(rollout)
        full: list[Seat] = []
        for seat, tokens, newest in self._batch.written():
            line = self._lines[seat.group.prompt_id, seat.sample]
            if line.tokens == tokens:
                continue  # this step only seated somebody
            line.hear(newest)
            if line.is_full:
                full.append(seat)
            elif line.ticket.follows:
                line.ticket.mail.put(Piece(line.sample, line.transcript.text))
        for rollout in self._batch.cut(full) if full else ():
            self._finish(rollout)

    def _finish(self, rollout: Rollout) -> None:
        line = self._lines.pop((rollout.prompt_id, rollout.sample), None)
        if line is not None:
            line.ticket.mail.put(line.end(rollout))

    def _fail(self, why: str) -> None:
        for ticket in self._tickets.values():
            ticket.mail.put(Failed(why))
        self._tickets, self._lines, self._batch = {}, {}, None
