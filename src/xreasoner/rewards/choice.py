"""Which option an answer names: by letter, text or both. Two options, or letter against text, is none."""

import re
from typing import NamedTuple

from xreasoner.records import OPTION_LETTERS, Problem
from xreasoner.rewards.exact import normalise, plain_characters, plain_number, unwrap

_ALONE = re.compile(r"^[(\[{<]?\s*([A-Za-z])\s*[)\]}>]?[.:]?$")
_LETTER_THEN_TEXT = re.compile(
    r"^[(\[]?([A-Za-z])(?:[*_]*\s*[)\].:,](?!\d)[*_]*|\s+[-–=]|\s)\s*(\S.*)$", re.DOTALL
)
_MARKED = re.compile(r"[(\[]?[A-Z][*_]*\s*[)\].:,]")
_NAMED = re.compile(r"(?i:\b(?:answer|option|choice|letter)\b(?:\s+is)?)[\s:*(\[]*([A-Z])\b(?!['’])")
_BRACKETED = re.compile(r"[(\[]([A-Z])[)\]]")
_STANDING = re.compile(r"(?<![\w'’.-])([A-Z])(?![\w'’-]|\.\w)")
_CALLED = re.compile(r"(?<![\w'’])([A-Z])[)\]*]* (?:is|was) (?:the )?(?:correct|right|best|true|answer|most)")
_BESIDE = re.compile(r"(?<![\w'’])([AI])\s*(?:,|/|&|and\b|or\b)\s*\(?[A-Z]\b")
_ANOTHER = re.compile(r"(?:and\b|or\b|/|&|,)?\s*\(?([A-Z])\b\)?(?:$|[,.;:]|\s+(?:and|or|both|are)\b)")
_REASON = re.compile(r"(?i)[\s,;(]+(?:because|since|whereas|due to|as it)\b")
_ENDS = re.compile(r"[\s.:)*\]]*")
_NUMBERS = re.compile(r"\d+(?:[.,]\d+)*")
_DENIED = re.compile(
    r"(?i)\b(?:not|neither|nor|never|except|cannot|isn't|rather than|instead of|rule[sd]? out)\b"
)


class Match(NamedTuple):
    letter: str | None
    why: str


def gold_letter(problem: Problem) -> str:
    """The key's letter, whether the key gives the letter or the option's text."""
    count = len(problem.choices)
    if not 2 <= count <= len(OPTION_LETTERS):
        raise ValueError(
            f"problem {problem.id}: a choice needs 2 to {len(OPTION_LETTERS)} options, it has {count}"
        )
    same = [OPTION_LETTERS[i] for i, choice in enumerate(problem.choices) if choice == problem.answer]
    if problem.answer in OPTION_LETTERS[:count] and len(problem.answer) == 1:
        return problem.answer
    if len(same) != 1:
        raise ValueError(
            f"problem {problem.id}: the answer {problem.answer!r} is neither a letter of its {count} options "
            "nor the text of exactly one"
        )
    return same[0]


def _by_text(text: str, choices: tuple[str, ...]) -> set[str]:
    wanted = normalise(text)
    return {OPTION_LETTERS[i] for i, choice in enumerate(choices) if normalise(choice) == wanted}


def _texts_within(text: str, choices: tuple[str, ...]) -> set[str]:
    """The options whose text stands in `text` as whole words, but not only within a longer one's."""
    spans: list[tuple[int, int, str]] = []
    lowered = " ".join(plain_characters(text).casefold().split())
    numbers = len(_NUMBERS.findall(lowered))
    for letter, choice in zip(OPTION_LETTERS, choices, strict=False):
        wanted = " ".join(unwrap(plain_characters(choice)).casefold().split())
        pattern = rf"(?<![\w.]){re.escape(wanted)}(?![\w%]|\.\d)"
        found = list(re.finditer(pattern, lowered)) if wanted else []
        # One number among several names nothing: "9 7" is not the option 9, "3 + 6 = 9" is a calculation.
        if plain_number(wanted) is None or numbers == 1:
            spans += [(*match.span(), letter) for match in found]
    inside = {
        span
        for span in spans
        if any(other[0] <= span[0] and span[1] <= other[1] and other[:2] != span[:2] for other in spans)
    }
    return {letter for start, end, letter in spans if (start, end, letter) not in inside}


def _settle(by_letter: str, by_text: set[str], form: str) -> Match:
    if by_text and by_letter not in by_text:
        return Match(None, f"the letter {by_letter} and the text of {_names(by_text)} disagree")
    return Match(by_letter, "by letter and text" if by_text else form)


def _names(letters: set[str]) -> str:
    return " and ".join(sorted(letters))


def _lone_letter(letter: str, text: str, choices: tuple[str, ...]) -> Match:
    if letter not in OPTION_LETTERS[: len(choices)]:
        return _not_offered(letter, choices)
    return _settle(letter, _by_text(text, choices), "by letter")


def _not_offered(letter: str, choices: tuple[str, ...]) -> Match:
    return Match(None, f"{letter} is not among the options A to {OPTION_LETTERS[len(choices) - 1]}")


def _letter_and_text(letter: str, rest: str, choices: tuple[str, ...]) -> Match:
    """`B: No`, `(B) No`. Another text after the letter must not name another option."""
    within = _texts_within(rest, choices)
    if letter in within:
        return Match(letter, "by letter and text")
    if another := _ANOTHER.match(rest):
        return Match(None, f"it names {_names({letter, another.group(1)})}")
    return _settle(letter, within, "by letter (the text after it is no option's)")


def _without_texts(text: str, choices: tuple[str, ...]) -> str:
    """What is said around the options' texts: the C of an option "vitamin C" names no option C."""
    words = " ".join(text.split())
    for choice in sorted((unwrap(plain_characters(choice)) for choice in choices), key=len, reverse=True):
        if len(choice) > 1:
            words = re.sub(rf"(?<!\w){re.escape(choice)}(?!\w)", "…", words, flags=re.IGNORECASE)
    return words


def _in_sentence(text: str, choices: tuple[str, ...]) -> Match:
    # What is said against the others is a reason, no answer; but an option may hold such a word itself.
    told = _REASON.split(text)[0]
    if told and told != text and not _texts_within(text, choices) - _texts_within(told, choices):
        text = told
    around = _without_texts(text, choices)
    found = (
        *_NAMED.findall(around),
        *_CALLED.findall(around),
        *_BRACKETED.findall(around),
        *_standing(around),
    )
    letters = set(found) & set(OPTION_LETTERS[: len(choices)])
    texts = _texts_within(text, choices)
    if _DENIED.search(around) and (letters or texts):
        return Match(None, "it says what the answer is not")
    if len(letters) > 1:
        return Match(None, f"it names {_names(letters)}")
    if letters:
        return _settle(letters.pop(), texts, "by letter, in a sentence")
    if len(texts) == 1:
        return Match(texts.pop(), "by text, in a sentence")
    return Match(None, f"it names {_names(texts)}" if texts else "it names no option")


def _standing(text: str) -> set[str]:
    """Capitals standing alone. A and I are words too, unless they end the text or stand beside a letter."""
    found = {match.group(1): match.end() for match in _STANDING.finditer(text)}
    letters = {letter for letter, end in found.items() if letter not in "AI" or _ENDS.fullmatch(text[end:])}
    return letters | set(_BESIDE.findall(text))


def match_choice(answer: str, choices: tuple[str, ...]) -> Match:
    text = unwrap(plain_characters(answer))
    if alone := _ALONE.match(text):
        letter = alone.group(1)
        if len(_by_text(text, choices)) == 1 and letter.islower():
            return Match(_by_text(text, choices).pop(), "by text")
        return _lone_letter(letter.upper(), text, choices)
    whole = _by_text(text, choices)
    if whole:
        one = len(whole) == 1
        return Match(whole.pop(), "by text") if one else Match(None, f"its text is that of {_names(whole)}")
    if lead := _LETTER_THEN_TEXT.match(text):
        found = _lead(lead, text, choices)
        if found:
            return found
    return _leading_text(text, choices) or _in_sentence(text, choices)


def _leading_text(text: str, choices: tuple[str, ...]) -> Match | None:
    """`No, it is not enlarged`: an option's text, then words that name no other."""
    first, comma, rest = text.partition(",")
    said = _by_text(first, choices)
    if not comma or len(said) != 1 or plain_number(first.strip()) is not None or len(first.strip()) == 1:
        return None
    letter = said.pop()
    others = _texts_within(rest, choices) - {letter}
    return Match(None, f"it names {_names({letter, *others})}") if others else Match(letter, "by text")


def _lead(lead: re.Match[str], text: str, choices: tuple[str, ...]) -> Match | None:
    """None if the letter only happens to be the text's first word."""
    letter, rest = lead.group(1).upper(), lead.group(2)
    offered = letter in OPTION_LETTERS[: len(choices)]
    if offered and letter in _by_text(rest, choices):
        return Match(letter, "by letter and text")
    # Without a mark after it, a first letter may be an article ("A fracture"): only its own text confirms it.
    if not _MARKED.match(text):
        return None
    return _letter_and_text(letter, rest, choices) if offered else _not_offered(letter, choices)
