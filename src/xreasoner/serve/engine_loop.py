"""The engine's thread: requests join its running batch and receive their text as events."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from uuid import uuid4

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

    def __init__(self, request: ActiveRequest, sample: int, loaded: Loaded) -> None:
        self.request, self.sample, self.tokens = request, sample, 0
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
    def __init__(self, loaded: Loaded, rows: int, context: int, max_requests: int) -> None:
        self._loaded, self._rows, self._context = loaded, rows, context
        self._special_tokens = TorchEngine(loaded, rows).special_tokens
        self._max_requests = max_requests
        self._submitted: SimpleQueue[ActiveRequest | None] = SimpleQueue()
        self._released: SimpleQueue[ActiveRequest] = SimpleQueue()
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
            if not self._admit_submitted(wait=not busy):
                return
            self._drop_released()
            try:
                self._step()
            # The server must survive a failure of the engine.
            except Exception as error:
                log.exception("the engine failed; %d requests are lost", len(self._requests))
                self._fail_all(f"{type(error).__name__}: {str(error)[:200]}")

    def _admit_submitted(self, wait: bool) -> bool:
        """False if the server shuts down."""
        try:
            while True:
                request = self._submitted.get() if wait else self._submitted.get_nowait()
                if request is None:
                    self._fail_all("the server is shutting down")
                    return False
                wait = False
                self._schedule(request)
        except Empty:
            return True

    def _schedule(self, request: ActiveRequest) -> None:
        if self._scheduler is None:
            self._scheduler = Scheduler(self._loaded, self._special_tokens, self._rows, self._context)
        self._requests[request.id] = request
        sampling = request.options.sampling
        samples = range(sampling.n)
        for sample in samples:
            self._outputs[request.id, sample] = _SampleOutput(request, sample, self._loaded)
        # The stream name is empty so that an equal request with an equal seed gets an equal answer.
        to_schedule = Request(request.id, lambda: request.prompt.encoded, sampling, samples, stream="")
        self._scheduler.add([to_schedule])

    def _drop_released(self) -> None:
        while not self._released.empty():
            request = self._released.get()
            if self._requests.pop(request.id, None) is None:
                continue
            for sample in range(request.options.sampling.n):
                self._outputs.pop((request.id, sample), None)
            if self._scheduler is not None:
                self._scheduler.abort(request.id)

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
                output.request.deliver(TextSoFar(output.sample, output.decoder.text))
        for rollout in self._scheduler.stop(full) if full else ():
            self._finish(rollout)

    def _finish(self, rollout: Rollout) -> None:
        output = self._outputs.pop((rollout.prompt_id, rollout.sample), None)
        if output is not None:
            output.request.deliver(output.finish(rollout))

    def _fail_all(self, why: str) -> None:
        for request in self._requests.values():
            request.deliver(RequestFailed(why))
        self._requests, self._outputs, self._scheduler = {}, {}, None
