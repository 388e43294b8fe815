"""Content hashes: SHA-256, computed once for a large file that stays as it is."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from xreasoner.storage import file_hash as module
from xreasoner.storage.file_hash import CACHED_FROM, cache_folder, file_hash


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("size", [10, CACHED_FROM + 3])
def test_it_is_the_sha256_of_the_content(tmp_path: Path, size: int) -> None:
    (tmp_path / "a").write_bytes(b"x" * size)
    for _ in range(2):
        assert file_hash(tmp_path / "a") == hashlib.sha256(b"x" * size).hexdigest()


def test_a_large_file_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"x" * CACHED_FROM)
    first = file_hash(tmp_path / "a")
    (entry,) = cache_folder().glob("*.json")
    assert json.loads(entry.read_text())["sha256"] == first

    def reads(*_: object) -> None:
        raise AssertionError("read again")

    with monkeypatch.context() as patched:
        patched.setattr(module.hashlib, "file_digest", reads)
        assert file_hash(tmp_path / "a") == first
    (tmp_path / "a").write_bytes(b"y" * CACHED_FROM)
    assert file_hash(tmp_path / "a") == hashlib.sha256(b"y" * CACHED_FROM).hexdigest()
    os.utime(tmp_path / "a", (1, 1))
    assert file_hash(tmp_path / "a") == hashlib.sha256(b"y" * CACHED_FROM).hexdigest()
