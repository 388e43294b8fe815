"""Open questions by MMMU's rule, worked out by hand from its description."""

import pytest

from xreasoner.rewards.open import accepted_answers, match_open


@pytest.mark.parametrize(
    ("key", "answer", "is_right"),
    [
        ("0.25", "0.25", True),
        ("0.25", "0.254", True),  # two decimals
        ("0.25", "0.26", False),
        ("0.25", "It is 0.25 A", True),
        ("0.25", "2.5e-1", True),
        ("1,200", "1200", True),
        ("1200", "1,200 N", True),
        ("-3", "3", False),
        ("osteosarcoma", "An Osteosarcoma of the femur", True),
        ("osteosarcoma", "sarcoma", False),
        ("no", "not known", True),  # the rule's known leniency
        ("x", "exit", False),  # a single letter stands at a word's edge
        ("x", "the variable x", True),
        ('["$6", "6 dollars"]', "it costs $6", True),
        ('["$6", "6 dollars"]', "6 dollars in all", True),
        ('["$6", "6 dollars"]', "7", False),
        ("5", "First 5.\nSo the answer is 7", False),  # only the end that follows a lead counts
        ("7", "First 5.\nSo the answer is 7", True),
        ("7", "3 + 4 = 7", True),
        ("3", "3 + 4 = 7", False),
        ("7", "x = 7\nwhich is it", False),  # `=` leads in the last line only
    ],
)
def test_what_counts_as_the_key(key: str, answer: str, is_right: bool) -> None:
    assert match_open(key, answer)[0] is is_right


@pytest.mark.parametrize(
    ("key", "answers"),
    [
        ("6", ["6"]),
        ('["a", "b"]', ["a", "b"]),
        ("[1, 2)", ["[1, 2)"]),
        ("[]", ["[]"]),
        ("[3, 4]", ["3", "4"]),
    ],
)
def test_a_key_may_list_several_answers(key: str, answers: list[str]) -> None:
    assert accepted_answers(key) == answers
