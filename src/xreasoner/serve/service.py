"""One chat completion, from the bytes of its request to its response; independent of the transport."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty
from typing import Any

from xreasoner.chat.split_reply import ReplyStream
from xreasoner.models.load import Loaded
from xreasoner.serve import response
from xreasoner.serve.api_error import ApiError
from xreasoner.serve.engine_loop import ActiveRequest, EngineLoop, Event, RequestFailed, SampleDone, TextSoFar
from xreasoner.serve.limits import ServerLimits, resolve_options
from xreasoner.serve.request import ChatCompletionRequest, parse_request
from xreasoner.serve.request_tokens import encode_request

_POLL_SECONDS = 0.25
"""How often to check whether the client is still connected."""

Json = dict[str, Any]
IsGone = Callable[[], bool]


class ClientDisconnectedError(Exception):
    """The client closed the connection."""


@dataclass(frozen=True)
class ChatService:
    loaded: Loaded
    engine_loop: EngineLoop
    name: str
    limits: ServerLimits
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def models(self) -> Json:
        return response.model_list(self.name, self.limits.context, self.created)

    @contextmanager
    def complete(self, encoded: bytes) -> Iterator["ChatCompletion"]:
        """Raises an ApiError if the request is invalid; frees the request's slots when the block ends."""
        body = parse_request(encoded)
        if body.model not in (None, self.name):
            raise ApiError(
                404,
                f"model {body.model!r} does not exist; this server has {self.name!r}",
                "model",
                "model_not_found",
            )
        prompt = encode_request(body, self.loaded)
        options = resolve_options(body, len(prompt.encoded.ids), self.limits)
        request = ActiveRequest(prompt, options, streams=bool(body.stream))
        self.engine_loop.submit(request)
        try:
            yield ChatCompletion(self, request, body)
        finally:
            self.engine_loop.release(request)


@dataclass(frozen=True)
class ChatCompletion:
    """A request that was accepted, and the events of its generation as OpenAI's JSON."""

    service: ChatService
    request: ActiveRequest
    body: ChatCompletionRequest

    @property
    def prompt_tokens(self) -> int:
        return len(self.request.prompt.encoded.ids)

    def whole(self, is_gone: IsGone) -> Json:
        done = [event for event in self._events(is_gone) if isinstance(event, SampleDone)]
        start = self.request.prompt.start
        return response.completion(self.request.id, self.service.name, start, done, self.prompt_tokens)

    def chunks(self, is_gone: IsGone) -> Iterator[Json]:
        options, done = self.request.options, list[SampleDone]()
        stops = () if options.keeps_stop else options.stops
        streams = [ReplyStream(self.request.prompt.start, stops) for _ in range(options.sampling.n)]
        for sample in range(len(streams)):
            yield self._chunk(response.first_delta(sample))
        for event in self._events(is_gone):
            assert isinstance(event, TextSoFar | SampleDone)
            new = streams[event.sample].update(event.text, is_whole=isinstance(event, SampleDone))
            if new.reasoning or new.content:
                yield self._chunk(response.text_delta(event.sample, new))
            if isinstance(event, SampleDone):
                done.append(event)
                yield self._chunk(response.last_delta(event))
        if self.body.stream_options is not None and self.body.stream_options.include_usage:
            usage = response.usage(done, self.prompt_tokens)
            yield response.chunk(self.request.id, self.service.name, [], usage)

    def _chunk(self, choice: Json) -> Json:
        return response.chunk(self.request.id, self.service.name, [choice])

    def _events(self, is_gone: IsGone) -> Iterator[Event]:
        """Until the last sample is done."""
        remaining = self.request.options.sampling.n
        while remaining:
            event = self._next_event(is_gone)
            if isinstance(event, RequestFailed):
                raise ApiError(500, f"the engine failed: {event.why}")
            remaining -= isinstance(event, SampleDone)
            yield event

    def _next_event(self, is_gone: IsGone) -> Event:
        while True:
            try:
                return self.request.events.get(timeout=_POLL_SECONDS)
            except Empty:
                if is_gone():
                    raise ClientDisconnectedError from None
                if not self.service.engine_loop.is_running:
                    raise ApiError(503, "the server is shutting down") from None
