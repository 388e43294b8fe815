"""Where the text of an option stands in a reply. No pattern is made for an option: compiling costs most."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from xreasoner.records import OPTION_LETTERS
from xreasoner.rewards.plain import folded, plain_characters, plain_number, unwrap

_COMPLEMENT = r"(?:^|[:=,\"'*(]\s*|\b(?:is|are|be|was|say|so|thus|hence|therefore|answer|option)\s+)"
_COMMON = frozenset(
    (
        *("yes", "no", "none", "not", "all", "both", "true", "false", "zero", "one", "two", "three", "four"),
        *("five", "six", "seven", "eight", "nine", "ten", "a", "an", "i", "the", "same", "other", "it"),
        *("up", "down", "left", "right", "more", "less"),
    )
)
"""Option texts that often occur in sentences that do not mean the option."""
_NO_WORD = re.compile(r"[\W_]*")
_GOES_ON = re.compile(r"[\w%]|\.\d")
_NUMBERS = re.compile(r"\d+(?:[.,]\d+)*")


class Mention(NamedTuple):
    letter: str
    start: int
    end: int


@lru_cache(maxsize=4096)
def plain_option(choice: str) -> str:
    return " ".join(unwrap(plain_characters(choice)).split())


def without_texts(text: str, choices: tuple[str, ...]) -> str:
    """The text without the options themselves, which may also say that nothing can be determined."""
    for choice in choices:
        if len(choice) > 3:
            text = replaced(text, choice.rstrip("."), "…")
    return text


def replaced(text: str, words: str, by: str) -> str:
    """Whatever the case of the words is in the text."""
    lowered, wanted, place, kept = folded(text), folded(words), 0, []
    while wanted and (found := lowered.find(wanted, place)) >= 0:
        kept += [text[place:found], by]
        place = found + len(wanted)
    return "".join([*kept, text[place:]]) if kept else text


def text_after(own: str, rest: str) -> str | None:
    """The text after an option's own text; None if it does not begin with it."""
    wanted, lowered = folded(plain_option(own)), folded(rest)
    marks = _NO_WORD.match(rest)
    # The option's text may begin with such marks itself.
    for start in range(marks.end() if marks and wanted in lowered else -1, -1, -1):
        if lowered.startswith(wanted, start) and not _GOES_ON.match(rest, start + len(wanted)):
            return rest[start + len(wanted) :].lstrip("*_\"'") if wanted else None
    return None


def texts_in(text: str, choices: tuple[str, ...]) -> list[Mention]:
    """The options whose text occurs in `text` as whole words, not only inside a longer option."""
    numbers, lowered = len(_NUMBERS.findall(text)), folded(text)
    found: list[Mention] = []
    for letter, choice in zip(OPTION_LETTERS, choices, strict=False):
        wanted = plain_option(choice)
        # A single letter counts only as a letter.
        if not wanted or (len(wanted) == 1 and wanted.isalpha()):
            continue
        # One number among several names no option: "9 7" is not 9, and "3 + 6 = 9" is a calculation.
        if numbers != 1 and plain_number(wanted) is not None:
            continue
        # A common word counts only if it is the whole answer.
        places = _as_answer if wanted.casefold() in _COMMON else as_words
        found += [Mention(letter, start, end) for start, end in places(wanted, text, lowered)]
    spans = {(mention.start, mention.end) for mention in found}
    return [
        mention
        for mention in found
        if not any(s <= mention.start and mention.end <= e and (s, e) != mention[1:] for s, e in spans)
    ]


def _as_answer(wanted: str, text: str, lowered: str) -> Iterator[tuple[int, int]]:
    if folded(wanted) in lowered:
        for match in _answer_form(wanted.lower()).finditer(text):
            yield match.span(1)


@lru_cache(maxsize=len(_COMMON))
def _answer_form(word: str) -> re.Pattern[str]:
    return re.compile(rf"{_COMPLEMENT}({re.escape(word)})(?=\s*(?:$|[.,;:!\"'*)]))", re.IGNORECASE)


def as_words(wanted: str, text: str, lowered: str) -> Iterator[tuple[int, int]]:
    """Where it occurs; a single long word also in the singular or plural."""
    is_word = len(wanted) > 2 and wanted.isalpha() and wanted.isascii()
    stem = folded(wanted.removesuffix("s") if is_word else wanted)
    place = lowered.find(stem)
    while place >= 0:
        end = place + len(stem)
        ends = (end + 1, end) if is_word and lowered.startswith("s", end) else (end,)
        last = next((end for end in ends if not _GOES_ON.match(text, end)), None)
        if last and not (place and (text[place - 1].isalnum() or text[place - 1] in "_.")):
            yield place, last
            place = last - 1
        place = lowered.find(stem, place + 1)
