"""Normalises characters and markup, so that two spellings of an answer are equal."""

import re
import unicodedata
from decimal import Decimal
from functools import lru_cache

_ODD = re.compile("[İıſᲀ-ᲇ]")
_LOWERED = str.maketrans({"İ": "i", "ı": "i", "ſ": "s"} | dict(zip("ᲀᲁᲂᲃᲄᲅᲆᲇ", "вдосттъѣ", strict=True)))
"""Letters that are equal if `re` ignores case, and differ from each other in lower case."""
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MINUS = str.maketrans({"−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "⁄": "/", "。": "."})
_VULGAR = re.compile(r"(\d?)([¼-¾⅐-⅞])")
_MARKUP = re.compile(
    r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf|boldsymbol|bm|operatorname|displaystyle)\s*\{"
)
_WRAPS = ("**", "__", "$$", "$", "`", '"', "'", "“", "”", "‘", "’", "*", "_", r"\(", r"\)", r"\[", r"\]")
_FIRST = frozenset(wrap[0] for wrap in _WRAPS)
_LAST = frozenset([*(wrap[-1] for wrap in _WRAPS if wrap[0] != "\\"), "."])
_SEPARATED = re.compile(r"^[+-]?[1-9]\d{0,2}(?:(?:,|\{,\}|\\,| )\d{3})+(?:\.\d+)?$")
_NUMBER = re.compile(r"^[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})$")
_SPACED_SIGN = re.compile(r"^([+-])\s+(?=[\d.])")


def folded(text: str) -> str:
    """In lower case, as long as before. A word that `re` finds while it ignores case is in it."""
    return text.lower() if text.isascii() or not _ODD.search(text) else text.translate(_LOWERED).lower()


def visible(text: str) -> str:
    """Removes zero-width characters and replaces lone surrogates."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", _UNSEEN.sub("", text))


def plain_characters(text: str) -> str:
    """Normalises full-width and other compatibility forms; keeps superscripts and subscripts."""
    if text.isascii():
        return text
    text = _VULGAR.sub(lambda match: f"{match[1]}{' ' if match[1] else ''}{match[2]}", text)
    return "".join(map(_plain, visible(text)))


@lru_cache(maxsize=4096)
def _plain(char: str) -> str:
    raised = unicodedata.decomposition(char).startswith(("<super>", "<sub>"))
    return (char if raised else unicodedata.normalize("NFKC", char)).translate(_MINUS)


def unwrap(text: str) -> str:
    """Removes the markup around an answer: `**7**`, `$7$`, `\\(7\\)`, `\\text{yes}`, a final full stop."""
    before = None
    while text != before and _may_be_wrapped(text):
        before = text
        text = text.strip().removesuffix(".").strip() if text != "." else text
        if not _may_be_wrapped(text):
            return text
        for wrap in _WRAPS:
            text = text.removeprefix(wrap).removesuffix(wrap)
        if (markup := _MARKUP.match(text)) and closes_at_end(text, markup.end()):
            text = text[markup.end() : -1]
    return text


def _may_be_wrapped(text: str) -> bool:
    first, last = text[:1], text[-1:]
    return first in _FIRST or last in _LAST or text[-2:-1] == "\\" or first.isspace() or last.isspace()


def closes_at_end(text: str, start: int) -> bool:
    """Whether the brace before `start` is closed by the last character and not earlier."""
    depth = 1
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if not depth:
            return place == len(text) - 1
    return False


def plain_number(text: str) -> str | None:
    """The normal form of a decimal number: `+7`, `7.0` and `07` are `7`, `1,234` is `1234`. Else None."""
    if text[:1] in ("+", "-"):
        text = _SPACED_SIGN.sub(r"\1", text)
    elif not text[:1].isdecimal() and text[:1] != ".":
        return None
    if _SEPARATED.match(text):
        text = re.sub(r"\{,\}|\\,|[ ,]", "", text)
    if not _NUMBER.match(text):
        return None
    number = Decimal(text)
    return f"{number.normalize():f}" if number else "0"


def normalise(text: str) -> str:
    """The normal form of a short answer, without spaces, case, markup and number formats."""
    text = unwrap(plain_characters(text)).replace(r"\%", "%")
    text = " ".join(text.casefold().split())
    return plain_number(text) or text
