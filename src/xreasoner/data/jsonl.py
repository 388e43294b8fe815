"""The user's own problems: one JSON object a line, its columns named in the recipe."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xreasoner.data.candidates import BadRowError, keyed, text_column
from xreasoner.recipe.data import Columns, JsonlTable
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
                yield _read(line, table, number)


def _read(line: str, table: JsonlTable, number: int) -> Problem:
    try:
        return _problem(_row(line), table, number)
    except BadRowError as bad:
        # A few hundred rows that somebody wrote by hand: the first mistake is worth stopping for.
        raise ValueError(
            f"{table.path}:{number}: {bad}" + (f": {bad.detail}" if bad.detail else "")
        ) from None


def _row(line: str) -> Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise BadRowError("not JSON", str(error)) from None
    if not isinstance(row, dict):
        raise BadRowError("not an object", f"it is a {type(row).__name__}")
    return row


def _problem(row: Row, table: JsonlTable, number: int) -> Problem:
    columns = table.columns
    key = str(row.get(columns.id, number))
    kind, answer, choices = keyed(row, columns, table.kind)
    return Problem(
        id=f"{table.path.stem}-{key}",
        item=f"{table.path.stem}-{key}",
        question=(*_pictures(row, columns, table.path.parent), text_column(row, columns.question)),
        answer=answer,
        kind=kind,
        choices=choices,
        domain=table.domain,
        source=table.path.stem,
        reasoning=str(row.get(columns.reasoning) or ""),
    )


def _pictures(row: Row, columns: Columns, folder: Path) -> list[Picture]:
    names = row.get(columns.image) or []
    files = [folder / str(name) for name in (names if isinstance(names, list) else [names])]
    for file in files:
        if not file.is_file():
            raise BadRowError("there is no such image", str(file))
    return [Picture(file.read_bytes()) for file in files]
