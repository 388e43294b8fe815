"""Corpora of questions with a known answer: Orz-Math, MedQA, GSM8K."""

import re
from typing import Any

from xreasoner.data.candidates import BadRowError, Candidate, column, letter_of, options_of, text_column
from xreasoner.recipe.training_data import Gsm8kData, MedqaData, OrzMathData
from xreasoner.records import Problem

_CALCULATIONS = re.compile(r"<<[^<>]*>>")


def read_orz(row: Any, position: str, key: str, entry: OrzMathData) -> Candidate:
    """A pair of turns, `[{from: human, value}, {from: assistant, ground_truth: {value}}]`."""
    # The hub's viewer exports the list as an object with keys 0 and 1.
    pair = [row[place] for place in ("0", "1")] if isinstance(row, dict) and {"0", "1"} <= row.keys() else row
    if not isinstance(pair, list) or len(pair) != 2:
        raise BadRowError("not a pair of turns")
    question = text_column(pair[0], "value")
    answer = text_column(column(pair[1], "ground_truth"), "value")
    return Candidate(
        Problem(
            id=key,
            item=key,
            question=(question,),
            answer=answer,
            kind="math",
            domain="math",
            source="orz-math",
        ),
        position,
    )


def read_medqa(row: Any, position: str, key: str, entry: MedqaData) -> Candidate:
    """4 or 5 options, with the letter in `answer_idx` or the text of the option in `answer`."""
    question, options = text_column(row, "question"), options_of(column(row, "options"))
    named = row.get("answer_idx") or text_column(row, "answer")
    letter = letter_of(str(named), options)
    said = row.get("answer")
    texts = list(options.values())
    if isinstance(said, str) and said.strip() in texts and texts[ord(letter) - ord("A")] != said.strip():
        raise BadRowError("answer and answer_idx disagree", f"{named} is not {said!r}")
    return Candidate(
        Problem(
            id=key,
            item=key,
            question=(question,),
            answer=letter,
            kind="choice",
            choices=tuple(texts),
            domain="medicine",
            source="medqa",
        ),
        position,
    )


def read_gsm8k(row: Any, position: str, key: str, entry: Gsm8kData) -> Candidate:
    """The solution, then `#### 72`."""
    question, solution = text_column(row, "question"), text_column(row, "answer")
    worked, mark, answer = solution.rpartition("####")
    if not mark or not answer.strip():
        raise BadRowError("no #### answer")
    return Candidate(
        Problem(
            id=key,
            item=key,
            question=(question,),
            answer=answer.strip().replace(",", ""),
            kind="math",
            domain="math",
            source="gsm8k",
            reasoning=_CALCULATIONS.sub("", worked).strip(),
        ),
        position,
    )
