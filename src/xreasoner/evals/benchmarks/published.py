"""Loads a published benchmark by name, from the hub or from a local copy."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from xreasoner.data.candidates import BadRowError
from xreasoner.data.tables import TableRow, read_rows
from xreasoner.evals.benchmarks.catalogue import BENCHMARKS
from xreasoner.evals.benchmarks.definition import Definition
from xreasoner.evals.benchmarks.image_files import Pictures
from xreasoner.evals.task import Benchmark, Broken
from xreasoner.records import Problem


class OpenedCopy(NamedTuple):
    rows: Iterable[TableRow]
    pictures: Pictures


def load_benchmark(name: str, path: Path | None = None, limit: int | None = None) -> Benchmark:
    """`path` is a local copy in the published form, by default the hub; `limit` spreads items evenly.

    Items that cannot be asked (no image, a key that matches no option) are listed as broken, not dropped.
    """
    definition = definition_of(name)
    rows, pictures = open_copy(name, definition, path)
    chosen = spread(belonging(name, definition, rows), limit)
    problems: list[Problem] = []
    broken: list[Broken] = []
    met: Counter[str] = Counter()
    for number, row in chosen:
        own = f"{name}-{id_of(row, definition.id_column) or number}"
        met[own] += 1
        key = f"{own}-{met[own]}" if met[own] > 1 else own
        read = read_item(key, definition, row, pictures)
        if isinstance(read, Broken):
            broken.append(read)
        else:
            problems.append(replace(read, item=key, source=name, domain=definition.domain))
    if not chosen:
        raise ValueError(f"{path or definition.hub}: no row belongs to {name}")
    return Benchmark(name, definition.modality, definition.domain, tuple(problems), broken=tuple(broken))


def definition_of(name: str) -> Definition:
    if name not in BENCHMARKS:
        close = get_close_matches(name, BENCHMARKS, n=1, cutoff=0.6)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(BENCHMARKS)}"
        raise ValueError(f"unknown benchmark {name!r}; {hint}")
    return BENCHMARKS[name]


def open_copy(name: str, definition: Definition, path: Path | None) -> OpenedCopy:
    if path is not None:
        return local_copy(name, definition, path)
    if definition.hub is None:
        raise ValueError(f"{name} needs your own copy: get {definition.source} and give its path")
    return hub_copy(definition.hub, definition)


def local_copy(name: str, definition: Definition, path: Path) -> OpenedCopy:
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder for {name}")
    table = path / definition.file if definition.file and (path / definition.file).is_file() else path
    base = table if table.is_dir() else table.parent
    folders = (path, base, *base.parents[:2]) if path.is_dir() else (base, *base.parents[:2])
    present = [config for config in definition.configs if config and (path / config).is_dir()]
    configs: list[str | None] = [*present] or [None]
    rows = (row for config in configs for row in read_rows(str(table), config, definition.split))
    return OpenedCopy(rows, Pictures(tuple(dict.fromkeys(folders))))


def hub_copy(hub: str, definition: Definition) -> OpenedCopy:
    if definition.file is None:
        rows = (row for config in definition.configs for row in read_rows(hub, config, definition.split))
        return OpenedCopy(rows, Pictures())
    table = downloaded(hub, definition.file)
    archives = [downloaded(hub, definition.archive)] if definition.archive else []
    return OpenedCopy(read_rows(str(table), None, definition.split), Pictures(archives=archives))


def downloaded(hub: str, file: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(hub, file, repo_type="dataset"))
    except (HfHubHTTPError, LocalEntryNotFoundError, ConnectionError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{hub}: could not load {file} from the Hugging Face Hub: {said}; a local copy works too"
        ) from None


def belonging(name: str, definition: Definition, rows: Iterable[TableRow]) -> Iterator[tuple[int, TableRow]]:
    """The benchmark's rows with their number in the table; unreadable rows are kept, as they may belong."""
    checked = False
    for number, row in enumerate(rows, start=1):
        if row.trouble or not isinstance(row.value, dict):
            yield number, row
            continue
        if not checked:
            check_columns(name, definition, row)
            checked = True
        if definition.belongs(row.value):
            yield number, row


def check_columns(name: str, definition: Definition, row: TableRow) -> None:
    missing = [wanted for wanted in definition.columns if wanted not in row.value]
    if missing:
        raise ValueError(
            f"{row.position}: not in the form of {name}, which has the columns "
            f"{', '.join(definition.columns)}; this has {', '.join(map(str, row.value))}"
        )


def spread(rows: Iterable[tuple[int, TableRow]], limit: int | None) -> list[tuple[int, TableRow]]:
    """At most `limit` rows at even distances, since tables are often sorted by subject."""
    found = list(rows)
    if limit is None or limit >= len(found):
        return found
    return [found[place * len(found) // limit] for place in range(limit)]


def read_item(key: str, definition: Definition, row: TableRow, pictures: Pictures) -> Problem | Broken:
    if row.trouble or not isinstance(row.value, dict):
        return Broken(key, row.trouble or "not an object")
    try:
        return definition.read(key, row.value, pictures)
    except BadRowError as bad:
        return Broken(key, f"{bad.reason} ({bad.detail})" if bad.detail else bad.reason)


def id_of(row: TableRow, column: str) -> str:
    own = row.value.get(column) if isinstance(row.value, dict) else None
    return "" if own is None else str(own)
