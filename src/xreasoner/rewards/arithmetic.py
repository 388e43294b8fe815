"""The value of a formula without variables, in microseconds. Most answers are such formulas.

`same_value` answers only in clear cases: True if both values are exactly the same rational number, False if
they differ by more than any rounding could explain. Everything else is left to Math-Verify.
"""

import math
import re
from fractions import Fraction

LONGEST = 200
MOST_DIGITS = 40
DEEPEST = 30
LARGEST_POWER = 64
NEAR = 1e-3
"""Values closer than this, relative to their size, may be roundings of each other."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[1-9]\d{0,2}(?:(?:,|\{,\})\d{3})+(?![\d,])(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
    r"|(?P<word>\\[A-Za-z]+)|(?P<mark>[-+*/^(){}]))"
)
_SPACES = re.compile(r"\\left|\\right|\\[,;!: ]|~")
_FRACTIONS = (r"\frac", r"\dfrac", r"\tfrac", r"\cfrac")
_TIMES, _OVER = (r"\times", r"\cdot", "*"), (r"\div", "/")

Value = Fraction | float


class _UnreadableError(Exception):
    """The formula has a variable, a function or an ambiguous form."""


class _Reader:
    """Recursive descent over tokens: sums of products of powers."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        place, text = 0, _SPACES.sub(" ", text).strip()
        while place < len(text):
            token = _TOKEN.match(text, place)
            if not token:
                raise _UnreadableError
            self.tokens.append(token[0].strip())
            place = token.end()
        self.place = 0
        self.depth = 0

    @property
    def next(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self, wanted: str = "") -> str:
        token = self.next
        if not token or (wanted and token != wanted):
            raise _UnreadableError
        self.place += 1
        return token

    def whole(self) -> Value:
        value = self.sum()
        if self.next:
            raise _UnreadableError
        return value

    def sum(self) -> Value:
        self.depth += 1
        if self.depth > DEEPEST:
            raise _UnreadableError
        negative = self.next == "-"
        if self.next in ("-", "+"):
            self.take()
        value = -self.product() if negative else self.product()
        while self.next in ("+", "-"):
            sign = self.take()
            value = _bounded(value + self.product() if sign == "+" else value - self.product())
        self.depth -= 1
        return value

    def product(self) -> Value:
        value, divided = self.power(), False
        while True:
            if self.next in _TIMES:
                self.take()
                value = _bounded(value * self.power())
            elif self.next in _OVER:
                divided = True
                self.take()
                value = _divided(value, self.power())
            elif self.next in (r"\sqrt", r"\pi") and not divided:
                value = _bounded(value * self.power())  # 2\sqrt{3}; 1/2\pi could mean either
            elif self.next in _FRACTIONS or (self.next and self.next not in ("+", "-", ")", "}")):
                raise _UnreadableError  # 1\frac{1}{2} is a mixed number, 2(3) may be a function
            else:
                return value

    def power(self) -> Value:
        base = self.atom()
        if self.next != "^":
            return base
        self.take()
        exponent = self.argument()
        if isinstance(exponent, Fraction) and exponent.denominator == 1 and abs(exponent) <= LARGEST_POWER:
            if not base and exponent <= 0:
                raise _UnreadableError
            return _bounded(base ** int(exponent))
        if float(base) <= 0 or abs(float(exponent)) > LARGEST_POWER:
            raise _UnreadableError
        return _bounded(float(base) ** float(exponent))

    def atom(self) -> Value:
        token = self.take()
        if token[0].isdigit() or token[0] == ".":
            if len(token) > MOST_DIGITS:
                raise _UnreadableError
            return Fraction(token.replace("{,}", "").replace(",", ""))
        if token in ("(", "{"):
            value = self.sum()
            self.take(")" if token == "(" else "}")
            return value
        if token in _FRACTIONS:
            return _divided(self.argument(first_digit=True), self.argument(first_digit=True))
        if token == r"\sqrt":
            return _root(self.argument())
        if token == r"\pi":
            return math.pi
        raise _UnreadableError

    def argument(self, first_digit: bool = False) -> Value:
        """The content of braces, or one digit: `2^3`, and each of `\\frac12` where the first is asked for."""
        if self.next == "{":
            self.take()
            value = self.sum()
            self.take("}")
            return value
        if first_digit and len(self.next) > 1 and self.next.isdigit():
            token, self.tokens[self.place] = self.next[0], self.next[1:]
            return Fraction(token)
        if len(self.next) != 1 or not self.next.isdigit():
            raise _UnreadableError
        return Fraction(self.take())


def _bounded(value: Value) -> Value:
    if isinstance(value, Fraction):
        if max(value.numerator.bit_length(), value.denominator.bit_length()) > 512:
            raise _UnreadableError
    elif not math.isfinite(value):
        raise _UnreadableError
    return value


def _divided(top: Value, bottom: Value) -> Value:
    if not bottom:
        raise _UnreadableError
    return _bounded(top / bottom)


def _root(value: Value) -> Value:
    if value < 0:
        raise _UnreadableError
    if isinstance(value, Fraction):
        top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
        if top * top == value.numerator and bottom * bottom == value.denominator:
            return Fraction(top, bottom)
    return math.sqrt(value)


def value_of(formula: str) -> Value | None:
    """An exact value if it is rational; None if it is not plain arithmetic."""
    if len(formula) > LONGEST:
        return None
    try:
        return _Reader(formula).whole()
    except (_UnreadableError, OverflowError):
        return None


def same_value(gold: str, answer: str) -> bool | None:
    """Whether two formulas have the same value; None if only algebra or rounding can decide."""
    left, right = value_of(gold), value_of(answer)
    if left is None or right is None:
        return None
    if isinstance(left, Fraction) and isinstance(right, Fraction) and left == right:
        return True
    size = max(abs(float(left)), abs(float(right)))
    return False if abs(float(left) - float(right)) > NEAR * size else None
