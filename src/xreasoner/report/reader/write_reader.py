"""Writes the reader: a folder with a page, the index of all answers, their texts, and the pictures."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from xreasoner.report.reader.answer_files import answer_files
from xreasoner.report.reader.answer_index import Filed, index_of
from xreasoner.report.reader.file_table import table_of
from xreasoner.storage.files import sweep, write_atomically
from xreasoner.storage.run_folder import waiting_lock

FOLDER = "reader"
PAGE = "index.html"
FOLDERS = ("cache", "text", "pictures")
OURS = re.compile(r"[0-9a-f]{32}\.(?:js|json)")


@dataclass(frozen=True)
class WrittenReader:
    page: Path
    items: int
    answers: int


def write_reader(run_dirs: Sequence[Path], out: Path) -> WrittenReader:
    """Reads only the answer files that are new or have changed since `out` was written."""
    with waiting_lock(out):  # a run that ends and a `view` of it may write at the same time
        return write_files(run_dirs, out)


def write_files(run_dirs: Sequence[Path], out: Path) -> WrittenReader:
    refuse_links(out)
    for name in FOLDERS:
        sweep(out / name)
    found = [file for run_dir in run_dirs for file in answer_files(run_dir)]
    keys, filed = list[str](), list[Filed]()
    for file in found:
        key, table = table_of(file, out)
        keys.append(key)
        filed.append((file, table))
    index = index_of(filed, run_names(run_dirs))
    remove_others(out / "cache", (f"{key}.json" for key in keys))
    remove_others(out / "text", (f"{name}.js" for name in index["chunks"]))
    content = json.dumps(json.dumps(index, ensure_ascii=False, separators=(",", ":")), ensure_ascii=False)
    write_atomically(out / "answers.js", f"xreasonerReader.index({content})\n".encode(errors="replace"))
    for name in ("licences.txt", "reader.js", "reader.css", PAGE):
        write_atomically(out / name, files("xreasoner.report.reader").joinpath("built", name).read_bytes())
    return WrittenReader(out / PAGE, len(index["items"]["ids"]), sum(len(table.item) for _, table in filed))


def run_names(run_dirs: Sequence[Path]) -> list[str]:
    """Folder names, with as many parents as tell them apart."""
    full = [path.resolve() for path in run_dirs]
    for count in range(1, max(len(path.parts) for path in full) + 1):
        names = ["/".join(path.parts[-count:]) for path in full]
        if len(set(names)) == len(names):
            return names
    raise ValueError(f"{run_dirs[0]}: the same run is named twice")


def refuse_links(out: Path) -> None:
    """Files are written and removed in these folders, and a run directory may come from somebody else."""
    for name in FOLDERS:
        if (folder := out / name).is_symlink():
            raise ValueError(f"{folder} is a symbolic link; remove it, or choose another folder with --out")


def remove_others(folder: Path, wanted: Iterable[str]) -> None:
    """Earlier files of ours."""
    kept = set(wanted)
    for path in folder.glob("*"):
        if path.name not in kept and OURS.fullmatch(path.name):
            path.unlink(missing_ok=True)


def default_folder(run_dirs: Sequence[Path]) -> Path:
    """Inside a single run; beside the first of several."""
    first, *others = (path.resolve() for path in run_dirs)
    if not others:
        return run_dirs[0] / FOLDER
    return first.parent / "-".join([FOLDER, first.name, *(path.name for path in others)])
