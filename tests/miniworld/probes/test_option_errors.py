import pytest

from xreasoner.miniworld.probes.option_errors import outcome_of

CHOICES = ("16", "31", "7", "30")


@pytest.mark.parametrize(
    ("thought", "answer", "expected"),
    [
        ("39 -8 so 39 - 8 = 31 ; A: 16 = 31 no ; B: 31 = 31 yes ;", "B: 31", "right"),
        (
            "39 -8 so 39 - 8 = 30 ; A: 16 = 30 no ; B: 31 = 30 no ; C: 7 = 30 no ; D: 30 = 30 yes ;",
            "D: 30",
            "worked out wrong",
        ),
        ("39 -8 so 39 - 8 = 31 ; A: 31 = 31 yes ;", "A: 31", "options miscopied"),
        ("39 -8 so 39 - 8 = 31 ; A: 16 = 31 yes ;", "A: 16", "misjudged"),
        ("39 -8 so 39 - 8 = 31 ;", "A: 16", "misjudged"),
        ("39 -8 so 39 - 8 = 31 ; A: 16 = 31 no ; B: 31 = 31 yes ;", "C: 31", "answered otherwise"),
    ],
)
def test_the_first_mistake_is_found(thought: str, answer: str, expected: str) -> None:
    reply = f"<think> {thought} </think><answer>{answer}</answer>"
    assert outcome_of(reply, "31", CHOICES, is_right=expected == "right") == expected
