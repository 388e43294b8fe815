"""The user's own rows, their columns named in the recipe.

`source: table` skips bad rows and counts them; `source: jsonl` stops at the first one.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from xreasoner.data.candidates import BadRowError, Candidate, keyed, sound, sound_thought, text_column
from xreasoner.data.json_rows import jsonl_rows
from xreasoner.recipe.training_data import JsonlTable, TableData
from xreasoner.records import Problem

ToProblem = Callable[[Any, str], Problem]
"""From a row and its id to a problem; a bad row raises BadRowError."""


def read_row(row: Any, position: str, key: str, entry: TableData) -> Candidate:
    return Candidate(training_problem(row, key, entry), position)


def training_problem(row: Any, key: str, entry: TableData | JsonlTable) -> Problem:
    problem = problem_of(row, key, entry)
    if row.get(entry.columns.image):
        raise BadRowError("has an image", "training is text-only")
    return problem


def problem_of(row: Any, key: str, entry: TableData | JsonlTable) -> Problem:
    """Without the row's images."""
    columns = entry.columns
    question = text_column(row, columns.question)
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


def training_jsonl(entry: JsonlTable, name: str) -> Iterator[Problem]:
    return read_jsonl(entry, name, lambda row, key: training_problem(row, key, entry))


def read_jsonl(entry: JsonlTable, name: str, read: ToProblem) -> Iterator[Problem]:
    """Stops at the first mistake: these are a few hundred rows written by hand. Ids begin with `name`.

    Rows that share an id are a mistake too, unless they are the same row again; each keeps its place.
    """
    if not entry.path.is_file():
        raise ValueError(f"{entry.path}: {'a folder' if entry.path.is_dir() else 'no such file'}")
    first: dict[str, tuple[Problem, str]] = {}
    times: Counter[str] = Counter()
    for number, row in enumerate(islice(jsonl_rows(entry.path), entry.limit), start=1):
        try:
            if row.trouble:
                raise BadRowError(row.trouble, row.detail)
            problem = read(row.value, f"{name}-{_own_id(row.value, entry) or number}")
            known, where = first.setdefault(problem.id, (problem, row.position))
            if known != problem:
                raise BadRowError(f"its id {problem.id!r} is that of another row", where)
            times[problem.id] += 1
            if times[problem.id] > 1:
                problem = replace(problem, id=f"{problem.id}-{times[problem.id]}")
                first[problem.id] = (problem, row.position)
            yield problem
        except BadRowError as bad:
            raise ValueError(f"{row.position}: {bad}" + (f": {bad.detail}" if bad.detail else "")) from None


def _own_id(row: Any, entry: JsonlTable) -> str:
    given = row.get(entry.columns.id) if isinstance(row, Mapping) else None
    if given is not None and (not isinstance(given, (str, int)) or isinstance(given, bool)):
        raise BadRowError(f"{entry.columns.id} is neither a text nor a whole number")
    return "" if given is None else sound(str(given), entry.columns.id)
