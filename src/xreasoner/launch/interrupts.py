"""TERM and INT end a process cleanly: at once, or after a part that must not be interrupted."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_pending: signal.Signals | None = None
_holding = 0


class Interrupted(BaseException):  # not an error, like KeyboardInterrupt
    """Not an Exception, so that no handler treats it as a failure."""

    def __init__(self, by: signal.Signals) -> None:
        super().__init__(by.name)
        self.by = by
        self.saved = "what is finished is kept"


def raise_on_signals() -> None:
    """For the process of a command. Without it, signals do what they do in any Python program."""
    for wanted in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, _handle)


def as_usual() -> None:
    """For a conversation or a server: INT is Python's KeyboardInterrupt, which they answer themselves."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _handle(number: int, frame: FrameType | None) -> None:
    global _pending
    if _pending is not None:
        if number == signal.SIGINT:
            os._exit(128 + number)  # a second Ctrl-C does not wait
        return
    _pending = signal.Signals(number)
    if not _holding:
        raise Interrupted(_pending)


def pending() -> signal.Signals | None:
    """The signal that this process got."""
    return _pending


@contextmanager
def held_back() -> Iterator[None]:
    """Delay signals to the end of this part, or to `at_once` inside it."""
    global _holding
    _holding += 1
    try:
        yield
    finally:
        _holding -= 1
    if _pending is not None and not _holding:
        raise Interrupted(_pending)


@contextmanager
def at_once() -> Iterator[None]:
    """Inside `held_back`: a part that a signal may end at any point."""
    global _holding
    before, _holding = _holding, 0
    try:
        if _pending is not None:
            raise Interrupted(_pending)
        yield
    finally:
        _holding = before
