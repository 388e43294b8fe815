"""Thought and answer are split, whole and in pieces of every size."""

import pytest

from xreasoner.chat.split_reply import (
    ReplyStart,
    ReplyStream,
    SplitReply,
    reply_start,
    split_reply,
    stable_prefix,
)

WHOLE = "<think>\na < b\n</think>\n<answer>B</answer>"


@pytest.mark.parametrize(
    ("text", "start", "expected"),
    [
        (WHOLE, "turn", SplitReply("\na < b\n", "\n<answer>B</answer>", True)),
        ("<think>\nand so", "turn", SplitReply("\nand so", "", True)),
        ("It is <think>", "turn", SplitReply("", "It is <think>")),
        (" \n<think>a</think>b", "turn", SplitReply("a", "b", True)),
        ("a</think>b", "in thought", SplitReply("a", "b", True)),
        ("a</think>b", "turn", SplitReply("", "a</think>b")),
        ("a <think> b", "in answer", SplitReply("", "a <think> b")),
        ("", "turn", SplitReply("", "")),
        ("<think>", "turn", SplitReply("", "", True)),
    ],
)
def test_whole_texts(text: str, start: ReplyStart, expected: SplitReply) -> None:
    assert split_reply(text, start) == expected


def test_a_possible_start_of_a_tag_or_stop_is_held_back() -> None:
    assert stable_prefix("a </thi") == "a "
    assert stable_prefix("a </think>") == "a </think>"
    assert stable_prefix("a <") == "a "
    assert stable_prefix("the EN", stops=["END"]) == "the "
    assert stable_prefix("the END", stops=["END"]) == "the END"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("text", [WHOLE, "<think>x", "no thought < at all", " 12", "<thin air", "", "<think"])
def test_the_pieces_add_up_to_the_whole(text: str, size: int) -> None:
    stream, reasoning, content = ReplyStream("turn"), "", ""
    for end in range(size, len(text), size):
        new = stream.update(text[:end])
        reasoning, content = reasoning + new.reasoning, content + new.content
        assert "think>" not in reasoning + content
    new = stream.update(text, is_whole=True)
    assert SplitReply(reasoning + new.reasoning, content + new.content, new.has_thought) == split_reply(text)


def test_reply_start_after_a_prefix() -> None:
    assert reply_start("<think>\nso") == "in thought"
    assert reply_start("<think>\nso\n</think>\n") == "in answer"
    assert reply_start("The answer") == "turn"
