"""JSON files and JSON lines that carry a checksum of their own content."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import xxhash

from xreasoner.storage.files import write_json, written_atomically

CHECKSUM = "checksum"
_DIGITS = 16
_SURROGATE = re.compile("[\ud800-\udfff]")
_TAIL = len(f', "{CHECKSUM}": ""}}\n') + _DIGITS


def write_checked_json(path: Path, content: Mapping[str, Any]) -> None:
    write_json(path, {**content, CHECKSUM: digest_of(content)})


def read_checked_json(path: Path, remedy: str) -> dict[str, Any]:
    """`remedy` says what the user can do if the file is damaged."""
    content = checked_json(path)
    if content is None:
        raise ValueError(f"{path} is damaged, or from an earlier version; {remedy}")
    return content


def checked_json(path: Path) -> dict[str, Any] | None:
    """None if the file is damaged."""
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        digest = content.pop(CHECKSUM)
    except (ValueError, KeyError, TypeError, AttributeError):  # damage may leave any JSON, or none
        return None
    return content if digest == digest_of(content) else None


def digest_of(content: Mapping[str, Any]) -> str:
    return xxhash.xxh3_64_hexdigest(json.dumps(content, sort_keys=True).encode())


def checked_line(fields: Mapping[str, Any]) -> str:
    """A JSON line that ends with the checksum of what precedes it."""
    line = json_text(fields)
    digest = xxhash.xxh3_64_hexdigest(line.encode())
    return f'{line[:-1]}, "{CHECKSUM}": "{digest}"}}\n'


def json_text(fields: Mapping[str, Any]) -> str:
    """Readable letters, but escapes where a model wrote half a surrogate pair: that has no UTF-8."""
    line = json.dumps(fields, ensure_ascii=False)
    return line if line.isascii() or not _SURROGATE.search(line) else json.dumps(fields)


def read_checked_line(line: bytes) -> dict[str, Any] | None:
    """None if the line is damaged, or cut short by a kill."""
    written = line[:-_TAIL] + b"}"
    digest = xxhash.xxh3_64_hexdigest(written)
    if line[-_TAIL:] != f', "{CHECKSUM}": "{digest}"}}\n'.encode():
        return None
    fields: dict[str, Any] = json.loads(written)
    return fields


def whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Without damaged lines, and without a last one that a kill cut short."""
    with path.open("rb") as lines:
        for line in lines:
            if (fields := read_checked_line(line)) is not None:
                yield fields


def every_line(path: Path, remedy: str) -> Iterator[dict[str, Any]]:
    """Of a finished file: a damaged line is an error. `remedy` says what the user can do."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if (fields := read_checked_line(line)) is None:
                raise ValueError(f"{path}, line {number} is damaged; {remedy}")
            yield fields


def drop_damaged_lines(path: Path) -> int:
    """So that more lines can be appended. Returns their number, without a last one that a kill cut short."""
    with path.open("rb") as lines:
        damaged = [line for line in lines if read_checked_line(line) is None]
    if damaged:
        with path.open("rb") as lines, written_atomically(path) as kept:
            kept.writelines(line for line in lines if read_checked_line(line) is not None)
    return sum(line.endswith(b"\n") for line in damaged)
