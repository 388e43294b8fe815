"""Content hashes of files. Those of large files are cached, because hashing a 7B model takes a minute."""

import hashlib
import json
import os
from pathlib import Path

from xreasoner.storage.files import write_json
from xreasoner.storage.run_folder import waiting_lock

CACHED_FROM = 2**20
"""Bytes; smaller files are hashed every time."""


def file_hash(path: Path) -> str:
    """SHA-256 of the content. The cache of a large file is valid for its path, size and modification time."""
    if path.stat().st_size < CACHED_FROM:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    real = path.resolve()
    entry = cache_folder() / f"{hashlib.sha256(str(real).encode()).hexdigest()[:32]}.json"
    with waiting_lock(entry.parent):  # the ranks of a node hash a file once
        facts = {"path": str(real), "size": real.stat().st_size, "mtime_ns": real.stat().st_mtime_ns}
        known = json.loads(entry.read_text()) if entry.is_file() else {}
        if {name: known.get(name) for name in facts} == facts:
            return str(known["sha256"])
        with real.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        write_json(entry, facts | {"sha256": found})
    return found


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xreasoner" / "file_hashes"
