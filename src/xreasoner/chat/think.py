"""The tags of a thought and an answer, and the texts that a forced exit injects."""

from typing import NamedTuple

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
ANSWER_OPEN, ANSWER_CLOSE = "<answer>", "</answer>"
FORCED_EXIT = "\n</think>\n"
"""Injected when the thinking budget is spent and the thought is open."""
ANSWER_EXIT = f"\n\n{ANSWER_OPEN}"
"""Injected instead if the reply has no thought."""


class Thought(NamedTuple):
    thought: str | None
    """None if the text has no thought."""
    answer: str
    """The text after the thought; empty if the thought is still open."""


def split_thought(text: str) -> Thought:
    """Split a generated text into thought and answer, both stripped."""
    before, opened, after = text.partition(THINK_OPEN)
    if not opened and THINK_CLOSE not in text:
        return Thought(None, text)
    # Some chat templates open the thought in the prompt; then only the closing tag is generated.
    inside = after if opened else before
    thought, closed, answer = inside.partition(THINK_CLOSE)
    return Thought(thought.strip(), answer.strip() if closed else "")


def write_thought(thought: str, answer: str) -> str:
    """The assistant's turn in training."""
    return f"{THINK_OPEN}\n{thought}\n{THINK_CLOSE}\n{write_answer(answer)}"


def write_answer(answer: str) -> str:
    """The assistant's turn in training if there is no thought."""
    return f"{ANSWER_OPEN}{answer}{ANSWER_CLOSE}"
