import pytest

from xreasoner.train.no_signal import why_no_signal

NOTHING = {"skipped": 1.0, "reward": 0.0, "unscored": 0.0, "cut": 0.0, "missing": 0.0}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"skipped": 0.9}, ""),
        ({"unscored": 1.0}, "no answer could be graded"),
        ({"reward": 1.0}, "use harder problems"),
        ({"reward": 0.5}, "raise samples_per_prompt"),
        ({"cut": 1.0, "missing": 1.0}, "raise think_budget and answer_budget"),
        ({"missing": 0.95}, "run an SFT stage first, or describe the form in `instruction`"),
        ({"missing": 0.5}, "the problems are too hard"),
    ],
)
def test_the_likely_cause_is_named(changes: dict[str, float], said: str) -> None:
    found = why_no_signal(NOTHING | changes)
    assert (said in found) if said else found == ""
