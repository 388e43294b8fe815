"""The user's own rows, their columns named in the recipe."""

from pathlib import Path
from typing import Any

from xreasoner.data.candidates import BadRowError, Candidate, keyed, sound_thought, text_column
from xreasoner.recipe.data import TableData
from xreasoner.records import Problem


def read_row(row: Any, position: str, key: str, entry: TableData) -> Candidate:
    columns = entry.columns
    question = text_column(row, columns.question)
    if row.get(columns.image):
        raise BadRowError("has an image", "training is text-only")
    kind, answer, choices = keyed(row, columns, entry.kind)
    thought = row.get(columns.reasoning)
    if thought is not None and not isinstance(thought, str):
        raise BadRowError(f"{columns.reasoning} is no text")
    return Candidate(
        Problem(
            id=key,
            item=key,
            question=(question,),
            answer=answer,
            kind=kind,
            choices=choices,
            domain=entry.domain,
            source=Path(entry.path).stem,
            reasoning=sound_thought(thought) if thought else "",
        ),
        position,
    )
