"""Patience, pace, and a key that nobody gets to see."""

import email.utils
import logging
import time
from pathlib import Path

import pytest
from tests.rollout.chat_server import Body, Said, serving

from xreasoner.records import Message, Prompt, Sampling
from xreasoner.rollout.server_engine.client import (
    LONGEST_HOLD,
    LONGEST_WAIT,
    Client,
    Pace,
    backoff,
    retry_after,
)
from xreasoner.rollout.server_engine.engine import ApiEngine, Server
from xreasoner.rollout.server_engine.wire import Said as Answered

KEY = "sk-very-secret-123"
QUESTION = [{"role": "user", "content": "one"}]


def fails_first(*failures: Said) -> tuple[list[Said], object]:
    waiting = list(failures)
    return waiting, lambda body: waiting.pop(0) if waiting else Said("yes")


def ask(url: str, **settings: object) -> Answered:
    return Client(Server(url, "teacher", **settings)).ask(messages=QUESTION)  # type: ignore[arg-type]


def test_rate_limits_and_broken_servers_are_tried_again_as_they_ask() -> None:
    _, says = fails_first(Said("slow down", status=429, headers={"Retry-After": "0.9"}), Said("", status=500))
    began = time.monotonic()
    with serving(says) as server:  # type: ignore[arg-type]
        assert ask(server.url).reply == "yes"
    assert len(server.asked) == 3
    # The first wait is the server's; the second is the second of ours, 0.5 to 1 second.
    assert time.monotonic() - began >= 0.9 + 0.5


def test_everybody_waits_when_one_is_told_to() -> None:
    pace = Pace(None)
    pace.hold(0.3)
    began = time.monotonic()
    pace.wait()
    assert time.monotonic() - began >= 0.29


def test_an_answer_that_is_no_completion_is_asked_for_again() -> None:
    with serving(lambda body: Said("yes")) as server:
        server.says = lambda body: Said("yes")
        original, broken = server.RequestHandlerClass._send_json, [True]

        def first_empty(handler: object, status: int, content: Body, headers: dict[str, str]) -> None:
            original(handler, status, {"choices": []} if broken and broken.pop() else content, headers)

        server.RequestHandlerClass = type(
            "Broken", (server.RequestHandlerClass,), {"_send_json": first_empty}
        )
        assert ask(server.url).reply == "yes"
    assert len(server.asked) == 2


def test_a_spent_quota_is_not_waited_for() -> None:
    with serving(lambda body: Said("you have run out", status=429, extra={})) as server:
        original = server.RequestHandlerClass._send_json

        def coded(handler: object, status: int, content: Body, headers: dict[str, str]) -> None:
            content["error"]["code"] = "insufficient_quota"
            original(handler, status, content, headers)

        server.RequestHandlerClass = type("Coded", (server.RequestHandlerClass,), {"_send_json": coded})
        with pytest.raises(ValueError, match="run out"):
            ask(server.url)
    assert len(server.asked) == 1


def test_waits_double_to_a_limit_and_are_not_all_the_same() -> None:
    for tried, longest in ((0, 0.5), (1, 1.0), (4, 8.0), (20, LONGEST_WAIT)):
        waits = [backoff(tried) for _ in range(200)]
        assert longest / 2 <= min(waits) < 0.6 * longest
        assert 0.9 * longest < max(waits) <= longest


class RepliedError(Exception):
    def __init__(self, value: str) -> None:
        self.response = type("Response", (), {"headers": {"retry-after": value}})


def test_retry_after_comes_in_seconds_or_as_a_date() -> None:
    in_a_minute = email.utils.formatdate(time.time() + 60, usegmt=True)
    assert retry_after(RepliedError("1.5")) == 1.5
    assert retry_after(RepliedError(in_a_minute)) == pytest.approx(60, abs=2)
    assert retry_after(RepliedError("Wed, 21 Oct 2015 07:28:00 GMT")) == 0
    assert retry_after(RepliedError("100000")) == LONGEST_HOLD
    assert retry_after(RepliedError("soon")) == 0
    assert retry_after(ValueError()) is None


def test_requests_keep_their_pace() -> None:
    pace, began = Pace(per_minute=1200), time.monotonic()
    for _ in range(5):
        pace.wait()
    assert time.monotonic() - began >= 4 * 0.05
    began = time.monotonic()
    for _ in range(1000):
        Pace(None).wait()
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_the_key_is_sent_and_never_shown(
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Not even by a server that quotes it, with every library at its most talkative."""
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG)
    question = Prompt("one", (Message("user", ("one",)),))
    shown: list[object] = []
    with serving(lambda body: Said(f"no such key: {KEY}", status=status)) as server:
        engine = ApiEngine(Server(server.url, "teacher", key_from="MY_KEY", retries=0))
        try:
            shown += [rollout.trouble for rollout in engine.generate([question], Sampling())]
        except ValueError as error:
            shown += [error, error.__cause__]
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert KEY not in repr(shown) + repr(vars(engine)) + caplog.text + "".join(capfd.readouterr())
    assert "***" in repr(shown) or status == 200
    assert list(tmp_path.iterdir()) == []
