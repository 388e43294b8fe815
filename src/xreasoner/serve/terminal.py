"""Terminal chat: streams the thought dimmed and the answer plain."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from rich.console import Console

from xreasoner.records import Message, Picture
from xreasoner.rollout.server_engine.chat_protocol import as_message
from xreasoner.serve.api_error import ApiError
from xreasoner.serve.engine_loop import Event
from xreasoner.serve.service import ChatService

HELP = "One question per line. /image FILE adds an image to the next one, /new starts over, Ctrl-D quits."


class TerminalChat:
    def __init__(
        self, service: ChatService, console: Console, instruction: str | None, temperature: float
    ) -> None:
        self._service, self._console, self._temperature = service, console, temperature
        self._system = [Message("system", (instruction,))] if instruction else []
        self._turns: list[Message] = []
        self._pictures: list[Picture] = []

    def add_image(self, file: Path) -> None:
        if not file.is_file():
            raise ValueError(f"{file}: no such image file")
        self._pictures.append(Picture(file.read_bytes()))

    def reset(self) -> None:
        self._turns, self._pictures = [], []

    def ask(self, question: str) -> None:
        """Earlier answers stay in the conversation, their thoughts do not. Ctrl-C stops an answer."""
        turn = Message("user", (*self._pictures, question))
        messages = [as_message(message) for message in (*self._system, *self._turns, turn)]
        body = {"messages": messages, "stream": True, "temperature": self._temperature}
        answer = ""
        try:
            for chunk in self._chunks(json.dumps(body).encode()):
                answer += self._print(chunk["choices"][0])
        except ApiError as error:
            self._console.print(error.message, style="red", markup=False, highlight=False)
            return
        except KeyboardInterrupt:
            pass
        self._console.print("\n")
        self._pictures = []
        self._turns += [turn, Message("assistant", (answer.strip(),))]

    def _chunks(self, encoded: bytes) -> Iterator[dict[str, Any]]:
        events: SimpleQueue[Event] = SimpleQueue()
        completion = self._service.prepare(encoded, events.put)
        chunks = completion.chunks()
        completion.submit()
        try:
            while not completion.is_done:
                event = events.get()
                completion.note(event)
                yield from chunks.of(event)
        finally:
            completion.release()

    def _print(self, choice: dict[str, Any]) -> str:
        delta = choice["delta"]
        thought, content = delta.get("reasoning_content", ""), delta.get("content", "")
        self._console.print(thought, end="", style="dim", markup=False, highlight=False, soft_wrap=True)
        self._console.print(content, end="", markup=False, highlight=False, soft_wrap=True)
        if choice.get("forced_exit"):
            self._console.print("\n(the thought was ended at its budget)", end="", style="yellow")
        return str(content)


def run_chat(chat: TerminalChat, console: Console, read: Callable[[], str]) -> None:
    """Runs until the input ends."""
    console.print(HELP, style="dim")
    while True:
        try:
            line = read().strip()
        except (EOFError, KeyboardInterrupt):
            return
        command, _, argument = line.partition(" ")
        try:
            if command == "/image":
                chat.add_image(Path(argument.strip()))
            elif command == "/new":
                chat.reset()
            elif line:
                chat.ask(line)
        except ValueError as error:
            console.print(str(error), style="red", markup=False, highlight=False)
