"""Folders that only times tell apart are one to a run that goes on; what a full disk cut short is another."""

import shutil
from pathlib import Path

from benchmarks.faults.full_disk import ends_of_kinds
from benchmarks.faults.what_is_left import what_is_left


def test_only_times_do_not_count(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text('{"step": 1, "seconds": 0.25}\n')
    (folder / "weights").write_bytes(b"1234")
    (folder / "log").write_text("at noon")
    before = what_is_left(folder)
    later = shutil.copytree(folder, tmp_path / "later")
    (later / "metrics.jsonl").write_text('{"step": 1, "seconds": 1e-05}\n')
    (later / "log").write_text("at night")
    assert what_is_left(later) == before

    for name, content in (("metrics.jsonl", b'{"step": 1, "sec'), ("weights", b"1235"), ("new", b"")):
        other = shutil.copytree(folder, tmp_path / f"other {name}")
        (other / name).write_bytes(content)
        assert what_is_left(other) != before


def test_the_first_and_the_last_write_of_each_kind() -> None:
    assert ends_of_kinds(["a", "b", "b", "b", "b", "c", "a"]) == ([1, 2, 5, 6, 7], [3, 4])
