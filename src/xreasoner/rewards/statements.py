"""The places where a reply states its answer: tags, boxes, leads, lines, prose."""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple

from xreasoner.chat.think import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN
from xreasoner.rewards import language
from xreasoner.rewards.plain import visible

Rule = Literal["tag", "box", "lead", "called", "option line", "whole reply", "prose"]
SHORT_REPLY = 200
"""A one-line reply up to this length is an answer without tags."""
MOST = 50
"""Statements per rule that are considered; the last ones."""
LONGEST_STATEMENT = 2_000
LONGEST_REPLY = 100_000
"""Only the end of a longer reply is read, so that grading takes milliseconds."""

_MARKS = re.compile(r"\\(?:boxed|fbox)\s*\{|\\[{}]|[{}]")
_BARE_BOX = re.compile(r"\\(?:boxed|fbox)\s*([^\s{}$\\.,;]+)")
_BETWEEN_BOXES = re.compile(
    r"(?:[\s,;&$()\[\]]|\\[()\[\],;! ]|\\q?quad|\\text\s*\{\s*(?:and|or)\s*\}|\b(?:and|or)\b|\b[a-z]\s*=)*"
)
_ENDS_WITH_AND = re.compile(r"^[^.;:!?\n]*\b(?:and|or)\b[\s$}\\(]*$")
_ENCLOSED = (("\\[", "\\]"), ("$$", "$$"), ("\\(", "\\)"), ("```", "```"), ("$", "$"))
_SENTENCE_END = re.compile(r"(?<![\s.(][A-Z])(?<!\b[A-Z][a-z])(?<!\b[A-Z][a-z]{2})[.!?]\s+(?=[A-Z*(\[])|。")
_LONE_LETTER = re.compile(r"[\s*_]*[A-Z]$")
"""A capital whose full stop does not end a sentence: `B. No`."""
_LIST_ITEM = re.compile(r"\n\d+[.)]\s+\S")
"""After `how I got the answer:` come its steps."""
_CLAUSE_START = re.compile(r"[.,;:!?\n]")


class Statement(NamedTuple):
    rule: Rule
    text: str
    start: int
    """Its position in the reply."""


def outside_thought(text: str) -> str:
    """The text without thoughts, which include everything before a lone `</think>`."""
    opened, closed = text.find(THINK_OPEN), text.find(THINK_CLOSE)
    if opened < 0 and closed < 0:
        return visible(text).strip()
    place = closed + len(THINK_CLOSE) if closed >= 0 and not 0 <= opened < closed else 0
    kept: list[str] = []
    while (opened := text.find(THINK_OPEN, place)) >= 0:
        kept.append(text[place:opened])
        closed = text.find(THINK_CLOSE, opened)
        place = closed + len(THINK_CLOSE) if closed >= 0 else len(text)
    return visible("".join([*kept, text[place:]]).replace(THINK_CLOSE, "")).strip()


def tagged(reply: str) -> Statement | None:
    """The content of the last `<answer>` that is not empty. An unclosed one ends with its line."""
    for piece in reversed(reply.split(ANSWER_OPEN)[1:]):
        inside, closed, _ = piece.partition(ANSWER_CLOSE)
        if inside.strip():
            return Statement("tag", inside.strip() if closed else inside.strip().splitlines()[0], 0)
    return None


def without_tags(reply: str) -> str:
    """For a reply whose tags are all empty."""
    return reply.replace(ANSWER_OPEN, "").replace(ANSWER_CLOSE, "").strip()


def box_spans(text: str) -> list[tuple[int, int]]:
    """The spans inside the outermost `\\boxed{...}`, in one pass, so that nesting cannot make it slow."""
    if "boxed" not in text and "fbox" not in text:
        return []
    starts: list[int | None] = []
    found: list[tuple[int, int]] = []
    for mark in _MARKS.finditer(text):
        token = mark.group()
        if token == "}" and starts:
            start = starts.pop()
            if start is not None:
                while found and found[-1][0] > start:
                    found.pop()
                found.append((start, mark.start()))
        elif token.endswith("{") and token != r"\{":
            starts.append(mark.end() if token != "{" else None)
    return found


def boxes(text: str) -> list[str]:
    return [text[start:end].strip() for start, end in box_spans(text)]


def boxed(reply: str) -> list[Statement]:
    """Boxes with only a comma or `and` between them are one answer."""
    if "boxed" not in reply and "fbox" not in reply:
        return []
    found: list[Statement] = []
    end_before = -1
    for start, end in box_spans(reply)[-MOST:]:
        inside = reply[start:end].strip()
        opening = reply.rfind("\\", 0, start)
        if found and end_before >= 0 and _joins(reply[end_before + 1 : opening]):
            last = found[-1]
            parts = (last.text, inside) if inside not in last.text.split(", ") else (last.text,)
            found[-1] = last._replace(text=", ".join(parts))
        elif inside:
            found.append(Statement("box", inside, opening))
        end_before = end
    return found or [Statement("box", bare[1], bare.start()) for bare in _BARE_BOX.finditer(reply)][-1:]


def _joins(between: str) -> bool:
    if len(between) > 40 or "\n\n" in between or language.DENIAL.search(between):
        return False
    return bool(_BETWEEN_BOXES.fullmatch(between) or _ENDS_WITH_AND.search(between))


def unbox(answer: str) -> str:
    """A statement may contain a box, or several that together are one answer."""
    held = boxed(answer)
    return held[-1].text if held else answer


def led(reply: str, has_options: bool) -> Iterator[Statement]:
    """The texts after `the answer is` or its equivalent in other languages; the last first."""
    leads = language.leads_in(reply)
    if not has_options and "A:" in reply:
        leads = sorted([*leads, *language.SHORT_LEAD.finditer(reply)], key=lambda lead: lead.end())
    for lead in reversed(leads[-MOST:]):
        if not is_supposed(reply, lead.start(), lead.group()) and not _LIST_ITEM.match(reply, lead.end() - 1):
            text = statement_at(reply, lead.end())
            yield Statement("lead", text if has_options else _first_part(text), lead.start())


def is_supposed(reply: str, start: int, lead: str) -> bool:
    """Whether the clause of the lead asks, denies or supposes: `I cannot tell whether the answer is C`."""
    before = reply[max(0, start - 80) : start]
    clause = _CLAUSE_START.split(before)[-1].replace("not hard", "").replace("not difficult", "") + lead
    doubts = (language.SUPPOSITION, language.DENIAL, language.HEDGE)
    return any(found.search(clause) for found in doubts)


def statement_at(reply: str, start: int) -> str:
    """The sentence that begins here; if it begins with a formula, up to the closing delimiter."""
    rest = reply[start : start + LONGEST_STATEMENT]
    line = rest.partition("\n")[0].strip()
    for opening, closing in _ENCLOSED:
        if rest.startswith(opening) and closing not in line[len(opening) :]:
            inside, closed, _ = rest[len(opening) :].partition(closing)
            return inside.strip() if closed else line
    if rest.startswith("\\begin") and "\\end" not in line:
        name = rest[6:].partition("}")[0]
        inside, closed, _ = rest.partition(f"\\end{name}}}")
        return inside + closed if closed else line
    return first_sentence(line)


def first_sentence(line: str) -> str:
    for end in _SENTENCE_END.finditer(line):
        if not _LONE_LETTER.match(line[: end.start()]):
            return line[: end.start() + 1].strip()
    return line


def _first_part(text: str) -> str:
    """The answer without the reasons after it."""
    return language.REASON.split(text)[0]


def called(reply: str, letters: str) -> Iterator[Statement]:
    """`Option C is correct`, `选项C正确`; the last first."""
    found = list(language.CALLED.finditer(reply))[-MOST:]
    for match in reversed(found):
        letter, place = next((match[i], match.start(i)) for i in (1, 2, 3) if match[i])
        if letter in letters and not is_supposed(reply, place, ""):
            yield Statement("called", letter, place)


def without_listing(reply: str, letters: str) -> str:
    """The text without lines that only list the options: `(A) ...`, `(B) ...`."""
    form = _listing_form(letters)
    lines = reply.splitlines()
    marked = [(i, match[1]) for i, line in enumerate(lines) if line.strip() and (match := form.match(line))]
    listed: set[int] = set()
    for (i, letter), (j, following) in pairwise(marked):
        if ord(following) == ord(letter) + 1 and not "".join(lines[i + 1 : j]).strip():
            listed |= {i, j} if letter == "A" or i in listed else set()
    return "\n".join(line for i, line in enumerate(lines) if i not in listed) if listed else reply


@lru_cache
def _listing_form(letters: str) -> re.Pattern[str]:
    return re.compile(rf"[\s*_>-]*[(\[]?([{letters}])[*_]*[:.)\]]")


@lru_cache
def _option_form(letters: str) -> re.Pattern[str]:
    return re.compile(rf"[\s*_(\[]*([{letters}])(?:[\s*_)\]]*[:.)\]][\s*_]*\S.*|[\s*_)\].:]*)$")


def option_line(reply: str, letters: str) -> Statement | None:
    """A line in the form of the released model: `B: No`, also `(B) No`, `B. No`, `**B**`."""
    form = _option_form(letters)
    lines = [(match.group(1), line.strip()) for line in reply.splitlines() if (match := form.match(line))]
    # A reply that discusses every option has a line for each; none of them is the answer.
    if len({letter for letter, _ in lines}) != 1:
        return None
    return Statement("option line", lines[-1][1], 0)


def whole_reply(reply: str) -> Statement | None:
    if not reply or len(reply) > SHORT_REPLY or "\n" in reply or _MARKS.match(reply):
        return None
    return Statement("whole reply", reply, 0)
