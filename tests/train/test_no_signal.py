import pytest

from xreasoner.train.no_signal import why_no_signal

NOTHING = {"skipped": 1.0, "correct": 0.0, "unscored": 0.0, "cut": 0.0, "missing": 0.0}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"skipped": 0.9}, ""),
        ({"unscored": 1.0}, "no answer could be judged"),
        ({"correct": 1.0}, "use harder problems"),
        ({"correct": 0.5}, "raise samples_per_prompt"),
        ({"cut": 1.0, "missing": 1.0}, "raise think_budget and answer_budget"),
        ({"missing": 0.95}, "or add the reward `form`"),
        ({"missing": 0.5}, "the problems are too hard"),
    ],
)
def test_the_likely_cause_is_named(changes: dict[str, float], said: str) -> None:
    found = why_no_signal(NOTHING | changes)
    assert (said in found) if said else found == ""
