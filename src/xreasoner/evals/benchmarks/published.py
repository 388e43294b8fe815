"""Loads a published benchmark by name, from the hub or from a local copy."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from xreasoner.data.candidates import BadRowError
from xreasoner.data.json_rows import TableRow
from xreasoner.evals.benchmarks.catalogue import BENCHMARKS
from xreasoner.evals.benchmarks.copies import open_copy
from xreasoner.evals.benchmarks.definition import Definition
from xreasoner.evals.benchmarks.image_files import Pictures
from xreasoner.evals.task import Benchmark, Broken
from xreasoner.records import Problem

PROBE = "probe"
"""The only benchmark that `--bench` takes and that is not published."""


def load_benchmark(
    name: str,
    path: Path | None = None,
    limit: int | None = None,
    any_size: bool = False,
    image_folders: Sequence[Path] = (),
) -> Benchmark:
    """`path` is a local copy in the published form, by default the hub; `limit` spreads items evenly.

    Items that cannot be asked (no image, a key that matches no option) are listed as broken, not dropped.
    """
    definition = definition_of(name)
    place, rows, pictures = open_copy(name, definition, path, image_folders)
    own: list[tuple[int, TableRow]] = []
    total, are_columns_known = 0, False
    for total, row in enumerate(rows, start=1):  # the last row's number is the total
        if row.trouble or not isinstance(row.value, dict):
            own.append((total, row))  # it may be one of the benchmark's
            continue
        if not are_columns_known:
            check_columns(name, definition, row)
            are_columns_known = True
        if definition.belongs(row.value):
            own.append((total, row))
    if not own:
        raise ValueError(f"{place}: no row belongs to {name}")
    if not any_size:
        check_size(name, definition, place, total, len(own))
    problems: list[Problem] = []
    broken: list[Broken] = []
    met: Counter[str] = Counter()
    for number, row in spread(own, limit):
        item = f"{name}-{id_of(row, definition.id_column) or number}"
        met[item] += 1
        key = f"{item}-{met[item]}" if met[item] > 1 else item
        read = read_item(key, definition, row, pictures)
        if isinstance(read, Broken):
            broken.append(read)
        else:
            problems.append(replace(read, item=key, source=name, domain=definition.domain))
    return Benchmark(name, definition.modality, definition.domain, tuple(problems), broken=tuple(broken))


def definition_of(name: str) -> Definition:
    if name not in BENCHMARKS:
        if name == PROBE:
            raise ValueError("benchmark 'probe': it is generated, so write {source: probe}")
        known = [*BENCHMARKS, PROBE]
        close = get_close_matches(name.lower(), known, n=1, cutoff=0.6)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
        raise ValueError(f"unknown benchmark {name!r}; {hint}")
    return BENCHMARKS[name]


def check_size(name: str, definition: Definition, place: str, rows: int, items: int) -> None:
    """Of the whole table where its size is known: which rows belong may depend on our reading."""
    found, published = (items, definition.size) if definition.rows is None else (rows, definition.rows)
    if published is not None and found != published:
        what = "items" if definition.rows is None else "rows"
        raise ValueError(
            f"{place}: found {found:,} {what} of {name}, published {published:,}: "
            "give the published snapshot, or set any_size: true to use this copy as it is"
        )


def check_columns(name: str, definition: Definition, row: TableRow) -> None:
    missing = [wanted for wanted in definition.columns if wanted not in row.value]
    if missing:
        raise ValueError(
            f"{row.position}: not in the form of {name}, which has the columns "
            f"{', '.join(definition.columns)}; this has {', '.join(map(str, row.value))}"
        )


def spread(found: list[tuple[int, TableRow]], limit: int | None) -> list[tuple[int, TableRow]]:
    """At most `limit` rows at even distances, since tables are often sorted by subject."""
    if limit is None or limit >= len(found):
        return found
    return [found[place * len(found) // limit] for place in range(limit)]


def read_item(key: str, definition: Definition, row: TableRow, pictures: Pictures) -> Problem | Broken:
    if row.trouble or not isinstance(row.value, dict):
        detail = f" ({row.detail})" if row.detail else ""
        return Broken(key, f"{row.trouble}{detail}" if row.trouble else "not an object")
    try:
        return definition.read(key, row.value, pictures)
    except BadRowError as bad:
        return Broken(key, f"{bad.reason} ({bad.detail})" if bad.detail else bad.reason)


def id_of(row: TableRow, column: str) -> str:
    own = row.value.get(column) if isinstance(row.value, dict) else None
    return "" if own is None else str(own)
