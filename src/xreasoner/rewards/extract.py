"""Find the answer that a reply states, and the rule that found it.

A tag comes first. Then the last box or lead ("the answer is") that can be read counts; one that names no
option or no number is skipped for the one before. A line in the form of an option, a short reply as a whole
and plain prose are read only if nothing is marked as the answer.
"""

import re
from typing import NamedTuple

from xreasoner.chat.think import THINK_CLOSE, THINK_OPEN
from xreasoner.records import OPTION_LETTERS, Problem
from xreasoner.rewards import language
from xreasoner.rewards.choice import Match, match_choice
from xreasoner.rewards.latex import word_number
from xreasoner.rewards.mentions import without_texts
from xreasoner.rewards.number import read_list, told_number
from xreasoner.rewards.prose import formula_in_prose, number_in_prose, option_in_prose
from xreasoner.rewards.statements import (
    LONGEST_REPLY,
    LONGEST_STATEMENT,
    Statement,
    boxed,
    called,
    led,
    option_line,
    outside_thought,
    tagged,
    unbox,
    whole_reply,
    without_listing,
    without_tags,
)

WHERE = {
    "tag": "the last <answer>",
    "box": r"the last \boxed",
    "lead": "the last 'the answer is'",
    "called": "the last option that is called correct",
    "option line": "the line in the form of an option",
    "whole reply": "the whole reply, which is one short line",
    "prose": "the concluding sentence",
}
_MATHEMATICS = re.compile(r"\d|\\[A-Za-z]|[=^√π∞½]")
_SAYS = re.compile(r"\w")
_WORD, _LONG_WORD = re.compile(r"(?<![\\\w])[A-Za-z]{2,}"), re.compile(r"(?<![\\\w])[A-Za-z]{3,}")
_SENTENCE_BREAK, _SENTENCE_END = re.compile(r"[.!?\n]\s"), re.compile(r"[.!?](?:\s|$)|\n")
_CASE = re.compile(r"\W*(?:for \w+, )?(?:if|when|unless|in case)\b", re.IGNORECASE)

FEW_WORDS, MANY_WORDS = 2, 7


class Found(NamedTuple):
    answer: str | None
    why: str
    rule: str = ""


def find_answer(text: str, problem: Problem) -> Found:
    reply = outside_thought(text)
    if found := tagged(reply):
        return _found(_said_within(found, problem))
    reply = without_tags(reply)
    # A model that does not stop writes the next question too; its answer does not count.
    first = first_turn(reply)[-LONGEST_REPLY:]
    for part in dict.fromkeys((first, reply[-LONGEST_REPLY:])):
        if found := _untagged(part, problem):
            return _found(found)
    return Found(None, why_missing(text, reply))


def _found(statement: Statement) -> Found:
    answer = unbox(statement.text) if statement.rule in ("tag", "box", "lead") else statement.text
    return Found(answer, WHERE[statement.rule], statement.rule)


def _said_within(tag: Statement, problem: Problem) -> Statement:
    """A tag with whole sentences is read like a reply."""
    if problem.kind in ("open", "exact") or (words := len(_LONG_WORD.findall(tag.text))) < FEW_WORDS:
        return tag
    inside = _untagged(tag.text, problem)
    is_marked = inside is not None and inside.rule in ("box", "lead", "called")
    is_mathematics = inside is not None and problem.kind == "math" and words > MANY_WORDS
    return tag._replace(text=inside.text) if inside and (is_marked or is_mathematics) else tag


def first_turn(reply: str) -> str:
    turn = language.TURN.search(reply)
    return reply[: turn.start()] if turn else reply


def _untagged(reply: str, problem: Problem) -> Statement | None:
    return _choice_statement(reply, problem) if problem.choices else _value_statement(reply, problem)


def _choice_statement(reply: str, problem: Problem) -> Statement | None:
    """The last statement that names an option, unless the text after it retracts it."""
    letters = OPTION_LETTERS[: len(problem.choices)]
    reply = without_listing(reply, letters)
    marked = [*boxed(reply), *led(reply, True), *called(reply, letters)]
    denied: set[str] = set()
    for statement in sorted(marked, key=lambda statement: statement.start, reverse=True):
        match = match_choice(unbox(statement.text), problem.choices)
        denied |= match.denied - {match.letter}
        if match.letter or match.clash:
            is_void = match.letter in denied or _is_taken_back(reply, statement, problem)
            return None if is_void else statement
    for unmarked in (option_line(reply, letters), whole_reply(reply)):
        if unmarked and _names_option(match_choice(unmarked.text, problem.choices), unmarked, problem):
            return unmarked
    # What stands in a box is the answer, even where it is no option: nothing else is looked for.
    prose = None if boxed(reply) else option_in_prose(reply, problem.choices)
    return Statement("prose", prose, 0) if prose else None


def _names_option(match: Match, statement: Statement, problem: Problem) -> bool:
    if match.letter is None:
        return False
    by_form = match.why in ("by letter", "by text", "by letter and text")
    return by_form or not language.REFUSAL.search(without_texts(statement.text, problem.choices))


def _value_statement(reply: str, problem: Problem) -> Statement | None:
    marked = [*boxed(reply), *led(reply, False)]
    for statement in sorted(marked, key=lambda statement: statement.start, reverse=True):
        if gives_value(unbox(statement.text), problem):
            return None if _is_taken_back(reply, statement, problem) else statement
    whole = whole_reply(reply)
    if whole and (language.REFUSAL.search(whole.text) or not _can_be_whole(whole.text, problem)):
        whole = None
    if whole and _is_bare(whole.text) and gives_value(whole.text, problem):
        return whole
    if boxed(reply):
        return None
    if problem.kind == "number":
        prose = number_in_prose(reply)
    elif problem.kind == "math":
        prose = formula_in_prose(reply)
    else:
        return whole
    return Statement("prose", prose, 0) if prose else None


def _can_be_whole(text: str, problem: Problem) -> bool:
    """Whether the whole reply can be the answer; if the key is a formula, `Done.` cannot."""
    is_formula = problem.kind == "math" and _MATHEMATICS.search(problem.answer)
    return not is_formula or bool(_MATHEMATICS.search(text) or word_number(text.rstrip(".")))


def _is_bare(text: str) -> bool:
    """An answer with a few words around it at most, such as `x = 2 or x = 3`; not a sentence."""
    words = [word for word in _WORD.findall(text) if word not in ("and", "or")]
    return len(words) <= FEW_WORDS + 1


def gives_value(text: str, problem: Problem) -> bool:
    """Whether a statement can be the answer to a problem of this kind."""
    text = text.strip()
    if not _SAYS.search(text):
        return False
    if problem.kind == "number":
        listed = problem.answer.startswith("[")
        return bool(read_list(text[:LONGEST_STATEMENT])) if listed else told_number(text) is not None
    if problem.kind == "math":
        if text.rstrip(" *_").endswith("?"):
            return False
        return bool(_MATHEMATICS.search(text) or word_number(text) or len(text.split()) <= 4)
    return True


def _is_taken_back(reply: str, statement: Statement, problem: Problem) -> bool:
    """Retracted (`The answer is C. Wait, that is wrong.`), or one case of several without a final answer."""
    if language.TAKEN_BACK.search(reply, statement.start):
        return True
    before = _SENTENCE_BREAK.split(reply[max(0, statement.start - 300) : statement.start])[-1]
    is_one_case = _CASE.match(before)
    after = reply[statement.start : statement.start + LONGEST_STATEMENT]
    said = after if is_one_case else _SENTENCE_END.split(after, maxsplit=1)[0]
    return language.NO_ANSWER.may_be_in(said) and bool(
        language.NO_ANSWER.search(without_texts(said, problem.choices))
    )


def why_missing(text: str, reply: str) -> str:
    if reply:
        return "no answer in the reply"
    if THINK_OPEN in text and THINK_CLOSE not in text:
        in_thought = tagged(text) or boxed(text)
        return "the thought is never closed" + (", and the answer stands in it" if in_thought else "")
    return "nothing follows the thought" if text.strip() else "the reply is empty"
