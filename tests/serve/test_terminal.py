"""Terminal chat: the dimmed thought, the history, and errors."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from tests.serve.conftest import ANSWER

from xreasoner.models.load import Loaded
from xreasoner.serve.serve_settings import ServeSettings
from xreasoner.serve.service import ChatService
from xreasoner.serve.terminal import TerminalChat, run_chat
from xreasoner.serve.torch_server import torch_service


@pytest.fixture
def service(thinker: Loaded) -> Iterator[ChatService]:
    settings = ServeSettings("chain", think_budget=4, answer_budget=8)
    with torch_service(thinker, settings, rows=1) as running:
        yield running


def talk(service: ChatService, *lines: str) -> tuple[str, TerminalChat]:
    written, typed = io.StringIO(), iter(lines)
    console = Console(file=written, force_terminal=True, color_system="standard", width=200)
    chat = TerminalChat(service, console, "w5", 0.0)

    def read() -> str:
        line = next(typed, None)
        if line is None:
            raise EOFError
        return line

    run_chat(chat, console, read)
    return written.getvalue(), chat


def test_the_thought_is_dimmed_and_a_forced_exit_shown(service: ChatService) -> None:
    text, chat = talk(service, "w30")
    dim, plain = "\x1b[2m", "\x1b[0m"
    assert f"{dim} w1{plain}" in text and f"{dim} <answer>" not in text
    assert "ended at its budget" in text
    (question, answer) = chat._turns
    assert (question.parts, answer.parts) == (("w30",), (ANSWER,))


def test_turns_are_kept_until_reset(service: ChatService) -> None:
    assert len(talk(service, "w30", "", "w31")[1]._turns) == 4
    assert talk(service, "w30", "/new")[1]._turns == []


def test_errors_do_not_end_the_chat(service: ChatService, tmp_path: Path) -> None:
    """A missing file, and an image for a text model; the question can be asked again without it."""
    (tmp_path / "p.png").write_bytes(b"no picture")
    text, chat = talk(service, "/image nowhere.png", f"/image {tmp_path / 'p.png'}", "w30", "/new", "w30")
    assert "nowhere.png: no such image file" in text
    assert "the image cannot be read" in text
    assert len(chat._turns) == 2
