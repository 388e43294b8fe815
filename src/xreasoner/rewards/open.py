"""Open questions by MMMU's rule: a phrase that contains the key, or its number to two decimals."""

import json
import re

_LEADS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
"""Words that lead to the answer of a line; so does `=` in the last line."""
_ONLY_MARKS = frozenset(":,.!?;'")
_NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),
    re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+"),
    re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])"),
)

Told = str | float


def accepted_answers(key: str) -> list[str]:
    """A key may be a JSON list of accepted answers."""
    if key.startswith("["):
        try:
            listed = json.loads(key)
        except json.JSONDecodeError:
            return [key]
        if isinstance(listed, list) and listed:
            return [str(answer) for answer in listed]
    return [key]


def match_open(key: str, answer: str) -> tuple[bool, str]:
    wanted = [form for accepted in accepted_answers(key) for form in _forms(accepted)]
    told = told_by(answer)
    if any(number in wanted for number in told if isinstance(number, float)):
        return True, "a number equals the key to two decimals"
    phrases = [phrase for phrase in told if isinstance(phrase, str)]
    if any(form in phrase for form in wanted if isinstance(form, str) for phrase in phrases):
        return True, "it contains the key's words"
    return False, "it contains neither the key's words nor its number"


def told_by(answer: str) -> list[Told]:
    """The phrases of the answer, and the numbers in them."""
    phrases = _phrases(answer)
    numbers = [number for phrase in phrases for form in _NUMBERS for number in form.findall(phrase)]
    return [form for text in phrases + numbers for form in _forms(text)]


def _phrases(answer: str) -> list[str]:
    """For each line the shortest end after a lead; the whole answer if no line has a lead."""
    whole = answer.strip().strip(".").lower()
    lines = whole.split("\n")
    ends = [_end(line, (*_LEADS, "=") if line is lines[-1] else _LEADS) for line in lines]
    return [end for end in ends if end and end not in _ONLY_MARKS] or [whole]


def _end(line: str, leads: tuple[str, ...]) -> str:
    shortest = ""
    for end in (line.rpartition(lead)[2].strip() for lead in leads if lead in line):
        if not shortest or len(end) < len(shortest):
            shortest = end
    return shortest


def _forms(text: str) -> list[Told]:
    """A number to two decimals, else lower case; a single letter must be at a word boundary."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        text = text.lower()
        return [f" {text}", f"{text} "] if len(text) == 1 else [text]
