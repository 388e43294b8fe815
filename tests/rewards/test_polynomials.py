"""Polynomials are compared as Math-Verify does, and everything else is left to it."""

import random

import pytest
from math_verify import parse, verify

from xreasoner.rewards.math import _read, equivalent
from xreasoner.rewards.polynomials import same_polynomial


@pytest.mark.parametrize(
    ("key", "answer", "same"),
    [
        ("(x+2)(x+3)", "x^2+5x+6", True),
        ("(x+2)(x+3)", "x^2+5x+7", False),
        ("(x+2)(x+3)", "(y+2)(y+3)", False),
        ("(a-b)^3", "a^3-3a^2b+3ab^2-b^3", True),
        ("x^2-x", "-x(1-x)", True),
        ("2x+1", "1 + x \\cdot 2", True),
        ("x+1-x", "x+x-2x+1", True),
        ("x^2+1", "x^{2.0}+1", None),
        ("\\frac{x}{2}", "\\frac{2x}{4}", None),
        ("x", "1x", None),
        ("x^{13}+1", "1+x^{13}", None),
        ("3000000000x+1", "3000000000x+1.0", None),
        ("(x+1)^{12}(y+1)^{12}(z+1)^{12}", "x+1", None),
        ("x=2y+1", "2y+1", None),
        ("\\sin x+1", "x+1", None),
        ("x+1", "3", None),
        ("x+i", "i+x", True),
    ],
)
def test_by_hand(key: str, answer: str, same: bool | None) -> None:
    found = same_polynomial(_read(key), _read(answer))
    assert found is same
    if same is not None:
        assert same == verify(parse(f"${key}$"), parse(f"${answer}$"))


def test_random_ones_get_math_verifys_verdict() -> None:
    rng = random.Random(0)
    decided = 0
    for _ in range(40):
        a, b, c, n = rng.randint(-9, 9), rng.randint(1, 9), rng.randint(-9, 9), rng.randint(1, 3)
        off = rng.choice((0, 0, 1, -a))
        key = f"({b}x{a:+d})^{n}{c:+d}y"
        answer = " ".join(
            ["".join((f"({b}x{a:+d})", "\\cdot" if i < n - 1 else "")) for i in range(n)] + [f"{c + off:+d}y"]
        )
        key_read, told = _read(key), _read(answer)
        found = same_polynomial(key_read, told)
        if found is not None:
            decided += 1
            assert found == verify(key_read, told), (key, answer)
    assert decided > 30


def test_the_verdict_says_how_it_was_found() -> None:
    assert equivalent("(x+1)(x-1)", "x^2-1") == (True, "the same polynomial")
    assert equivalent("(x+1)(x-1)", "x^2+1") == (False, "another polynomial")
    assert equivalent("\\sqrt{x^2+1}", "\\sqrt{1+x^2}") == (True, "equivalent by math-verify")
