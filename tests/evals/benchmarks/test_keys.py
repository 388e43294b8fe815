"""Keys that are the text of an option."""

import pytest

from xreasoner.data.candidates import BadRowError
from xreasoner.evals.benchmarks.keys import letter_of_text

OPTIONS = {"A": "MR", "B": "X-ray", "C": "x-ray.", "D": "35°", "E": "35°"}


@pytest.mark.parametrize(
    ("answer", "letter"), [("X-ray", "B"), ("x-ray.", "C"), ("mr.", "A"), ("35°", "D"), ("e", "E")]
)
def test_exactly_or_but_for_case_and_full_stop(answer: str, letter: str) -> None:
    assert letter_of_text(answer, OPTIONS) == letter


def test_a_key_that_is_no_option_is_a_bad_row() -> None:
    with pytest.raises(BadRowError, match="the answer is not an option"):
        letter_of_text("CT", OPTIONS)
