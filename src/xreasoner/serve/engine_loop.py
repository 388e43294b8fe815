"""The engine's thread: requests join its running batch and receive their text as events."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from uuid import uuid4

import torch

from xreasoner.models.load import Loaded
from xreasoner.records import Rollout
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.rollout.torch_engine.scheduler import Scheduler
from xreasoner.rollout.torch_engine.slots import Request, Slot
from xreasoner.serve.api_error import ApiError
from xreasoner.serve.incremental_decoder import IncrementalDecoder
from xreasoner.serve.limits import RequestOptions
from xreasoner.serve.request_tokens import EncodedRequest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextSoFar:
    """All text of a sample up to now."""

    sample: int
    text: str


@dataclass(frozen=True)
class SampleDone:
    sample: int
    text: str
    reason: str
    """`stop` or `length`."""
    stopped_at: str | None
    tokens: int
    think_tokens: int
    forced_exit: bool


@dataclass(frozen=True)
class RequestFailed:
    why: str


Event = TextSoFar | SampleDone | RequestFailed


@dataclass(frozen=True)
class ActiveRequest:
    """A request in the server, whose events are delivered from the engine's thread."""

    prompt: EncodedRequest
    options: RequestOptions
    streams: bool
    """The client wants text as it is generated, not only at the end."""
    deliver: "Callable[[Event], None]"
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")


class _SampleOutput:
    """The text of one sample while it is generated."""

    def __init__(self, request: ActiveRequest, sample: int, loaded: Loaded, sent: str = "") -> None:
        """`sent`: the text that the client has, if this sample is generated a second time."""
        self.request, self.sample, self.tokens, self.sent = request, sample, 0, sent
        self.decoder = IncrementalDecoder(loaded.tokenizer, request.prompt.prefix_ids)
        self.stopped_at: str | None = None

    def add(self, token: int) -> None:
        self.decoder.add(token)
        self.tokens += 1
        self._look_for_stop()

    def _look_for_stop(self) -> None:
        text, options = self.decoder.text, self.request.options
        found = [(place, stop) for stop in options.stops if (place := text.find(stop)) >= 0]
        if found:
            place, self.stopped_at = min(found)
            self.decoder.text = text[: place + (len(self.stopped_at) if options.keeps_stop else 0)]

    def send(self) -> None:
        """The text so far, where it is more than the client has."""
        if len(self.decoder.text) > len(self.sent):
            self.sent = self.decoder.text
            self.request.deliver(TextSoFar(self.sample, self.sent))

    @property
    def is_full(self) -> bool:
        return self.stopped_at is not None or self.tokens >= self.request.options.max_tokens

    def finish(self, rollout: Rollout) -> SampleDone:
        """Add the rollout's last tokens, as far as the limits allow."""
        if self.stopped_at is None:
            is_turn_end = rollout.stop == "eos"
            for token in rollout.token_ids[self.tokens : len(rollout.token_ids) - is_turn_end]:
                self.add(token)
                if self.is_full:
                    break
            else:
                self.tokens += is_turn_end
        if self.stopped_at is None:
            self.decoder.finish()
        stopped = self.stopped_at is not None or rollout.stop == "eos"
        return SampleDone(
            self.sample,
            self.decoder.text,
            "stop" if stopped else "length",
            self.stopped_at,
            self.tokens,
            rollout.think_tokens,
            rollout.forced_exit,
        )


class EngineLoop:
    """A step that fails loses the requests in its rows.

    Each is tried once more, alone, and the one that fails again is answered with its error.
    """

    def __init__(self, loaded: Loaded, rows: int, context: int, max_requests: int) -> None:
        self._loaded, self._rows, self._context = loaded, rows, context
        self._special_tokens = TorchEngine(loaded, rows).special_tokens
        self._max_requests = max_requests
        self._submitted: SimpleQueue[ActiveRequest | None] = SimpleQueue()
        self._released: SimpleQueue[ActiveRequest] = SimpleQueue()
        self._received: deque[ActiveRequest] = deque()
        self._lost: deque[ActiveRequest] = deque()
        self._tried_again: set[str] = set()
        self._runs_alone = False
        self._requests: dict[str, ActiveRequest] = {}
        self._outputs: dict[tuple[str, int], _SampleOutput] = {}
        self._scheduler: Scheduler | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._request_count, self._lock = 0, threading.Lock()

    def start(self) -> None:
        self._thread.start()

    def shut_down(self) -> None:
        self._submitted.put(None)
        self._thread.join()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    @property
    def request_count(self) -> int:
        return self._request_count

    @property
    def rows_in_use(self) -> int:
        return len(self._outputs)

    def submit(self, request: ActiveRequest) -> None:
        with self._lock:
            if self._request_count >= self._max_requests:
                raise ApiError(429, f"the queue is full with {self._request_count} requests; retry later")
            self._request_count += 1
        self._submitted.put(request)

    def release(self, request: ActiveRequest) -> None:
        """The client has its response or has gone: stop what is still generated for it."""
        with self._lock:
            self._request_count -= 1
        self._released.put(request)

    def _run(self) -> None:
        while True:
            busy = self._scheduler is not None and self._scheduler.has_unfinished
            if not busy:
                self._scheduler = None  # and its cache
            if not self._receive(wait=not (busy or self._received or self._lost)):
                return
            self._drop_released()
            self._admit(busy)
            try:
                self._step()
            # The server must survive a failure of the engine.
            except Exception as error:
                log.exception("the engine failed with %d requests", len(self._requests))
                if isinstance(error, torch.OutOfMemoryError):
                    self._rows = max(1, self._rows // 2)
                self._sort_lost(f"{type(error).__name__}: {str(error)[:200]}")

    def _receive(self, wait: bool) -> bool:
        """False if the server shuts down."""
        try:
            while True:
                request = self._submitted.get() if wait else self._submitted.get_nowait()
                if request is None:
                    self._fail_all("the server is shutting down")
                    return False
                wait = False
                self._received.append(request)
        except Empty:
            return True

    def _admit(self, busy: bool) -> None:
        """Nothing joins a request that is tried again."""
        if busy and self._runs_alone:
            return
        self._runs_alone = not busy and bool(self._lost)
        if self._runs_alone:
            request = self._lost.popleft()
            self._tried_again.add(request.id)
            self._schedule(request)
        elif not self._lost:
            while self._received:
                self._schedule(self._received.popleft())

    def _schedule(self, request: ActiveRequest) -> None:
        if self._scheduler is None:
            self._scheduler = Scheduler(self._loaded, self._special_tokens, self._rows, self._context)
        sampling, is_new = request.options.sampling, request.id not in self._requests
        self._requests[request.id] = request
        samples = range(sampling.n)
        for sample in samples if is_new else self._open_samples(request):
            before = self._outputs.get((request.id, sample))
            output = _SampleOutput(request, sample, self._loaded, before.sent if before else "")
            self._outputs[request.id, sample] = output
        groups = [samples] if is_new else [range(one, one + 1) for one in self._open_samples(request)]
        # The stream name is empty so that an equal request with an equal seed gets an equal answer.
        self._scheduler.add(
            Request(request.id, lambda: request.prompt.encoded, sampling, group, stream="")
            for group in groups
        )

    def _open_samples(self, request: ActiveRequest) -> list[int]:
        return [
            sample for sample in range(request.options.sampling.n) if (request.id, sample) in self._outputs
        ]

    def _drop_released(self) -> None:
        while not self._released.empty():
            request = self._released.get()
            self._received = deque(one for one in self._received if one is not request)
            self._lost = deque(one for one in self._lost if one is not request)
            self._tried_again.discard(request.id)
            self._forget(request)
            if self._scheduler is not None:
                self._scheduler.abort(request.id)

    def _forget(self, request: ActiveRequest) -> None:
        self._requests.pop(request.id, None)
        for sample in range(request.options.sampling.n):
            self._outputs.pop((request.id, sample), None)

    def _step(self) -> None:
        if self._scheduler is None or not self._scheduler.has_unfinished:
            return
        for rollout in self._scheduler.step():
            self._finish(rollout)
        full: list[Slot] = []
        for slot, tokens, last_token in self._scheduler.progress():
            output = self._outputs[slot.request.prompt_id, slot.sample]
            if output.tokens == tokens:
                continue  # this step admitted requests and generated nothing
            output.add(last_token)
            if output.is_full:
                full.append(slot)
            elif output.request.streams:
                output.send()
        for rollout in self._scheduler.stop(full) if full else ():
            self._finish(rollout)

    def _finish(self, rollout: Rollout) -> None:
        output = self._outputs.pop((rollout.prompt_id, rollout.sample), None)
        if output is not None:
            output.request.deliver(output.finish(rollout))

    def _sort_lost(self, why: str) -> None:
        """After a failed step. Requests that had no row yet wait on; of the others one may have caused it."""
        waiting = self._scheduler.waiting if self._scheduler else set()
        self._scheduler = None
        for request in reversed(self._requests.copy().values()):
            open_samples = {(request.id, sample) for sample in self._open_samples(request)}
            if not open_samples:
                continue
            if request.id in self._tried_again:
                request.deliver(RequestFailed(why))
                self._forget(request)
            elif open_samples <= waiting:
                self._received.appendleft(request)
            else:
                self._lost.appendleft(request)

    def _fail_all(self, why: str) -> None:
        for request in {one.id: one for one in (*self._requests.values(), *self._received)}.values():
            request.deliver(RequestFailed(why))
        self._requests, self._outputs, self._scheduler = {}, {}, None
