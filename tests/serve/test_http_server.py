"""No request takes the server down; each invalid one gets a 4xx in OpenAI's form."""

import base64
import http.client
import io
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from PIL import Image
from tests.serve.conftest import KEY, serving

from xreasoner.models.load import Loaded
from xreasoner.serve import http_server as ours
from xreasoner.serve.http_server import HttpServer
from xreasoner.serve.serve_settings import ServeSettings

CHAT = "/v1/chat/completions"
HEAD = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(autouse=True)
def still_answering(server: HttpServer) -> Iterator[None]:
    yield
    assert post(server, body())[0] == 200


def body(content: Any = "21 + 4 work out", **fields: Any) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": content}], "max_tokens": 4} | fields).encode()


def post(
    server: HttpServer, encoded: bytes, path: str = CHAT, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    return request(server, "POST", path, encoded, JSON if headers is None else headers)


def request(
    server: HttpServer, method: str, path: str, encoded: bytes = b"", headers: dict[str, str] | None = None
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


def test_invalid_bodies(server: HttpServer) -> None:
    for encoded in (b"", b"{", b"[]", b"\xff\x00", b"[" * 50_000, body(temperature="hot"), body(topp=1)):
        refused(post(server, encoded))


def test_an_unknown_model_route_or_method(server: HttpServer) -> None:
    assert "this server has 'mini'" in refused(post(server, body(model="gpt-5")), 404)
    refused(post(server, body(), "/v1/completions"), 404)
    refused(request(server, "GET", "/v1/nothing"), 404)
    refused(request(server, "GET", "/../../etc/passwd"), 404)
    refused(request(server, "DELETE", CHAT), 405)
    refused(request(server, "GET", CHAT), 405)


def test_bodies_too_large_without_length_or_not_json(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "MAX_BODY", 10_000)
    assert "the limit is 10,000" in refused(post(server, body("x" * 20_000)), 413)
    refused(post(server, body(), headers={"Content-Type": "text/plain"}), 415)


def test_a_body_with_a_huge_content_length_is_not_read_to_its_end(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "_MAX_DRAIN", 1000)
    with socket.create_connection(server.server_address[:2], timeout=30) as line:
        line.sendall(f"{HEAD}Content-Length: {10**15}\r\n\r\n".encode() + b"x" * 1000)
        assert line.recv(100).startswith(b"HTTP/1.1 413")


def exchange(server: HttpServer, sent: bytes, half_closed: bool = False) -> bytes:
    """The beginning of what comes back; empty if the server closes the connection without a word."""
    with socket.create_connection(server.server_address[:2], timeout=30) as line:
        line.sendall(sent)
        if half_closed:
            line.shutdown(socket.SHUT_WR)
        return line.recv(10_000)


@pytest.mark.parametrize("length", ["-5", "many", "9" * 5000, "1\r\nContent-Length: 2", "+1", "1_0", "٣"])
def test_a_length_that_is_none_is_a_400(server: HttpServer, length: str) -> None:
    assert exchange(server, f"{HEAD}Content-Length: {length}\r\n\r\n{{}}".encode()).startswith(
        b"HTTP/1.1 400"
    )


def test_a_body_whose_end_two_headers_tell_is_refused(server: HttpServer) -> None:
    """Where a proxy believes the other header, the rest of the body is a second request."""
    both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert exchange(server, (HEAD + both).encode()).startswith(b"HTTP/1.1 400")


def test_a_chunked_body_is_read(server: HttpServer) -> None:
    whole = body()
    sent = f"{HEAD}Transfer-Encoding: chunked\r\n\r\n{len(whole):x}\r\n".encode() + whole + b"\r\n0\r\n\r\n"
    assert exchange(server, sent).startswith(b"HTTP/1.1 200")


def test_a_get_with_a_body_does_not_disturb_the_next_request(server: HttpServer) -> None:
    get = b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /"
    with socket.create_connection(server.server_address[:2], timeout=30) as line:
        for _ in range(3):
            line.sendall(get)
            received = b""
            while not received.endswith(b"}"):
                received += line.recv(10_000)
            assert received.startswith(b"HTTP/1.1 200")


def test_a_half_closed_client_leaves_nothing_behind(
    server: HttpServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = body(max_tokens=900, temperature=30)
    head = f"{HEAD}Content-Length: {len(whole)}\r\n\r\n".encode()
    exchange(server, head + whole, half_closed=True)
    exchange(server, head + whole[:20], half_closed=True)
    for _ in range(100):
        if request(server, "GET", "/health")[1]["requests"] == 0:
            assert "Traceback" not in caplog.text + capfd.readouterr().err
            return
        time.sleep(0.1)
    pytest.fail("a request is still running")


def test_many_concurrent_requests_are_all_answered(server: HttpServer) -> None:
    """More than there are threads for blocking work, and as many as the queue takes."""
    with ThreadPoolExecutor(120) as pool:
        found = list(pool.map(lambda n: post(server, body(f"{n} + 4 work out"))[0], range(120)))
    assert found == [200] * 120


def test_requests_that_are_not_http(server: HttpServer) -> None:
    for sent in (b"\x16\x03\x01\x00\xa5", b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"A" * 70_000):
        with socket.create_connection(server.server_address[:2], timeout=30) as line:
            line.sendall(sent)
            line.shutdown(socket.SHUT_WR)
            line.recv(10_000)


def test_a_prompt_or_an_answer_too_long_for_the_model(server: HttpServer) -> None:
    assert "the context is 1,024 tokens" in refused(post(server, body("21 + " * 600)))
    assert "the context is 1,024 tokens" in refused(post(server, body(max_tokens=2000)))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1:1/x.png", "fetches none"),
        ("https://example.org/x.png", "fetches none"),
        ("file:///etc/passwd", "fetches none"),
        ("data:text/html;base64,aGk=", "fetches none"),
        ("data:image/png;base64,???", "not valid base64"),
        ("data:image/png;base64,aGVsbG8=", "cannot be read"),
        ("data:image/png;base64," + png(40, 40)[:80], ""),
        ("data:image/png;base64," + png(2000, 1), ""),
        ("data:image/png;base64,", "cannot be read"),
    ],
)
def test_invalid_images(server: HttpServer, url: str, why: str) -> None:
    assert why in refused(post(server, body(picture(url))))


def test_an_image_with_too_many_pixels(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xreasoner.serve.request_images.MAX_PIXELS", 10_000)
    url = "data:image/png;base64," + png(200, 100, "1")
    assert "200 x 100 pixels; the limit is 10,000" in refused(post(server, body(picture(url))))


def test_the_images_of_a_request_have_a_limit_together(server: HttpServer) -> None:
    """16 PNGs in 130 kB took 5.6 GB."""
    said = refused(post(server, body(picture("data:image/png;base64," + png(4000, 4000, "1")) * 16)))
    assert "a request may have 40,000,000 pixels, of which the images before it have 32,000,000" in said


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "1", "LA", "I;16"])
def test_all_image_modes_are_accepted(server: HttpServer, mode: str) -> None:
    assert post(server, body(picture("data:image/png;base64," + png(56, 28, mode))))[0] == 200


def test_placeholders_in_text_and_too_many_images(server: HttpServer) -> None:
    assert "0 images but 1" in refused(post(server, body("<|image_pad|> read")))
    refused(post(server, body(picture("data:image/png;base64," + png(28, 28)) * 17)))


def test_health_reports_the_load(server: HttpServer) -> None:
    status, content = request(server, "GET", "/health")
    assert (status, content["status"], content["requests"]) == (200, "ok", 0)


def test_a_full_queue_is_a_429(
    server: HttpServer, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.service.engine_loop, "_max_requests", 0)
    with pytest.raises(openai.RateLimitError) as error:
        client.chat.completions.create(**json.loads(body()), model="mini")
    assert error.value.response.headers["Retry-After"] == "1"
    monkeypatch.undo()


def test_an_engine_failure_costs_one_answer(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("xreasoner.rollout.torch_engine.decode_step.draw", broken)
    assert "out of memory" in refused(post(server, body()), 500)
    monkeypatch.undo()


def test_a_stream_over_http_1_0_ends_with_the_connection(server: HttpServer) -> None:
    encoded = body(stream=True)
    with socket.create_connection(server.server_address[:2], timeout=30) as line:
        head = f"POST {CHAT} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(encoded)}"
        line.sendall(f"{head}\r\n\r\n".encode() + encoded)
        received = b"".join(iter(lambda: line.recv(4096), b""))
    assert b"Transfer-Encoding" not in received
    assert received.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("temperature", [1e308, 1e-45, 101, -1])
def test_a_temperature_that_breaks_the_batch_is_refused(server: HttpServer, temperature: float) -> None:
    """It turned the logits of all rows into NaN or infinity."""
    refused(post(server, body(temperature=temperature)))


@pytest.mark.parametrize("name", ["max_tokens", "thinking_token_budget", "answer_token_budget", "seed"])
def test_numbers_beyond_64_bits_are_refused(server: HttpServer, name: str) -> None:
    for number in (2**63, 10**400):
        refused(post(server, body(**{name: number})))


def test_an_api_key(miniworld: Loaded) -> None:
    with serving(miniworld, ServeSettings("mini", port=0), key=KEY) as locked:
        refused(post(locked, body()), 401)
        refused(post(locked, body(), headers=JSON | {"Authorization": "Bearer wrong"}), 401)
        refused(request(locked, "GET", "/v1/models"), 401)
        assert request(locked, "GET", "/health")[0] == 200
        client = openai.OpenAI(base_url=f"{locked.url}/v1", api_key=KEY)
        assert client.models.list().data[0].id == "mini"
        for scheme in ("Bearer", "bearer"):
            assert post(locked, body(), headers=JSON | {"Authorization": f"{scheme} {KEY}"})[0] == 200
        for other in (KEY, f"Basic {KEY}", f"Bearer{KEY}", f"Bearer {KEY} {KEY}", "Bearer é"):
            refused(post(locked, body(), headers=JSON | {"Authorization": other.encode("latin-1")}), 401)


def test_the_key_is_checked_before_the_body_is_read(miniworld: Loaded) -> None:
    with serving(miniworld, ServeSettings("mini", port=0), key=KEY) as locked:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000\r\n\r\n"
        assert exchange(locked, head.encode()).startswith(b"HTTP/1.1 401")


def test_a_port_in_use_is_one_line(server: HttpServer, miniworld: Loaded) -> None:
    taken = ServeSettings("mini", port=server.server_address[1])
    with pytest.raises(ValueError, match=r"cannot listen: .*--port"), serving(miniworld, taken):
        pass
