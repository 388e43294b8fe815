"""From the columns of a row to a training candidate; a bad row raises BadRowError with the reason."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from xreasoner.chat.think import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN
from xreasoner.recipe.training_data import Columns
from xreasoner.records import OPTION_LETTERS, Kind, Problem

_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Candidate:
    problem: Problem
    position: str
    truth: str = ""
    """The known answer, if the answer to train on was written by a teacher."""


class BadRowError(ValueError):
    """Raised for a row that cannot be used; the reader skips and counts it."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


def column(row: Any, name: str) -> Any:
    if not isinstance(row, Mapping):
        raise BadRowError("not an object", f"it is a {type(row).__name__}")
    if name not in row:
        raise BadRowError(f"no column {name!r}", f"it has {', '.join(map(str, row))[:200]}")
    return row[name]


def text_column(row: Any, name: str) -> str:
    value = column(row, name)
    if not isinstance(value, (str, int, float)) or isinstance(value, bool) or not str(value).strip():
        raise BadRowError(
            f"{name} is empty" if value in (None, "") or isinstance(value, str) else f"{name} is not text"
        )
    if isinstance(value, float) and not isfinite(value):
        raise BadRowError(f"{name} is not a finite number")
    return sound(str(value), name)


def sound(text: str, name: str) -> str:
    """Stripped text; raises for lone surrogates, which JSON can contain and no tokenizer accepts."""
    if not text.isascii() and _SURROGATES.search(text):
        raise BadRowError(f"{name} is not valid Unicode")
    return text.strip()


def sound_thought(thought: str) -> str:
    """A thought without any of our tags inside."""
    thought = sound(thought, "thought")
    if not thought:
        raise BadRowError("empty thought")
    for tag in (THINK_OPEN, THINK_CLOSE, ANSWER_OPEN, ANSWER_CLOSE):
        if tag in thought:
            raise BadRowError("tag in the thought", f"{tag} at character {thought.index(tag)}")
    return thought


def options_of(value: Any, least: int = 2) -> dict[str, str]:
    """Options by letter, from a mapping, a list of texts, or a list of {key, value}."""
    if isinstance(value, Mapping):
        pairs = [(str(letter), option) for letter, option in value.items() if option is not None]
    elif isinstance(value, Sequence) and not isinstance(value, str):
        pairs = [
            (str(one["key"]), one.get("value"))
            if isinstance(one, Mapping) and "key" in one
            else (letter, one)
            for letter, one in zip(OPTION_LETTERS, value, strict=False)
        ]
    else:
        raise BadRowError("options are neither a list nor a mapping")
    options = {letter.strip().upper(): sound(str(option), "an option") for letter, option in pairs}
    if not least <= len(options) <= len(OPTION_LETTERS) or len(options) != len(pairs):
        raise BadRowError(f"options must be {least} to 26 different ones", f"there are {len(options)}")
    if not all(options.values()):
        raise BadRowError("an option is empty")
    return options


def letter_of(answer: str, options: Mapping[str, str]) -> str:
    """The letter of the right option; the row may give a letter or the text of an option."""
    letters = dict(zip(options, OPTION_LETTERS, strict=False))
    if answer.strip().upper() in letters:
        return letters[answer.strip().upper()]
    meant = [letters[letter] for letter, option in options.items() if option == answer.strip()]
    if len(meant) != 1:
        raise BadRowError("the answer is not an option", f"{answer[:80]!r}")
    return meant[0]


def keyed(row: Any, columns: Columns, kind: Kind | None) -> tuple[Kind, str, tuple[str, ...]]:
    """Kind, answer and options of a row of a user's table."""
    options = options_of(row[columns.choices]) if row.get(columns.choices) else {}
    answer = text_column(row, columns.answer)
    kind = kind or ("choice" if options else "math")
    if kind != "choice":
        return kind, answer, ()
    if not options:
        raise BadRowError("no options")
    return kind, letter_of(answer, options), tuple(options.values())


def flattened(parts: Iterable[object]) -> str:
    """The text parts of a question or of options, joined."""
    return " ".join(part for part in parts if isinstance(part, str))
