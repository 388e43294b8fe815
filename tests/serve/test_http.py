"""Nothing a client sends takes the server down; each mistake is named with a 4xx of OpenAI's form."""

import base64
import http.client
import io
import json
import socket
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from PIL import Image
from tests.serve.conftest import KEY, serving

from xreasoner.models.load import Loaded
from xreasoner.serve import http as ours
from xreasoner.serve.http import Server
from xreasoner.serve.settings import ServeSettings

CHAT = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(autouse=True)
def still_answering(server: Server) -> Iterator[None]:
    yield
    assert post(server, body())[0] == 200


def body(content: Any = "21 + 4 work out", **fields: Any) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": content}], "max_tokens": 4} | fields).encode()


def post(
    server: Server, encoded: bytes, path: str = CHAT, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    return request(server, "POST", path, encoded, JSON if headers is None else headers)


def request(
    server: Server, method: str, path: str, encoded: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=60)
    try:
        connection.request(method, path, encoded, headers or {})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def picture(url: str) -> list[dict[str, Any]]:
    return [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "read"}]


def png(width: int, height: int, mode: str = "RGB") -> str:
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def refused(answer: tuple[int, Any], status: int = 400) -> str:
    found, content = answer
    assert found == status, content
    assert set(content["error"]) == {"message", "type", "param", "code"}
    return str(content["error"]["message"])


def test_what_is_no_request(server: Server) -> None:
    for encoded in (b"", b"{", b"[]", b"\xff\x00", b"[" * 50_000, body(temperature="hot"), body(topp=1)):
        refused(post(server, encoded))


def test_an_unknown_model_route_or_method(server: Server) -> None:
    assert "only 'mini'" in refused(post(server, body(model="gpt-5")), 404)
    refused(post(server, body(), "/v1/completions"), 404)
    refused(request(server, "GET", "/v1/nothing"), 404)
    refused(request(server, "GET", "/../../etc/passwd"), 404)
    refused(request(server, "DELETE", CHAT), 501)


def test_bodies_too_large_of_no_length_or_no_json(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "LARGEST_BODY", 10_000)
    assert "at most 10,000" in refused(post(server, body("x" * 20_000)), 413)
    refused(request(server, "POST", CHAT, headers={"Content-Length": "-5"}), 411)
    refused(request(server, "POST", CHAT, headers={"Content-Length": "many"}), 411)
    refused(post(server, body(), headers={"Content-Type": "text/plain"}), 415)


def test_a_body_that_claims_to_be_endless_is_not_read_to_its_end(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "_DRAINED", 1000)
    with socket.create_connection(server.server_address[:2], timeout=30) as line:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {10**15}\r\n\r\n"
        line.sendall(head.encode() + b"x" * 1000)
        assert line.recv(100).startswith(b"HTTP/1.1 413")


def test_what_is_not_even_http(server: Server) -> None:
    for sent in (b"\x16\x03\x01\x00\xa5", b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"A" * 70_000):
        with socket.create_connection(server.server_address[:2], timeout=30) as line:
            line.sendall(sent)
            line.shutdown(socket.SHUT_WR)
            line.recv(10_000)


def test_a_prompt_or_an_answer_too_long_for_the_model(server: Server) -> None:
    assert "the model holds 1,024" in refused(post(server, body("21 + " * 600)))
    assert "the model holds 1,024" in refused(post(server, body(max_tokens=2000)))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1:1/x.png", "fetches none"),
        ("https://example.org/x.png", "fetches none"),
        ("file:///etc/passwd", "fetches none"),
        ("data:text/html;base64,aGk=", "fetches none"),
        ("data:image/png;base64,???", "no base64"),
        ("data:image/png;base64,aGVsbG8=", "cannot be read"),
        ("data:image/png;base64," + png(40, 40)[:80], ""),
        ("data:image/png;base64," + png(2000, 1), ""),
        ("data:image/png;base64,", "cannot be read"),
    ],
)
def test_pictures_that_are_elsewhere_broken_or_of_no_shape(server: Server, url: str, why: str) -> None:
    assert why in refused(post(server, body(picture(url))))


def test_a_picture_that_swells_when_opened(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xreasoner.serve.pictures.MOST_PIXELS", 10_000)
    url = "data:image/png;base64," + png(200, 100, "1")
    assert "20,000 pixels" in refused(post(server, body(picture(url))))


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "1", "LA", "I;16"])
def test_pictures_of_every_kind_are_seen(server: Server, mode: str) -> None:
    assert post(server, body(picture("data:image/png;base64," + png(56, 28, mode))))[0] == 200


def test_the_models_own_marks_are_no_pictures(server: Server) -> None:
    assert "0 pictures but 1" in refused(post(server, body("<|image_pad|> read")))
    refused(post(server, body(picture("data:image/png;base64," + png(28, 28)) * 17)))


def test_health_tells_how_busy_it_is(server: Server) -> None:
    status, content = request(server, "GET", "/health")
    assert (status, content["status"], content["requests"]) == (200, "ok", 0)


def test_who_comes_to_a_full_house_is_asked_to_come_again(
    server: Server, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.service.desk, "_most_waiting", 0)
    with pytest.raises(openai.RateLimitError) as refusal:
        client.chat.completions.create(**json.loads(body()), model="mini")
    assert refusal.value.response.headers["Retry-After"] == "1"
    monkeypatch.undo()


def test_an_engine_that_breaks_costs_one_answer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("xreasoner.rollout.torch_engine.scheduler.draw", broken)
    assert "out of memory" in refused(post(server, body()), 500)
    monkeypatch.undo()


def test_a_stream_over_the_oldest_http_ends_with_the_connection(server: Server) -> None:
    encoded = body(stream=True)
    with socket.create_connection(server.server_address[:2], timeout=30) as line:
        head = f"POST {CHAT} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(encoded)}"
        line.sendall(f"{head}\r\n\r\n".encode() + encoded)
        received = b"".join(iter(lambda: line.recv(4096), b""))
    assert b"Transfer-Encoding" not in received
    assert received.endswith(b"data: [DONE]\n\n")


def test_a_key_if_one_is_set(miniworld: Loaded) -> None:
    with serving(miniworld, ServeSettings("mini", port=0), key=KEY) as locked:
        refused(post(locked, body()), 401)
        refused(post(locked, body(), headers=JSON | {"Authorization": "Bearer wrong"}), 401)
        refused(request(locked, "GET", "/v1/models"), 401)
        assert request(locked, "GET", "/health")[0] == 200
        client = openai.OpenAI(base_url=f"{locked.url}/v1", api_key=KEY)
        assert client.models.list().data[0].id == "mini"
        assert post(locked, body(), headers=JSON | {"Authorization": f"Bearer {KEY}"})[0] == 200


def test_a_port_in_use_is_one_line(server: Server, miniworld: Loaded) -> None:
    taken = ServeSettings("mini", port=server.server_address[1])
    with pytest.raises(ValueError, match=r"cannot listen there: .*--port"), serving(miniworld, taken):
        pass
