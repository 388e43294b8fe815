"""TERM and INT: raised at once, or after the part that must not be torn apart."""

import os
import signal
from collections.abc import Iterator

import pytest

from xreasoner.launch import interrupts
from xreasoner.launch.interrupts import Interrupted, at_once, held_back, pending, raise_on_signals


@pytest.fixture(autouse=True)
def caught(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.setattr(interrupts, "_pending", None)
    raise_on_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_raised_at_once(number: signal.Signals) -> None:
    with pytest.raises(Interrupted) as stop:
        os.kill(os.getpid(), number)
    assert stop.value.by == number == pending()


def test_a_signal_waits_for_the_end_of_a_held_part_or_for_one_that_may_end() -> None:
    done = []
    with pytest.raises(Interrupted), held_back():
        with held_back():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("inner")
        done.append("outer")
    assert done == ["inner", "outer"]
    with pytest.raises(Interrupted), held_back():
        with at_once():
            done.append("never")
        done.append("never")
    assert done == ["inner", "outer"]


def test_a_second_int_leaves_at_once_and_a_second_term_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    with pytest.raises(Interrupted), held_back():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert left == []
        os.kill(os.getpid(), signal.SIGINT)
        assert left == [130]
