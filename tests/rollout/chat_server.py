"""A real HTTP server with OpenAI's chat route, over any function that answers."""

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
class Said:
    content: str
    reasoning: str = ""
    status: int = 200
    """Another one sends an error instead."""
    finish: str = "stop"
    headers: dict[str, str] = field(default_factory=dict)
    usage: Body | None = None
    reasoning_key: str = "reasoning_content"
    extra: Body = field(default_factory=dict)
    """Beside the message."""


class ChatServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, says: Callable[[Body], Said], port: int = 0, seconds: float = 0.0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.says, self.seconds = says, seconds
        self.owner = ""
        self.asked: list[Body] = []
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
            server.asked.append(body)
            server.keys.append(self.headers.get("Authorization", ""))
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        time.sleep(server.seconds)
        said = server.says(body)
        with server.lock:
            server.at_once -= 1
            server.answered.append(time.monotonic())
        self._send(said, body)

    def do_GET(self) -> None:
        models = [{"id": "teacher", "object": "model", "created": 0, "owned_by": self.server.owner}]
        self._send_json(200, {"object": "list", "data": models}, {})

    def _send(self, said: Said, body: Body) -> None:
        message: Body = {"role": "assistant", "content": said.content}
        if said.reasoning:
            message[said.reasoning_key] = said.reasoning
        tokens = len(said.content.split()) + len(said.reasoning.split())
        content: Body = {"error": {"message": said.content, "type": "test"}}
        if said.status == 200:
            content = {
                "id": "x",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": said.finish, **said.extra}],
                "usage": said.usage
                or {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens},
            }
        self._send_json(said.status, content, said.headers)

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
            self.close_connection = True  # whoever asked was killed meanwhile

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(says: Callable[[Body], Said], seconds: float = 0.0) -> Iterator[ChatServer]:
    server = ChatServer(says, seconds=seconds)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
