"""A chat request from its bytes to its answer, whatever carries them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty
from typing import Any

from xreasoner.chat.apart import Stream
from xreasoner.models.load import Loaded
from xreasoner.serve import replies
from xreasoner.serve.body import ChatBody, read_body
from xreasoner.serve.desk import Desk, Done, Failed, Mail, Piece, Ticket
from xreasoner.serve.limits import Limits, plan
from xreasoner.serve.prompts import encode_request
from xreasoner.serve.refusal import RefusalError

_LOOK_UP = 0.25
"""Seconds between looks at whether the client is still there."""

Json = dict[str, Any]
IsGone = Callable[[], bool]


class GoneError(Exception):
    """The client hung up."""


@dataclass(frozen=True)
class Service:
    loaded: Loaded
    desk: Desk
    name: str
    limits: Limits
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def models(self) -> Json:
        return replies.model_list(self.name, self.limits.context, self.created)

    @contextmanager
    def call(self, encoded: bytes) -> Iterator["Call"]:
        """What is wrong with the request is said here; what it occupies is free again after the block."""
        body = read_body(encoded)
        if body.model not in (None, self.name):
            raise RefusalError(
                404, f"there is no model {body.model!r} here, only {self.name!r}", "model", "model_not_found"
            )
        asked = encode_request(body, self.loaded)
        wanted = plan(body, len(asked.encoded.ids), self.limits)
        ticket = Ticket(asked, wanted, follows=bool(body.stream))
        self.desk.take(ticket)
        try:
            yield Call(self, ticket, body)
        finally:
            self.desk.leave(ticket)


@dataclass(frozen=True)
class Call:
    """One request that was let in."""

    service: Service
    ticket: Ticket
    body: ChatBody

    @property
    def prompt_tokens(self) -> int:
        return len(self.ticket.asked.encoded.ids)

    def completion(self, is_gone: IsGone) -> Json:
        done = [mail for mail in self._mail(is_gone) if isinstance(mail, Done)]
        start = self.ticket.asked.start
        return replies.completion(self.ticket.id, self.service.name, start, done, self.prompt_tokens)

    def chunks(self, is_gone: IsGone) -> Iterator[Json]:
        wanted, done = self.ticket.wanted, list[Done]()
        stops = () if wanted.keeps_stop else wanted.stops
        streams = [Stream(self.ticket.asked.start, stops) for _ in range(wanted.sampling.n)]
        for sample in range(len(streams)):
            yield self._chunk(replies.opening(sample))
        for mail in self._mail(is_gone):
            assert isinstance(mail, Piece | Done)
            new = streams[mail.sample].grow(mail.text, is_whole=isinstance(mail, Done))
            if new.reasoning or new.content:
                yield self._chunk(replies.piece(mail.sample, new))
            if isinstance(mail, Done):
                done.append(mail)
                yield self._chunk(replies.ending(mail))
        if self.body.stream_options is not None and self.body.stream_options.include_usage:
            used = replies.usage(done, self.prompt_tokens)
            yield replies.chunk(self.ticket.id, self.service.name, [], used)

    def _chunk(self, choice: Json) -> Json:
        return replies.chunk(self.ticket.id, self.service.name, [choice])

    def _mail(self, is_gone: IsGone) -> Iterator[Mail]:
        """Until the last sample is done."""
        missing = self.ticket.wanted.sampling.n
        while missing:
            mail = self._next(is_gone)
            if isinstance(mail, Failed):
                raise RefusalError(500, f"the engine failed: {mail.why}")
            missing -= isinstance(mail, Done)
            yield mail

    def _next(self, is_gone: IsGone) -> Mail:
        while True:
            try:
                return self.ticket.mail.get(timeout=_LOOK_UP)
            except Empty:
                if is_gone():
                    raise GoneError from None
                if not self.service.desk.is_open:
                    raise RefusalError(503, "the server is closing") from None
