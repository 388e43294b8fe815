"""The routes, on the standard library's HTTP server: a thread a connection, one engine behind them."""

import hmac
import json
import select
import socket
import sys
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from xreasoner.serve.refusal import RefusalError
from xreasoner.serve.service import GoneError, Service

LARGEST_BODY = 64 * 2**20
_DRAINED = 4 * LARGEST_BODY
"""Of a body that is too large so much is read and dropped, so that its sender gets to hear why."""
_BLOCK = 2**16
_IDLE = 120.0
"""Seconds a connection may take over its request, or wait for the next."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], service: Service, key: str | None = None) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, Handler)
        self.service, self.key = service, key

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://{f'[{host!s}]' if ':' in str(host) else host!s}:{port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients hang up when they like; anything else is worth its traceback.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "xreasoner", ""
    timeout = _IDLE

    def do_GET(self) -> None:
        try:
            self._send(200, self._look_up())
        except RefusalError as refusal:
            self._send(refusal.status, refusal.body)

    def do_POST(self) -> None:
        try:
            body = self._read_body()
            if self.path.partition("?")[0].rstrip("/") != "/v1/chat/completions":
                raise self._no_such_route()
            self._check_key()
            with self.server.service.call(body) as call:
                if call.ticket.follows:
                    self._stream(call.chunks(self._is_gone))
                else:
                    self._send(200, call.completion(self._is_gone))
        except RefusalError as refusal:
            self._send(refusal.status, refusal.body)
        except GoneError:
            self.close_connection = True

    def _look_up(self) -> dict[str, Any]:
        service, path = self.server.service, self.path.partition("?")[0].rstrip("/")
        if path == "/health":
            if not service.desk.is_open:
                raise RefusalError(503, "the engine is down")
            return {
                "status": "ok",
                "requests": service.desk.under_way,
                "rows": service.desk.rows_in_use,
            }
        self._check_key()
        if path == "/v1/models":
            return service.models
        if path == f"/v1/models/{service.name}":
            (model,) = service.models["data"]
            return dict(model)
        raise self._no_such_route()

    def _no_such_route(self) -> RefusalError:
        return RefusalError(404, f"there is no {self.command} {self.path[:200]} here", code="not_found")

    def _check_key(self) -> None:
        key = self.server.key
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if key is not None and not hmac.compare_digest(given.encode(), key.encode()):
            raise RefusalError(401, "the key is missing or wrong")

    def _read_body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self.close_connection = True
            raise RefusalError(411, "say how long the body is: Content-Length")
        if int(length) > LARGEST_BODY:
            self.close_connection = True
            self._drain(min(int(length), _DRAINED))
            raise RefusalError(413, f"the body has {int(length):,} bytes, at most {LARGEST_BODY:,} go")
        body = self.rfile.read(int(length))
        # A web page may send a form to any address; only programs send JSON unasked.
        if self.headers.get_content_type() != "application/json":
            raise RefusalError(415, "the body must be JSON: Content-Type: application/json")
        return body

    def _drain(self, bytes_left: int) -> None:
        while bytes_left > 0:
            block = self.rfile.read(min(_BLOCK, bytes_left))
            if not block:
                return
            bytes_left -= len(block)

    def _is_gone(self) -> bool:
        """Whoever asked has closed the connection: there is something to read, and it is the end."""
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
        except (OSError, GoneError):
            self.close_connection = True

    def _events(self, chunks: Iterator[dict[str, Any]]) -> Iterator[str]:
        try:
            yield from map(json.dumps, chunks)
            yield "[DONE]"
        except RefusalError as refusal:  # too late for another status
            yield json.dumps(refusal.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the standard library itself has to refuse, in the same form as all else."""
        self.close_connection = True
        said = message or HTTPStatus(code).phrase
        self._send(code, RefusalError(code, said, code="http_error").body)

    def log_message(self, *_: object) -> None:
        pass
