"""Datasets of the Hugging Face Hub as local files of a pinned revision.

A dataset is downloaded once and then read from disk, also without a network. A run writes the revisions it
uses to `hub/revisions.json`, and keeps them when it is resumed.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml

from xreasoner.data.splits import SPLITS, names_split
from xreasoner.storage.file_hash import cache_folder
from xreasoner.storage.files import write_json
from xreasoner.storage.run_folder import waiting_lock

REVISIONS = Path("hub") / "revisions.json"
TABLES = (".parquet", ".jsonl", ".json", ".csv", ".arrow")

Fetched = TypeVar("Fetched")
_pins: list[Path] = []
"""The folder of the current run, innermost last; its revisions hold for everything read meanwhile."""


@contextmanager
def pinned_in(run_dir: Path) -> Iterator[None]:
    """Use the revisions of this run, and add those of datasets it reads for the first time."""
    _pins.append(run_dir)
    try:
        yield
    finally:
        _pins.pop()


def pinned_revisions(run_dir: Path) -> dict[str, str]:
    path = run_dir / REVISIONS
    return json.loads(path.read_text()) if path.is_file() else {}


def hub_tables(name: str, config: str | None, split: str) -> list[Path]:
    """The tables of a split, downloaded if they are not on disk."""
    return hub_files(name, f"{config or ''}/{split}", lambda files: chosen_tables(name, files, config, split))


def hub_file(name: str, file: str) -> Path:
    return hub_files(name, file, lambda files: [file])[0]


def hub_files(name: str, what: str, choose: Callable[[Sequence[str]], Sequence[str]]) -> list[Path]:
    revision = revision_of(name)
    note = hub_cache(name) / revision / f"{what.replace('/', '--')}.json"
    if found := noted_files(note):
        return found
    listed = ask_hub(name, lambda api: api.list_repo_files(name, repo_type="dataset", revision=revision))
    chosen = list(choose(listed))
    with waiting_lock(hub_cache(name)):  # one of several processes downloads
        if found := noted_files(note):
            return found
        folder = ask_hub(
            name,
            lambda api: api.snapshot_download(
                name, repo_type="dataset", revision=revision, allow_patterns=chosen
            ),
        )
        write_json(note, [str(Path(folder) / file) for file in chosen])
    return [Path(folder) / file for file in chosen]


def noted_files(note: Path) -> list[Path]:
    """What an earlier download left, if all of it is still there."""
    files = [Path(path) for path in json.loads(note.read_text())] if note.is_file() else []
    return files if all(path.is_file() for path in files) else []


def revision_of(name: str) -> str:
    """The commit that the run uses: for a new dataset the latest, or without a network the one on disk."""
    run_dir = _pins[-1] if _pins else None
    latest = hub_cache(name) / "latest.json"
    with waiting_lock((run_dir / REVISIONS).parent if run_dir else hub_cache(name)):
        pins = pinned_revisions(run_dir) if run_dir else {}
        if name in pins:
            return pins[name]
        try:
            revision = str(ask_hub(name, lambda api: api.dataset_info(name).sha))
        except ValueError:
            if not latest.is_file():
                raise
            revision = str(json.loads(latest.read_text()))
        write_json(latest, revision)
        if run_dir:
            write_json(run_dir / REVISIONS, pins | {name: revision})
    return revision


def is_on_disk(name: str) -> bool:
    """Whether tables of the dataset were downloaded before."""
    notes = hub_cache(name).glob("*/*.json")
    return any(note.name != "README.md.json" and noted_files(note) for note in notes)


def hub_cache(name: str) -> Path:
    return cache_folder().parent / "hub" / name.replace("/", "--")


LOAD = "could not load {} from the Hugging Face Hub: {}; a local copy works too"


def ask_hub(name: str, ask: Callable[[Any], Fetched], failed: str = LOAD) -> Fetched:
    """Any failure of the network or the hub is one line."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    # Connections fail with errors of the HTTP library, which differs by version of the hub's client.
    http_error = cast(type[Exception], HfHubHTTPError.__bases__[0])
    try:
        return ask(HfApi())
    except (OSError, http_error) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(failed.format(name, said)) from None


# --- which files of a dataset hold a split --------------------------------------------------------------


def chosen_tables(name: str, files: Sequence[str], config: str | None, split: str) -> list[str]:
    """As the dataset card says; if it says nothing, by the names of folders and files."""
    tables = [file for file in files if file.endswith(TABLES)]
    patterns = card_patterns(name, files, config, split)
    if patterns is None:
        return named_tables(name, tables, config, split)
    found = sorted(file for file in tables if any(fnmatch(file, pattern) for pattern in patterns))
    if not found:
        raise ValueError(
            f"{name}: the dataset has no table of split {split!r} in config {config or 'default'!r}"
        )
    return found


def card_patterns(name: str, files: Sequence[str], config: str | None, split: str) -> list[str] | None:
    if "README.md" not in files:
        return None
    configs = card_configs(name, hub_file(name, "README.md").read_bytes())
    if not configs:
        return None
    by_name = {one.get("config_name", "default"): one for one in configs}
    default = next((one for one in configs if one.get("default")), by_name.get("default", configs[0]))
    wanted = by_name.get(config) if config else default
    if wanted is None:
        raise ValueError(f"{name}: the dataset has no config {config!r}; configs: {', '.join(by_name)}")
    return [pattern for one, pattern in data_files(wanted) if one == split]


def card_configs(name: str, card: bytes) -> list[dict[str, Any]]:
    """The head of the card is YAML that the owner of the dataset wrote."""
    try:
        text = card.decode("utf-8-sig")
        found = yaml.safe_load(text.split("---", 2)[1] if text.startswith("---") else "")
    except (yaml.YAMLError, RecursionError, ValueError):
        raise ValueError(f"{name}: the head of its README.md is not YAML; give a local copy") from None
    configs = found.get("configs") if isinstance(found, dict) else None
    return [one for one in configs if isinstance(one, dict)] if isinstance(configs, list) else []


def data_files(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Split and pattern of each entry of `data_files`; a pattern without a split is of `train`."""
    entries = config.get("data_files", [])
    for entry in entries if isinstance(entries, list) else [entries]:
        split, paths = (
            (entry.get("split", "train"), entry.get("path")) if isinstance(entry, dict) else ("train", entry)
        )
        for path in paths if isinstance(paths, list) else [paths]:
            if isinstance(path, str):
                yield split, f"{config['data_dir']}/{path}" if config.get("data_dir") else path


def named_tables(name: str, tables: Sequence[str], config: str | None, split: str) -> list[str]:
    if config and (inside := [file for file in tables if file.startswith(f"{config}/")]):
        tables = inside
    of_split = sorted(file for file in tables if names_split(Path(file), split))
    if not of_split and any(names_split(Path(file), other) for file in tables for other in SPLITS):
        raise ValueError(
            f"{name}: the dataset has no table of split {split!r}; found {', '.join(sorted(tables)[:3])}"
        )
    if not tables:
        raise ValueError(f"{name}: the dataset has no tables; supported: {', '.join(TABLES)}")
    return of_split or sorted(tables)
