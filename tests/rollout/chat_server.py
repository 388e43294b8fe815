"""A real HTTP server with OpenAI's chat route; a function answers each request."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


@dataclass
class ServerReply:
    content: str
    reasoning: str = ""
    status: int = 200
    """Any other status sends an error instead."""
    finish: str = "stop"
    headers: dict[str, str] = field(default_factory=dict)
    usage: Body | None = None
    reasoning_key: str = "reasoning_content"
    extra: Body = field(default_factory=dict)
    """More fields of the choice."""


class ChatServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answer: Callable[[Body], ServerReply], port: int = 0, seconds: float = 0.0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.answer, self.seconds = answer, seconds
        self.owner = ""
        self.requests: list[Body] = []
        self.keys: list[str] = []
        self.answered: list[float] = []
        self.most_at_once = self.at_once = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: ChatServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.requests.append(body)
            server.keys.append(self.headers.get("Authorization", ""))
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        time.sleep(server.seconds)
        reply = server.answer(body)
        with server.lock:
            server.at_once -= 1
            server.answered.append(time.monotonic())
        self._send(reply, body)

    def do_GET(self) -> None:
        models = [{"id": "teacher", "object": "model", "created": 0, "owned_by": self.server.owner}]
        self._send_json(200, {"object": "list", "data": models}, {})

    def _send(self, reply: ServerReply, body: Body) -> None:
        message: Body = {"role": "assistant", "content": reply.content}
        if reply.reasoning:
            message[reply.reasoning_key] = reply.reasoning
        tokens = len(reply.content.split()) + len(reply.reasoning.split())
        content: Body = {"error": {"message": reply.content, "type": "test"}}
        if reply.status == 200:
            content = {
                "id": "x",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": reply.finish, **reply.extra}],
                "usage": reply.usage
                or {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens},
            }
        self._send_json(reply.status, content, reply.headers)

    def _send_json(self, status: int, content: Body, headers: dict[str, str]) -> None:
        encoded = json.dumps(content).encode()
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)
        except OSError:
            self.close_connection = True  # the client was killed meanwhile

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(answer: Callable[[Body], ServerReply], seconds: float = 0.0) -> Iterator[ChatServer]:
    server = ChatServer(answer, seconds=seconds)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
