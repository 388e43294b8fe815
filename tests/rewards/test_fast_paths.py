"""Shortcuts of grading change no result: each is held against the plain form on generated texts."""

import random
import re
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from re import _parser  # type: ignore[attr-defined]  # the grammar of a pattern, to write texts that match it
from typing import Any

import pytest

from xreasoner.rewards import language, math, mentions, plain

SIGNED = {name: value for name, value in vars(language).items() if isinstance(value, language.Phrases)}
ROUNDS = 800
FILLER = ["", " ", "x ", ". ", "\n", " A", "!"]


def written(pattern: re.Pattern[str], rng: random.Random) -> str:
    """A text that the pattern probably matches, in any case if the pattern ignores case."""
    text = "".join(_written(parsed(pattern), rng))
    if pattern.flags & re.IGNORECASE:
        text = "".join(rng.choice((char, char.upper(), char.lower())) for char in text)
    return rng.choice(FILLER) + text + rng.choice(FILLER)


@lru_cache
def parsed(pattern: re.Pattern[str]) -> Any:
    return _parser.parse(pattern.pattern, pattern.flags)


def _written(parts: Any, rng: random.Random) -> Iterator[str]:
    for name, value in parts:
        match str(name):
            case "LITERAL":
                yield chr(value)
            case "IN":
                yield _one_of(value, rng)
            case "ANY" | "NOT_LITERAL":
                yield "x"
            case "BRANCH":
                yield from _written(rng.choice(value[1]), rng)
            case "SUBPATTERN":
                yield from _written(value[-1], rng)
            case "MAX_REPEAT" | "MIN_REPEAT":
                least, most, inside = value
                for _ in range(rng.randint(int(least), min(int(most), int(least) + 1))):
                    yield from _written(inside, rng)
            case "ASSERT" if value[0] > 0:
                yield from _written(value[1], rng)


def _one_of(options: Any, rng: random.Random) -> str:
    name, value = rng.choice(options)
    match str(name):
        case "LITERAL":
            return chr(value)
        case "RANGE":
            return chr(rng.randint(*value))
    return {"CATEGORY_SPACE": " ", "CATEGORY_DIGIT": "7"}.get(str(value), "w")


def spans(matches: Any) -> list[tuple[int, int]]:
    return [match.span() for match in matches]


@pytest.mark.parametrize("name", SIGNED)
def test_a_text_without_a_sign_does_not_match(name: str) -> None:
    words, rng = SIGNED[name], random.Random(0)
    texts = [written(words.pattern, rng) for _ in range(ROUNDS)]
    matched = [text for text in texts if words.pattern.search(text)]
    assert len(matched) > ROUNDS / 4
    assert [text for text in matched if not (words.may_be_in(text) and words.search(text))] == []


def test_all_leads_are_found_where_they_start() -> None:
    rng = random.Random(0)
    patterns = [*language.LEAD_PATTERNS.values(), language.HEADING]
    for _ in range(ROUNDS):
        text = "".join(written(rng.choice(patterns), rng) for _ in range(rng.randint(1, 3)))
        plainly = [match for pattern in patterns for match in pattern.finditer(text)]
        assert spans(language.leads_in(text)) == spans(sorted(plainly, key=lambda match: match.end())), text


def test_folding_keeps_what_a_search_without_case_finds() -> None:
    """For each letter of a sign: every character that `re` takes for it is folded to it."""
    every = "".join(map(chr, [*range(0xD800), *range(0xE000, sys.maxunicode + 1)]))
    assert len(plain.folded(every)) == len(every)
    signs = {sign for words in SIGNED.values() for sign in words.signs}
    starts = {plain.folded(start) for lead in language.LEADS.values() for start in lead.starts}
    letters = {letter for sign in signs | starts for letter in sign if letter.isalpha()}
    for char in re.findall(f"[{''.join(letters)}]", every, re.IGNORECASE):
        assert plain.folded(char) in letters
        assert re.match(plain.folded(char), char, re.IGNORECASE)


def texts_of(pieces: list[str], rng: random.Random, most: int = 6) -> str:
    return "".join(rng.choice(pieces) for _ in range(rng.randint(0, most)))


def test_unwrapping_stops_only_where_nothing_is_left_to_remove() -> None:
    def plainly(text: str) -> str:
        before = None if text and not (text[0].isalnum() and text[-1].isalnum()) else text
        while text != before:
            before = text
            text = text.strip().removesuffix(".").strip() if text != "." else text
            for wrap in plain._WRAPS:
                text = text.removeprefix(wrap).removesuffix(wrap)
            if (markup := plain._MARKUP.match(text)) and plain.closes_at_end(text, markup.end()):
                text = text[markup.end() : -1]
        return text

    rng = random.Random(0)
    for _ in range(10 * ROUNDS):
        text = texts_of([*plain._WRAPS, ".", " ", "\n", "a", "7", "(", ")", "\\", r"\text{", "}"], rng)
        assert plain.unwrap(text) == plainly(text), text


def test_a_number_is_plain_by_the_same_forms() -> None:
    rng = random.Random(0)
    for _ in range(10 * ROUNDS):
        text = texts_of(["+", "-", " ", ".", ",", "{,}", "1", "12", "123", "0", "x", "٣"], rng)
        spelled = re.sub(r"^([+-])\s+(?=[\d.])", r"\1", text)
        spelled = re.sub(r"\{,\}|\\,|[ ,]", "", spelled) if plain._SEPARATED.match(spelled) else spelled
        assert (plain.plain_number(text) is not None) == bool(plain._NUMBER.match(spelled)), text


def test_two_integers_are_compared_as_by_the_slow_path() -> None:
    rng = random.Random(0)
    for _ in range(2 * ROUNDS):
        gold, answer = (rng.choice(["", "+", "-"]) + texts_of(["0", "1", "23"], rng, 5) for _ in range(2))
        if gold.strip("+-") and answer.strip("+-"):
            assert math.settled(gold, answer) is math._settled(gold, answer), (gold, answer)


def by_pattern(wanted: str, text: str) -> list[tuple[int, int]]:
    word = len(wanted) > 2 and wanted.isalpha() and wanted.isascii()
    form = re.escape(wanted.removesuffix("s")) + "s?" if word else re.escape(wanted)
    return spans(re.finditer(rf"(?<![\w.]){form}(?![\w%]|\.\d)", text, re.IGNORECASE))


def after_by_pattern(own: str, rest: str) -> str | None:
    begun = re.compile(rf"[\W_]*{re.escape(own)}(?![\w%]|\.\d)[*_\"']*", re.IGNORECASE).match(rest)
    return rest[begun.end() :] if begun else None


def replaced_by_pattern(text: str, words: str) -> str:
    return re.sub(re.escape(words), "…", text, flags=re.IGNORECASE)


CASES: dict[str, tuple[Callable[[str, str], Any], Callable[[str, str], Any]]] = {
    "words": (lambda own, text: list(mentions.as_words(own, text, plain.folded(text))), by_pattern),
    "after": (mentions.text_after, after_by_pattern),
    "replaced": (
        lambda own, text: mentions.replaced(text, own, "…"),
        lambda own, text: replaced_by_pattern(text, own),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_options_are_found_as_by_a_pattern(case: str) -> None:
    """Without a pattern made for each option, because compiling them took longer than all searches."""
    ours, plainly = CASES[case]
    rng = random.Random(0)
    pieces = [
        "lens",
        "Lens",
        "len",
        "ss",
        "s",
        " ",
        ".",
        "5",
        "%",
        "(",
        "*",
        "_",
        "é",
        "(5)",
        "eye lens",
        '"',
    ]
    for _ in range(5 * ROUNDS):
        own = mentions.plain_option(texts_of(pieces, rng, 3))
        if not own:
            continue
        text = texts_of([*pieces, own, own.upper()], rng, 8)
        assert ours(own, text) == plainly(own, text), (own, text)
