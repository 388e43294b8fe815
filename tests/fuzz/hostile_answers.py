"""Of what hostile answers are made, and the problems that they answer."""

from xreasoner.records import Kind

WORDS = (
    "<think> </think> <answer> </answer> \\boxed{ } { $ \\frac{1}{3} \\left( , ^ 10^ ! % √ ½ ٣ é ** "
    "A (C) 7919 -7919 7.919e3 1/0 0/0 inf nan </script><b>"
)
PIECES = (
    *WORDS.split(),
    *("\ud800", "\0", "\u202e", "\ufeff", "\n", " "),
    *("B: yes", "not B", "the answer is ", "[1, 2]", "zebra stripes"),
)
KINDS: dict[Kind, tuple[str, tuple[str, ...]]] = {
    "math": ("7919", ()),
    "number": ("7919.5", ()),
    "exact": ("zebra stripes", ()),
    "open": ("zebra stripes", ()),
    "choice": ("B", ("no", "yes", "maybe")),
}
"""The key and the choices of each kind."""
