"""The user's own problems: one JSON object a line, its columns named in the recipe."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from xreasoner.recipe_data import Columns, JsonlTable
from xreasoner.records import Picture, Problem

Row = Mapping[str, Any]


def read_table(table: JsonlTable) -> Iterator[Problem]:
    if not table.path.is_file():
        raise ValueError(f"{table.path}: there is no such file of problems")
    with table.path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if table.limit is not None and number > table.limit:
                return
            if line.strip():
                yield _problem(_row(line, f"{table.path}:{number}"), table, number)


def _row(line: str, where: str) -> Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: this line is not JSON: {error}") from None
    if not isinstance(row, dict):
        raise ValueError(f"{where}: this line is not a JSON object")
    return row


def _problem(row: Row, table: JsonlTable, number: int) -> Problem:
    where, columns = f"{table.path}:{number}", table.columns
    options = _options(row.get(columns.choices), where)
    answer = _text(row, columns.answer, where)
    key = str(row.get(columns.id, number))
    kind = table.kind or ("choice" if options else "math")
    if kind == "choice":
        answer = _letter(answer, options, where)
    return Problem(
        id=f"{table.path.stem}-{key}",
        item=f"{table.path.stem}-{key}",
        question=(*_pictures(row, columns, table.path.parent, where), _text(row, columns.question, where)),
        answer=answer,
        kind=kind,
        choices=tuple(options.values()) if kind == "choice" else (),
        domain=table.domain,
        source=table.path.stem,
        reasoning=str(row.get(columns.reasoning) or ""),
    )


def _text(row: Row, column: str, where: str) -> str:
    value = row.get(column)
    if not isinstance(value, (str, int, float)) or not str(value).strip():
        raise ValueError(
            f"{where}: the column {column!r} is missing or empty; this line has {', '.join(row)}"
        )
    return str(value)


def _options(value: Any, where: str) -> dict[str, str]:
    """By letter, whether the line has a list or a mapping."""
    if value is None:
        return {}
    if isinstance(value, dict):
        return {str(letter).strip().upper(): str(option) for letter, option in value.items()}
    if not isinstance(value, list) or len(value) > len(ascii_uppercase):
        raise ValueError(f"{where}: choices must be a list of at most 26 options, or a mapping from letters")
    return {letter: str(option) for letter, option in zip(ascii_uppercase, value, strict=False)}


def _letter(answer: str, options: Mapping[str, str], where: str) -> str:
    """The answer's letter among A, B, ...; the line may name the letter or the option's text."""
    letters = dict(zip(options, ascii_uppercase, strict=False))
    if answer.strip().upper() in letters:
        return letters[answer.strip().upper()]
    meant = [letters[letter] for letter, option in options.items() if option.strip() == answer.strip()]
    if len(meant) != 1:
        raise ValueError(f"{where}: the answer {answer!r} is neither a letter nor the text of one choice")
    return meant[0]


def _pictures(row: Row, columns: Columns, folder: Path, where: str) -> list[Picture]:
    names = row.get(columns.image) or []
    files = [folder / str(name) for name in (names if isinstance(names, list) else [names])]
    for file in files:
        if not file.is_file():
            raise ValueError(f"{where}: there is no image {file}")
    return [Picture(file.read_bytes()) for file in files]
