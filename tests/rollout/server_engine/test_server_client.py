"""Retries, rate limits, and an API key that is never revealed."""

import email.utils
import logging
import time
from pathlib import Path

import pytest
from tests.rollout.chat_server import Body, ServerReply, serving

from xreasoner.recipe.settings import ServerSettings
from xreasoner.records import Message, Prompt, Sampling
from xreasoner.rollout.server_engine.chat_protocol import Completion
from xreasoner.rollout.server_engine.client import (
    LONGEST_PAUSE,
    LONGEST_WAIT,
    Client,
    RateLimiter,
    backoff,
    retry_after,
)
from xreasoner.rollout.server_engine.engine import ServerEngine

KEY = "sk-very-secret-123"
QUESTION = [{"role": "user", "content": "one"}]


def fails_first(*failures: ServerReply) -> tuple[list[ServerReply], object]:
    waiting = list(failures)
    return waiting, lambda body: waiting.pop(0) if waiting else ServerReply("yes")


def ask(url: str, **settings: object) -> Completion:
    return Client(ServerSettings(url=url, model="teacher", **settings), url).send(messages=QUESTION)  # type: ignore[arg-type]


def test_rate_limits_and_server_errors_are_retried() -> None:
    _, says = fails_first(
        ServerReply("slow down", status=429, headers={"Retry-After": "0.9"}), ServerReply("", status=500)
    )
    began = time.monotonic()
    with serving(says) as server:  # type: ignore[arg-type]
        assert ask(server.url).reply == "yes"
    assert len(server.requests) == 3
    # The first wait is the server's; the second is our second backoff, 0.5 to 1 second.
    assert time.monotonic() - began >= 0.9 + 0.5


def test_a_pause_applies_to_all_requests() -> None:
    limiter = RateLimiter(None)
    limiter.pause(0.3)
    began = time.monotonic()
    limiter.wait()
    assert time.monotonic() - began >= 0.29


def test_a_response_that_is_not_a_completion_is_retried() -> None:
    with serving(lambda body: ServerReply("yes")) as server:
        server.answer = lambda body: ServerReply("yes")
        original, broken = server.RequestHandlerClass._send_json, [True]

        def first_empty(handler: object, status: int, content: Body, headers: dict[str, str]) -> None:
            original(handler, status, {"choices": []} if broken and broken.pop() else content, headers)

        server.RequestHandlerClass = type(
            "Broken", (server.RequestHandlerClass,), {"_send_json": first_empty}
        )
        assert ask(server.url).reply == "yes"
    assert len(server.requests) == 2


def test_a_spent_quota_is_not_retried() -> None:
    with serving(lambda body: ServerReply("you have run out", status=429, extra={})) as server:
        original = server.RequestHandlerClass._send_json

        def coded(handler: object, status: int, content: Body, headers: dict[str, str]) -> None:
            content["error"]["code"] = "insufficient_quota"
            original(handler, status, content, headers)

        server.RequestHandlerClass = type("Coded", (server.RequestHandlerClass,), {"_send_json": coded})
        with pytest.raises(ValueError, match="run out"):
            ask(server.url)
    assert len(server.requests) == 1


def test_backoff_doubles_up_to_a_limit_with_jitter() -> None:
    for tried, longest in ((0, 0.5), (1, 1.0), (4, 8.0), (20, LONGEST_WAIT)):
        waits = [backoff(tried) for _ in range(200)]
        assert longest / 2 <= min(waits) < 0.6 * longest
        assert 0.9 * longest < max(waits) <= longest


class RepliedError(Exception):
    def __init__(self, value: str) -> None:
        self.response = type("Response", (), {"headers": {"retry-after": value}})


def test_retry_after_in_seconds_or_as_a_date() -> None:
    in_a_minute = email.utils.formatdate(time.time() + 60, usegmt=True)
    assert retry_after(RepliedError("1.5")) == 1.5
    assert retry_after(RepliedError(in_a_minute)) == pytest.approx(60, abs=2)
    assert retry_after(RepliedError("Wed, 21 Oct 2015 07:28:00 GMT")) == 0
    assert retry_after(RepliedError("100000")) == LONGEST_PAUSE
    assert retry_after(RepliedError("soon")) == 0
    assert retry_after(ValueError()) is None


def test_the_rate_limit_holds() -> None:
    limiter, began = RateLimiter(per_minute=1200), time.monotonic()
    for _ in range(5):
        limiter.wait()
    assert time.monotonic() - began >= 4 * 0.05
    began = time.monotonic()
    for _ in range(1000):
        RateLimiter(None).wait()
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_the_key_is_sent_and_never_shown(
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Even if the server quotes it, and with all libraries at debug level."""
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG)
    question = Prompt("one", (Message("user", ("one",)),))
    shown: list[object] = []
    with serving(lambda body: ServerReply(f"no such key: {KEY}", status=status)) as server:
        engine = ServerEngine(
            ServerSettings(url=server.url, model="teacher", key_from="MY_KEY", retries=0, exit_by="limit")
        )
        try:
            shown += [rollout.trouble for rollout in engine.generate([question], Sampling())]
        except ValueError as error:
            shown += [error, error.__cause__]
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert KEY not in repr(shown) + repr(vars(engine)) + caplog.text + "".join(capfd.readouterr())
    assert "***" in repr(shown) or status == 200
    assert list(tmp_path.iterdir()) == []
