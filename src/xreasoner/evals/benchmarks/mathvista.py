"""MathVista: options or numbers. Our rules extract the answer, MathVista's compare it."""

from xreasoner.data.candidates import BadRowError, options_of, text_column
from xreasoner.evals.benchmarks.definition import Fields
from xreasoner.evals.benchmarks.image_files import Pictures
from xreasoner.evals.benchmarks.keys import letter_of_text
from xreasoner.records import Part, Problem
from xreasoner.rewards.number import read_list, read_number

INTEGER = "\nAnswer with a whole number."
LIST = "\nAnswer with a list of numbers, such as [1, 2, 3]."
DECIMALS = "\nAnswer with a number to {}."
PLACES = {1: "one decimal place", 2: "two decimal places"}


def read_mathvista(key: str, fields: Fields, pictures: Pictures) -> Problem:
    question = text_column(fields, "question")
    if unit := fields.get("unit"):
        question += f" (Unit: {unit})"
    shown: tuple[Part, ...] = (
        pictures.of(fields.get("decoded_image") or fields.get("image")),
        "\n",
        question,
    )
    answer = text_column(fields, "answer")
    tags = {"answer_type": str(fields.get("answer_type", "")), **_skills(fields)}
    if fields.get("question_type") == "multi_choice":
        choices = options_of(fields.get("choices"))
        letter = letter_of_text(answer, choices)
        return Problem(key, shown, letter, "choice", choices=tuple(choices.values()), tags=tags)
    asked, form = _number_form(answer, fields)
    return Problem(key, (*shown, asked), form, "number", tags=tags)


def _number_form(answer: str, fields: Fields) -> tuple[str, str]:
    """The instruction for the number's form, and the key written to its precision."""
    kind = fields.get("answer_type")
    if kind == "list":
        if not (answer.startswith("[") and read_list(answer)):
            raise BadRowError("the answer is not a list of numbers", repr(answer[:80]))
        return LIST, answer
    value = read_number(answer)
    if kind not in ("integer", "float") or value is None:
        raise BadRowError(f"the answer is not of type {kind}", repr(answer[:80]))
    if kind == "integer":
        return INTEGER, str(int(value))
    places = int(fields.get("precision") or 0)
    if places not in PLACES:
        raise BadRowError("the precision is not 1 or 2", repr(fields.get("precision")))
    return DECIMALS.format(PLACES[places]), f"{value:.{places}f}"


def _skills(fields: Fields) -> dict[str, str]:
    """The groups of the published results."""
    metadata = fields.get("metadata") or {}
    return {name: str(metadata[name]) for name in ("task", "category", "grade") if metadata.get(name)}
