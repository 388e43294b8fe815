"""Equality of two short answers once what carries no meaning is normalised: spaces, case, signs."""

import re
import unicodedata
from decimal import Decimal

_MINUS = str.maketrans({"−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "⁄": "/"})
_MARKUP = re.compile(r"^\\(?:text|textbf|mathrm|mathbf|textit)\s*\{([^{}]*)\}$")
_WRAPS = ("**", "__", "$", "`", '"', "'", "“", "”", "‘", "’", "*", "_")
_SEPARATED = re.compile(r"^[+-]?\d{1,3}(?:(?:,|\{,\}|\\,| )\d{3})+(?:\.\d+)?$")
_NUMBER = re.compile(r"^[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})$")
_SPACED_SIGN = re.compile(r"^([+-])\s+(?=[\d.])")


def plain_characters(text: str) -> str:
    """Full-width and other compatibility forms made plain; raised and lowered digits are kept as they are."""
    if not text.isascii():
        text = "".join(
            char if unicodedata.decomposition(char).startswith(("<super>", "<sub>")) else _plain(char)
            for char in text
        )
    return text.translate(_MINUS)


def _plain(char: str) -> str:
    return unicodedata.normalize("NFKC", char)


def unwrap(text: str) -> str:
    """Without the markup around it: `**7**`, `$7$`, `\\text{yes}`, a final full stop."""
    before = None
    while text != before:
        before = text
        text = text.strip().removesuffix(".").strip() if text != "." else text
        for wrap in _WRAPS:
            text = text.removeprefix(wrap).removesuffix(wrap)
        if markup := _MARKUP.match(text):
            text = markup.group(1)
    return text


def plain_number(text: str) -> str | None:
    """A decimal number in one form: `+7`, `7.0` and `07` are `7`, `1,234` is `1234`. Else None."""
    text = _SPACED_SIGN.sub(r"\1", text)
    if _SEPARATED.match(text):
        text = re.sub(r"\{,\}|\\,|[ ,]", "", text)
    if not _NUMBER.match(text):
        return None
    number = Decimal(text)
    return f"{number.normalize():f}" if number else "0"


def normalise(text: str) -> str:
    text = unwrap(plain_characters(text)).replace(r"\%", "%")
    text = " ".join(text.casefold().split())
    return plain_number(text) or text


def same_exactly(gold: str, answer: str) -> bool:
    return normalise(gold) == normalise(answer)
