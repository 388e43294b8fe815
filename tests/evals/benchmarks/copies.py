"""A small copy of every benchmark in its published format and layout, malformed rows included."""

import csv
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from pyarrow import parquet
from tests.data import true_schemas as schemas
from tests.evals.benchmarks import images

Row = Mapping[str, Any]


def stored(encoded: bytes | None) -> dict[str, Any] | None:
    """As `datasets` stores an image in a table."""
    return None if encoded is None else {"bytes": encoded, "path": None}


def gsm8k(folder: Path) -> Path:
    rows = [
        schemas.gsm8k("Tom has 3 apples and eats 1. How many are left?", "3 - 1 = <<3-1=2>>2", "2"),
        schemas.gsm8k("A car costs $1,200 and a boat ten times that. What is the boat?", "So", "12,000"),
        {"question": "What is lost?", "answer": "nobody knows"},
    ]
    schemas.write_parquet(folder / "main" / "test-00000-of-00001.parquet", rows)
    schemas.write_parquet(folder / "main" / "train-00000-of-00001.parquet", rows[:1])
    schemas.write_parquet(folder / "socratic" / "test-00000-of-00001.parquet", rows[:1])
    return folder


def math_500(folder: Path) -> Path:
    row = {
        "problem": "What is half of $\\frac{1}{2}$?",
        "solution": "It is $\\boxed{\\frac{1}{4}}$.",
        "answer": "\\frac{1}{4}",
        "subject": "Prealgebra",
        "level": 2,
        "unique_id": "test/prealgebra/7.json",
    }
    schemas.write_jsonl(folder / "test.jsonl", [row])
    return folder


def mmlu_pro(folder: Path) -> Path:
    def row(number: int, options: Sequence[str], answer: str, category: str) -> Row:
        return {
            "question_id": number,
            "question": f"Question {number}?",
            "options": list(options),
            "answer": answer,
            "answer_index": ord(answer) - ord("A"),
            "cot_content": "",
            "category": category,
            "src": "made",
        }

    rows = [
        row(0, [f"choice {n}" for n in range(10)], "J", "law"),
        row(71, ["blood", "bone", "N/A", "N/A"], "B", "health"),
        row(72, ["one", "two", "three"], "D", "health"),
    ]
    schemas.write_parquet(folder / "data" / "test-00000-of-00001.parquet", rows)
    schemas.write_parquet(folder / "data" / "validation-00000-of-00001.parquet", rows[:1])
    return folder


def gpqa(folder: Path) -> Path:
    names = ("Question", "Correct Answer", *(f"Incorrect Answer {n}" for n in (1, 2, 3)))
    rows = [
        ("Which is heavier,\nthe proton or the electron?", "the proton", "the electron", "both", "neither"),
        ("Which way does it flow?", "to B, slowly", "to A", "to C", "to D"),
    ]
    for name, of_file in {
        "diamond": rows,
        "main": rows * 2,
        "extended": rows * 3,
        "experts": rows[:1],
    }.items():
        with (folder / f"gpqa_{name}.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow([*names, "Record ID", "High-level domain"])
            table.writerows([*row, f"rec{number}", "Physics"] for number, row in enumerate(of_file))
    return folder


def medqa(folder: Path, count: int) -> Path:
    drugs = ("Aspirin", "Heparin", "Iron", "Zinc", "Gold")[:count]
    rows = [schemas.medqa("A 20-year-old bleeds. What helps?", drugs, "ABCDE"[count - 1])]
    us = folder / "questions" / "US"
    test = us / "4_options" / "phrases_no_exclude_test.jsonl" if count == 4 else us / "test.jsonl"
    schemas.write_jsonl(test, rows)
    schemas.write_jsonl(us / "train.jsonl", rows * 2)
    schemas.write_jsonl(us / "US_qbank.jsonl", rows * 3)
    schemas.write_jsonl(folder / "questions" / "Mainland" / "test.jsonl", rows * 4)
    return folder


MMMU_EMPTY: Row = {f"image_{n}": None for n in range(1, 8)}


def mmmu_row(name: str, question: str, options: str, answer: str, **changes: Any) -> Row:
    kind = "open" if options == "[]" else "multiple-choice"
    rest = {"explanation": "", "img_type": "['Plots']", "topic_difficulty": "Easy", "question_type": kind}
    return {
        "id": name,
        "question": question,
        "options": options,
        "answer": answer,
        **MMMU_EMPTY,
        **rest,
        **changes,
    }


def mmmu(folder: Path) -> Path:
    red, green, blue = (stored(images.plain(color)) for color in ("red", "green", "blue"))
    accounting = [
        mmmu_row(
            "validation_Accounting_1",
            "<image 1> Compare it with <image 2>. What does <image 1> cost?",
            "['$6', \"the firm's share\", '6,000', 'None']",
            "B",
            image_1=red,
            image_2=green,
        ),
        mmmu_row(
            "validation_Accounting_2", "How much is <image 1>?", "[]", "['$6', '6 dollars']", image_1=blue
        ),
        mmmu_row("validation_Accounting_3", "See <image 1>.", "['a', 'b']", "A"),
    ]
    pharmacy = [
        mmmu_row(
            "validation_Pharmacy_9",
            "Which one is <image 1>?",
            "['<image 2>', '<image 3>', 'neither', 'x', 'y']",
            "E",
            image_1=stored(images.half_transparent()),
            image_2=red,
            image_3=stored(images.huge()),
        ),
        mmmu_row("validation_Pharmacy_10", "<image 1> Read it.", "['a', 'b'", "A", image_1=red),
        mmmu_row("validation_Pharmacy_11", "<image 1> Dose?", "[]", "0.25", image_1=stored(images.cut_off())),
    ]
    for subject, rows in {"Accounting": accounting, "Pharmacy": pharmacy}.items():
        schemas.write_parquet(folder / subject / "validation-00000-of-00001.parquet", rows)
        schemas.write_parquet(folder / subject / "dev-00000-of-00001.parquet", rows[:1])
    return folder


def mmmu_pro(folder: Path) -> Path:
    def standard(count: int) -> list[Row]:
        options = str([f"choice {n}" for n in range(count)])
        answer = "ABCDEFGHIJ"[count - 1]
        return [
            {
                "id": f"test_{subject}_1",
                "question": "What does <image 1> show?",
                "options": options,
                "answer": answer,
                "subject": subject,
                **MMMU_EMPTY,
                "image_1": stored(images.plain("red")),
            }
            for subject in ("History", "Public_Health")
        ]

    vision = [
        {
            "id": "test_History_1",
            "image": stored(images.plain("white")),
            "options": str([f"choice {n}" for n in range(10)]),
            "answer": "C",
            "subject": "History",
        }
    ]
    for name, rows in {
        "standard (10 options)": standard(10),
        "standard (4 options)": standard(4),
        "vision": vision,
    }.items():
        schemas.write_parquet(folder / name / "test-00000-of-00001.parquet", rows)
    return folder


def mathvista(folder: Path) -> Path:
    def row(pid: int, question: str, answer: str, kind: str, **changes: Any) -> Row:
        rest = {
            "image": f"images/{pid}.jpg",
            "decoded_image": stored(images.plain("red")),
            "choices": None,
            "unit": None,
            "precision": None,
            "question_type": "free_form",
            "query": "Hint: ...",
            "metadata": {"task": "geometry problem solving", "grade": "high school"},
        }
        return {
            "pid": str(pid),
            "question": question,
            "answer": answer,
            "answer_type": kind,
            **rest,
            **changes,
        }

    choices = {"question_type": "multi_choice", "choices": ["145°", "35°", "55°"]}
    rows = [
        row(1, "Find $m \\angle H$", "35°", "text", **choices),
        row(2, "How many cubes are there?", "5", "integer"),
        row(3, "What is the speed?", "1.2", "float", unit="m/s", precision=1.0),
        row(4, "What is the price?", "0.5", "float", unit="$", precision=2.0),
        row(5, "Which years?", "[1966, 1968]", "list"),
        row(6, "How long?", "long", "float", precision=1.0),
        row(7, "How far?", "1.5", "float"),
    ]
    schemas.write_parquet(folder / "data" / "testmini-00000-of-00001.parquet", rows)
    schemas.write_parquet(folder / "data" / "test-00000-of-00001.parquet", rows[:1])
    schemas.write_json(folder / "annot_testmini.json", [{"pid": "1", "comment": ""}] * 5)
    return folder


def mathvista_json(folder: Path) -> Path:
    """The JSON release: an object of rows by `pid`, images as files."""
    rows = parquet.read_table(
        mathvista(folder / "parquet") / "data" / "testmini-00000-of-00001.parquet"
    ).to_pylist()
    keyed = {row.pop("pid"): {**row, "pid": str(number)} for number, row in enumerate(rows, start=1)}
    for row in keyed.values():
        row.pop("decoded_image")
    copy = folder / "json"
    (copy / "images").mkdir(parents=True)
    for pid in keyed:
        (copy / "images" / f"{pid}.jpg").write_bytes(images.plain("red", form="JPEG"))
    (copy / "testmini.json").write_text(json.dumps(keyed, indent=4))
    (copy / "annot_testmini.json").write_text(json.dumps({pid: {"comment": ""} for pid in keyed}, indent=4))
    return copy


def medxpertqa(folder: Path) -> Path:
    def row(name: str, count: int, label: str, **changes: Any) -> Row:
        options = {"ABCDEFGHIJ"[n]: f"drug {n}" for n in range(count)}
        listed = " ".join(f"({letter}) {text}" for letter, text in options.items())
        return {
            "id": name,
            "question": f"What helps the patient of {name}?\nAnswer Choices: {listed}",
            "options": options,
            "label": label,
            "medical_task": "Treatment",
            "body_system": "Digestive",
            "question_type": "Reasoning",
            **changes,
        }

    schemas.write_jsonl(folder / "Text" / "test.jsonl", [row("Text-0", 10, "J")])
    schemas.write_jsonl(
        folder / "MM" / "test.jsonl",
        [
            row("MM-0", 5, "E", images=["MM-0-a.jpeg", "MM-0-b.jpeg"]),
            row("MM-1", 5, "A", images=["MM-1-a.jpeg"]),
        ],
    )
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for name in ("MM-0-a.jpeg", "MM-0-b.jpeg"):
            archive.writestr(f"images/{name}", images.plain(form="JPEG"))
    return folder


def omnimedvqa(folder: Path) -> Path:
    def row(number: int, **changes: Any) -> Row:
        return {
            "dataset": "Chest",
            "question_id": f"Chest_{number:04}",
            "question_type": "Modality Recognition",
            "question": "What kind of image is this?",
            "gt_answer": "X-ray",
            "image_path": "Images/Chest/a.png",
            "option_A": "MRI",
            "option_B": "X-ray",
            "modality_type": "X-Ray",
            **changes,
        }

    rows = [
        row(0, option_C="CT", option_D="Ultrasound"),
        row(1, gt_answer="x-ray."),
        row(2, gt_answer="a photograph"),
    ]
    schemas.write_json(folder / "QA_information" / "Open-access" / "Chest.json", rows)
    schemas.write_json(folder / "QA_information" / "Restricted-access" / "Other.json", rows)
    (folder / "Images" / "Chest").mkdir(parents=True)
    (folder / "Images" / "Chest" / "a.png").write_bytes(images.encoded(Image.new("L", (40, 30), 9)))
    return folder


def nejm(folder: Path) -> Path:
    options = ["Scurvy", "Lupus", "Gout", "Measles", "Rabies"]
    rows = [
        {"question": "What is the diagnosis?", "options": options, "answer": "Gout", "image": "1.png"},
        {"question": "And here?", "options": options, "answer": "E", "image": ["1.png", "2.png"]},
    ]
    (folder / "1.png").write_bytes(images.plain("red"))
    return schemas.write_jsonl(folder / "nejm.jsonl", rows)


def pmc_vqa(folder: Path) -> Path:
    names = ("Figure_path", "Question", "Answer", "Choice A", "Choice B", "Choice C", "Choice D")
    rows = [
        ("a.jpg", "What is shown?", "Bone, broken", " A:Blood", " B:Bone, broken", " C:Skin", " D:Hair", "B"),
        ("gone.jpg", "And here?", "Skin", " A:Blood", " B:Bone", " C:Skin", " D:Hair", "C"),
    ]
    for file in ("test.csv", "test_clean.csv", "train.csv"):
        with (folder / file).open("w", newline="", encoding="utf-8") as out:
            table = csv.writer(out)
            table.writerow([*names, "Answer_label"])
            table.writerows(rows if file == "test_clean.csv" else rows[:1])
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        archive.writestr("figures/a.jpg", images.plain(form="JPEG"))
    return folder


def closed_questions(folder: Path) -> Path:
    rows = [
        {"image": stored(images.plain("red")), "question": "is there a mass?", "answer": "yes"},
        {"image": stored(images.plain("red")), "question": "where is it?", "answer": "left"},
        {"image": stored(images.plain("red")), "question": "is it large?", "answer": "No"},
    ]
    schemas.write_parquet(folder / "data" / "test-00000-of-00001.parquet", rows)
    return folder


def slake(folder: Path) -> Path:
    def row(qid: int, question: str, answer: str, **changes: Any) -> Row:
        rest = {"img_id": 1, "img_name": "xmlab1/source.jpg", "q_lang": "en", "answer_type": "CLOSED"}
        return {"qid": qid, "question": question, "answer": answer, "modality": "MRI", **rest, **changes}

    rows = [
        row(1, "Does it show the liver?", "Yes"),
        row(2, "图中有肝脏吗?", "Yes", q_lang="zh"),
        row(3, "Which organ is it?", "Liver", answer_type="OPEN"),
        row(4, "Is the lung healthy?", "No", img_name="xmlab2/source.jpg"),
    ]
    schemas.write_json(folder / "test.json", rows)
    (folder / "imgs" / "xmlab1").mkdir(parents=True)
    (folder / "imgs" / "xmlab1" / "source.jpg").write_bytes(images.plain(form="JPEG"))
    return folder


COPIES: dict[str, Callable[[Path], Path]] = {
    "gsm8k": gsm8k,
    "math-500": math_500,
    "mmlu-pro": mmlu_pro,
    "mmlu-pro-health": mmlu_pro,
    "gpqa-diamond": gpqa,
    "medqa": lambda folder: medqa(folder, 4),
    "medqa-5": lambda folder: medqa(folder, 5),
    "medxpertqa-text": medxpertqa,
    "medxpertqa-mm": medxpertqa,
    "mmmu": mmmu,
    "mmmu-health": mmmu,
    "mmmu-pro": mmmu_pro,
    "mmmu-pro-4": mmmu_pro,
    "mmmu-pro-vision": mmmu_pro,
    "mmmu-pro-health": mmmu_pro,
    "mathvista": mathvista,
    "omnimedvqa": omnimedvqa,
    "nejm": nejm,
    "pmc-vqa": pmc_vqa,
    "vqa-rad": closed_questions,
    "pathvqa": closed_questions,
    "slake": slake,
}
