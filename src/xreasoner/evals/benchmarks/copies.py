"""Where the rows and images of a benchmark are: in a local copy of its published layout, or on the hub.

A snapshot holds more than the test set: other configurations and splits, the same rows in another format,
index files. Only the tables that the definition names are read, and images come only from the copy's folders.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from xreasoner.data.hub import hub_file
from xreasoner.data.json_rows import TableRow
from xreasoner.data.tables import READERS, read_rows, table_files
from xreasoner.evals.benchmarks.definition import Definition
from xreasoner.evals.benchmarks.image_files import Pictures

FORMATS = (".parquet", ".arrow", ".jsonl", ".json", ".csv")
"""If a folder has the same rows in several formats, the first of these is read."""


class OpenedCopy(NamedTuple):
    place: str
    rows: Iterable[TableRow]
    pictures: Pictures


def open_copy(
    name: str, definition: Definition, path: Path | None, image_folders: Sequence[Path] = ()
) -> OpenedCopy:
    if path is not None:
        return local_copy(name, definition, path, image_folders)
    if definition.hub is None:
        raise ValueError(f"{name} needs your own copy: get {definition.source} and give its path")
    return hub_copy(definition.hub, definition)


# --- local ----------------------------------------------------------------------------------------------


def local_copy(
    name: str, definition: Definition, path: Path, image_folders: Sequence[Path] = ()
) -> OpenedCopy:
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder for {name}")
    tables = local_tables(definition, path)
    rows = (row for table in tables for row in read_rows(str(table), None, definition.split))
    own = (root_of(definition, path), *(table.parent for table in tables))
    folders = dict.fromkeys((*own, *image_folders))
    return OpenedCopy(str(path), rows, Pictures(tuple(folders)))


def local_tables(definition: Definition, path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    for pattern in (definition.file, *definition.layouts):
        if pattern and (found := visible(path, path.glob(pattern))):
            return found
    tables = [table for config in definition.configs for table in tables_of_config(path, config, definition)]
    return list(dict.fromkeys(tables)) or one_format(table_files(path, None, definition.split), path)


def tables_of_config(path: Path, config: str | None, definition: Definition) -> list[Path]:
    """In the folder of that name, or in files of that name; empty if there are neither."""
    if config is None:
        return one_format(table_files(path, None, definition.split), path)
    if (path / config).is_dir():
        return one_format(table_files(path / config, None, definition.split), path / config)
    files = visible(path, (file for file in path.rglob("*") if file.suffix in READERS))
    return one_format([file for file in files if file.stem == config], path)


def one_format(files: list[Path], folder: Path) -> list[Path]:
    shown = visible(folder, files)
    present = [suffix for suffix in FORMATS if any(file.suffix == suffix for file in shown)]
    return [file for file in shown if file.suffix == present[0]] if present else []


def visible(folder: Path, files: Iterable[Path]) -> list[Path]:
    """Sorted, without those in hidden folders, such as the cache that a download leaves."""
    return sorted(
        file
        for file in files
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def root_of(definition: Definition, path: Path) -> Path:
    """The folder of `path`; the snapshot's, if that is a known folder of its layout."""
    folder = path if path.is_dir() else path.parent
    known = [Path(config).parts for config in definition.configs if config]
    known += [Path(definition.file).parent.parts] if definition.file else []
    for parts in known:
        if parts and folder.parts[-len(parts) :] == parts:
            return folder.parents[len(parts) - 1]
    return folder


# --- hub ------------------------------------------------------------------------------------------------


def hub_copy(hub: str, definition: Definition) -> OpenedCopy:
    if definition.file is None:
        return OpenedCopy(hub, hub_rows(hub, definition), Pictures())
    table = hub_file(hub, definition.file)
    archives = [hub_file(hub, definition.archive)] if definition.archive else []
    return OpenedCopy(hub, read_rows(str(table), None, definition.split), Pictures(archives=archives))


def hub_rows(hub: str, definition: Definition) -> Iterator[TableRow]:
    return (row for config in definition.configs for row in read_rows(hub, config, definition.split))
