"""The trap table: what models really write and what it must count as: Right, Wrong, Missing or Unscored."""

from collections.abc import Iterator

import pytest

from xreasoner.records import Kind, Problem, Score
from xreasoner.rewards.grade import Grader

YES_NO = ("Yes", "No", "Not enough information")
DRUGS = ("Vitamin C", "Vitamin C deficiency", "Aspirin 5 mg", "Aspirin 50 mg", "A fracture")
NUMBERS = ("12", "1.2", "-12", "120")

# (options, text, key, verdict)
CHOICE: list[tuple[tuple[str, ...], str, str, str]] = [
    (YES_NO, "<think>x</think>\n<answer>B: No</answer>", "B", "R"),
    (YES_NO, "<think>x</think><answer>A: Yes</answer>", "B", "W"),
    (YES_NO, "<answer>B</answer>", "B", "R"),
    (YES_NO, "<answer>b</answer>", "B", "R"),
    (YES_NO, "<answer>(B)</answer>", "B", "R"),
    (YES_NO, "<answer>[B]</answer>", "B", "R"),
    (YES_NO, "<answer>B.</answer>", "B", "R"),
    (YES_NO, "<answer>B)</answer>", "B", "R"),
    (YES_NO, "<answer>**B**</answer>", "B", "R"),
    (YES_NO, "<answer>**B: No**</answer>", "B", "R"),
    (YES_NO, "<answer>**B.** No</answer>", "B", "R"),
    (YES_NO, "<answer>(B) No</answer>", "B", "R"),
    (YES_NO, "<answer>B No</answer>", "B", "R"),
    (YES_NO, "<answer>B - No</answer>", "B", "R"),
    (YES_NO, "<answer>No</answer>", "B", "R"),
    (YES_NO, "<answer>no.</answer>", "B", "R"),
    (YES_NO, "<answer>\\text{No}</answer>", "B", "R"),
    (YES_NO, "<answer>\\boxed{B}</answer>", "B", "R"),
    (YES_NO, "<answer>\\boxed{\\text{B}}</answer>", "B", "R"),
    (YES_NO, "\\boxed{\\textbf{B}}", "B", "R"),
    (YES_NO, "<answer> B : No </answer>", "B", "R"),
    (YES_NO, "<answer>B: Yes</answer>", "B", "W"),  # letter and text disagree
    (YES_NO, "<answer>B: Yes</answer>", "A", "W"),
    (YES_NO, "<answer>A or B</answer>", "B", "W"),
    (YES_NO, "<answer>A and B</answer>", "A", "W"),
    (YES_NO, "<answer>A, B</answer>", "A", "W"),
    (YES_NO, "<answer>B/C</answer>", "B", "W"),
    (YES_NO, "<answer>B: and C</answer>", "B", "W"),
    (YES_NO, "<answer>Yes or No</answer>", "B", "W"),
    (YES_NO, "<answer>E</answer>", "B", "W"),  # no such option
    (YES_NO, "<answer>E: No</answer>", "B", "W"),
    (YES_NO, "<answer>maybe</answer>", "B", "W"),
    (YES_NO, "<answer>not B</answer>", "B", "W"),
    (YES_NO, "<answer>No, it is not enlarged</answer>", "B", "R"),
    (YES_NO, "<answer>Yes, no doubt</answer>", "A", "R"),  # a word of the sentence, not the option
    (YES_NO, "<answer>The answer is B because A and C need a mass.</answer>", "B", "R"),
    (YES_NO, "<answer>The answer is B.</answer>", "B", "R"),
    (YES_NO, "<answer>option B</answer>", "B", "R"),
    (YES_NO, "<answer>B, because nothing else fits</answer>", "B", "R"),
    (YES_NO, "<answer>A is correct</answer>", "A", "R"),
    (YES_NO, "<answer>C: there is not enough information</answer>", "C", "R"),
    (YES_NO, "<answer>Ｂ</answer>", "B", "R"),  # full width
    (YES_NO, "The answer is B.", "B", "R"),
    (YES_NO, "Looking at it, I see a mass.\nFinal answer: (B)", "B", "R"),
    (YES_NO, "**Answer:** B: No", "B", "R"),
    (YES_NO, "B: No", "B", "R"),
    (YES_NO, "B: No\n\nThe reason lies in the left lung.", "B", "R"),
    (YES_NO, "B", "B", "R"),
    (YES_NO, "A: Yes would need a mass.\nB: No is possible.\nWho knows?", "B", "M"),
    (YES_NO, "A: Yes would need a mass.\nB: No is possible.\nThe answer is B", "B", "R"),
    (YES_NO, "<think>surely <answer>B</answer></think>", "B", "M"),  # only in the thought
    (YES_NO, "<think>surely <answer>B</answer></think><answer>A</answer>", "B", "W"),
    (YES_NO, "<think>surely B, B: No", "B", "M"),  # never closed
    (YES_NO, "<think>x</think><answer></answer>", "B", "M"),
    (YES_NO, "<think>x</think><answer>B", "B", "R"),  # no closing tag
    (YES_NO, "<think>x</think><answer>B: No</answer", "B", "R"),
    (YES_NO, "<think>x</think><answer>A</answer> wait <answer>B</answer>", "B", "R"),  # the last counts
    (YES_NO, "<think>x</think><answer>A</answer><think>no</think><answer>B</answer>", "B", "R"),
    (YES_NO, "so it is A</think><answer>B</answer>", "B", "R"),  # the prompt opened the thought
    (YES_NO, "", "B", "M"),
    (DRUGS, "<answer>Vitamin C</answer>", "A", "R"),
    (DRUGS, "<answer>It is vitamin C deficiency</answer>", "B", "R"),
    (DRUGS, "<answer>A: Vitamin C</answer>", "A", "R"),
    (DRUGS, "<answer>C: Aspirin 50 mg</answer>", "C", "W"),  # the text is D's
    (DRUGS, "<answer>Aspirin 5 mg</answer>", "C", "R"),
    (DRUGS, "<answer>Aspirin</answer>", "C", "W"),  # half an option
    (DRUGS, "<answer>A fracture</answer>", "E", "R"),  # an article, not a letter
    (DRUGS, "<answer>A bruise</answer>", "A", "W"),
    (DRUGS, "<answer>E: A fracture</answer>", "E", "R"),
    (NUMBERS, "<answer>12</answer>", "A", "R"),
    (NUMBERS, "<answer>12.0</answer>", "A", "R"),
    (NUMBERS, "<answer>-12</answer>", "C", "R"),
    (NUMBERS, "<answer>−12</answer>", "C", "R"),  # a true minus sign
    (NUMBERS, "<answer>-12</answer>", "A", "W"),
    (NUMBERS, "<answer>B: 1.2</answer>", "B", "R"),
    (NUMBERS, "<answer>A: 1.2</answer>", "A", "W"),
    (NUMBERS, "<answer>D: 120</answer>", "D", "R"),
    (NUMBERS, "<answer>It is 120.</answer>", "D", "R"),
    (NUMBERS, "<answer>12 7</answer>", "A", "W"),  # one number among several
    (NUMBERS, "<answer>100 + 20 = 120</answer>", "D", "R"),
    (
        NUMBERS,
        "<answer>12 + 108 = 120</answer>",
        "A",
        "W",
    ),  # what a calculation begins with is not its result
    (NUMBERS, "<answer>It is not 120</answer>", "D", "W"),
    (("7", "7.0", "8"), "<answer>7</answer>", "A", "W"),  # the text of two options
    (("7", "7.0", "8"), "<answer>A</answer>", "A", "R"),  # but a letter is clear
    (tuple("hgfedcba"), "<answer>a</answer>", "H", "R"),  # a lower-case letter that is an option's text
    (tuple(f"option {i}" for i in range(10)), "<answer>J: option 9</answer>", "J", "R"),
    (tuple(f"option {i}" for i in range(10)), "<answer>option 1</answer>", "B", "R"),
    (YES_NO, "<answer>B</answer>", "No", "R"),  # the key as text
]

EXACT = [
    ("<answer>7</answer>", "7", "R"),
    ("<answer> 7 </answer>", "7", "R"),
    ("<answer>07</answer>", "7", "R"),
    ("<answer>7.0</answer>", "7", "R"),
    ("<answer>+7</answer>", "7", "R"),
    ("<answer>-7</answer>", "7", "W"),
    ("<answer>− 7</answer>", "-7", "R"),
    ("<answer>1,234</answer>", "1234", "R"),
    ("<answer>1 234</answer>", "1234", "R"),
    ("<answer>12,34</answer>", "1234", "W"),
    ("<answer>.5</answer>", "0.5", "R"),
    ("<answer>5²</answer>", "52", "W"),
    ("<answer>１２</answer>", "12", "R"),
    ("<answer>45%</answer>", "45", "W"),
    ("<answer>45\\%</answer>", "45%", "R"),
    ("<answer>Red  Square</answer>", "red square", "R"),
    ("<answer>high low high</answer>", "high low high", "R"),
    ("<answer>high high low</answer>", "high low high", "W"),
    ("<answer>\\boxed{yes}</answer>", "yes", "R"),
    ("7", "7", "R"),
    ("I think it is 7, since 3 + 4 = 7.\nBut then 8 would do as well.", "7", "M"),
    ("<think>7</think>", "7", "M"),
    ("<think>3 + 4 = 7\n</think>\n<answer>7</answer>", "7", "R"),
    ("<answer>0</answer>", "-0", "R"),
]

MATH = [
    ("<answer>72</answer>", "72", "R"),
    ("<answer>$72$</answer>", "72", "R"),
    ("<answer>$72</answer>", "72", "R"),
    ("<answer>\\$72</answer>", "72", "R"),
    ("<answer>\\frac{1}{2}</answer>", "0.5", "R"),
    ("<answer>1/2</answer>", "\\frac12", "R"),
    ("<answer>\\dfrac{2}{4}</answer>", "\\frac{1}{2}", "R"),
    ("<answer>50\\%</answer>", "0.5", "R"),
    ("<answer>50%</answer>", "50", "R"),  # math-verify takes a percentage either way
    ("<answer>5 cm</answer>", "5", "R"),
    ("<answer>5\\text{ cm}</answer>", "5", "R"),
    ("<answer>90^\\circ</answer>", "90", "R"),
    ("<answer>1,234</answer>", "1234", "R"),
    ("<answer>1{,}234</answer>", "1234", "R"),
    ("<answer>−3</answer>", "-3", "R"),
    ("<answer>3</answer>", "-3", "W"),
    ("<answer>1e3</answer>", "1000", "R"),
    ("<answer>3.0e5</answer>", "3\\times10^{5}", "R"),
    ("<answer>(1, 2)</answer>", "(1,2)", "R"),
    ("<answer>(2, 1)</answer>", "(1,2)", "W"),
    ("<answer>2, 1</answer>", "\\{1,2\\}", "R"),
    ("<answer>5 or 6</answer>", "5", "W"),
    ("<answer>x=2</answer>", "2", "R"),
    ("<answer>\\frac{1}{\\sqrt2}</answer>", "\\frac{\\sqrt{2}}{2}", "R"),
    ("<answer>1 \\frac{1}{2}</answer>", "1.5", "R"),
    ("<answer>0.333</answer>", "\\frac13", "W"),
    ("<answer>6.2832</answer>", "2\\pi", "W"),
    ("<answer>\\pm 3</answer>", "3", "W"),
    ("<answer>1+3x</answer>", "3x+1", "R"),
    ("<answer>７</answer>", "7", "R"),
    ("So we get \\boxed{\\frac{3}{4}}.", "0.75", "R"),
    ("First \\boxed{1}, then \\boxed{2}", "2", "R"),
    ("\\boxed{\\boxed{4}}", "4", "R"),
    ("\\fbox{4}", "4", "R"),
    ("\\boxed 4", "4", "R"),
    ("\\boxed{4", "4", "M"),
    ("<think>\\boxed{4}</think> Done.", "4", "M"),  # no number, no formula
    ("<answer>\\boxed{4} apples</answer>", "4", "R"),
    ("<answer>\\boxed{1}, \\boxed{2}</answer>", "\\{1,2\\}", "R"),
    ("The answer is $12$.", "12", "R"),
    ("Answer: 12", "12", "R"),
    ("<answer>twelve</answer>", "12", "R"),
    ("<answer>" + "9" * 5000 + "</answer>", "9", "W"),
    ("<answer>000000000000000000007</answer>", "7", "R"),
]


def verdict(score: Score) -> str:
    if score.correct is None:
        return "U"
    return "M" if score.missing else "R" if score.correct else "W"


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(workers=1, seconds=10) as grader:
        yield grader


def problem(kind: Kind, key: str, choices: tuple[str, ...] = ()) -> Problem:
    return Problem(id="p", question=("?",), answer=key, kind=kind, choices=choices)


@pytest.mark.parametrize(("choices", "text", "key", "expected"), CHOICE)
def test_choice(grader: Grader, choices: tuple[str, ...], text: str, key: str, expected: str) -> None:
    score = grader.score(problem("choice", key, choices), text)
    assert (verdict(score), bool(score.why)) == (expected, True), score


@pytest.mark.parametrize(("text", "key", "expected"), EXACT)
def test_exact(grader: Grader, text: str, key: str, expected: str) -> None:
    score = grader.score(problem("exact", key), text)
    assert (verdict(score), bool(score.why)) == (expected, True), score


@pytest.mark.parametrize(("text", "key", "expected"), MATH)
def test_math(grader: Grader, text: str, key: str, expected: str) -> None:
    score = grader.score(problem("math", key), text)
    assert (verdict(score), bool(score.why)) == (expected, True), score
