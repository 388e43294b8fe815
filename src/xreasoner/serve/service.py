"""One chat completion, from the bytes of its request to its response; independent of the transport."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from xreasoner.chat.split_reply import ReplyStream
from xreasoner.models.load import Loaded
from xreasoner.serve import response
from xreasoner.serve.api_error import ApiError
from xreasoner.serve.engine_loop import ActiveRequest, EngineLoop, Event, RequestFailed, SampleDone, TextSoFar
from xreasoner.serve.limits import ServerLimits, resolve_options
from xreasoner.serve.request import ChatCompletionRequest, parse_request
from xreasoner.serve.request_tokens import encode_request
from xreasoner.serve.response import Json

Deliver = Callable[[Event], None]


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

    def prepare(self, encoded: bytes, deliver: Deliver) -> "ChatCompletion":
        """Raises an ApiError if the request is invalid. It asks nothing of the engine yet."""
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
        return ChatCompletion(self, ActiveRequest(prompt, options, bool(body.stream), deliver), body)


class ChatCompletion:
    """A valid request, and the events of its generation as OpenAI's JSON."""

    def __init__(self, service: ChatService, request: ActiveRequest, body: ChatCompletionRequest) -> None:
        self.service, self.request, self.body = service, request, body
        self.done: list[SampleDone] = []

    def submit(self) -> None:
        """Raises an ApiError if the queue is full; otherwise `release` must follow."""
        self.service.engine_loop.submit(self.request)

    def release(self) -> None:
        self.service.engine_loop.release(self.request)

    @property
    def prompt_tokens(self) -> int:
        return len(self.request.prompt.encoded.ids)

    @property
    def is_done(self) -> bool:
        return len(self.done) == self.request.options.sampling.n

    def note(self, event: Event) -> None:
        if isinstance(event, RequestFailed):
            raise ApiError(500, f"the engine failed: {event.why}")
        if isinstance(event, SampleDone):
            self.done.append(event)

    def check_engine(self) -> None:
        if not self.service.engine_loop.is_running:
            raise ApiError(503, "the server is shutting down")

    def whole(self) -> Json:
        start = self.request.prompt.start
        return response.completion(self.request.id, self.service.name, start, self.done, self.prompt_tokens)

    def chunks(self) -> "Chunks":
        return Chunks(self)


class Chunks:
    """The pieces of a streamed completion, event by event."""

    def __init__(self, completion: ChatCompletion) -> None:
        self._completion, options = completion, completion.request.options
        stops = () if options.keeps_stop else options.stops
        start = completion.request.prompt.start
        self._streams = [ReplyStream(start, stops) for _ in range(options.sampling.n)]

    def first(self) -> Iterator[Json]:
        return (self._chunk([response.first_delta(sample)]) for sample in range(len(self._streams)))

    def of(self, event: Event) -> Iterator[Json]:
        assert isinstance(event, TextSoFar | SampleDone)
        new = self._streams[event.sample].update(event.text, is_whole=isinstance(event, SampleDone))
        if new.reasoning or new.content:
            yield self._chunk([response.text_delta(event.sample, new)])
        if isinstance(event, SampleDone):
            yield self._chunk([response.last_delta(event)])

    def last(self) -> Iterator[Json]:
        options = self._completion.body.stream_options
        if options is not None and options.include_usage:
            usage = response.usage(self._completion.done, self._completion.prompt_tokens)
            yield self._chunk([], usage)

    def _chunk(self, choices: list[Json], usage: Json | None = None) -> Json:
        completion = self._completion
        return response.chunk(completion.request.id, completion.service.name, choices, usage)
