"""Medical benchmarks, most of them with images: MedXpertQA, OmniMedVQA, NEJM, PMC-VQA, closed questions."""

import re

from xreasoner.data.candidates import BadRowError, letter_of, options_of, text_column
from xreasoner.evals.benchmarks.definition import Fields
from xreasoner.evals.benchmarks.image_files import Pictures
from xreasoner.evals.benchmarks.keys import letter_of_text
from xreasoner.records import Part, Picture, Problem

YES_NO = ("Yes", "No")

_CHOICES_AGAIN = re.compile(r"\s*\n?\s*Answer Choices:.*\Z", re.DOTALL | re.IGNORECASE)
_LETTER_FIRST = re.compile(r"^\s*[A-D]\s*[:.)]\s*")


def read_medxpert(key: str, fields: Fields, pictures: Pictures) -> Problem:
    """The question repeats its options at the end; that part is cut."""
    options = options_of(fields.get("options"))
    question = _CHOICES_AGAIN.sub("", text_column(fields, "question"))
    shown = list(pictures.of_item(fields.get("images") or ()))
    tags = {
        name: str(fields[name])
        for name in ("medical_task", "body_system", "question_type")
        if fields.get(name)
    }
    return Problem(
        id=key,
        question=with_pictures(shown, question),
        answer=letter_of(text_column(fields, "label"), options),
        kind="choice",
        choices=tuple(options.values()),
        tags=tags,
    )


def read_omnimed(key: str, fields: Fields, pictures: Pictures) -> Problem:
    """Two to four options; the key is the text of one."""
    options = {letter: str(text) for letter in "ABCD" if (text := fields.get(f"option_{letter}"))}
    options = options_of(options)
    names = ("dataset", "question_type", "modality_type")
    return Problem(
        id=key,
        question=with_pictures([pictures.of(fields.get("image_path"))], text_column(fields, "question")),
        answer=letter_of_text(text_column(fields, "gt_answer"), options),
        kind="choice",
        choices=tuple(options.values()),
        tags={name: str(fields[name]) for name in names if fields.get(name)},
    )


def read_nejm(key: str, fields: Fields, pictures: Pictures) -> Problem:
    """The user's own rows: `image` is one file name or several."""
    options, named = options_of(fields.get("options")), fields.get("image")
    shown = list(pictures.of_item(named if isinstance(named, list) else [named]))
    answer = text_column(fields, "answer")
    return Problem(
        id=key,
        question=with_pictures(shown, text_column(fields, "question")),
        answer=letter_of(answer, options) if len(answer) == 1 else letter_of_text(answer, options),
        kind="choice",
        choices=tuple(options.values()),
    )


def read_pmc(key: str, fields: Fields, pictures: Pictures) -> Problem:
    """Options start with their letter. The key is in `Answer_label`, in later releases in `Answer`."""
    written = {letter: text_column(fields, f"Choice {letter}") for letter in "ABCD"}
    options = options_of({letter: _LETTER_FIRST.sub("", text) for letter, text in written.items()})
    said = str(fields.get("Answer_label") or text_column(fields, "Answer")).strip()
    return Problem(
        id=key,
        question=with_pictures([pictures.of(fields.get("Figure_path"))], text_column(fields, "Question")),
        answer=letter_of(_LETTER_FIRST.sub("", said) or said, options),
        kind="choice",
        choices=tuple(options.values()),
    )


def is_closed(fields: Fields) -> bool:
    """Answered by yes or no."""
    return str(fields.get("answer", "")).strip().lower() in ("yes", "no")


def is_closed_english(fields: Fields) -> bool:
    return is_closed(fields) and fields.get("q_lang") == "en"


def read_closed(key: str, fields: Fields, pictures: Pictures) -> Problem:
    """VQA-RAD, SLAKE and PathVQA hold their image, or name it."""
    image = next((fields[name] for name in ("image", "img_name", "image_name") if fields.get(name)), None)
    answer = text_column(fields, "answer").lower()
    if answer not in ("yes", "no"):
        raise BadRowError("not a closed question", answer[:80])
    return Problem(
        id=key,
        question=with_pictures([pictures.of(image)], text_column(fields, "question")),
        answer="A" if answer == "yes" else "B",
        kind="choice",
        choices=YES_NO,
        tags={name: str(fields[name]) for name in ("modality", "content_type") if fields.get(name)},
    )


def with_pictures(shown: list[Picture], question: str) -> tuple[Part, ...]:
    """The images, then the words."""
    return (*shown, "\n" + question if shown else question)
