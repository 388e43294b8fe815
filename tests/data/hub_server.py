"""A small server of the hub's protocol for datasets: files of commits, and what `main` is."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Commits = dict[str, dict[str, bytes]]


@dataclass
class HubServer:
    name: str
    commits: Commits
    main: str
    downloads: list[str] = field(default_factory=list)
    """The files that were sent, in order."""
    url: str = ""


@contextmanager
def serving_hub(name: str, commits: Commits, main: str) -> Iterator[HubServer]:
    hub = HubServer(name, commits, main)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(has_body=False)

        def do_GET(self) -> None:
            self._answer(has_body=True)

        def _answer(self, has_body: bool) -> None:
            path = self.path.partition("?")[0]
            if path.startswith(f"/api/datasets/{name}"):
                rest = path.removeprefix(f"/api/datasets/{name}")
                commit = rest.rpartition("/")[2] if rest.startswith(("/revision/", "/tree/")) else "main"
                self._info(hub.main if commit == "main" else commit, is_tree=rest.startswith("/tree/"))
            elif path.startswith(f"/datasets/{name}/resolve/"):
                commit, _, file = path.removeprefix(f"/datasets/{name}/resolve/").partition("/")
                self._file(hub.main if commit == "main" else commit, file, has_body)
            else:
                self._send(404, b"")

        def _info(self, commit: str, is_tree: bool) -> None:
            files = hub.commits[commit]
            siblings = [{"rfilename": file} for file in files]
            tree = [
                {"type": "file", "path": file, "size": len(content), "oid": digest(content)}
                for file, content in files.items()
            ]
            info: Any = tree if is_tree else {"id": name, "sha": commit, "siblings": siblings, "tags": []}
            self._send(200, json.dumps(info).encode())

        def _file(self, commit: str, file: str, has_body: bool) -> None:
            content = hub.commits[commit].get(file)
            if content is None:
                self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
                return
            if has_body:
                hub.downloads.append(f"{commit}/{file}")
            self._send(200, content, {"ETag": f'"{digest(content)}"', "X-Repo-Commit": commit}, has_body)

        def _send(
            self, status: int, body: bytes, headers: dict[str, str] | None = None, has_body: bool = True
        ) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            if has_body:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    yield hub
    server.shutdown()
    server.server_close()


def digest(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()
