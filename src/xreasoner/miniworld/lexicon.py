"""All words of the mini-world. A word is one token; a word that can be drawn is one cell."""

from xreasoner.records import OPTION_LETTERS

NUMBERS = tuple(str(n) for n in range(60))
LARGEST = 39
"""The largest result of a sum."""
OPERATORS = ("+", "-")
LABELS = tuple("abcdefgh")
HEIGHTS = tuple(range(1, 10))
COLOURS = ("red", "green", "blue", "orange")
SHAPES = ("circle", "square", "triangle", "star")
ANALYTES = ("na", "k", "ca", "glu", "hb", "crp", "tsh", "alt")
LEVELS = tuple(range(10))
ANSWER_LETTERS = tuple(OPTION_LETTERS[:4])
OPTION_NAMES = tuple(f"{letter}:" for letter in ANSWER_LETTERS)
"""One word each, so that the content of an option follows its name. With a colon between them, a model of
this size did not learn to look a content up."""
VERDICTS = ("low", "ok", "high")

OPERANDS = tuple(f"{operator}{n}" for operator in OPERATORS for n in range(1, 10))
BARS = tuple(f"{label}{height}" for label in LABELS for height in HEIGHTS)
COLOURED = tuple(colour + shape for colour in COLOURS for shape in SHAPES)
READINGS = tuple(f"{analyte}{level}" for analyte in ANALYTES for level in LEVELS)

PROSE = (
    *("system", "user", "assistant", "think", "then", "answer"),
    *("read", "say", "work", "out", "how", "many", "abnormal", "facts", "options", "what", "is"),
    *("so", "wait", "check", "yes", "no"),
    *("=", ":", ";", "[", "]"),
)

WORDS = tuple(
    dict.fromkeys(
        (
            *(
                *PROSE,
                *NUMBERS,
                *OPERATORS,
                *LABELS,
                *COLOURS,
                *SHAPES,
                *ANALYTES,
                *OPTION_NAMES,
                *VERDICTS,
            ),
            *(*OPERANDS, *BARS, *COLOURED, *READINGS),
        )
    )
)
