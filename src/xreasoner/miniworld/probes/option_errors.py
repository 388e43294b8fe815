"""Where a wrong answer to a multiple-choice question went wrong: in the work, or among the options."""

import re
from collections.abc import Sequence
from typing import Literal

from xreasoner.chat.think import THINK_CLOSE, THINK_OPEN
from xreasoner.miniworld.lexicon import ANSWER_LETTERS

Outcome = Literal["right", "worked out wrong", "options miscopied", "misjudged", "answered otherwise"]
JUDGED = re.compile(r"([A-D]): (\S+) = \S+ (yes|no) ;")


def outcome_of(reply: str, answer: str, choices: Sequence[str], is_right: bool) -> Outcome:
    """`answer` is the content of the right option, not its letter."""
    if is_right:
        return "right"
    thought = " ".join(reply.partition(THINK_OPEN)[2].partition(THINK_CLOSE)[0].split())
    work, _, _ = thought.partition(f"{ANSWER_LETTERS[0]}:")
    if work.removesuffix(" ;").strip().removesuffix(" ;").split()[-1:] != [answer]:
        return "worked out wrong"
    judged = JUDGED.findall(thought)
    if any(said != dict(zip(ANSWER_LETTERS, choices, strict=True))[letter] for letter, said, _ in judged):
        return "options miscopied"
    if not judged or any((verdict == "yes") != (said == answer) for _, said, verdict in judged):
        return "misjudged"
    return "answered otherwise"
