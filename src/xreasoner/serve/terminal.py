"""A conversation in the terminal: the thought dimmed, both as they come."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from xreasoner.records import Message, Picture
from xreasoner.rollout.server_engine.wire import as_message
from xreasoner.serve.refusal import RefusalError
from xreasoner.serve.service import Service

HELP = "A question a line. /image FILE shows a picture with the next one, /new forgets all, Ctrl-D ends."


class Conversation:
    def __init__(
        self, service: Service, console: Console, instruction: str | None, temperature: float
    ) -> None:
        self._service, self._console, self._temperature = service, console, temperature
        self._system = [Message("system", (instruction,))] if instruction else []
        self._turns: list[Message] = []
        self._pictures: list[Picture] = []

    def show(self, file: Path) -> None:
        if not file.is_file():
            raise ValueError(f"{file}: there is no such picture")
        self._pictures.append(Picture(file.read_bytes()))

    def forget(self) -> None:
        self._turns, self._pictures = [], []

    def ask(self, question: str) -> None:
        """Answers of earlier turns stay in mind, their thoughts do not. Ctrl-C breaks an answer off."""
        asked = Message("user", (*self._pictures, question))
        messages = [as_message(message) for message in (*self._system, *self._turns, asked)]
        body = {"messages": messages, "stream": True, "temperature": self._temperature}
        answer = ""
        try:
            with self._service.call(json.dumps(body).encode()) as call:
                for chunk in call.chunks(lambda: False):
                    answer += self._print(chunk["choices"][0])
        except RefusalError as refusal:
            self._console.print(refusal.message, style="red", markup=False, highlight=False)
            return
        except KeyboardInterrupt:
            pass
        self._console.print("\n")
        self._pictures = []
        self._turns += [asked, Message("assistant", (answer.strip(),))]

    def _print(self, choice: dict[str, Any]) -> str:
        delta = choice["delta"]
        thought, said = delta.get("reasoning_content", ""), delta.get("content", "")
        self._console.print(thought, end="", style="dim", markup=False, highlight=False, soft_wrap=True)
        self._console.print(said, end="", markup=False, highlight=False, soft_wrap=True)
        if choice.get("forced_exit"):
            self._console.print("\n(the thought was closed at its budget)", end="", style="yellow")
        return str(said)


def converse(conversation: Conversation, console: Console, read: Callable[[], str]) -> None:
    """Until the input ends."""
    console.print(HELP, style="dim")
    while True:
        try:
            line = read().strip()
        except (EOFError, KeyboardInterrupt):
            return
        command, _, rest = line.partition(" ")
        try:
            if command == "/image":
                conversation.show(Path(rest.strip()))
            elif command == "/new":
                conversation.forget()
            elif line:
                conversation.ask(line)
        except ValueError as error:
            console.print(str(error), style="red", markup=False, highlight=False)
