"""The leaves of grading, each by hand."""

import pytest

from xreasoner.records import Problem
from xreasoner.rewards.choice import gold_letter, match_choice
from xreasoner.rewards.extract import find_answer
from xreasoner.rewards.grade import Grader
from xreasoner.rewards.math import settled
from xreasoner.rewards.plain import normalise
from xreasoner.rewards.statements import boxes, outside_thought

OPEN = Problem(id="p", question=("?",), answer="7", kind="exact")


def choice(answer: str, *choices: str) -> Problem:
    return Problem(id="p9", question=("?",), answer=answer, kind="choice", choices=choices)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<think>a</think>b", "b"),
        ("a</think>b", "b"),
        ("b<think>a", "b"),
        ("x<think>a</think>y<think>b</think>z", "xyz"),
        ("<think>a<think>b</think>c</think>d", "cd"),
        ("plain", "plain"),
    ],
)
def test_outside_thought(text: str, left: str) -> None:
    assert outside_thought(text) == left


@pytest.mark.parametrize(
    ("text", "held"),
    [
        (r"\boxed{1} \boxed{2}", ["1", "2"]),
        (r"\boxed{\frac{1}{2}}", [r"\frac{1}{2}"]),
        (r"\boxed{a \boxed{b} c}", [r"a \boxed{b} c"]),
        (r"\boxed{\{1\}}", [r"\{1\}"]),
        (r"\boxed{1", []),
        (r"}} \boxed{1}", ["1"]),
        (r"{\boxed{1}", ["1"]),
    ],
)
def test_boxes(text: str, held: list[str]) -> None:
    assert boxes(text) == held


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the reply is empty"),
        ("<think>x</think>", "nothing follows the thought"),
        ("<think>x", "the thought is never closed"),
        ("<think>x \\boxed{7}", "the thought is never closed, and the answer stands in it"),
        ("First I add.\nThen I stop.", "no answer in the reply"),
    ],
)
def test_a_missing_answer_says_why(text: str, why: str) -> None:
    assert find_answer(text, OPEN) == (None, why, "")


def test_an_extracted_answer_says_where_it_stood() -> None:
    assert find_answer("<answer>7</answer> and \\boxed{8}", OPEN) == ("7", "the last <answer>", "tag")
    assert find_answer("<answer>7", OPEN) == ("7", "the last <answer>", "tag")
    assert find_answer("\\boxed{8}", OPEN) == ("8", r"the last \boxed", "box")
    assert find_answer("So the answer is 8.", OPEN)[::2] == ("8.", "lead")
    assert find_answer("8", OPEN)[::2] == ("8", "whole reply")
    released = find_answer("B: No\nas the film shows", choice("A", "Yes", "No"))
    assert released == ("B: No", "the line in the form of an option", "option line")
    assert (
        find_answer("I see it.\nSo it is the left one.", choice("A", "the left one", "the right one")).rule
        == "prose"
    )
    assert find_answer("I see it.\nHence, B is correct.", choice("A", "Yes", "No")).rule == "called"


def test_the_score_keeps_what_was_found_and_why() -> None:
    with Grader() as grader:
        score = grader.score(choice("A", "Yes", "No"), "<answer>B: No</answer>")
    assert (score.correct, score.extracted) == (False, "B: No")
    assert score.why == "the last <answer>: option B by letter and text, the key is A"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("B: Yes", "the letter B and the text of A disagree"),
        ("A or B", "it names A and B"),
        ("D", "D is not among the options A to B"),
        ("perhaps", "it names no option"),
        ("not B", "it says what the answer is not"),
    ],
)
def test_what_names_no_option_says_why(answer: str, why: str) -> None:
    assert match_choice(answer, ("Yes", "No"))[:2] == (None, why)


def test_a_key_outside_the_options_is_an_error_that_names_the_problem() -> None:
    assert gold_letter(choice("No", "Yes", "No")) == "B"
    for broken in (choice("C", "Yes", "No"), choice("Yes", "Yes", "Yes"), choice("A")):
        with pytest.raises(ValueError, match="problem p9"):
            gold_letter(broken)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("$7$.", "7"),
        ("1,234,567.50", "1234567.5"),
        ("-0.0", "0"),
        ("1e3", "1e3"),
        ("100", "100"),
        ("  A  B ", "a b"),
        (".", "."),
    ],
)
def test_normalise(text: str, plain: str) -> None:
    assert normalise(text) == plain


@pytest.mark.parametrize(
    ("gold", "answer", "is_settled"),
    [
        ("7", "007", True),
        ("7", "+7", True),
        ("7", "8", False),
        ("x", "$x$", True),
        (r"\text{even}", "even", True),
        (r"\text{even}", r"$\text{even}$", True),
        (r"\text{even}", "odd", None),
        (r"\text{even}", "not even", False),
        ("x", "y", None),
        ("", "", None),
        ("1234", "1,234", True),
        ("1/2", r"\frac{2}{4}", True),
        ("1/2", r"\frac{1}{3}", False),
        ("0.3333", r"\frac{1}{3}", None),
        (r"\sqrt{12}", r"2\sqrt{3}", None),
        (r"\sqrt{12}", r"2\sqrt{5}", False),
        ("9" * 5000, "9" * 5000 + "1", False),
    ],
)
def test_the_fast_path_decides_what_needs_no_algebra(gold: str, answer: str, is_settled: bool | None) -> None:
    assert settled(gold, answer) is is_settled
