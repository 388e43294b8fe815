"""The user's own rows, their columns named in the recipe.

`source: table` skips bad rows and counts them; `source: jsonl` stops at the first one and may show images.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xreasoner.data.candidates import BadRowError, Candidate, keyed, sound_thought, text_column
from xreasoner.recipe.training_data import Columns, JsonlTable, TableData
from xreasoner.records import Picture, Problem


def read_row(row: Any, position: str, key: str, entry: TableData) -> Candidate:
    question = text_column(row, entry.columns.question)
    if row.get(entry.columns.image):
        raise BadRowError("has an image", "training is text-only")
    return Candidate(problem_of(row, question, key, entry), position)


def problem_of(row: Any, question: str, key: str, entry: TableData) -> Problem:
    """Without the row's images."""
    columns = entry.columns
    kind, answer, choices = keyed(row, columns, entry.kind)
    thought = row.get(columns.reasoning)
    if thought is not None and not isinstance(thought, str):
        raise BadRowError(f"{columns.reasoning} is not text")
    return Problem(
        id=key,
        item=key,
        question=(question,),
        answer=answer,
        kind=kind,
        choices=choices,
        domain=entry.domain,
        source=Path(entry.path).stem,
        reasoning=sound_thought(thought) if thought else "",
    )


# --- jsonl ----------------------------------------------------------------------------------------------


def read_jsonl(table: JsonlTable) -> Iterator[Problem]:
    if not table.path.is_file():
        raise ValueError(f"{table.path}: no such file")
    with table.path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if table.limit is not None and number > table.limit:
                return
            if line.strip():
                yield _read_line(line, table, number)


def _read_line(line: str, table: JsonlTable, number: int) -> Problem:
    try:
        return _problem(_parsed(line), table, number)
    except BadRowError as bad:
        # A few hundred rows written by hand: the first mistake is worth stopping for.
        raise ValueError(
            f"{table.path}:{number}: {bad}" + (f": {bad.detail}" if bad.detail else "")
        ) from None


def _parsed(line: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise BadRowError("not JSON", str(error)) from None
    if not isinstance(row, dict):
        raise BadRowError("not an object", f"it is a {type(row).__name__}")
    return row


def _problem(row: Mapping[str, Any], table: JsonlTable, number: int) -> Problem:
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


def _pictures(row: Mapping[str, Any], columns: Columns, folder: Path) -> list[Picture]:
    names = row.get(columns.image) or []
    files = [folder / str(name) for name in (names if isinstance(names, list) else [names])]
    for file in files:
        if not file.is_file():
            raise BadRowError("image file not found", str(file))
    return [Picture(file.read_bytes()) for file in files]
