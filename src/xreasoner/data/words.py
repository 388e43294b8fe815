"""Texts as arrays of word hashes, fast enough to compare every 13-gram of a corpus with all benchmarks.

The hash of a span is a difference of prefix sums of `value * base^position`, divided by base^start, modulo
2^64, where an odd base has an inverse. No Python loop runs over words.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]

_CHARACTER_BASE, _WORD_BASE = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F
_MASK = (1 << 64) - 1
NUMBER = np.uint64(0x5851F42D4C957F2D)
"""The hash of any number where numbers are masked."""

_FOREIGN_MARKS = re.compile(r"[^\w\x00-\x7f]+")
"""Punctuation beyond ASCII; ASCII is classified byte by byte."""


def _letters() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    code = np.arange(256)
    is_digit = (code >= ord("0")) & (code <= ord("9"))
    is_letter = ((code >= ord("a")) & (code <= ord("z"))) | (code >= 128)
    return is_digit | is_letter, is_digit


_IS_WORD, _IS_DIGIT = _letters()


@dataclass(frozen=True)
class Words:
    """A text as words, without case, punctuation and layout."""

    plain: bytes
    starts: Places
    ends: Places
    hashes: Hashes

    def __len__(self) -> int:
        return len(self.starts)

    def text(self, first: int, count: int) -> str:
        spans = zip(self.starts[first : first + count], self.ends[first : first + count], strict=True)
        return " ".join(self.plain[start:end].decode("utf-8", "replace") for start, end in spans)

    @property
    def is_number(self) -> NDArray[np.bool_]:
        digits = np.concatenate([[0], np.cumsum(_IS_DIGIT[np.frombuffer(self.plain, np.uint8)])])
        return digits[self.ends] - digits[self.starts] == self.ends - self.starts


def words_of(text: str) -> Words:
    plain = _plain(text)
    codes = np.frombuffer(plain, np.uint8)
    inside = np.zeros(len(codes) + 2, np.int8)
    inside[1:-1] = _IS_WORD[codes]
    borders = np.flatnonzero(np.diff(inside))
    starts, ends = borders[::2], borders[1::2]
    # Plus one, so that no character has the value 0.
    return Words(
        plain, starts, ends, _span_hashes(codes.astype(np.uint64) + np.uint64(1), starts, ends, True)
    )


def _plain(text: str) -> bytes:
    if text.isascii():
        return text.lower().encode()
    simple = unicodedata.normalize("NFKC", text).casefold()
    return _FOREIGN_MARKS.sub(" ", simple).encode("utf-8", "replace")


def grams(hashes: Hashes, size: int) -> Hashes:
    """The hashes of all n-grams of `size` words."""
    starts = np.arange(max(0, len(hashes) - size + 1))
    return _span_hashes(hashes, starts, starts + size, False)


def whole(hashes: Hashes) -> int:
    """One hash of all words."""
    return int(_span_hashes(hashes, np.zeros(1, np.int64), np.full(1, len(hashes)), False)[0])


def masked(words: Words) -> Hashes:
    """Word hashes with runs of numbers replaced by NUMBER, so that 3.5 and 12 are equal."""
    is_number = words.is_number
    hashes = np.where(is_number, NUMBER, words.hashes)
    follows = np.zeros(len(hashes), bool)
    follows[1:] = is_number[1:] & is_number[:-1]
    return hashes[~follows]


def numbers(words: Words) -> int:
    """One hash of the numbers of a text."""
    return whole(words.hashes[words.is_number])


def _span_hashes(values: Hashes, starts: Places, ends: Places, by_character: bool) -> Hashes:
    base = _CHARACTER_BASE if by_character else _WORD_BASE
    powers, inverses = _powers(base, _room(len(values)))
    sums = np.zeros(len(values) + 1, np.uint64)
    np.cumsum(values * powers[: len(values)], out=sums[1:])
    return _mixed((sums[ends] - sums[starts]) * inverses[starts])


def _room(count: int) -> int:
    """A round size, so that few tables are needed."""
    return max(1 << 16, 1 << count.bit_length())


@lru_cache(maxsize=8)
def _powers(base: int, count: int) -> tuple[Hashes, Hashes]:
    return _power_table(base, count), _power_table(pow(base, -1, _MASK + 1), count)


def _power_table(base: int, count: int) -> Hashes:
    table = np.full(count, base, np.uint64)
    table[0] = 1
    return np.multiply.accumulate(table)


def _mixed(hashes: Hashes) -> Hashes:
    """Finalizer: polynomials of short words differ in few bits."""
    hashes = (hashes ^ (hashes >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return hashes ^ (hashes >> np.uint64(32))
