"""JSON files and lines with a checksum: one flipped bit anywhere is found."""

import json
from pathlib import Path

import pytest

from xreasoner.storage.checked_json import (
    checked_line,
    drop_damaged_lines,
    every_line,
    read_checked_json,
    read_checked_line,
    whole_lines,
    write_checked_json,
)

CONTENT = {"name": "é", "n": 3, "share": 0.1, "tags": {"a": [1, None]}}


def test_every_flipped_bit_of_a_file_is_found_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "content.json"
    write_checked_json(path, CONTENT)
    assert read_checked_json(path, "do something") == CONTENT
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 5):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            assert read_checked_json(path, "do something") == CONTENT
        except ValueError as error:
            assert str(error) == f"{path} is damaged, or from an earlier version; do something"


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b'{"n": 1, "checksum": []}'])
def test_other_content_is_damage_too(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "content.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged, or from an earlier version; do something"):
        read_checked_json(path, "do something")


def test_every_flipped_bit_of_a_line_is_found() -> None:
    line = checked_line(CONTENT).encode()
    assert json.loads(line).items() >= CONTENT.items()
    assert read_checked_line(line) == CONTENT
    for bit in range(8 * len(line)):
        damaged = bytearray(line)
        damaged[bit // 8] ^= 1 << bit % 8
        assert read_checked_line(bytes(damaged)) is None
    for end in range(len(line)):
        assert read_checked_line(line[:end]) is None


@pytest.mark.parametrize(
    "said", ["half a pair \ud800", "\u2028 \x85 \x1e a line?", "\n\r\0 \N{GRINNING FACE}"]
)
def test_whatever_a_model_writes_is_one_line_and_read_as_written(tmp_path: Path, said: str) -> None:
    path = tmp_path / "lines.jsonl"
    with path.open("w", encoding="utf-8") as lines:
        lines.write(checked_line({"text": said}))
        lines.write(checked_line({"text": said}))
    assert list(every_line(path, "")) == [{"text": said}] * 2


def test_damaged_lines_are_dropped_and_counted_but_not_a_torn_one(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    lines = [checked_line({"n": n}) for n in range(4)]
    path.write_text(lines[0] + lines[1].replace("1", "2", 1) + '{"n": 9}\n' + lines[2] + lines[3][:-5])
    with pytest.raises(ValueError, match="line 2 is damaged; do something"):
        list(every_line(path, "do something"))
    assert drop_damaged_lines(path) == 2
    assert path.read_text() == lines[0] + lines[2]
    assert drop_damaged_lines(path) == 0
    assert list(whole_lines(path)) == [{"n": 0}, {"n": 2}]
