"""Find the final answer in a generated text: the last one outside the thought, and say where it was found."""

import re
from typing import NamedTuple

from xreasoner.chat.think import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN
from xreasoner.records import OPTION_LETTERS, Problem

SHORT_REPLY = 200
"""A reply of one line, no longer than this, is an answer without tags."""

_MARKS = re.compile(r"\\(?:boxed|fbox)\s*\{|\\[{}]|[{}]")
_BARE_BOX = re.compile(r"\\(?:boxed|fbox)\s*([^\s{}$\\.,;]+)")
_LEAD = re.compile(
    r"(?:\b(?:answer|ans|antwort|réponse|respuesta|(?:correct|right|best) (?:option|choice))\b"
    r"(?: (?:option|choice|letter|correcta))?[\s*]*(?:(?:is|ist|est|es|(?:would|should|must) be)\b|:|=)"
    r"|答案\s*(?:是|为|:|：)|^[#* \t]*(?:final )?answer[* \t]*$|^####(?=[ \t]*[-$\d]))[\s:：*=]*(?=\S)",
    re.IGNORECASE | re.MULTILINE,
)
_CALLED = re.compile(
    r"(?:^|[.,;:] |\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer|[Ss]o|[Tt]hus|[Hh]ence|[Tt]herefore|that) )"
    r"[(*]*([A-Z])\b[)*]*(?:[:.)] [^.\n]{1,80}?)? is (?:the )?(?:most )?(?:correct|right|best|fitting)\b",
    re.MULTILINE,
)
_SUPPOSED = re.compile(r"(?i)\b(?:if|whether|unless|suppose|assume)\b[^.\n]{0,50}$")
_BOLD = re.compile(r"\*\*\s*(\(?([A-Z])(?:[).:]+\s*[^*\n]*)?)\*\*")
_REASON = re.compile(r"(?i)[\s,;(]+(?:because|since)\b")


class Extracted(NamedTuple):
    answer: str | None
    why: str


def outside_thought(text: str) -> str:
    """The text without its thoughts. What comes before a lone `</think>` was thought too."""
    if THINK_OPEN not in text.partition(THINK_CLOSE)[0] and THINK_CLOSE in text:
        text = THINK_OPEN + text
    kept: list[str] = []
    while text:
        before, _, after = text.partition(THINK_OPEN)
        kept.append(before)
        text = after.partition(THINK_CLOSE)[2]
    return "".join(kept).replace(THINK_CLOSE, "").strip()


def tagged_answer(reply: str) -> Extracted | None:
    """What the last `<answer>` holds that holds anything. One never closed counts up to its line's end."""
    for piece in reversed(reply.split(ANSWER_OPEN)[1:]):
        inside, closed, _ = piece.partition(ANSWER_CLOSE)
        if closed and inside.strip():
            return Extracted(unbox(inside.strip()), f"the last {ANSWER_OPEN}")
        if not closed and inside.strip():
            line = inside.strip().splitlines()[0].strip()
            return Extracted(unbox(line), f"the last {ANSWER_OPEN}, which is never closed")
    return None


def boxes(text: str) -> list[str]:
    """What the outermost `\\boxed{...}` hold, in order; one pass, so that no nesting makes it slow."""
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
    return [text[start:end].strip() for start, end in found]


def boxed_answer(reply: str) -> Extracted | None:
    held = [box for box in boxes(reply) if box] or _BARE_BOX.findall(reply)
    return Extracted(held[-1], r"the last \boxed") if held else None


def unbox(answer: str) -> str:
    """A tag may hold a box; two boxes in one tag are left for the grader to read together."""
    held = boxes(answer)
    return held[0] if len(held) == 1 and held[0] else answer


def option_line(reply: str, problem: Problem) -> Extracted | None:
    """The released model's form as a line of its own: `B: No`, also `(B) No`, `B. No`, `**B**`."""
    letters = OPTION_LETTERS[: len(problem.choices)]
    form = re.compile(rf"[\s*_(\[]*([{letters}])(?:[\s*_)\]]*[:.)\]][\s*_]*\S.*|[\s*_)\].:]*)$")
    lines = [(match.group(1), line.strip()) for line in reply.splitlines() if (match := form.match(line))]
    # A reply that goes through the options has a line for each: none of them is the answer.
    if len({letter for letter, _ in lines}) != 1:
        return None
    return Extracted(lines[-1][1], "the line in the form of an option")


def phrased_answer(reply: str, problem: Problem) -> Extracted | None:
    """What follows the last `the answer is` or a heading of that name; the reasons for a number left out."""
    ends = [lead.end() for lead in _LEAD.finditer(reply)]
    if not ends:
        return None
    line = reply[ends[-1] :].splitlines()[0].strip()
    return Extracted(line if problem.choices else _REASON.split(line)[0], "the last 'the answer is'")


def called_answer(reply: str, problem: Problem) -> Extracted | None:
    """`Option C is correct`, or in the last line one option in bold."""
    letters = OPTION_LETTERS[: len(problem.choices)]
    called = [
        match.group(1)
        for match in _CALLED.finditer(reply)
        if match.group(1) in letters
        and not _SUPPOSED.search(reply, max(0, match.start() - 50), match.start(1))
    ]
    if called:
        return Extracted(called[-1], "the last option that is called correct")
    bold = {match.group(2): match.group(1) for match in _BOLD.finditer(reply.splitlines()[-1])}
    if len(bold) == 1 and set(bold) <= set(letters):
        return Extracted(next(iter(bold.values())).strip(), "the option in bold in the last line")
    return None


def whole_reply(reply: str) -> Extracted | None:
    if len(reply) > SHORT_REPLY or "\n" in reply or _MARKS.match(reply):
        return None
    return Extracted(reply, "the whole reply, which is one short line")


def why_missing(text: str, reply: str) -> str:
    if reply:
        return "no answer in the reply"
    if THINK_OPEN in text and THINK_CLOSE not in text:
        in_thought = tagged_answer(text) or boxed_answer(text)
        return "the thought is never closed" + (", and the answer stands in it" if in_thought else "")
    return "nothing follows the thought" if text.strip() else "the reply is empty"


def extract_answer(text: str, problem: Problem) -> Extracted:
    """Tags before boxes before lines in the form of an option before phrases before a bare reply."""
    reply = outside_thought(text)
    if found := tagged_answer(reply):
        return found
    # Only an empty tag is left now, and it is no answer.
    reply = reply.replace(ANSWER_OPEN, "").replace(ANSWER_CLOSE, "").strip()
    if reply and (found := _untagged_answer(reply, problem)):
        return found
    return Extracted(None, why_missing(text, reply))


def _untagged_answer(reply: str, problem: Problem) -> Extracted | None:
    if found := boxed_answer(reply):
        return found
    if problem.choices and (found := option_line(reply, problem)):
        return found
    if found := phrased_answer(reply, problem):
        return found
    if problem.choices and (found := called_answer(reply, problem)):
        return found
    return whole_reply(reply)
