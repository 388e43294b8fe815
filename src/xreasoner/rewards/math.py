"""Mathematical equivalence. `settled` is cheap; `equivalent` calls Math-Verify, in a worker process only."""

import re
from functools import lru_cache
from typing import Any

from xreasoner.rewards import language
from xreasoner.rewards.arithmetic import same_value, value_of
from xreasoner.rewards.latex import affirmed, answer_formula, complement, key_formula, unit_of, without_unit
from xreasoner.rewards.plain import unwrap
from xreasoner.rewards.polynomials import same_polynomial

LONGEST = 10_000
"""Longer answers, in characters, are wrong."""

_DIGITS = re.compile(r"[+-]?[0-9]+\Z")
_INTEGER = re.compile(r"^[+-]?\d+$")
_LETTER, _COMMAND = re.compile("[A-Za-z]"), re.compile(r"\\[A-Za-z]+")
_EQUAL = re.compile(r"(?<![<>!\\])=|\\approx\b")
_BASED = re.compile(r"^\(?([0-9A-F]+)\)?_\{?(?:\\text\{)?(\d+|two|eight|ten)\}?\}?$")
_UNEQUAL = re.compile(r"\\neq?\b|≠|!=")
_GROUPED = re.compile(r"^(?:\\left\s*)?(\\\{|\{|\(|\[)")


def settled(gold: str, answer: str) -> bool | None:
    """The fast path: strings, integers, arithmetic. None if only algebra can decide."""
    if _DIGITS.match(gold) and _DIGITS.match(answer):
        return _digits(gold) == _digits(answer)
    return _settled(gold, answer)


def _settled(gold: str, answer: str) -> bool | None:
    left, right = formulas(gold, answer)
    if objection(left, right, answer):
        return False
    told = "".join(right.split())
    if told in ("".join(left.split()), "".join(unwrap(left).split())):
        return bool(left) or None
    if _INTEGER.match(left) and _INTEGER.match(right):
        return _digits(left) == _digits(right)
    return same_value(left, right)


def formulas(gold: str, answer: str) -> tuple[str, str]:
    """The key and the answer as formulas; the unit is dropped if the key is a number without one."""
    left, right = key_formula(gold), answer_formula(answer)
    return left, right if _LETTER.search(left) else without_unit(right)


def _digits(number: str) -> str:
    """`+007` is `7`; a comparison by characters, so that any length is cheap."""
    digits = number.lstrip("+-").lstrip("0") or "0"
    return "-" + digits if number.startswith("-") and digits != "0" else digits


def objection(gold: str, answer: str, reply: str) -> str:
    """Why an answer is wrong although Math-Verify would accept it; empty if it is not."""
    if _UNEQUAL.search(answer) and not _UNEQUAL.search(gold):
        return "it says what the answer is not"
    reply = affirmed(reply)
    if reply.rstrip(" *_$)").endswith("?") or language.HEDGE.search(_words(complement(reply))):
        return "it is a question or a guess"
    if language.DENIAL.search(_words(reply)) and not language.DENIAL.search(_words(gold)):
        return "it says what the answer is not"
    if told := _BASED.match(answer):
        key = _BASED.match(gold)
        if (key and key.groups() != told.groups()) or (
            _INTEGER.match(gold) and not _is_in_base(gold, *told.groups())
        ):
            return "its digits or its base differ"
    if (unit := unit_of(gold)) and (other := unit_of(reply)) and unit != other:
        return f"its unit is {other}, the key's is {unit}"
    opened, told_open = _GROUPED.match(gold), _GROUPED.match(answer)
    if opened and told_open and "," in gold and told_open[1] in ("{", r"\{") and opened[1] in ("(", "["):
        return "it is a set, the key is not"
    return "" if "=" in gold else _false_equation(answer)


def _is_in_base(number: str, digits: str, base: str) -> bool:
    known = {"two": 2, "eight": 8, "ten": 10}.get(base) or (int(base) if len(base) < 3 else 0)
    try:
        return 2 <= known <= 36 and len(digits) < 100 and int(digits, known) == int(number[:100])
    except ValueError:  # a digit that the base does not have
        return False


def _words(text: str) -> str:
    return _COMMAND.sub(" ", text) if "\\" in text else text


def _false_equation(answer: str) -> str:
    """The reason if an equation in the answer is false: `41=42`; `3+4=7` and `22/7=3.14` pass."""
    values = [float(value) for side in _EQUAL.split(answer) if (value := value_of(side)) is not None]
    if len(values) > 1 and max(values) - min(values) > 0.02 * max(map(abs, values)):
        return "its equation is false"
    return ""


def _read(formula: str) -> list[Any]:
    """Math-Verify's timeouts use SIGALRM and cannot stop compiled code, so only the pool's limit is used."""
    from math_verify import parse

    return parse(f"${formula}$", parsing_timeout=None, raise_on_error=True)


@lru_cache(maxsize=1024)
def read_key(gold: str) -> list[Any]:
    """All samples of a prompt have the same key."""
    read = _read(key_formula(gold))
    if not read:
        raise ValueError("it is not mathematics")
    return read


def equivalent(gold: str, answer: str) -> tuple[bool, str]:
    """Whether Math-Verify calls the two equal, gold first, because it is not symmetric. Raises its errors."""
    from math_verify import verify

    left, right = formulas(gold, answer)
    if reason := objection(left, right, answer):
        return False, reason
    key, told = read_key(gold), _read(right)
    if not told:
        return False, "it cannot be read as mathematics"
    if (same := same_polynomial(key, told)) is not None:
        return same, "the same polynomial" if same else "another polynomial"
    same = verify(key, told, timeout_seconds=None, raise_on_error=True, allow_set_relation_comp=True)
    return same, "equivalent by math-verify" if same else "not equivalent by math-verify"
