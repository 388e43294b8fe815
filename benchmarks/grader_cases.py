"""Replies with a key and the verdict of a careful reader: written by hand in a table, and made by rule."""

import csv
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from xreasoner.records import Kind, Problem

WRITTEN = Path(__file__).parents[1] / "tests" / "rewards" / "cases.tsv"
LINE = "⏎"
"""Stands for a line break in the table."""


@dataclass(frozen=True)
class Case:
    kind: Kind
    key: str
    choices: tuple[str, ...]
    is_right: bool
    """Says a careful reader who knows the benchmark's rule: one answer, outside the thought, the key's."""
    trap: str
    text: str

    @property
    def problem(self) -> Problem:
        return Problem(id=self.trap, question=("?",), answer=self.key, kind=self.kind, choices=self.choices)


def written_cases() -> list[Case]:
    with WRITTEN.open(encoding="utf-8", newline="") as table:
        return [
            Case(
                cast(Kind, row["kind"]),
                row["key"],
                tuple(row["choices"].split("|")) if row["choices"] else (),
                row["truth"] == "R",
                row["trap"],
                row["text"].replace(LINE, "\n"),
            )
            for row in csv.DictReader(table, delimiter="\t")
        ]


OPTIONS = (
    ("Yes", "No"),
    ("red", "green", "blue", "none of them"),
    ("3.5 mg", "5 mg", "35 mg", "50 mg", "500 mg"),
    ("Give oxygen", "Give aspirin", "Order a CT scan", "Wait and see"),
    tuple(f"finding {number}" for number in range(1, 11)),
)
CHOICE_FORMS = {
    "released form": "<think>\n{thought}\n</think>\n<answer>{letter}: {text}</answer>",
    "letter in tags": "<think>\n{thought}\n</think>\n<answer>{letter}</answer>",
    "text in tags": "<think>\n{thought}\n</think>\n<answer>{text}</answer>",
    "box": "{thought}\n\nThe answer is \\boxed{{{letter}}}.",
    "phrase": "{thought}\n\nThe answer is {letter}.",
    "phrase with brackets": "{thought}\n\nSo the correct answer is ({letter}) {text}.",
    "last line": "{thought}\n\nAnswer: {letter}",
    "direct letter": "{letter}",
    "direct letter in brackets": "({letter})",
    "direct letter and text": "{letter}. {text}",
}
NUMBER_FORMS = {
    "number in tags": "<think>\n{thought}\n</think>\n<answer>{number}</answer>",
    "unit in tags": "<think>\n{thought}\n</think>\n<answer>{number} cm</answer>",
    "box": "{thought}\n\nSo we get \\boxed{{{number}}}.",
    "phrase": "{thought}\n\nThe answer is {number}.",
    "equation in tags": "<think>\n{thought}\n</think>\n<answer>x = {number}</answer>",
    "direct number": "{number}",
}
THOUGHTS = (
    "Option {other} looks likely at first. But the picture shows the opposite.",
    "Let me check each. {other} is wrong, since it would need more.",
    "There are 2 on the left and 7 on the right.",
)


def made_cases(seed: int = 0) -> Iterator[Case]:
    """Half of them wrong. The truth is known because the answer was put there."""
    rng = random.Random(seed)
    for form, pattern in CHOICE_FORMS.items():
        for choices in OPTIONS:
            for is_right in (True, False):
                yield choice_case(form, pattern, choices, is_right, rng)
    for kind in ("number", "math", "open"):
        for form, pattern in NUMBER_FORMS.items():
            for places in (0, 1, 2):
                for is_right in (True, False):
                    yield number_case(kind, form, pattern, places, is_right, rng)


def choice_case(
    form: str, pattern: str, choices: tuple[str, ...], is_right: bool, rng: random.Random
) -> Case:
    said, other = rng.sample(range(len(choices)), 2)
    letters = "ABCDEFGHIJ"
    thought = rng.choice(THOUGHTS).format(other=letters[other])
    text = pattern.format(thought=thought, letter=letters[said], text=choices[said])
    return Case("choice", letters[said if is_right else other], choices, is_right, form, text)


def number_case(kind: Kind, form: str, pattern: str, places: int, is_right: bool, rng: random.Random) -> Case:
    value = rng.randint(11, 9999) / 10**places
    number = f"{value:.{places}f}"
    key = number if is_right else f"{value + rng.randint(1, 9):.{places}f}"
    text = pattern.format(thought=THOUGHTS[2], number=number)
    return Case(kind, key, (), is_right, form, text)


def all_cases() -> list[Case]:
    return written_cases() + list(made_cases())
