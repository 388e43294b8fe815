"""MMMU and MMMU-Pro: image marks in questions and options, options as the text of a list, open questions."""

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

from xreasoner.data.candidates import BadRowError, letter_of, options_of, text_column
from xreasoner.evals.benchmarks.definition import Fields
from xreasoner.evals.benchmarks.image_files import Pictures
from xreasoner.records import Part, Problem

SUBJECTS = (
    *("Accounting", "Agriculture", "Architecture_and_Engineering", "Art", "Art_Theory"),
    *("Basic_Medical_Science", "Biology", "Chemistry", "Clinical_Medicine", "Computer_Science", "Design"),
    *("Diagnostics_and_Laboratory_Medicine", "Economics", "Electronics", "Energy_and_Power", "Finance"),
    *("Geography", "History", "Literature", "Manage", "Marketing", "Materials", "Math"),
    *("Mechanical_Engineering", "Music", "Pharmacy", "Physics", "Psychology", "Public_Health", "Sociology"),
)
HEALTH = (
    "Basic_Medical_Science",
    "Clinical_Medicine",
    "Diagnostics_and_Laboratory_Medicine",
    "Pharmacy",
    "Public_Health",
)
IN_PICTURE = "The image shows a question and its options. Answer it."
IN_WORDS = "\nAnswer with a single word, number or phrase."

_MARK = re.compile(r"<image[ _]?(\d)>")


def subject_of(fields: Fields) -> str:
    """From the row's column or from its id, as in `validation_Art_Theory_12`."""
    said = fields.get("subject")
    return str(said) if said else re.sub(r"^[a-z]+_|_\d+$", "", str(fields.get("id", "")))


def tags_of(fields: Fields) -> dict[str, str]:
    named = {"difficulty": "topic_difficulty", "question_type": "question_type"}
    found = {tag: str(fields[column]) for tag, column in named.items() if fields.get(column)}
    return {"subject": subject_of(fields), **found}


def is_health(fields: Fields) -> bool:
    return subject_of(fields) in HEALTH


def read_mmmu(key: str, fields: Fields, pictures: Pictures) -> Problem:
    question = text_column(fields, "question")
    options = listed(fields.get("options"))
    tags = tags_of(fields)
    if fields.get("question_type") == "open":
        parts = tuple(illustrated(question, (), fields, pictures))
        answers = accepted(fields.get("answer"))
        return Problem(id=key, question=(*parts, IN_WORDS), answer=answers, kind="open", tags=tags)
    lettered = options_of(options, least=1)
    return Problem(
        id=key,
        question=tuple(illustrated(question, tuple(options), fields, pictures)),
        answer=letter_of(text_column(fields, "answer"), lettered),
        kind="choice",
        choices=tuple(_MARK.sub(r"image \1", option) for option in lettered.values()),
        tags=tags,
    )


def read_in_picture(key: str, fields: Fields, pictures: Pictures) -> Problem:
    """MMMU-Pro's vision form: the image shows question and options; the list is only for grading."""
    lettered = options_of(listed(fields.get("options")), least=1)
    return Problem(
        id=key,
        question=(pictures.of(fields.get("image")), IN_PICTURE),
        answer=letter_of(text_column(fields, "answer"), lettered),
        kind="choice",
        choices=tuple(lettered.values()),
        choices_in_picture=True,
        tags=tags_of(fields),
    )


def listed(value: Any) -> list[str]:
    """`"['6 cm', \\"the heart's\\"]"`, or a list already."""
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            raise BadRowError("options are not the text of a list", repr(value[:80])) from None
    if not isinstance(value, list):
        raise BadRowError("options are not a list", type(value).__name__)
    return [str(option) for option in value]


def accepted(value: Any) -> str:
    """One answer, or a JSON list if the row accepts several."""
    answer = str(value).strip() if value is not None else ""
    if answer.startswith("["):
        try:
            return json.dumps(listed(answer), ensure_ascii=False)
        except BadRowError:
            return answer  # an interval, not a list
    if not answer:
        raise BadRowError("answer is empty")
    return answer


def illustrated(
    question: str, options: tuple[str, ...], fields: Fields, pictures: Pictures
) -> Iterator[Part]:
    """Puts each image at its first mark; images that only options mention come last, with their names."""
    shown: set[str] = set()
    for place, piece in enumerate(_MARK.split(question)):
        if place % 2 == 0:
            if piece:
                yield piece
        elif piece in shown:
            yield f"image {piece}"
        else:
            shown.add(piece)
            yield pictures.of(fields.get(f"image_{piece}"))
    for number in sorted({n for option in options for n in _MARK.findall(option)} - shown):
        shown.add(number)
        yield f"\nimage {number}: "
        yield pictures.of(fields.get(f"image_{number}"))
    if not shown and fields.get("image_1") is not None:
        yield "\n"
        yield pictures.of(fields["image_1"])
