"""Which option an answer names: by letter, text or both. Two options, or letter against text, is none."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from xreasoner.records import OPTION_LETTERS, Problem
from xreasoner.rewards import language
from xreasoner.rewards.arithmetic import same_value
from xreasoner.rewards.latex import answer_formula
from xreasoner.rewards.mentions import Mention, text_after, texts_in
from xreasoner.rewards.number import read_number
from xreasoner.rewards.plain import normalise, plain_characters, plain_number, unwrap
from xreasoner.rewards.statements import LONGEST_STATEMENT

_ALONE = re.compile(r"^(?:(?i:option|choice|answer|letter)\s+)?[(\[{<]?\s*([A-Za-z])\s*[)\]}>]?[.:]?$")
_LETTER_THEN_TEXT = re.compile(
    r"^[(\[]?([A-Za-z])(?:[*_]*\s*[)\].:,](?!\d)[*_]*|\s+[-–=]|\s)\s*(\S.*)$", re.DOTALL
)
_MARKED = re.compile(r"[(\[]?[A-Z](?:[*_]*\s*[)\].:,]|\s+[-–=])")
_ADDED = re.compile(
    r"^[\s.,;)]*(?:(?:and|or|maybe|perhaps|possibly|probably|also)\b|[/&])?[\s,]*(?:option )?"
    r"[(\[]?([A-Z])(?:[)\].:]|$|,|\s*[(\[]|\s+(?:and|or|both|are)\b)"
)
_ADDED_TEXT = re.compile(r"^[\s,;]*(?:and|or|maybe|perhaps|possibly)\s+(?:the |an? )?", re.IGNORECASE)
_LETTER = re.compile(
    r"(?i:\b(?:answer|option|choice|letter)\b(?:\s+is)?)[\s:*(\[]*([A-Z])\b(?!['’])"  # option C
    r"|[(\[]([A-Z])[)\]]"  # (C)
    r"|(?<![\w'’])([A-Z])[)\]*]* (?:is|was) (?:the )?(?:correct|right|best|true|answer|most|wrong|incorrect)"
    r"|(?<![\w'’.-])([B-HJ-Z])(?![\w'’-]|\.\w)"  # a lone capital that is not an English word
    r"|(?<![\w'’.-])([AI])(?=[\s.:)*\]]*$)"  # A and I are words too, but not at the end
    r"|(?<![\w'’])([AI])(?=\s*(?:,|/|&|and\b|or\b)\s*\(?[A-Z]\b)"
)
_BREAK = re.compile(
    r"(?:,\s+|\s+)(?P<reason>because|since|as|whereas|while|although|though|given that)\s+"
    r"|[.;!?]+(?:\s+|$)|,\s+|\s+(?:however|so|therefore"
    r"|(?<!thing\s)(?<!\ball\s)(?<!\bany\s)(?<!one\s)(?<!options\s)(?<!option\s)but)\s+",
    re.IGNORECASE,
)
_LEADING = re.compile(r"^(.+?)\s*(?:[,.;:!](?=\s|$)|\s[-–]\s|\s+(?=because\b|since\b))", re.DOTALL)
_FORMULA = re.compile(r"\\[a-z]|[√$^²³]")
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_BESIDE_CJK = re.compile(rf"(?<=[{_CJK}])(?=[A-Z](?![A-Za-z]))|(?<=[A-Z])(?<![A-Za-z][A-Z])(?=[{_CJK}])")
_APODOSIS = re.compile(r"\b(?:would|will|then)\b", re.IGNORECASE)
"""What follows says what is the case under a supposition: `if the algae died, it would be the fish`."""
_IF = re.compile(r"\b(?:if|unless|suppos\w+|assuming)\b", re.IGNORECASE)
_KNOWING = re.compile(
    r"\bwhether\b|\b(?:know\w*|sure|tell|wonder|ask\w*|see|matters?|unclear) if\b", re.IGNORECASE
)
_WRONG = re.compile(r"(?:\w+ ){0,2}(?:wrong|incorrect|false|not (?:the |a )?(?:correct|right|answer|best))\b")
_WITH_UNIT = re.compile(r"\d\s*([A-Za-z%°]+)")


class Match(NamedTuple):
    letter: str | None
    why: str
    clash: bool = False
    """The text names two options, or a letter with another option's text."""
    denied: frozenset[str] = frozenset()


def gold_letter(problem: Problem) -> str:
    """The key's letter, whether the key gives the letter or the option's text."""
    count = len(problem.choices)
    if not 1 <= count <= len(OPTION_LETTERS):
        raise ValueError(
            f"problem {problem.id}: a choice needs 1 to {len(OPTION_LETTERS)} options, it has {count}"
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


def match_choice(answer: str, choices: tuple[str, ...]) -> Match:
    return _match(answer[:LONGEST_STATEMENT], choices)


@lru_cache(maxsize=1024)
def _match(answer: str, choices: tuple[str, ...]) -> Match:
    """Kept, because extraction and grading ask for the same one, and the samples of a group often do."""
    text = " ".join(unwrap(plain_characters(answer)).split())
    text = text if text.isascii() else _BESIDE_CJK.sub(" ", text)
    return (
        _lone_letter(text, choices)
        or _whole_text(text, choices)
        or _letter_and_text(text, choices)
        or _leading_text(text, choices)
        or _by_number(text, choices)
        or _by_formula(text, choices)
        or _in_sentence(text, choices)
    )


_normal_option = lru_cache(maxsize=4096)(normalise)
_option_number = lru_cache(maxsize=4096)(read_number)


def _clash(letters: set[str]) -> Match:
    return Match(None, f"it names {' and '.join(sorted(letters))}", clash=True)


def _disagree(letter: str, texts: set[str]) -> Match:
    return Match(
        None, f"the letter {letter} and the text of {' and '.join(sorted(texts))} disagree", clash=True
    )


def _by_text(text: str, choices: tuple[str, ...]) -> set[str]:
    wanted = normalise(text)
    return {OPTION_LETTERS[i] for i, choice in enumerate(choices) if _normal_option(choice) == wanted}


def _lone_letter(text: str, choices: tuple[str, ...]) -> Match | None:
    """A lone capital among the letters is the letter, whatever the texts of the options are."""
    if not (alone := _ALONE.match(text)):
        return None
    letter, same = alone[1].upper(), _by_text(text, choices)
    if len(same) == 1 and (alone[1].islower() or letter not in OPTION_LETTERS[: len(choices)]):
        return Match(same.pop(), "by text")
    return (
        Match(letter, "by letter")
        if letter in OPTION_LETTERS[: len(choices)]
        else _not_offered(letter, choices)
    )


def _not_offered(letter: str, choices: tuple[str, ...]) -> Match:
    return Match(None, f"{letter} is not among the options A to {OPTION_LETTERS[len(choices) - 1]}")


def _whole_text(text: str, choices: tuple[str, ...]) -> Match | None:
    same = _by_text(text, choices)
    if len({choices[OPTION_LETTERS.index(letter)] for letter in same}) > 1:
        return Match(None, f"its text is that of {' and '.join(sorted(same))}", clash=True)
    return Match(min(same), "by text") if same else None


def _letter_and_text(text: str, choices: tuple[str, ...]) -> Match | None:
    """`B: No`, `(B) No`. None if the letter only happens to be the text's first word."""
    if not (lead := _LETTER_THEN_TEXT.match(text)):
        return None
    letter, rest = lead[1].upper(), lead[2]
    if letter not in OPTION_LETTERS[: len(choices)]:
        return _not_offered(letter, choices) if _MARKED.match(text) else None
    own = choices[OPTION_LETTERS.index(letter)]
    after = "" if letter in _by_text(rest, choices) else text_after(own, rest)
    if after is None:
        # Without a mark, a first letter may be an article ("A fracture"): only its own text confirms it.
        return _letter_and_other_text(letter, rest, choices) if _MARKED.match(text) else None
    if other := _added(after, letter, choices):
        return _clash({letter, other})
    return None if _is_refused(after) else Match(letter, "by letter and text")


def _letter_and_other_text(letter: str, rest: str, choices: tuple[str, ...]) -> Match | None:
    """Another text after the letter must not name another option."""
    if other := _added(rest, letter, choices):
        return _clash({letter, other})
    first = _BREAK.split(rest, maxsplit=1)[0]
    if _is_refused(first):
        return None
    said = {m.letter for m in texts_in(first, choices) if 2 * (m.end - m.start) >= len(first)}
    if numbered := _by_number(first, choices):
        said.add(numbered.letter or letter)
    if said and letter not in said:
        return _disagree(letter, said)
    return Match(letter, "by letter and text" if said else "by letter (the text after it is no option's)")


def _added(after: str, letter: str, choices: tuple[str, ...]) -> str | None:
    """The other option that directly follows: `heparin or D: warfarin`, `, maybe D`."""
    added = _ADDED.match(after)
    if added and added[1] != letter and added[1] in OPTION_LETTERS[: len(choices)]:
        return added[1]
    if joined := _ADDED_TEXT.match(after):
        texts = [m.letter for m in texts_in(after, choices) if m.start <= joined.end() and m.letter != letter]
        return texts[0] if texts else None
    return None


def _is_refused(after: str) -> bool:
    """Whether the words right after an option deny or doubt it: `is wrong`, `?`."""
    clause = _BREAK.split(after.lstrip(" ,:-–"), maxsplit=1)[0]
    if after.strip(" )*_.").startswith("?"):
        return True
    return bool(_WRONG.match(clause))


def _leading_text(text: str, choices: tuple[str, ...]) -> Match | None:
    """`No, it is not enlarged`: an option's text, then words that name no other option."""
    if not (lead := _LEADING.match(text)):
        return None
    said = _by_text(lead[1], choices)
    if len(said) != 1 or plain_number(lead[1].strip()) is not None or len(lead[1].strip()) == 1:
        return None
    letter, rest = said.pop(), text[lead.end() :]
    others = _sentence_letters(rest, choices).affirmed - {letter}
    if other := _added(text[lead.end(1) :], letter, choices):
        others.add(other)
    return _clash({letter, *others}) if others else Match(letter, "by text")


def _by_number(text: str, choices: tuple[str, ...]) -> Match | None:
    """`the ladder is 4.40 meters` if exactly one option has that number and none has two."""
    values = [_option_number(choice) for choice in choices]
    if None in values or len(set(values)) < len(values):
        return None
    if language.DENIAL.search(text) or _mentioned_letters(text, choices):
        return None
    value = read_number(language.REASON.split(text)[0])
    if value is None or value not in values:
        return None
    place = values.index(value)
    return Match(OPTION_LETTERS[place], "by its number") if _same_unit(text, choices[place]) else None


def _by_formula(text: str, choices: tuple[str, ...]) -> Match | None:
    """`2√3` is the option `2\\sqrt{3}`: one formula with the same characters or the same exact value."""
    if not _FORMULA.search(text):
        return None
    told = answer_formula(text)
    same = {
        OPTION_LETTERS[i]
        for i, choice in enumerate(choices)
        if "".join(told.split()) == "".join(answer_formula(choice).split())
        or same_value(told, answer_formula(choice))
    }
    return Match(same.pop(), "by its formula") if len(same) == 1 else None


def _same_unit(text: str, choice: str) -> bool:
    """If both have a unit, one must be a prefix of the other: 5 mg is not 5 g."""
    told, offered = _unit(text), _unit(choice)
    return not (told and offered) or told[:2] == offered[:2] or told in offered or offered in told


def _unit(text: str) -> str:
    found = _WITH_UNIT.findall(plain_characters(text).replace("^\\circ", "°"))
    return (
        {"degrees": "°", "degree": "°", "percent": "%"}.get(found[-1].lower(), found[-1].lower())
        if found
        else ""
    )


def _in_sentence(text: str, choices: tuple[str, ...]) -> Match:
    said = _sentence_letters(text, choices)
    affirmed = said.affirmed or said.reasons - said.denied
    if len(affirmed | said.hedged) > 1 and affirmed:
        return _clash(affirmed | said.hedged)
    if affirmed and not affirmed <= said.denied:
        return Match(affirmed.pop(), "in a sentence", denied=frozenset(said.denied))
    if said.denied:
        return Match(None, "it says what the answer is not", denied=frozenset(said.denied))
    return Match(None, "it names an option only as a possibility" if said.hedged else "it names no option")


class _Said(NamedTuple):
    affirmed: set[str]
    hedged: set[str]
    denied: set[str]
    reasons: set[str]


def _sentence_letters(text: str, choices: tuple[str, ...]) -> _Said:
    """The named options, by whether their clause affirms, denies or doubts them."""
    texts = texts_in(text, choices)
    around = list(text)
    for mention in texts:
        if mention.end - mention.start > 1:
            around[mention.start : mention.end] = "…" * (mention.end - mention.start)
    masked = "".join(around)
    mentions = sorted([*texts, *_mentioned_letters(masked, choices)], key=lambda mention: mention.start)
    said = _Said(set(), set(), set(), set())
    if not mentions:
        return said
    for start, end, is_reason in _clauses(masked):
        inside = [mention for mention in mentions if start <= mention.start < end]
        if inside:
            asked = masked[end : end + 200].lstrip(" *_)")[:1] == "?" or "?" in masked[start:end]
            _sort_mentions(
                masked[start:end], start, inside, "reason" if is_reason else "?" if asked else "", said
            )
    return said


def _sort_mentions(clause: str, start: int, mentions: list[Mention], form: str, said: _Said) -> None:
    following = {
        m
        for m in mentions
        if language.DENIES_WHAT_FOLLOWS.search(clause[max(0, m.start - start - 60) : m.start - start])
    }
    first_denied = min((m.start for m in following), default=None)
    predicate = first_denied is None and bool(language.DENIAL.search(clause))
    in_cases = len({m.letter for m in mentions}) > 1 and bool(language.SUPPOSITION.search(clause))
    for mention in mentions:
        before = clause[: mention.start - start]
        if _IF.search(before) and not _KNOWING.search(before):
            before = _APODOSIS.split(before)[-1]
        if predicate or (first_denied is not None and mention.start >= first_denied):
            said.denied.add(mention.letter)
        elif form == "?" or (not in_cases and language.SUPPOSITION.search(before)):
            continue
        elif in_cases or language.HEDGE.search(clause):
            said.hedged.add(mention.letter)
        else:
            (said.reasons if form == "reason" else said.affirmed).add(mention.letter)


def _clauses(text: str) -> Iterator[tuple[int, int, bool]]:
    start, is_reason = 0, False
    for mark in _BREAK.finditer(text):
        yield start, mark.start(), is_reason
        start, is_reason = mark.end(), bool(mark["reason"]) or (is_reason and mark[0].startswith(","))
    yield start, len(text), is_reason


def _mentioned_letters(text: str, choices: tuple[str, ...]) -> list[Mention]:
    letters = OPTION_LETTERS[: len(choices)]
    if not any(map(text.__contains__, letters)):
        return []
    found = ((m.group(m.lastindex or 1), m) for m in _LETTER.finditer(text))
    return [
        Mention(letter, m.start(m.lastindex or 1), m.end(m.lastindex or 1))
        for letter, m in found
        if letter in letters
    ]
