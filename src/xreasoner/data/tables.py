"""Read rows one at a time: JSONL, JSON, CSV, parquet or Arrow, from a file, a folder or the hub."""

import csv
import itertools
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from xreasoner.data.hub import hub_tables
from xreasoner.data.splits import SPLITS, names_split

CHUNK = 1 << 20
LONGEST_ROW = 16 << 20
"""Bytes. A longer row is bad; it is skipped without being loaded."""
BATCH_ROWS = 64

_BETWEEN = re.compile(r"[\s,]*")


@dataclass(frozen=True)
class TableRow:
    """A raw row, or the reason why it cannot be read."""

    position: str
    """File and row number, from 1."""
    value: Any
    trouble: str = ""


def read_rows(place: str, config: str | None, split: str) -> Iterator[TableRow]:
    """`place` is a file, a folder, or the id of a dataset on the hub."""
    path = Path(place)
    if path.exists():
        for file in table_files(path, config, split):
            yield from READERS[file.suffix](file)
    elif is_hub_id(place):
        for file in hub_tables(place, config, split):
            yield from READERS[file.suffix](file)
    else:
        raise ValueError(f"{place}: no such file or folder, and not the id of a dataset on the hub")


def is_hub_id(place: str) -> bool:
    return bool(re.fullmatch(r"[\w.-]+/[\w.-]+", place)) and not place.startswith(".")


def table_files(path: Path, config: str | None, split: str) -> list[Path]:
    """The files of a split, in order. A folder may hold several configurations and splits."""
    if path.is_file():
        if path.suffix not in READERS:
            raise ValueError(
                f"{path}: cannot read {path.suffix or 'this file'}; supported: {', '.join(READERS)}"
            )
        return [path]
    if config is not None:
        path = next((path / name for name in (config, "data") if (path / name).is_dir()), path)
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.suffix in READERS)
    # Metadata files that `save_to_disk` writes beside the tables.
    files = [
        file for file in files if file.name not in ("dataset_info.json", "state.json", "dataset_dict.json")
    ]
    of_split = [file for file in files if names_split(file.relative_to(path), split)]
    if not files:
        raise ValueError(f"{path}: no tables in this folder; supported: {', '.join(READERS)}")
    if not of_split and any(names_split(file.relative_to(path), other) for file in files for other in SPLITS):
        raise ValueError(f"{path}: no table of split {split!r}; found {', '.join(map(str, files[:3]))}")
    return of_split or files


def jsonl_rows(path: Path) -> Iterator[TableRow]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LONGEST_ROW):
            number += 1
            where = f"{path}:{number}"
            if not line.endswith(b"\n") and len(line) == LONGEST_ROW:
                _skip_line(file)
                yield TableRow(where, None, f"longer than {LONGEST_ROW >> 20} MiB")
            elif line.strip():
                yield _parsed(line, where)


def _skip_line(file: IO[bytes]) -> None:
    while (rest := file.readline(CHUNK)) and not rest.endswith(b"\n"):
        pass


def _parsed(line: bytes, where: str) -> TableRow:
    try:
        return TableRow(where, json.loads(line.decode("utf-8-sig")))
    except UnicodeDecodeError:
        return TableRow(where, None, "not UTF-8")
    except (json.JSONDecodeError, RecursionError):
        return TableRow(where, None, "not JSON")


def _json_rows(path: Path) -> Iterator[TableRow]:
    """A JSON list, parsed element by element; JSON lines; or an object that holds the rows by their id."""
    with path.open("rb") as file:
        begin = file.read(64).lstrip(b"\xef\xbb\xbf \r\n\t")
    if begin.startswith(b"[") and not _is_lines(path):
        yield from _listed_rows(path)
    elif begin.startswith(b"{") and (rows := _keyed_rows(path)):
        yield from rows
    else:
        yield from jsonl_rows(path)


def _keyed_rows(path: Path) -> list[TableRow]:
    """Of `{"1": {...}, "2": {...}}`, which is read whole; empty if the file is anything else."""
    with path.open("rb") as file:
        first, second = file.readline(LONGEST_ROW), file.readline(CHUNK)
    if second.strip() and not _parsed(first, "").trouble:
        return []  # lines of JSON
    whole = _parsed(path.read_bytes(), "").value
    if not isinstance(whole, dict) or not all(isinstance(value, dict) for value in whole.values()):
        return []
    return [TableRow(f"{path}[{key!r}]", value) for key, value in whole.items()]


def _is_lines(path: Path) -> bool:
    """Whether each line is a list of its own: the first line is complete JSON, and there is a second."""
    with path.open("rb") as file:
        first, second = file.readline(LONGEST_ROW), file.readline(CHUNK)
    return bool(second.strip()) and not _parsed(first, "").trouble


def _listed_rows(path: Path) -> Iterator[TableRow]:
    decoder, number = json.JSONDecoder(), 0
    # Invalid UTF-8 becomes lone surrogates, so that the bad row can be named.
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        buffer = file.read(CHUNK)
        start = buffer.index("[") + 1
        while True:
            start = _BETWEEN.match(buffer, start).end()  # type: ignore[union-attr]  # it also matches the empty string
            if buffer.startswith("]", start):
                return
            try:
                value, end = decoder.raw_decode(buffer, start)
            except (json.JSONDecodeError, RecursionError):
                more = file.read(max(CHUNK, len(buffer) - start)) if len(buffer) - start < LONGEST_ROW else ""
                if not more:
                    yield TableRow(f"{path}[{number + 1}]", None, "not JSON from here to the end of the file")
                    return
                buffer, start = buffer[start:] + more, 0
                continue
            number += 1
            invalid = not _is_unicode(buffer[start:end])
            yield TableRow(f"{path}[{number}]", None if invalid else value, "not UTF-8" if invalid else "")
            start = end


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _csv_rows(path: Path) -> Iterator[TableRow]:
    csv.field_size_limit(LONGEST_ROW)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.DictReader(file, skipinitialspace=True)
        for number in itertools.count(1):
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield TableRow(f"{path}:{number}", None, f"not CSV: {error}")
                continue
            invalid = not _is_unicode("".join(map(str, row.values())))
            yield TableRow(f"{path}:{number}", None if invalid else row, "not UTF-8" if invalid else "")


def _parquet_rows(path: Path) -> Iterator[TableRow]:
    import pyarrow.parquet

    # Some files have one large row group, which is read in pieces.
    with _named(path), pyarrow.parquet.ParquetFile(path, buffer_size=CHUNK, pre_buffer=False) as file:
        # One group at a time: a reader of several keeps all of them in memory.
        groups = (
            file.iter_batches(batch_size=BATCH_ROWS, row_groups=[group], use_threads=False)
            for group in range(file.num_row_groups)
        )
        yield from _batch_rows(itertools.chain.from_iterable(groups), path)


def _arrow_rows(path: Path) -> Iterator[TableRow]:
    """Both Arrow formats: streams, which `datasets` writes, and files with an index."""
    import pyarrow

    with _named(path), pyarrow.memory_map(str(path)) as source:
        has_index = source.read(6) == b"ARROW1"
        source.seek(0)
        if has_index:
            file = pyarrow.ipc.open_file(source)
            yield from _batch_rows((file.get_batch(i) for i in range(file.num_record_batches)), path)
        else:
            yield from _batch_rows(iter(pyarrow.ipc.open_stream(source)), path)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Adds the file name to errors of Arrow."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        said = str(error).splitlines()[0]
        raise ValueError(f"{path}: not a valid {path.suffix} file: {said}") from None


def _batch_rows(batches: Iterator[Any], path: Path) -> Iterator[TableRow]:
    number = 0
    for batch in batches:
        for start in range(0, batch.num_rows, BATCH_ROWS):
            for row in _as_dicts(batch.slice(start, BATCH_ROWS)):
                number += 1
                yield TableRow(f"{path}:{number}", row, "" if row is not None else "not UTF-8")


def _as_dicts(batch: Any) -> list[dict[str, Any] | None]:
    try:
        rows: list[dict[str, Any] | None] = batch.to_pylist()
    except UnicodeDecodeError:
        # One row with invalid text fails its batch: convert the rows one by one.
        if batch.num_rows == 1:
            return [None]
        return [row for i in range(batch.num_rows) for row in _as_dicts(batch.slice(i, 1))]
    return rows


READERS: dict[str, Callable[[Path], Iterator[TableRow]]] = {
    ".jsonl": jsonl_rows,
    ".json": _json_rows,
    ".csv": _csv_rows,
    ".parquet": _parquet_rows,
    ".arrow": _arrow_rows,
}
