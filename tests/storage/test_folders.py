"""Folders appear complete or not at all, and damage to any of their files is found."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import xxhash

from xreasoner.storage.files import write_atomically
from xreasoner.storage.folders import CHECKSUMS, damage_in, discard, folder_written_atomically, refuse_damaged


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with folder_written_atomically(tmp_path / "outer") as outer:
        with folder_written_atomically(outer / "inner") as inner:
            (inner / "weights").write_bytes(bytes(range(256)) * 5000)
        (outer / "plain").mkdir()
        (outer / "plain" / "deep").write_text("text")
        (outer / "empty").touch()
    return tmp_path / "outer"


def test_sizes_and_digests_are_those_of_the_files(folder: Path) -> None:
    listed = json.loads((folder / CHECKSUMS).read_text())
    assert list(listed) == ["empty", f"inner/{CHECKSUMS}", "plain/deep", "checksum"]
    assert listed["plain/deep"] == {"bytes": 4, "xxh3_128": xxhash.xxh3_128_hexdigest(b"text")}
    assert damage_in(folder) is None
    refuse_damaged(folder, "do something")


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-2])


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("name", ["inner/weights", "plain/deep", f"inner/{CHECKSUMS}", CHECKSUMS])
@pytest.mark.parametrize("damage", [flip, cut, empty, Path.unlink])
def test_any_damage_to_any_file_is_found(folder: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(folder / name)
    with pytest.raises(ValueError, match="do something") as caught:
        refuse_damaged(folder, "do something")
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_one_file_can_be_asked_for(folder: Path) -> None:
    flip(folder / "plain" / "deep")
    assert damage_in(folder, "empty") is None
    assert damage_in(folder, "plain/deep") == (
        f"{folder / 'plain' / 'deep'} is damaged: its content is not what was written"
    )
    assert damage_in(folder, "other") == f"{folder / 'other'} has no checksum"


def test_a_folder_that_is_not_there_is_damaged(tmp_path: Path) -> None:
    assert damage_in(tmp_path / "nowhere") == f"{tmp_path / 'nowhere'} is missing"


def test_a_failed_folder_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with folder_written_atomically(tmp_path / "model") as model:
            (model / "weights").write_text(content)
    with pytest.raises(KeyboardInterrupt), folder_written_atomically(tmp_path / "model") as model:
        (model / "weights").write_text("half")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "weights").read_text() == "new"


def test_discard_removes_a_folder(tmp_path: Path) -> None:
    write_atomically(tmp_path / "state" / "file", b"x")
    discard(tmp_path / "state")
    discard(tmp_path / "state")
    assert list(tmp_path.iterdir()) == []
