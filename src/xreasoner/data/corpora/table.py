"""The user's own rows, their columns named in the recipe."""

from pathlib import Path
from typing import Any

from xreasoner.data.candidates import (
    BadRowError,
    Candidate,
    letter_of,
    options_of,
    sound_thought,
    text_column,
)
from xreasoner.recipe_data import TableData
from xreasoner.records import Problem


def read_row(row: Any, position: str, key: str, entry: TableData) -> Candidate:
    columns = entry.columns
    question, answer = text_column(row, columns.question), text_column(row, columns.answer)
    if row.get(columns.image):
        raise BadRowError("has an image", "training is text-only")
    options = options_of(row[columns.choices]) if row.get(columns.choices) else {}
    kind = entry.kind or ("choice" if options else "math")
    if kind == "choice" and not options:
        raise BadRowError("no options")
    thought = row.get(columns.reasoning)
    if thought is not None and not isinstance(thought, str):
        raise BadRowError(f"{columns.reasoning} is no text")
    return Candidate(
        Problem(
            id=key,
            item=key,
            question=(question,),
            answer=letter_of(answer, options) if kind == "choice" else answer,
            kind=kind,
            choices=tuple(options.values()) if kind == "choice" else (),
            domain=entry.domain,
            source=Path(entry.path).stem,
            reasoning=sound_thought(thought) if thought else "",
        ),
        position,
    )
