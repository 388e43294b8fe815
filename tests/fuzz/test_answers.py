"""Whatever a model writes: a score, and right only where the key stands."""

from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.hostile_answers import KINDS, PIECES

from xreasoner.records import Problem
from xreasoner.rewards.grade import Grader

TEXTS = st.lists(
    st.sampled_from(PIECES) | st.text(max_size=8) | st.integers(0, 10**30).map(str), max_size=14
).map("".join)
PROBLEMS = [Problem(kind, ("?",), answer, kind, choices) for kind, (answer, choices) in KINDS.items()]


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(workers=1, seconds=1.0) as made:
        yield made


@given(st.lists(TEXTS, min_size=1, max_size=4))
@example(["<answer>1/" + "3" * 309 + "</answer>"])
@example(["<answer>" + "9" * 4300 + "</answer>"])
@example(["<answer>1/" + "3" * 9000 + "</answer>"])
@example(["<answer>\ud800</answer>"])
@example(["٣\\boxed{"])
@example(["<think></think>" * 3000])
@example(["<answer>10^10^10^10</answer>", "<answer>99999999!</answer>", "\\boxed{" * 500])
def test_any_answer_is_scored(grader: Grader, texts: list[str]) -> None:
    pairs = [(problem, text) for problem in PROBLEMS for text in texts]
    for (problem, text), score in zip(pairs, grader.score_many(pairs), strict=True):
        assert score.correct in (True, False, None)
        assert "\n" not in score.why
        if score.correct and problem.kind in ("exact", "open"):
            assert "zebra" in "".join(text.split()).lower()


FORMS = st.sampled_from(
    [
        "<answer>{}</answer>",
        "<think>1 + 1</think>{}",
        "\\boxed{{{}}}",
        "<answer>${}$</answer>",
        "So the answer is {}.",
    ]
)
NUMBERS = st.integers(-(10**12), 10**12)


@given(st.lists(st.tuples(NUMBERS, NUMBERS | st.just(None), FORMS), min_size=1, max_size=10))
def test_a_number_is_right_only_if_it_is_the_key(
    grader: Grader, cases: list[tuple[int, int | None, str]]
) -> None:
    pairs, right = [], []
    for key, other, form in cases:
        said = key if other is None else other
        pairs.append((Problem("p", ("?",), str(key), "math"), form.format(said)))
        right.append(said == key)
    assert [score.correct for score in grader.score_many(pairs)] == right
