"""The conversation in the terminal: what is dimmed, what is remembered, what is forgiven."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from tests.serve.conftest import ANSWER

from xreasoner.models.load import Loaded
from xreasoner.serve.service import Service
from xreasoner.serve.settings import ServeSettings
from xreasoner.serve.terminal import Conversation, converse
from xreasoner.serve.torch_server import torch_service


@pytest.fixture
def service(thinker: Loaded) -> Iterator[Service]:
    settings = ServeSettings("chain", think_budget=4, answer_budget=8)
    with torch_service(thinker, settings, rows=1) as running:
        yield running


def talk(service: Service, *lines: str) -> tuple[str, Conversation]:
    written, typed = io.StringIO(), iter(lines)
    console = Console(file=written, force_terminal=True, color_system="standard", width=200)
    conversation = Conversation(service, console, "w5", 0.0)

    def read() -> str:
        line = next(typed, None)
        if line is None:
            raise EOFError
        return line

    converse(conversation, console, read)
    return written.getvalue(), conversation


def test_the_thought_is_dimmed_and_a_forced_exit_told(service: Service) -> None:
    text, conversation = talk(service, "w30")
    dim, plain = "\x1b[2m", "\x1b[0m"
    assert f"{dim} w1{plain}" in text and f"{dim} <answer>" not in text
    assert "closed at its budget" in text
    (question, answer) = conversation._turns
    assert (question.parts, answer.parts) == (("w30",), (ANSWER,))


def test_turns_are_remembered_until_they_are_to_be_forgotten(service: Service) -> None:
    assert len(talk(service, "w30", "", "w31")[1]._turns) == 4
    assert talk(service, "w30", "/new")[1]._turns == []


def test_a_mistake_ends_nothing(service: Service, tmp_path: Path) -> None:
    """No such file; a picture for a text model, whose question can then be put again without it."""
    (tmp_path / "p.png").write_bytes(b"no picture")
    text, conversation = talk(
        service, "/image nowhere.png", f"/image {tmp_path / 'p.png'}", "w30", "/new", "w30"
    )
    assert "nowhere.png: there is no such picture" in text
    assert "the picture cannot be read" in text
    assert len(conversation._turns) == 2
