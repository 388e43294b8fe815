"""Every word of the mini-world. A word is one token; what can be drawn is a cell of 28 x 28 pixels."""

NUMBERS = tuple(str(n) for n in range(100))
OPERATORS = ("+", "-")
LABELS = tuple("abcdefgh")
COLOURS = ("red", "green", "blue", "orange")
SHAPES = ("circle", "square", "triangle", "star")
ANALYTES = ("na", "k", "ca", "glu", "hb", "crp", "tsh", "alt")
LETTERS = ("A", "B", "C", "D")
VERDICTS = ("low", "ok", "high")

PROSE = (
    *("system", "user", "assistant"),
    *(
        "read",
        "say",
        "work",
        "out",
        "how",
        "many",
        "abnormal",
        "facts",
        "think",
        "then",
        "answer",
        "directly",
    ),
    *("so", "wait", "check", "yes", "no", "is", "the", "what", "count", "total"),
    *("=", ":", ";", ".", ",", "?", ">", "<"),
)

WORDS = tuple(
    dict.fromkeys((*PROSE, *NUMBERS, *OPERATORS, *LABELS, *COLOURS, *SHAPES, *ANALYTES, *LETTERS, *VERDICTS))
)
