"""The routes, on the standard library's HTTP server: one thread per connection, one engine for all."""

import hmac
import json
import select
import socket
import sys
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from xreasoner.serve.api_error import ApiError
from xreasoner.serve.service import ChatService, ClientDisconnectedError

MAX_BODY = 64 * 2**20
_MAX_DRAIN = 4 * MAX_BODY
"""How much of a body that is too large is read and dropped, so that its sender can receive the error."""
_BLOCK = 2**16
_IDLE = 120.0
"""Seconds a connection may take to send a request, or stay open between two."""


class HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], service: ChatService, key: str | None = None) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, HttpHandler)
        self.service, self.key = service, key

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://{f'[{host!s}]' if ':' in str(host) else host!s}:{port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients may disconnect at any time; other errors deserve a traceback.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class HttpHandler(BaseHTTPRequestHandler):
    server: HttpServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "xreasoner", ""
    timeout = _IDLE

    def do_GET(self) -> None:
        try:
            self._send(200, self._look_up())
        except ApiError as error:
            self._send(error.status, error.body)

    def do_POST(self) -> None:
        try:
            body = self._read_body()
            if self.path.partition("?")[0].rstrip("/") != "/v1/chat/completions":
                raise self._no_such_route()
            self._check_key()
            with self.server.service.complete(body) as completion:
                if completion.request.streams:
                    self._stream(completion.chunks(self._is_gone))
                else:
                    self._send(200, completion.whole(self._is_gone))
        except ApiError as error:
            self._send(error.status, error.body)
        except ClientDisconnectedError:
            self.close_connection = True

    def _look_up(self) -> dict[str, Any]:
        service, path = self.server.service, self.path.partition("?")[0].rstrip("/")
        if path == "/health":
            if not service.engine_loop.is_running:
                raise ApiError(503, "the engine is not running")
            return {
                "status": "ok",
                "requests": service.engine_loop.request_count,
                "rows": service.engine_loop.rows_in_use,
            }
        self._check_key()
        if path == "/v1/models":
            return service.models
        if path == f"/v1/models/{service.name}":
            (model,) = service.models["data"]
            return dict(model)
        raise self._no_such_route()

    def _no_such_route(self) -> ApiError:
        return ApiError(404, f"no such route: {self.command} {self.path[:200]}", code="not_found")

    def _check_key(self) -> None:
        key = self.server.key
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if key is not None and not hmac.compare_digest(given.encode(), key.encode()):
            raise ApiError(401, "the API key is missing or wrong")

    def _read_body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self.close_connection = True
            raise ApiError(411, "a Content-Length header is required")
        if int(length) > MAX_BODY:
            self.close_connection = True
            self._drain(min(int(length), _MAX_DRAIN))
            raise ApiError(413, f"request body is {int(length):,} bytes; the limit is {MAX_BODY:,}")
        body = self.rfile.read(int(length))
        # A web page can post a form to any address, but not JSON without asking the server first.
        if self.headers.get_content_type() != "application/json":
            raise ApiError(415, "the body must be JSON, with Content-Type: application/json")
        return body

    def _drain(self, bytes_left: int) -> None:
        while bytes_left > 0:
            block = self.rfile.read(min(_BLOCK, bytes_left))
            if not block:
                return
            bytes_left -= len(block)

    def _is_gone(self) -> bool:
        """The client has closed the connection: what can be read is the end of the stream."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""

    def _send(self, status: int, content: dict[str, Any]) -> None:
        encoded = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        if status == 429:
            self.send_header("Retry-After", "1")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(encoded)

    def _stream(self, chunks: Iterator[dict[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        chunked = self.request_version != "HTTP/1.0"
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.close_connection = True
        self.end_headers()
        try:
            for event in self._events(chunks):
                line = f"data: {event}\n\n".encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line) if chunked else line)
            if chunked:
                self.wfile.write(b"0\r\n\r\n")
        except (OSError, ClientDisconnectedError):
            self.close_connection = True

    def _events(self, chunks: Iterator[dict[str, Any]]) -> Iterator[str]:
        try:
            yield from map(json.dumps, chunks)
            yield "[DONE]"
        except ApiError as error:  # too late for another status code
            yield json.dumps(error.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Errors of the standard library's server, in the same form as ours."""
        self.close_connection = True
        text = message or HTTPStatus(code).phrase
        self._send(code, ApiError(code, text, code="http_error").body)

    def log_message(self, *_: object) -> None:
        pass
