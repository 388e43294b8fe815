"""The tags of a reasoning answer, and the text that ends a thought whose budget is spent."""

from typing import NamedTuple

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
ANSWER_OPEN, ANSWER_CLOSE = "<answer>", "</answer>"
FORCED_EXIT = "\n</think>\n"


class Thought(NamedTuple):
    thought: str | None
    """None where the text opens no thought."""
    rest: str
    """What follows the thought; empty while it is still open."""


def split_thought(text: str) -> Thought:
    """Part a generated text into its thought and its answer."""
    before, opened, after = text.partition(THINK_OPEN)
    if not opened and THINK_CLOSE not in text:
        return Thought(None, text)
    # Some chat templates open the thought in the prompt: then only the closing tag is generated.
    inside = after if opened else before
    thought, closed, rest = inside.partition(THINK_CLOSE)
    return Thought(thought.strip(), rest.strip() if closed else "")


def write_thought(thought: str, answer: str) -> str:
    """The assistant's turn as it is trained on."""
    return f"{THINK_OPEN}\n{thought}\n{THINK_CLOSE}\n{write_answer(answer)}"


def write_answer(answer: str) -> str:
    """The assistant's turn where nothing is thought."""
    return f"{ANSWER_OPEN}{answer}{ANSWER_CLOSE}"
