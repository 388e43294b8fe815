"""Run directories: the lock, manifests, what is set aside."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xreasoner.storage.files import write_atomically
from xreasoner.storage.run_folder import (
    Manifest,
    first_difference,
    folder_fingerprint,
    locked,
    read_manifest,
    set_aside,
)

HOLD = """
import sys
from pathlib import Path
from xreasoner.storage.run_folder import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that works in `tmp_path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_process_is_refused_in_one_line_with_the_pid(holder, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught, locked(tmp_path):
        pass
    assert str(caught.value).startswith(f"{tmp_path}: this run directory is in use by process {holder.pid}")
    assert "\n" not in str(caught.value)


def test_the_lock_dies_with_a_killed_process(holder, tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    with locked(tmp_path):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_the_lock_is_free_after_use(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "new"):
            pass


def test_manifests_are_read_as_written(tmp_path: Path) -> None:
    manifest = Manifest({"settings": {"lr": 0.1}}, "trained", 3.5)
    manifest.write(tmp_path)
    assert read_manifest(tmp_path) == manifest
    assert read_manifest(tmp_path / "nowhere") is None


def test_fingerprints_tell_what_it_was_made_from_and_nothing_else() -> None:
    one = Manifest({"a": 1, "b": 2}, "started", 0)
    assert one.fingerprint == Manifest({"b": 2, "a": 1}, "done", 9).fingerprint
    assert one.fingerprint != Manifest({"a": 1, "b": 3}).fingerprint


def test_a_checkpoint_is_known_by_its_content(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    one = folder_fingerprint(tmp_path / "one")
    assert one == folder_fingerprint(tmp_path / "two")
    (tmp_path / "two" / "config.json").write_text("{ }")
    assert one != folder_fingerprint(tmp_path / "two")


def test_the_first_difference_is_named_with_both_values() -> None:
    old = {"seed": 0, "settings": {"lr": 0.1, "data": [{"count": 1}]}}
    assert first_difference(old, old) is None
    assert first_difference(old, {**old, "seed": 1}) == "seed was 0, is 1"
    new = {"seed": 0, "settings": {"lr": 0.2, "data": []}}
    assert first_difference(old, new) == "settings.lr was 0.1, is 0.2"
    assert first_difference({}, {"lora": "x"}) == 'lora was null, is "x"'


def test_what_is_set_aside_is_kept(tmp_path: Path) -> None:
    for content in ("first", "second"):
        write_atomically(tmp_path / "stages" / "1-sft" / "model", content.encode())
        set_aside(tmp_path / "stages" / "1-sft", tmp_path)
    assert set_aside(tmp_path / "stages" / "1-sft", tmp_path) is None
    kept = sorted((tmp_path / "stale").glob("*/model"))
    assert [path.read_text() for path in kept] == ["first", "second"]
