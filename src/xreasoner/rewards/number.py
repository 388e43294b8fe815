"""Numbers by MathVista's rule: truncated to an integer, or rounded to the decimal places of the key."""

import ast
import math
import re
from decimal import Decimal
from functools import lru_cache

from xreasoner.rewards import language
from xreasoner.rewards.latex import bare
from xreasoner.rewards.plain import plain_characters, plain_number, unwrap

LONGEST = 2_000
"""Characters in which a number is searched."""
LONGEST_PHRASE = 4
"""Most words of a phrase whose number word counts."""
_CLAUSE = re.compile(
    r"(?<=[;!?])\s+|\.\s+|,\s+(?=[A-Za-z])(?!(?:or|and|to|maybe|perhaps|possibly)\b)"
    r"|\s+(?:but|because|since|as|with|which|where|for|while|than|if|when|compared|after|per)\s+|\s\("
)
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_WORD = re.compile(rf"\b({'|'.join(_WORDS)})\b", re.IGNORECASE)
_POWER = re.compile(
    r"(?:(?<=\d)\s*(?:\\times|\\cdot|[×*x·])\s*|(?<![\w.]))10\s*\^\s*\{?\s*([+-]?\d{1,3})\s*\}?"
)
_FRACTION = re.compile(
    r"([+-]?)\s*(?:\\[dt]?frac\s*\{(\d{1,40})\}\s*\{(\d{1,40})\}|(\d{1,40})\s*/\s*(\d{1,40}))"
)
_NUMBER = re.compile(
    r"(?<![\w.^{])[+-]?(?:(?:\d{1,3}(?:,\d{3})+(?![\d,])|\d+)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3}(?!\d))?"
)
_GROUPED = re.compile(r"(?<=\d)(?:\{,\}|\\,)(?=\d{3}(?!\d))")
_SPACED_SIGN = re.compile(r"^([+-])\s+(?=[\d.])")
_EQUALS = re.compile(r"=|≈|\\approx")
_DECORATION = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\s*|\\[%,;! ]|\^\s*\{?\\circ\}?")


def match_number(key: str, answer: str) -> tuple[bool, str]:
    """For a key without a decimal point the answer is truncated to an integer. Lists are compared whole."""
    if key.startswith("["):
        wanted, given = read_list(key), read_list(answer)
        return given == wanted, f"the list {given}" if given else "no list of numbers"
    value = told_number(answer)
    if value is None:
        return False, "it does not give exactly one number"
    places = len(key.partition(".")[2]) if "." in key else None
    counted = int(value) if places is None else round(value, places)
    same = counted == float(key)
    return same, f"{counted} {'equals' if same else 'differs from'} the key"


def told_number(answer: str) -> float | None:
    """The number that a statement affirms: `1982, with an income of 5`, `not 5 but 6`; none in `5 or 6`."""
    return _told(answer[:LONGEST])


@lru_cache(maxsize=1024)
def _told(answer: str) -> float | None:
    is_plain = not language.DENIAL.search(answer) and not language.HEDGE.search(answer) and "?" not in answer
    if is_plain and (value := read_number(answer)) is not None:
        return value
    for clause in _CLAUSE.split(plain_characters(answer)):
        asked = clause.rstrip(" *$)").endswith("?")
        doubts = (language.DENIAL, language.HEDGE, language.SUPPOSITION)
        if re.search(r"\d", clause) and not asked and not any(doubt.search(clause) for doubt in doubts):
            return read_number(clause)
    return None


def read_number(answer: str) -> float | None:
    """The only number of an answer, with any unit; after the last `=` if there is one."""
    text = _EQUALS.split(_plain(answer))[-1].strip()
    if written := plain_number(text):
        return _float(written)
    if fraction := _FRACTION.fullmatch(text):
        sign, top, bottom = fraction[1], fraction[2] or fraction[4], fraction[3] or fraction[5]
        return float(sign + "1") * int(top) / int(bottom) if int(bottom) else None
    values = set(_numbers(text))
    return values.pop() if len(values) == 1 else None


def read_list(answer: str) -> list[float]:
    """The numbers of a list, in order."""
    text = _plain(answer)
    inside = text[text.find("[") : text.rfind("]") + 1]
    if re.fullmatch(r"\[[\d\s.,eE+-]*\]", inside) and len(inside) < 1000:
        try:
            return [float(value) for value in ast.literal_eval(inside)]
        except (SyntaxError, ValueError):
            pass  # brackets without a list of numbers
    return list(_numbers(re.sub(r"[\[\](){}]", " ", text.replace(",", ", "))))


def _plain(answer: str) -> str:
    """Normalises characters, `$`, unit markup, thousands separators and powers of ten."""
    text = _DECORATION.sub(" ", bare(unwrap(plain_characters(answer)))).strip()
    text = _GROUPED.sub(",", _POWER.sub(_exponent, text))
    return _SPACED_SIGN.sub(r"\1", text)


def _exponent(power: re.Match[str]) -> str:
    return ("1e" if power.group().startswith("10") else "e") + power.group(1)


def _numbers(text: str) -> list[float]:
    found = [_float(match.group().replace(",", "")) for match in _NUMBER.finditer(text)]
    # A number word counts if there are no digits, in a phrase: "two cubes", not "the ages of the two people".
    if not found and len(text.split()) <= LONGEST_PHRASE:
        found = [float(_WORDS.index(match.group().lower())) for match in _WORD.finditer(text)]
    return [number for number in found if math.isfinite(number)]


def _float(written: str) -> float:
    """The nearest float, except that 0.999... stays below 1, so that truncation does not round up."""
    value = float(written)
    if not math.isfinite(value) or not value.is_integer():
        return value
    exact = Decimal(written)
    return value if exact == value else math.nextafter(value, math.inf if exact > value else -math.inf)
