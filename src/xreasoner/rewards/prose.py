"""The answer of an unmarked reply: its concluding sentence, a value in bold, its last or first sentence."""

import re
from collections.abc import Iterator, Sequence

from xreasoner.rewards import language
from xreasoner.rewards.choice import match_choice
from xreasoner.rewards.latex import complement
from xreasoner.rewards.mentions import without_texts

HEAD, TAIL = 1_500, 3_000
"""Characters that are read at each end of a long reply."""

_CODE = re.compile(r"```.*?(?:```|$)|\[asy\].*?(?:\[/asy\]|$)", re.DOTALL)
_ITEM = re.compile(r"^\s*\d{1,2}[.)]\s+(?=\S)")
_SENTENCE = re.compile(r"(?<=[.!?。])[*_]*\s+(?=[\"'(*$\\A-Z\d])|\n+")
_NUMBER = (
    r"(?:[-−+]|\\\$|\$|€|£|US\$)*\s?"
    r"(?:\\d?frac\{\d+\}\{\d+\}|\d+/\d+|(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:\s?(?:\\?%|°|\^\\circ|\^\{\\circ\}))?"
)
_BOLD = re.compile(rf"\*\*\s*(?:[^*\n]{{0,20}}?\s)?({_NUMBER})(?:\s[^*\n]{{0,30}})?[.]?\s*\*\*")
_THERE_ARE = re.compile(
    rf"\b[Tt]here (?:are|is|were|was|will be|would be|remain)\s+"
    rf"(?:a total of |about |only |exactly |approximately )?[*]*"
    rf"({_NUMBER}|one|two|three|four|five|six|seven|eight|nine|ten)\b(?!\s*(?:and|or|to|-)\s*\d)"
)
_WORD = re.compile(r"\b(?:one|two|three|four|five|six|seven|eight|nine|ten)\b", re.IGNORECASE)
_EQUALS = re.compile(rf"(?:=|≈|\\approx)\s*\**\\?\s*({_NUMBER})(?![\w/^*+×\\]|\.\d|\s*[-+*/×÷=^(])")
_COPULA = re.compile(
    rf"\b(?:is|are|was|were|be|equals?|becomes?|costs?|needs?|containing|leaving|giving|making"
    r"|left with|total of)\s+"
    rf"(?:about |approximately |around |only |exactly |equal to |then |thus |therefore |a total of )*[*]*"
    rf"({_NUMBER})(?![\d/^]|\.\d|\s*(?:[-+*/×÷=^(]|\\times|\\cdot|and\s\S*\d|or\s|to\s\S*\d|,\s*\d))"
)
_ONLY = re.compile(rf"(?<![\w.^{{/])({_NUMBER})(?![\w^/])")
_SUPPOSED = re.compile(
    r"^\W*(?:if|suppose|assume|assuming|unless|given|since|as)\b(?:.*,|.*$)", re.IGNORECASE
)
_SAYS = re.compile(r"[\w$]")
_INTENTION = re.compile(r"\W*(?:to|let|we need|first)\b", re.IGNORECASE)
_MATH = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+?)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)


def sentences(reply: str) -> list[str]:
    """The sentences of a reply, without code, tables, offers of help and questions."""
    if len(reply) > HEAD + TAIL:
        reply = reply[:HEAD] + "\n" + reply[-TAIL:]
    lines = (
        line for line in _CODE.sub("\n", reply).splitlines() if " | " not in line and line.count("|") < 3
    )
    parts = (part.strip() for line in lines for part in _SENTENCE.split(_ITEM.sub("", line)))
    return [
        part
        for part in parts
        if _SAYS.search(part)
        and not ("?" in part and part.rstrip(" *_").endswith("?"))
        and not language.CHATTER.match(part)
    ]


def _is_assured(sentence: str) -> bool:
    return not (language.REFUSAL.search(sentence) or language.HEDGE.search(sentence))


def _from_the_end(said: Sequence[str]) -> Iterator[str]:
    """In this order: conclusions, the last first; the only bold number; the last sentence; the first."""
    yield from (sentence for sentence in reversed(said) if language.CONCLUSION.match(sentence))
    bold = {match[1] for match in _BOLD.finditer(" ".join(said))}
    yield from (f"**{number}**" for number in bold if len(bold) == 1)
    # `There are 3. They are those of 2014 and 2015.` answers first.
    if _THERE_ARE.match(said[0]) and len(set(_ONLY.findall(said[-1]))) > 1:
        yield said[0]
    yield said[-1]
    yield said[0]


def option_in_prose(reply: str, choices: tuple[str, ...]) -> str | None:
    """The sentence that names one option: the last conclusion, or the last and the first if they agree."""
    said = sentences(reply)
    if not said or language.REFUSAL.search(without_texts(reply[-TAIL:], choices)):
        return None
    for sentence in reversed(said):
        if language.CONCLUSION.match(sentence):
            found = match_choice(sentence, choices)
            if found.letter or found.clash:
                return sentence if found.letter else None
    value = _number_in(said)
    if value and match_choice(value, choices).letter:
        return value
    ends = [(sentence, match_choice(sentence, choices)) for sentence in (said[-1], said[0])]
    if len({found.letter for _, found in ends if found.letter}) == 1:
        return next(sentence for sentence, found in ends if found.letter)
    return None


def number_in_prose(reply: str) -> str | None:
    return _number_in(sentences(reply))


def _number_in(said: list[str]) -> str | None:
    if not said or not (_is_assured(said[-1]) or _BOLD.search(said[0])):
        return None
    if not _is_assured(said[-1]):
        said = said[:1]
    assured = (sentence for sentence in _from_the_end(said) if _is_assured(sentence))
    return next((found for sentence in assured if (found := _number_of(sentence))), None)


def _number_of(sentence: str) -> str | None:
    sentence = _SUPPOSED.sub("", language.REASON.split(sentence)[0])
    if language.DENIAL.search(sentence):
        return None
    bold = {match[1] for match in _BOLD.finditer(sentence)}
    if len(bold) == 1:
        return bold.pop()
    if (there := _THERE_ARE.search(sentence)) and (
        there[1][-1].isdigit() or _is_only_word(there[1], sentence)
    ):
        return there[1]
    stated = [match for form in (_EQUALS, _COPULA) for match in form.finditer(sentence)]
    if stated:
        return max(stated, key=lambda match: match.start(1))[1]
    if _INTENTION.match(sentence):
        return None  # an intention, not a result
    numbers = [match[1] for match in _ONLY.finditer(sentence.split(", with ")[0])]
    return numbers[0] if len(numbers) == 1 else None


def _is_only_word(number: str, sentence: str) -> bool:
    """Matches `There are two bars with at least one ...`, but not `There are two bars and three lines`."""
    return set(map(str.lower, _WORD.findall(sentence))) <= {number.lower(), "one"} and number.lower() != "one"


def formula_in_prose(reply: str) -> str | None:
    """For mathematics: the only formula of a conclusion, else its number."""
    told = sentences(reply)
    if not told or not _is_assured(told[-1]):
        return None
    for sentence in _from_the_end(told):
        if _is_assured(sentence) and not language.DENIAL.search(sentence):
            said = complement(sentence)
            formulas = formulas_in(said)
            if len(formulas) == 1:
                return formulas[0]
            if formulas and said != sentence:
                return said
            if not formulas and (found := _number_of(sentence)):
                return found
    return None


def formulas_in(text: str) -> list[str]:
    """The distinct formulas between `$` and similar delimiters."""
    held = (next(group for group in match.groups() if group) for match in _MATH.finditer(text))
    return list(dict.fromkeys(formula.strip() for formula in held))
