"""Run directories: the lock, manifests, and outdated outputs."""

import errno
import fcntl
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from xreasoner.storage.files import unfinished, write_atomically
from xreasoner.storage.run_folder import (
    Manifest,
    SettingChange,
    differences,
    first_difference,
    locked,
    read_manifest,
    refuse_local_locks,
    set_aside,
    waiting_lock,
)

HOLD = """
import sys
from dataclasses import replace
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
        assert (tmp_path / "lock").read_text() == f"{os.getpid()} on {socket.gethostname()}"


def test_who_takes_a_lock_removes_what_a_kill_left(tmp_path: Path) -> None:
    for lock in (locked, waiting_lock):
        unfinished(tmp_path / "file").touch()
        with lock(tmp_path):
            assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_the_lock_is_free_after_use(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "new"):
            pass


def test_a_file_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", no_locks)  # as on Lustre mounted without -o flock
    with pytest.raises(ValueError, match="this file system has no locks"), locked(tmp_path):
        pass


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        ("rw,relatime,vers=3,local_lock=none", ""),
        ("rw,relatime,vers=3,nolock,local_lock=all", "nolock|local_lock=all"),
        ("rw,vers=4.2,local_lock=flock", "local_lock=flock"),
    ],
)
def test_nfs_with_locks_of_one_machine_only_is_refused(options: str, refused: str, tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    lines = ("/dev/vda / ext4 rw,nolock 0 0", f"filer:/home {tmp_path} nfs4 {options} 0 0")
    mounts.write_text("\n".join(lines))
    refuse_local_locks(Path("/"), mounts)  # another file system than the one mounted below
    if refused:
        with pytest.raises(ValueError, match=f"mounted with ({refused}), so locks do not hold"):
            refuse_local_locks(tmp_path / "run", mounts)
    else:
        refuse_local_locks(tmp_path / "run", mounts)


def test_manifests_are_read_as_written(tmp_path: Path) -> None:
    manifest = Manifest({"settings": {"lr": 0.1}}, "trained", 3.5)
    manifest.write(tmp_path)
    assert read_manifest(tmp_path) == manifest
    assert read_manifest(tmp_path / "nowhere") is None


def test_fingerprints_tell_what_it_was_made_from_and_nothing_else() -> None:
    one = Manifest({"a": 1, "b": 2}, "started", 0)
    assert one.fingerprint == Manifest({"b": 2, "a": 1}, "done", 9).fingerprint
    assert one.fingerprint != Manifest({"a": 1, "b": 3}).fingerprint


def test_only_changes_that_affect_the_result_enter_the_fingerprint(tmp_path: Path) -> None:
    plain = Manifest({"a": 1}, schedule={"lr": 1.0}, execution={"rows": 4})
    faster = SettingChange("2026-01-01 00:00:00", 3, "rows was 4, is 8", affects_result=False)
    slower = SettingChange("2026-01-01 00:00:00", 3, "lr was 2.0, is 1.0", affects_result=True)
    assert replace(plain, execution={"rows": 8}, history=(faster,)).fingerprint == plain.fingerprint
    changed = replace(plain, history=(faster, slower))
    assert changed.fingerprint != plain.fingerprint
    assert changed.fingerprint == replace(changed, history=(replace(slower, time="later"),)).fingerprint
    changed.write(tmp_path)
    assert read_manifest(tmp_path) == changed


def test_the_first_difference_is_named_with_both_values() -> None:
    old = {"seed": 0, "settings": {"lr": 0.1, "data": [{"count": 1}]}}
    assert first_difference(old, old) is None
    assert first_difference(old, {**old, "seed": 1}) == "seed was 0, is 1"
    new = {"seed": 0, "settings": {"lr": 0.2, "data": []}}
    assert first_difference(old, new) == "settings.lr was 0.1, is 0.2"
    assert list(differences(old, new)) == [
        "settings.lr was 0.1, is 0.2",
        'settings.data was [{"count": 1}], is []',
    ]
    assert first_difference({}, {"lora": "x"}) == 'lora was null, is "x"'


def test_what_is_set_aside_is_kept(tmp_path: Path) -> None:
    for content in ("first", "second"):
        write_atomically(tmp_path / "stages" / "1-sft" / "model", content.encode())
        set_aside(tmp_path / "stages" / "1-sft", tmp_path)
    assert set_aside(tmp_path / "stages" / "1-sft", tmp_path) is None
    kept = sorted((tmp_path / "stale").glob("*/model"))
    assert [path.read_text() for path in kept] == ["first", "second"]
