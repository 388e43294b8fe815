"""Mathematical equivalence. `settled` is cheap and safe; `equivalent` calls math-verify, in a worker only."""

import re
from functools import lru_cache
from typing import Any

from xreasoner.rewards.exact import plain_characters

LONGEST = 10_000
"""No answer to a problem is longer than this many characters."""

_INTEGER = re.compile(r"^[+-]?\d{1,18}$")
_SCIENTIFIC = re.compile(r"(?<![\w.])([+-]?\d+(?:\.\d+)?)[eE]([+-]?\d{1,4})(?!\w)")
_SPACED = re.compile(r"^[+-]?\d{1,3}(?:(?:\\,| )\d{3})+(?:\.\d+)?$")
_MATH = re.compile(r"\\\[|\\\]|\\\(|\\\)|(?<!\\)\$")


def bare(text: str) -> str:
    """Without `$`, `\\(`, `\\[` and a currency's sign; `1e3` as `1 \\times 10^{3}`, `1 234` as `1234`."""
    text = _MATH.sub("", plain_characters(text)).replace(r"\$", "").strip().removesuffix(".")
    if _SPACED.match(text):
        return re.sub(r"\\,| ", "", text)
    return _SCIENTIFIC.sub(r"\1 \\times 10^{\2}", text).strip()


def settled(gold: str, answer: str) -> bool:
    """The fast path: equal as strings or as integers. It says 'right' or 'not settled', never 'wrong'."""
    left, right = bare(gold), bare(answer)
    if left == right:
        return bool(left)
    return bool(_INTEGER.match(left) and _INTEGER.match(right)) and int(left) == int(right)


def _read(text: str) -> list[Any]:
    """Its own timeouts use SIGALRM and cannot stop compiled code: the pool's limit is the only one."""
    from math_verify import parse

    return parse(f"${bare(text)}$", parsing_timeout=None, raise_on_error=True)


@lru_cache(maxsize=1024)
def _read_key(gold: str) -> list[Any]:
    """All samples of a prompt have the same key."""
    return _read(gold)


def equivalent(gold: str, answer: str) -> tuple[bool, str]:
    """Whether math-verify calls the two equal, gold first: it is not symmetric. Its errors are raised."""
    from math_verify import verify

    gold_read = _read_key(gold)
    if not gold_read:
        raise ValueError(f"the key {gold[:80]!r} cannot be read as mathematics")
    answer_read = _read(answer)
    if not answer_read:
        return False, "it cannot be read as mathematics"
    same = verify(gold_read, answer_read, timeout_seconds=None, raise_on_error=True)
    return same, "equivalent by math-verify" if same else "not equivalent by math-verify"
