"""Tricks and honest forms with a careful reader's verdict: refusals, denial, hedging, listings, languages."""

import csv
from pathlib import Path
from typing import cast

from xreasoner.records import Kind, Problem, Score
from xreasoner.rewards.grade import Grader

TABLE = Path(__file__).with_name("tricks.tsv")
HIDDEN = {"⏎": "\n", "{ZWSP}": "\u200b"}
"""What the table writes for characters that a reader of it would not see."""

ENDLESS = "9^{9^{9^9}}"
"""Takes all the time it gets; every other answer may need much time on a busy machine."""


def rows() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table, delimiter="\t"))


def reply_of(row: dict[str, str]) -> str:
    text = row["text"]
    for written, meant in HIDDEN.items():
        text = text.replace(written, meant)
    return text


def verdict(score: Score) -> str:
    if score.correct is None:
        return "unscored"
    return "missing" if score.missing else "right" if score.correct else "wrong"


def choices_of(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(row["choices"].split("|")) if row["choices"] else ()


def agrees(expected: str, found: str) -> bool:
    """`not right` leaves open whether an answer is wrong or missing."""
    return (
        found != "right" and found != "unscored"
        if expected == "not right"
        else found in expected.split(" or ")
    )


def test_every_trick_and_every_honest_form_gets_its_verdict() -> None:
    table = rows()
    assert len(table) >= 400
    problems = [
        Problem(
            "p", ("?",), row["key"], cast(Kind, row["kind"]), tuple(filter(None, row["choices"].split("|")))
        )
        for row in table
    ]
    pairs = list(zip(problems, map(reply_of, table), strict=True))
    with Grader(workers=1, seconds=60) as patient, Grader(workers=1, seconds=1) as hasty:
        scores = patient.score_many([pair for pair in pairs if ENDLESS not in pair[1]])
        places = [place for place, (_, reply) in enumerate(pairs) if ENDLESS in reply]
        for place, score in zip(places, hasty.score_many([pairs[place] for place in places]), strict=True):
            scores.insert(place, score)
    unexpected = [
        (row["kind"], row["key"], row["text"], row["verdict"], verdict(score), score.why)
        for row, score in zip(table, scores, strict=True)
        if not agrees(row["verdict"], verdict(score))
    ]
    assert unexpected == []
    assert all(bool(score.rule) == (score.extracted is not None) for score in scores)
