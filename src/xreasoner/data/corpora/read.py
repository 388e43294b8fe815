"""A corpus as a stream of candidates; bad rows come as LeftOut with position and reason."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from xreasoner.data.candidates import BadRowError, Candidate
from xreasoner.data.corpora import openthoughts, questions, user_table
from xreasoner.data.json_rows import TableRow
from xreasoner.data.left_out import LeftOut
from xreasoner.data.tables import read_rows
from xreasoner.recipe.training_data import CorpusData, DataSource, JsonlData, TableData

RowResult = Candidate | LeftOut

ADAPTERS: dict[str, Callable[[Any, str, str, Any], Candidate]] = {
    "openthoughts": openthoughts.read_row,
    "orz-math": questions.read_orz,
    "medqa": questions.read_medqa,
    "gsm8k": questions.read_gsm8k,
    "table": user_table.read_row,
}
PATIENCE = 1000
"""Rows before the fraction of bad ones is checked; it is checked again at the end."""


def read_corpus(entry: CorpusData, name: str = "") -> Iterator[RowResult]:
    """`name` replaces the default prefix of ids."""
    name = name or name_of(entry)
    config = getattr(entry, "config", None)
    rows = islice(read_rows(entry.path, config, entry.split), 0, entry.limit, entry.every)
    bad, seen = Counter[str](), 0
    first_missing: LeftOut | None = None
    last_bad: LeftOut | None = None
    for seen, row in enumerate(rows, start=1):
        found = candidate_of(row, f"{name}-{seen:06}", entry)
        if isinstance(found, LeftOut) and found.is_bad:
            bad[found.reason] += 1
            first_missing = first_missing or (found if found.reason.startswith("no column") else None)
            last_bad = found
        yield found
        if seen >= PATIENCE and bad.total() > entry.max_bad_rows * seen:
            raise ValueError(too_many(entry, bad, seen, last_bad))
    if seen == 0:
        raise ValueError(f"{entry.path}: no rows")
    if bad.total() == seen and first_missing:
        raise ValueError(f"{entry.path}: not in the format of {entry.source}: {said(first_missing)}")
    if bad.total() > entry.max_bad_rows * seen:
        raise ValueError(too_many(entry, bad, seen, last_bad))


def candidate_of(row: TableRow, key: str, entry: CorpusData) -> RowResult:
    if row.trouble:
        return LeftOut(row.position, row.trouble, row.detail, is_bad=True)
    try:
        candidate = ADAPTERS[entry.source](row.value, row.position, key, entry)
    except BadRowError as bad:
        return LeftOut(row.position, bad.reason, bad.detail, key, is_bad=True)
    domains = getattr(entry, "domains", None)
    if domains is not None and candidate.problem.domain not in domains:
        return LeftOut(row.position, "another domain", candidate.problem.domain, key)
    return candidate


def name_of(entry: DataSource) -> str:
    """With what the ids of its problems begin."""
    return Path(entry.path).stem if isinstance(entry, TableData | JsonlData) else entry.source


def too_many(entry: CorpusData, bad: Counter[str], seen: int, last: LeftOut | None) -> str:
    assert last is not None
    reasons = ", ".join(f"{count} {reason}" for reason, count in bad.most_common(5))
    return (
        f"{entry.path}: {bad.total()} of {seen} rows are bad, above max_bad_rows {entry.max_bad_rows:g} "
        f"({reasons}); the last one: {said(last)}"
    )


def said(left_out: LeftOut) -> str:
    detail = f" ({left_out.detail})" if left_out.detail else ""
    return f"{left_out.position}: {left_out.reason}{detail}"
