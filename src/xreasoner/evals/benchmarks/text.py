"""Text benchmarks: arithmetic, mathematics, knowledge, science, medicine."""

import random
from dataclasses import replace

from xreasoner.data.candidates import BadRowError, column, letter_of, options_of, text_column
from xreasoner.data.corpora.questions import read_gsm8k as gsm8k_candidate
from xreasoner.data.corpora.questions import read_medqa as medqa_candidate
from xreasoner.evals.benchmarks.definition import Fields
from xreasoner.evals.benchmarks.image_files import Pictures
from xreasoner.recipe.training_data import Gsm8kData, MedqaData
from xreasoner.records import Problem

_GSM8K, _MEDQA = Gsm8kData(source="gsm8k"), MedqaData(source="medqa")


def read_gsm8k(key: str, fields: Fields, pictures: Pictures) -> Problem:
    """The key is the number after `####`."""
    return replace(gsm8k_candidate(fields, "", key, _GSM8K).problem, reasoning="")


def read_math500(key: str, fields: Fields, pictures: Pictures) -> Problem:
    tags = {"subject": str(fields.get("subject", "")), "level": str(fields.get("level", ""))}
    return Problem(
        id=key,
        question=(text_column(fields, "problem"),),
        answer=text_column(fields, "answer"),
        kind="math",
        tags=tags,
    )


def read_mmlu_pro(key: str, fields: Fields, pictures: Pictures) -> Problem:
    """Up to 10 options; `N/A` entries are padding."""
    listed = column(fields, "options")
    if not isinstance(listed, list):
        raise BadRowError("options are not a list")
    letter = text_column(fields, "answer").upper()
    options = {name: text for name, text in options_of(listed).items() if text != "N/A"}
    return Problem(
        id=key,
        question=(text_column(fields, "question"),),
        answer=letter_of(letter, options),
        kind="choice",
        choices=tuple(options.values()),
        tags={"category": str(fields.get("category", ""))},
    )


def is_health(fields: Fields) -> bool:
    return str(fields.get("category", "")).strip().lower() == "health"


def read_gpqa(key: str, fields: Fields, pictures: Pictures) -> Problem:
    """One right and three wrong answers, shuffled by a seed from the record's id."""
    right = text_column(fields, "Correct Answer")
    choices = [right, *(text_column(fields, f"Incorrect Answer {n}") for n in (1, 2, 3))]
    question = text_column(fields, "Question")
    random.Random(f"gpqa {fields.get('Record ID') or question}").shuffle(choices)
    return Problem(
        id=key,
        question=(question,),
        answer="ABCD"[choices.index(right)],
        kind="choice",
        choices=tuple(choices),
        tags={"domain": str(fields.get("High-level domain", ""))},
    )


def read_medqa(key: str, fields: Fields, pictures: Pictures) -> Problem:
    return medqa_candidate(fields, "", key, _MEDQA).problem
