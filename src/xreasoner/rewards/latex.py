"""Normalise a mathematical answer to one LaTeX formula, without delimiters, currencies and words."""

import re
from functools import lru_cache

from xreasoner.rewards import language
from xreasoner.rewards.plain import folded, plain_characters, plain_number, unwrap
from xreasoner.rewards.statements import unbox

_MATH = re.compile(r"\\\[|\\\]|\\\(|\\\)|(?<!\\)\$")
_SCIENTIFIC = re.compile(r"(?<![\w.])([+-]?\d+(?:\.\d+)?)[eE]([+-]?\d{1,4})(?!\w)")
_SPACED = re.compile(r"^[+-]?[1-9]\d{0,2}(?:(?:\\,| )\d{3})+(?:\.\d+)?$")
_FORMULA = re.compile(r"\$\$(.+?)\$\$|(?<!\\)\$([^$\n]+?)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_COMPLEMENT = re.compile(
    r"^(?=[^$\\]*[A-Za-z]{2}).*\b(?:is|are|equals|becomes)\s+"
    r"(?:equal to |approximately |about |exactly |simply )?"
    r"(?P<said>[-−+(\[{]*(?:\$|\d|\\).*)$",
    re.DOTALL,
)
_NOT_BUT = re.compile(
    r"^(?:it is |is )?not\b.{1,60}?\bbut (?:rather )?(?P<said>.*)$", re.DOTALL | re.IGNORECASE
)
_AND_NOT = re.compile(r",\s+not\b|\s+(?:and not|rather than|instead of)\b")
_WORD, _BETWEEN_WORDS = re.compile(r"[A-Za-z]{2,}"), re.compile(r"[\s-]+")
_COMMANDS = re.compile(r"\\(?:d?frac|sqrt|text|mathrm)\b")
_DIGIT, _VARIABLE = re.compile(r"\d"), re.compile(r"[A-Za-z=]")
_JOINED = re.compile(r"(?:[\s,;.]|\band\b|\bor\b)*", re.IGNORECASE)
_BOLD = re.compile(r"\\(?:mathbf|boldsymbol|bm|displaystyle)\s*\{([^{}]*)\}|\\displaystyle\b")
_SIGNS = {
    "×": r"\times ",
    "·": r"\cdot ",
    "÷": r"\div ",
    "∞": r"\infty ",
    "∪": r"\cup ",
    "∩": r"\cap ",
    "π": r"\pi ",
    "≤": r"\le ",
    "≥": r"\ge ",
    "≠": r"\neq ",
    "±": r"\pm ",
    "°": r"^\circ ",
    "∘": r"^\circ ",
    "≈": r"\approx ",
    "θ": r"\theta ",
    "∅": r"\emptyset ",
    "∈": r"\in ",
    "ℝ": r"\mathbb{R}",
    "→": r"\to ",
}
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_ROOT = re.compile(r"(?:√|(?<![\\\w])sqrt)\s*(?:\{([^{}]*)\}|\(([^()]*)\)|(\d+(?:\.\d+)?|[a-zA-Z]))")
_MIXED = re.compile(r"^(-?)(\d{1,9})\s+(\d{1,9})/(\d{1,9})$")

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_CHINESE = {
    "零": 0,
    "〇": 0,
    "一": 1,
    "二": 2,
    "两": 2,
    "三": 3,
    "四": 4,
    "五": 5,
    "六": 6,
    "七": 7,
    "八": 8,
    "九": 9,
}

_MEANT = frozenset(
    [
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "sinh",
        "cosh",
        "tanh",
        "arcsin",
        "arccos",
        "arctan",
        "log",
        "ln",
        "exp",
        "pi",
        "sqrt",
        "mod",
        "over",
        "times",
        "plus",
        "minus",
        "squared",
        "cubed",
        "million",
        "thousand",
        "hundred",
        "billion",
        "trillion",
        "dozen",
        "percent",
        "pct",
        "percentage",
        "infinity",
        "inf",
        "infty",
        "or",
        "and",
        "to",
        "between",
        "through",
        "base",
        "root",
        "power",
        "half",
        "third",
        "quarter",
        "x",
        "y",
        "not",
    ]
)
"""Words that are part of the mathematics: a number next to one is not the whole answer."""
_PHRASE = re.compile(
    r"^(?:(?:[A-Za-z]{2,}|a|A|I)[,:]?\s+)*(?P<number>[$€£]?\s?-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)"
    r"(?:[\s-]+(?:[A-Za-z]{2,}|a|/)[,]?)*[.!]?$"
)

UNITS: dict[str, str] = {
    **dict.fromkeys(("mm", "millimeter", "millimetre"), "mm"),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), "cm"),
    **dict.fromkeys(("m", "meter", "metre", "米"), "m"),
    **dict.fromkeys(("km", "kilometer", "kilometre"), "km"),
    **dict.fromkeys(("in", "inch", "inche"), "in"),
    **dict.fromkeys(("ft", "foot", "feet"), "ft"),
    **dict.fromkeys(("mi", "mile"), "mi"),
    **dict.fromkeys(("mg", "milligram"), "mg"),
    **dict.fromkeys(("g", "gram"), "g"),
    **dict.fromkeys(("kg", "kilogram"), "kg"),
    **dict.fromkeys(("s", "sec", "second"), "s"),
    **dict.fromkeys(("min", "minute"), "min"),
    **dict.fromkeys(("h", "hr", "hour"), "h"),
    **dict.fromkeys(("day", "天"), "day"),
    **dict.fromkeys(("ml", "milliliter", "millilitre"), "ml"),
    **dict.fromkeys(("l", "liter", "litre"), "l"),
    **dict.fromkeys(("dollar", "$"), "dollar"),
    **dict.fromkeys(("cent", "¢"), "cent"),
    **{name: name for name in ("km/h", "m/s", "cm/s", "mph", "mi/h", "ft/s")},
    **dict.fromkeys(("degree", "^\\circ", "°"), "degree"),
}
"""Known units with all their names; other units are not compared."""
_UNIT = re.compile(
    r"(?<=[\d}\s.])(?:\\,|\\ |\\;|~|\s)*(?:\\(?:text|mathrm|textrm|rm)\s*\{\s*)?"
    r"(?P<square>sq(?:uare)?\.?\s+|cubic\s+)?(?P<name>\^\s*\{?\\circ\}?|[A-Za-z¢°米天]+(?:/[a-z]+)?)(?:\s*\})?"
    r"(?:\s*\^\s*\{?(?P<power>\d)\}?)?\s*$"
)


def with_latex_signs(text: str) -> str:
    """Converts `√ ∞ ∪ ² × π ≤`, similar signs and `sqrt(x)` to LaTeX."""
    if not text.isascii():
        text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+", lambda m: f"^{{{m[0].translate(_RAISED)}}}", text)
        text = re.sub("[₀₁₂₃₄₅₆₇₈₉]+", lambda m: f"_{{{m[0].translate(_LOWERED)}}}", text)
        text = "".join(_SIGNS.get(char, char) for char in text)
    text = text.replace("!=", r"\neq ").replace(r"\lt", "<").replace(r"\gt", ">")
    if "√" not in text and "sqrt" not in text:
        return text
    return _ROOT.sub(lambda m: rf"\sqrt{{{m[1] or m[2] or m[3] or ''}}}", text)


def bare(text: str) -> str:
    """Removes `$`, `\\(`, `\\[` and currency signs; `1e3` as `1 \\times 10^{3}`, `1 234` as `1234`."""
    text = plain_characters(text)
    if "$" in text or "\\" in text:
        text = _MATH.sub("", text).replace(r"\$", "")
    text = text.strip().removesuffix(".")
    if _SPACED.match(text):
        return text.replace("\\,", "").replace(" ", "")
    if "e" in text or "E" in text:
        text = _SCIENTIFIC.sub(r"\1 \\times 10^{\2}", text)
    return text.strip()


@lru_cache(maxsize=1024)
def key_formula(key: str) -> str:
    return bare(with_latex_signs(plain_characters(unbox(key))))


def answer_formula(answer: str) -> str:
    """The stated value without the words around it: `There are $12$ apples` is 12."""
    said = language.CONCLUSION.sub("", plain_characters(answer)).lstrip(" ,:")
    text = _one_formula(complement(affirmed(with_latex_signs(said))))
    text = bare(unwrap(_BOLD.sub(r"\1", text)))
    if spoken := word_number(text):
        return spoken
    if mixed := _MIXED.match(text):
        sign, whole, top, bottom = mixed.groups()
        return rf"{sign}({whole}+\frac{{{top}}}{{{bottom}}})"
    return _number_in_phrase(text) or text


def affirmed(text: str) -> str:
    """`not 7 but 8`, `8, not 7` and `8 rather than 7` are 8."""
    lowered = folded(text)
    if "not" not in lowered and "rather than" not in text and "instead of" not in text:
        return text
    if but := _NOT_BUT.match(text):
        return but["said"]
    return _AND_NOT.split(text, maxsplit=1)[0]


def complement(text: str) -> str:
    """`The largest $n$ is 34` is 34."""
    said = _COMPLEMENT.match(text) if len(text) < 500 else None
    return said["said"] if said else text


def _one_formula(text: str) -> str:
    """The formula in a text; formulas joined by a comma or `and` form one list."""
    if "$" not in text and "\\" not in text:
        return text
    formulas = [
        (next(group for group in match.groups() if group), match) for match in _FORMULA.finditer(text)
    ]
    if not formulas:
        return text
    around = _FORMULA.sub(" ", text)
    if len({formula.strip() for formula, _ in formulas}) == 1 and _WORD.search(around):
        after = text[formulas[-1][1].end() :]
        share = re.match(r"\s*(?:\\?%|percent|pct)", after, re.IGNORECASE)
        return formulas[0][0] + (r"\%" if share else "")
    if len(formulas) > 1 and _JOINED.fullmatch(around):
        return ", ".join(formula.strip() for formula, _ in formulas)
    return text


def word_number(text: str) -> str | None:
    """`twelve`, `twenty-five`, `十二`: an answer that is only a number in words."""
    words = _BETWEEN_WORDS.split(text.strip().casefold())
    if len(words) == 1 and words[0] in _ONES:
        return str(_ONES.index(words[0]))
    if words[0] in _TENS and len(words) <= 2 and (len(words) == 1 or words[1] in _ONES[1:10]):
        return str(20 + 10 * _TENS.index(words[0]) + (_ONES.index(words[1]) if len(words) == 2 else 0))
    return _chinese_number(text)


def _chinese_number(text: str) -> str | None:
    if text.isascii() or not re.fullmatch("[零〇一二两三四五六七八九十百千]{1,8}", text):
        return None
    total, digit = 0, 0
    for char in text:
        if char in "十百千":
            total += (digit or 1) * {"十": 10, "百": 100, "千": 1000}[char]
            digit = 0
        else:
            digit = _CHINESE[char]
    return str(total + digit)


def _number_in_phrase(text: str) -> str | None:
    """`18 dollars per day`, `It is 12`: one number among words that are not mathematics."""
    if len(text) > 200 or not (phrase := _PHRASE.match(text)):
        return None
    words = re.findall(r"[A-Za-z]+", text)
    if not words or any(word.casefold() in _MEANT for word in words) or "\\" in text:
        return None
    return plain_number(phrase["number"].lstrip("$€£ "))


def _measured(text: str) -> re.Match[str] | None:
    """A number followed by one word."""
    found = _UNIT.search(text.strip().removesuffix(".")) if len(text) < 100 else None
    number = _COMMANDS.sub("", text[: found.start()]) if found else ""
    return found if _DIGIT.search(number) and not _VARIABLE.search(number) else None


def without_unit(text: str) -> str:
    return text.strip()[: found.start()].strip() if unit_of(text) and (found := _measured(text)) else text


def unit_of(text: str) -> str | None:
    """The known unit after a number: `5 cm^2` is `cm2`."""
    if not (found := _measured(text)):
        return None
    name = re.sub(r"[\s{}]", "", found["name"])
    unit = UNITS.get(name) or UNITS.get(name.casefold().removesuffix("s"))
    power = found["power"] or {"s": "2", "c": "3"}.get((found["square"] or " ")[0], "")
    return unit and unit + power
