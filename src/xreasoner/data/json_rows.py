"""Rows of JSON, one at a time: JSON lines, a list, or an object that holds the rows by their id.

A bad row costs only itself. Damage after which the next row cannot be found stops with a line.
"""

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

CHUNK = 1 << 20
LONGEST_ROW = 16 << 20
"""Bytes. A longer row is bad; it is skipped without being loaded."""
MOST_DIGITS = 4300
"""Of a whole number: Python converts no longer ones, because that takes quadratic time."""
WIDE = (b"\xff\xfe", b"\xfe\xff")
"""How files in UTF-16 and UTF-32 begin."""

_SPACE = re.compile(r"[ \t\r\n]*")
_LONE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True)
class TableRow:
    """A raw row, or the reason why it cannot be read."""

    position: str
    """File and row number, from 1."""
    value: Any
    trouble: str = ""
    """One of a few fixed reasons, to count by."""
    detail: str = ""


class RowDecoder:
    """Decodes one value, and notes what Python's reader would accept though it is not JSON."""

    def __init__(self) -> None:
        self._trouble = ""
        self._decoder = json.JSONDecoder(parse_int=self._whole, parse_constant=self._constant)

    def read(self, text: str, start: int) -> tuple[Any, int, str]:
        """Value, end and trouble; raises JSONDecodeError or RecursionError if it finds no end."""
        self._trouble = ""
        value, end = self._decoder.raw_decode(text, start)
        if not self._trouble and not is_unicode(text[start:end]):
            self._trouble = "not UTF-8"
        if not self._trouble and _LONE_SURROGATE.search(text, start, end) and not _is_sound(value):
            self._trouble = "not valid Unicode"
        return (None if self._trouble else value), end, self._trouble

    def _whole(self, digits: str) -> int:
        if len(digits) <= MOST_DIGITS:
            return int(digits)
        self._trouble = f"a number has more than {MOST_DIGITS:,} digits"
        return 0

    def _constant(self, name: str) -> None:
        self._trouble = f"not JSON: {name}"


def is_unicode(text: str) -> bool:
    """Bytes that are not UTF-8 were read as lone surrogates, so that their row can be named."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_sound(value: Any) -> bool:
    return is_unicode(json.dumps(value, ensure_ascii=False))


def refuse_utf16(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(2) in WIDE:
            raise ValueError(f"{path}: is in UTF-16 or UTF-32; save it as UTF-8")


# --- lines ----------------------------------------------------------------------------------------------


def jsonl_rows(path: Path) -> Iterator[TableRow]:
    refuse_utf16(path)
    decoder = RowDecoder()
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LONGEST_ROW):
            number += 1
            where = f"{path}:{number}"
            if not line.endswith(b"\n") and len(line) == LONGEST_ROW:
                _skip_line(file)
                yield TableRow(where, None, f"longer than {LONGEST_ROW >> 20} MiB")
            elif line.strip():
                yield _parsed(line, where, decoder)


def _skip_line(file: IO[bytes]) -> None:
    while (rest := file.readline(CHUNK)) and not rest.endswith(b"\n"):
        pass


def _parsed(encoded: bytes, where: str, decoder: RowDecoder) -> TableRow:
    """The one value of a line or a file."""
    try:
        text = encoded.decode("utf-8-sig").strip(" \t\r\n")
        value, end, trouble = decoder.read(text, 0)
    except UnicodeDecodeError:
        return TableRow(where, None, "not UTF-8")
    except json.JSONDecodeError as error:
        return TableRow(where, None, "not JSON", f"{error.msg} at character {error.pos + 1}")
    except RecursionError:
        return TableRow(where, None, "not JSON", "nested too deeply")
    if end < len(text):
        return TableRow(where, None, "not JSON", f"more than one value, from character {end + 1}")
    return TableRow(where, value, trouble)


# --- lists and objects ----------------------------------------------------------------------------------


def json_rows(path: Path) -> Iterator[TableRow]:
    refuse_utf16(path)
    with path.open("rb") as file:
        begin = file.read(64).lstrip(b"\xef\xbb\xbf \r\n\t")
    if begin.startswith(b"[") and not _is_lines(path):
        yield from _listed_rows(path)
    elif begin.startswith(b"{") and (rows := _keyed_rows(path)):
        yield from rows
    else:
        yield from jsonl_rows(path)


def _keyed_rows(path: Path) -> list[TableRow]:
    """Of `{"1": {...}, "2": {...}}`, which is read whole; empty if the file is anything else."""
    if _is_lines(path):
        return []
    whole = _parsed(path.read_bytes(), "", RowDecoder()).value
    if not isinstance(whole, dict) or not all(isinstance(value, dict) for value in whole.values()):
        return []
    return [TableRow(f"{path}[{key!r}]", value) for key, value in whole.items()]


def _is_lines(path: Path) -> bool:
    """Whether each line is a value of its own: the first line is complete JSON, and there is a second."""
    with path.open("rb") as file:
        first, second = file.readline(LONGEST_ROW), file.readline(CHUNK)
    return bool(second.strip()) and not _parsed(first, "", RowDecoder()).trouble


def _listed_rows(path: Path) -> Iterator[TableRow]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        text, decoder = _Text(file), RowDecoder()
        assert text.next_mark() == "["
        text.skip()
        if text.next_mark() == "]":
            return
        for number in itertools.count(1):
            where = f"{path}[{number}]"
            try:
                value, trouble = text.read_value(decoder)
            except RecursionError:
                raise ValueError(f"{where}: not JSON: nested too deeply") from None
            except json.JSONDecodeError:
                raise ValueError(f"{where}: not JSON from here on") from None
            yield TableRow(where, value, trouble)
            mark = text.next_mark()
            if mark not in (",", "]"):
                raise ValueError(f"{where}: not JSON: neither a comma nor ] after this row")
            text.skip()
            if mark == "]":
                break
        if text.next_mark():
            raise ValueError(f"{path}: not JSON: there is text after the end of the list")


class _Text:
    """The text of a file, of which only the current row is in memory."""

    def __init__(self, file: IO[str]) -> None:
        self._file, self._text, self._at = file, "", 0

    def next_mark(self) -> str:
        """The next character that is not a space; empty at the end of the file."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]  # it matches nothing too
            if self._at < len(self._text) or not self._add_chunk():
                return self._text[self._at : self._at + 1]

    def skip(self) -> None:
        self._at += 1

    def read_value(self, decoder: RowDecoder) -> tuple[Any, str]:
        self.next_mark()
        while True:
            broken = None
            try:
                value, end, trouble = decoder.read(self._text, self._at)
            except json.JSONDecodeError as error:
                broken = error  # perhaps only because its end is in the next chunk, like that of a number
            if broken is None and end < len(self._text):
                self._at = end
                return value, trouble
            if not self._add_chunk():
                raise broken or json.JSONDecodeError("no end", "", 0)

    def _add_chunk(self) -> bool:
        """False at the end of the file, or if a row would be too long."""
        size = len(self._text) - self._at
        more = self._file.read(max(CHUNK, size)) if size < LONGEST_ROW else ""
        self._text, self._at = self._text[self._at :] + more, 0
        return bool(more)
