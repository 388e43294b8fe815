"""A full disk: always one line, and a run that is resumed with room ends as an unbroken one."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.faults.runs import outcome, run

from xreasoner.cli.failures import in_one_line
from xreasoner.storage import disk, files
from xreasoner.storage.disk import UNFINISHED
from xreasoner.storage.run_folder import locked


@contextmanager
def full_from(call: int) -> Iterator[list[int]]:
    """The disk is full from this write on: of a line, or of a file that is synced. Yields the calls."""
    calls = [0]
    write, sync = os.write, os.fsync

    def count() -> None:
        calls[0] += 1
        if calls[0] >= call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def limited_write(handle: int, data: memoryview) -> int:
        count()
        return write(handle, data)

    def limited_sync(handle: int) -> None:
        count()
        sync(handle)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(disk.os, "write", limited_write)
        patched.setattr(files.os, "fsync", limited_sync)
        yield calls


def writes_of_a_run(model: Path, out: Path) -> int:
    with full_from(10**9) as calls:
        run(model, out)
    return calls[0]


@pytest.fixture(scope="module")
def writes(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    return writes_of_a_run(tiny_base, tmp_path_factory.mktemp("counted") / "out")


def attempt(model: Path, out: Path, call: int, unbroken: dict[str, bytes]) -> None:
    with pytest.raises((OSError, ValueError)) as full, full_from(call):
        run(model, out)
    line = in_one_line(full.value)
    assert line and "\n" not in line and "No space left on device" in line and str(out) in line
    assert not list(out.rglob(f"*{UNFINISHED}*"))
    run(model, out)
    found = outcome(out)
    assert [name for name in unbroken if found[name] != unbroken[name]] == []


@pytest.mark.parametrize("twentieth", range(0, 20, 4))
def test_a_disk_that_is_full_from_any_write_on(
    twentieth: int, tiny_base: Path, tmp_path: Path, unbroken: dict[str, bytes], writes: int
) -> None:
    attempt(tiny_base, tmp_path / "out", 1 + twentieth * writes // 20, unbroken)


@contextmanager
def mounted(folder: Path, kilobytes: int) -> Iterator[None]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("kilobytes", [16, 900, 1700])
def test_a_small_disk(kilobytes: int, tiny_base: Path, tmp_path: Path, unbroken: dict[str, bytes]) -> None:
    """A real one: libraries fail in their own words."""
    small = tmp_path / "small"
    with mounted(small, kilobytes):
        with pytest.raises((OSError, ValueError)) as full:
            run(tiny_base, small / "out")
        line = in_one_line(full.value)
        assert line and "\n" not in line and "Make room" in line.replace("make", "Make")
        assert not list(small.rglob(f"*{UNFINISHED}*"))
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        run(tiny_base, small / "out")
        found = outcome(small / "out")
        assert [name for name in unbroken if found[name] != unbroken[name]] == []


@pytest.mark.parametrize(
    ("rooms", "what", "lines"),
    [
        ([0], "1-sft: the weights of stage sft needs", 0),
        ([10**12, 0], "the training state of step 1 needs", 2),
    ],
)
def test_room_is_asked_for_before_it_is_needed(
    rooms: list[int], what: str, lines: int, tiny_base: Path, tmp_path: Path, unbroken: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Before a stage, and before each save of it."""
    free, stage = iter(rooms), tmp_path / "out" / "stages" / "1-sft"
    with monkeypatch.context() as patched, pytest.raises(ValueError) as full:
        patched.setattr(disk, "room", lambda path: next(free))
        run(tiny_base, tmp_path / "out")
    assert what in str(full.value) and "its disk has 0 bytes free; make room" in str(full.value)
    metrics = stage / "metrics.jsonl"
    assert (metrics.read_text().count("\n") if metrics.exists() else 0) == lines
    assert not list((stage / "state").glob("step-*"))
    run(tiny_base, tmp_path / "out")
    found = outcome(tmp_path / "out")
    assert [name for name in unbroken if found[name] != unbroken[name]] == []


def test_a_disk_without_room_for_the_lock(tmp_path: Path) -> None:
    small = tmp_path / "small"
    with mounted(small, 4):
        (small / "one page").write_bytes(b"x" * 4096)
        with pytest.raises(OSError) as full, locked(small):
            pass
        assert (in_one_line(full.value) or "").startswith(f"{small / 'lock'}: No space left on device")


def test_what_a_system_refuses_is_one_line(tmp_path: Path, tiny_base: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "out", Path("/proc/out")):
        with pytest.raises(OSError) as refused:
            run(tiny_base, out)
        line = in_one_line(refused.value)
        assert line and "\n" not in line and str(out)[:40] in line


def test_memory_that_is_not_there_is_one_line() -> None:
    import torch

    assert "Out of memory" in (in_one_line(MemoryError()) or "")
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**50)
    line = in_one_line(refused.value)
    assert line and line.startswith("Out of memory: 4,503,599.6 GB more were needed; lower")
    gpu = torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has ...\nSee documentation"
    )
    assert (in_one_line(gpu) or "").startswith("CUDA out of memory: lower tokens_per_microbatch")
    assert in_one_line(RuntimeError("shapes do not match")) is None
