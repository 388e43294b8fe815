"""From a key that is an option's text to the option's letter."""

from collections.abc import Callable, Mapping

from xreasoner.data.candidates import letter_of
from xreasoner.rewards.plain import normalise


def letter_of_text(answer: str, options: Mapping[str, str]) -> str:
    """The first of equal options; grading accepts the other one too."""
    for form in (str, normalise):
        if same := _letters(answer, options, form):
            return same[0]
    return letter_of(answer, options)


def _letters(answer: str, options: Mapping[str, str], form: Callable[[str], str]) -> list[str]:
    wanted = form(answer)
    return [letter for letter, option in options.items() if form(option) == wanted]
