"""Thought and answer apart: whole, and in pieces of every size."""

import pytest

from xreasoner.chat.apart import Apart, Begins, Stream, begins, settled, take_apart

WHOLE = "<think>\na < b\n</think>\n<answer>B</answer>"


@pytest.mark.parametrize(
    ("text", "start", "expected"),
    [
        (WHOLE, "anywhere", Apart("\na < b\n", "\n<answer>B</answer>", True)),
        ("<think>\nand so", "anywhere", Apart("\nand so", "", True)),
        ("It is <think>", "anywhere", Apart("", "It is <think>")),
        (" \n<think>a</think>b", "anywhere", Apart("a", "b", True)),
        ("a</think>b", "in thought", Apart("a", "b", True)),
        ("a</think>b", "anywhere", Apart("", "a</think>b")),
        ("a <think> b", "in answer", Apart("", "a <think> b")),
        ("", "anywhere", Apart("", "")),
        ("<think>", "anywhere", Apart("", "", True)),
    ],
)
def test_whole_texts(text: str, start: Begins, expected: Apart) -> None:
    assert take_apart(text, start) == expected


def test_what_may_yet_become_a_tag_or_a_stop_is_held_back() -> None:
    assert settled("a </thi") == "a "
    assert settled("a </think>") == "a </think>"
    assert settled("a <") == "a "
    assert settled("the EN", stops=["END"]) == "the "
    assert settled("the END", stops=["END"]) == "the END"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("text", [WHOLE, "<think>x", "no thought < at all", " 12", "<thin air", "", "<think"])
def test_pieces_are_the_whole(text: str, size: int) -> None:
    stream, reasoning, content = Stream("anywhere"), "", ""
    for end in range(size, len(text), size):
        new = stream.grow(text[:end])
        reasoning, content = reasoning + new.reasoning, content + new.content
        assert "think>" not in reasoning + content
    new = stream.grow(text, is_whole=True)
    assert Apart(reasoning + new.reasoning, content + new.content, new.thinks) == take_apart(text)


def test_where_a_turn_that_was_begun_goes_on() -> None:
    assert begins("<think>\nso") == "in thought"
    assert begins("<think>\nso\n</think>\n") == "in answer"
    assert begins("The answer") == "anywhere"
