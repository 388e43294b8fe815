"""The routes, on Starlette and uvicorn: a waiting request costs no thread, and the engine has its own."""

import asyncio
import hmac
import json
import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from typing import Any, TypeVar

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from xreasoner.serve.api_error import ApiError
from xreasoner.serve.engine_loop import Event
from xreasoner.serve.service import ChatCompletion, ChatService

MAX_BODY = 64 * 2**20
_MAX_DRAIN = 4 * MAX_BODY
"""How much of a body that is too large is read and dropped, so that its sender can receive the error."""
_IDLE = 120
"""Seconds a connection may take between two pieces of a body, or stay open between two requests."""
_GRACE = 5
"""Seconds that answers in progress get when the server stops."""
_POLL_SECONDS = 1.0
"""How often to check whether the engine still runs."""

Finished = TypeVar("Finished")


class HttpServer:
    """Listens as soon as it is made, and answers while `serve_forever` runs."""

    def __init__(self, address: tuple[str, int], service: ChatService, key: str | None = None) -> None:
        self.service = service
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._socket = socket.create_server(address, family=family, backlog=512)
        self._server = uvicorn.Server(
            uvicorn.Config(
                Routes(service, key).app,
                http="h11",
                ws="none",
                lifespan="off",
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_keep_alive=_IDLE,
                timeout_graceful_shutdown=_GRACE,
            )
        )

    def __enter__(self) -> "HttpServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def server_address(self) -> tuple[str, int]:
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    @property
    def url(self) -> str:
        host, port = self.server_address
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def serve_forever(self) -> None:
        self._server.run(sockets=[self._socket])

    def shutdown(self) -> None:
        self._server.should_exit = True


class Routes:
    def __init__(self, service: ChatService, key: str | None) -> None:
        self._service, self._key = service, key
        self.app = Starlette(
            routes=[
                Route("/health", self._health, methods=["GET"]),
                Route("/v1/models", self._models, methods=["GET"]),
                Route("/v1/models/{name:path}", self._model, methods=["GET"]),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
            ],
            exception_handlers={ApiError: _refused, HTTPException: _not_routed},
        )

    async def _health(self, request: Request) -> Response:
        engine = self._service.engine_loop
        if not engine.is_running:
            raise ApiError(503, "the engine is not running")
        return JSONResponse({"status": "ok", "requests": engine.request_count, "rows": engine.rows_in_use})

    async def _models(self, request: Request) -> Response:
        self._check_key(request)
        return JSONResponse(self._service.models)

    async def _model(self, request: Request) -> Response:
        self._check_key(request)
        (model,) = self._service.models["data"]
        if request.path_params["name"] != model["id"]:
            raise ApiError(404, f"this server has the model {model['id']!r}", code="model_not_found")
        return JSONResponse(model)

    async def _chat(self, request: Request) -> Response:
        self._check_key(request)
        try:
            body = await _read_body(request)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody receives it
        events = EventQueue(asyncio.get_running_loop())
        completion = await run_in_threadpool(self._service.prepare, body, events.put)
        completion.submit()
        if completion.request.streams:
            return _EventStream(completion, events)
        try:
            done = _until_gone(_whole(completion, events), request.receive)
            return JSONResponse(await done)
        except _GoneError:
            return Response(status_code=499)  # nobody receives it
        finally:
            completion.release()

    def _check_key(self, request: Request) -> None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if self._key is None:
            return
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._key.encode()):
            raise ApiError(401, "the API key is missing or wrong; send it as Authorization: Bearer KEY")


# --- requests -------------------------------------------------------------------------------------------


async def _read_body(request: Request) -> bytes:
    if "transfer-encoding" in request.headers and "content-length" in request.headers:
        # Two servers may disagree where such a body ends: a way to smuggle in a second request.
        raise ApiError(400, "a request cannot have both Transfer-Encoding and Content-Length")
    # A web page can post a form to any address, but not JSON without asking the server first.
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "the body must be JSON, with Content-Type: application/json")
    # A body that is declared as too large is dropped; reading it lets its sender receive the error.
    limit = MAX_BODY if int(request.headers.get("Content-Length", 0)) <= MAX_BODY else -1
    body, size = bytearray(), 0
    blocks = request.stream()
    while (block := await _next_block(blocks)) is not None:
        size += len(block)
        if size <= limit:
            body += block
        elif size >= _MAX_DRAIN:
            break
    if size > limit:
        raise ApiError(413, f"the request body is too large; the limit is {MAX_BODY:,} bytes")
    return bytes(body)


async def _next_block(blocks: AsyncIterator[bytes]) -> bytes | None:
    try:
        async with asyncio.timeout(_IDLE):
            return await anext(blocks, None)
    except TimeoutError:
        raise ApiError(408, f"no part of the body came for {_IDLE} seconds") from None


# --- responses ------------------------------------------------------------------------------------------


class EventQueue:
    """Brings the events of the engine's thread to the server's."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    def put(self, event: Event) -> None:
        with suppress(RuntimeError):  # the server has stopped, and its loop is closed
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def of(self, completion: ChatCompletion) -> AsyncIterator[Event]:
        """Until the last sample is done."""
        while not completion.is_done:
            try:
                async with asyncio.timeout(_POLL_SECONDS):
                    event = await self._events.get()
            except TimeoutError:
                completion.check_engine()
                continue
            completion.note(event)
            yield event


async def _whole(completion: ChatCompletion, events: EventQueue) -> dict[str, Any]:
    async for _ in events.of(completion):
        pass
    return completion.whole()


class _EventStream(Response):
    """Server-sent events; the request's rows are freed however the stream ends."""

    def __init__(self, completion: ChatCompletion, events: EventQueue) -> None:
        super().__init__(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        del self.headers["Content-Length"]
        self._completion, self._events = completion, events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with suppress(_GoneError):
                await _until_gone(self._send_all(send), receive)
        finally:
            self._completion.release()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for line in self._lines():
            await send(
                {"type": "http.response.body", "body": f"data: {line}\n\n".encode(), "more_body": True}
            )
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _lines(self) -> AsyncIterator[str]:
        chunks = self._completion.chunks()
        try:
            for chunk in chunks.first():
                yield json.dumps(chunk)
            async for event in self._events.of(self._completion):
                for chunk in chunks.of(event):
                    yield json.dumps(chunk)
            for chunk in chunks.last():
                yield json.dumps(chunk)
            yield "[DONE]"
        except ApiError as error:  # too late for another status code
            yield json.dumps(error.body)


class _GoneError(Exception):
    """The client closed the connection."""


async def _until_gone(work: Awaitable[Finished], receive: Receive) -> Finished:
    """The result of `work`, which is cancelled if the client goes."""
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise _GoneError
        return working.result()
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    headers = {"Retry-After": "1"} if error.status == 429 else None
    return JSONResponse(error.body, error.status, headers)


async def _not_routed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = f"{error.detail}: {request.method} {request.url.path[:200]}"
    return JSONResponse(ApiError(error.status_code, what, code="not_found").body, error.status_code)
