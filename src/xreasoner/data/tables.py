"""Read rows one at a time: JSONL, JSON, CSV, parquet or Arrow, from a file, a folder or the hub."""

import csv
import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xreasoner.data.hub import hub_tables
from xreasoner.data.json_rows import (
    CHUNK,
    LONGEST_ROW,
    TableRow,
    is_unicode,
    json_rows,
    jsonl_rows,
    refuse_utf16,
)
from xreasoner.data.splits import SPLITS, names_split

BATCH_ROWS = 64


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


def _csv_rows(path: Path) -> Iterator[TableRow]:
    refuse_utf16(path)
    csv.field_size_limit(LONGEST_ROW)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.DictReader(file, skipinitialspace=True, strict=True)
        for number in itertools.count(1):
            where = f"{path}:{number}"
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                if "unexpected end of data" in str(error):  # every row after the quote is inside it
                    raise ValueError(f"{where}: a quote is opened here and never closed") from None
                yield TableRow(where, None, "not CSV", str(error))
                continue
            is_text = is_unicode("".join(map(str, row.values())))
            yield TableRow(where, row if is_text else None, "" if is_text else "not UTF-8")


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
    ".json": json_rows,
    ".csv": _csv_rows,
    ".parquet": _parquet_rows,
    ".arrow": _arrow_rows,
}
