"""Numbers by MathVista's rule, by hand: cut for integers, rounded by the key's places, lists in order."""

import pytest

from xreasoner.rewards.number import match_number, read_list, read_number


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("5", 5),
        ("+5", 5),
        ("-5", -5),
        ("− 5", -5),
        ("5 cm", 5),
        ("5cm^2", 5),
        ("5 cm²", 5),
        ("$13.00", 13),
        ("\\$13", 13),
        ("€13", 13),
        ("1,234.5", 1234.5),
        ("1{,}234", 1234),
        ("1 234", 1234),
        ("1,234,567 people", 1234567),
        ("50%", 50),
        ("50\\%", 50),
        (".5", 0.5),
        ("5.", 5),
        ("1/2", 0.5),
        ("-\\frac{3}{4}", -0.75),
        ("1e3", 1000),
        ("1.2 \\times 10^{3} kg", 1200),
        ("1.2 × 10^-3", 0.0012),
        ("10^{3}", 1000),
        ("3 + 4 = 7", 7),
        ("x \\approx 7.1", 7.1),
        ("90^\\circ", 90),
        ("12 or 12.0", 12),
        ("two cubes", 2),
        ("７", 7),
        ("H2O 4", 4),
        ("5 or 6", None),
        ("5-6", None),
        ("12:30", None),
        ("3,5", None),
        ("12,34", None),
        ("1/0", None),
        ("one of 12 or 13", None),
        ("none", None),
        ("", None),
        ("1e999", None),
    ],
)
def test_the_one_number_of_an_answer(answer: str, number: float | None) -> None:
    assert read_number(answer) == number


@pytest.mark.parametrize(
    ("answer", "numbers"),
    [
        ("[1, 2, 3]", [1, 2, 3]),
        ("[1,2.5]", [1, 2.5]),
        ("1,2,3", [1, 2, 3]),
        ("1966 and 1968", [1966, 1968]),
        ("(1; -2)", [1, -2]),
        ("[a, b]", []),
        ("[1, 2", [1, 2]),
        ("[1 2]", [1, 2]),
    ],
)
def test_lists(answer: str, numbers: list[float]) -> None:
    assert read_list(answer) == numbers


@pytest.mark.parametrize(
    ("key", "answer", "is_right"),
    [
        ("5", "5.9", True),  # cut
        ("6", "5.9", False),
        ("-3", "-3.7", True),  # toward zero
        ("-4", "-3.7", False),
        ("1.2", "1.24", True),
        ("1.2", "1.25", True),  # Python rounds this half down
        ("1.3", "1.26", True),
        ("1.20", "1.2", True),
        ("1.20", "1.21", False),
        ("0.50", "1/2", True),
        ("[1, 2]", "1.0, 2", True),
        ("[1, 2]", "2, 1", False),
        ("5", "9" * 300, False),
    ],
)
def test_what_counts_as_the_key(key: str, answer: str, is_right: bool) -> None:
    assert match_number(key, answer)[0] is is_right
