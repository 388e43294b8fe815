"""Every benchmark from a small copy: keys, prompts, chance level, broken items."""

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from PIL import Image
from tests.data import true_schemas as schemas
from tests.evals.benchmarks.copies import COPIES

from xreasoner.chat.template import problem_prompt
from xreasoner.evals.benchmarks import BENCHMARKS, load_benchmark
from xreasoner.evals.benchmarks.image_files import MOST_PIXELS
from xreasoner.evals.task import Benchmark
from xreasoner.records import Picture

Loaded = Callable[[str], Benchmark]

# name: modality, domain, chance level, {item: key}, {broken item: why}
FOUND: dict[str, tuple[str, str, float, dict[str, str], dict[str, str]]] = {
    "gsm8k": ("text", "math", 0, {"1": "2", "2": "12000"}, {"3": "no #### answer"}),
    "math-500": ("text", "math", 0, {"test/prealgebra/7.json": "\\frac{1}{4}"}, {}),
    "mmlu-pro": (
        "text",
        "general",
        (1 / 10 + 1 / 2) / 2,
        {"0": "J", "71": "B"},
        {"72": "the answer is not an option ('D')"},
    ),
    "mmlu-pro-health": ("text", "medicine", 1 / 2, {"71": "B"}, {"72": "the answer is not an option ('D')"}),
    "gpqa-diamond": ("text", "science", 1 / 4, {"rec0": "B", "rec1": "C"}, {}),
    "medqa": ("text", "medicine", 1 / 4, {"1": "D"}, {}),
    "medqa-5": ("text", "medicine", 1 / 5, {"1": "E"}, {}),
    "medxpertqa-text": ("text", "medicine", 1 / 10, {"Text-0": "J"}, {}),
    "medxpertqa-mm": (
        "image",
        "medicine",
        1 / 5,
        {"MM-0": "E"},
        {"MM-1": "no image (MM-1-a.jpeg was not found)"},
    ),
    "mmmu": (
        "image",
        "general",
        (1 / 4 + 0 + 1 / 5) / 3,
        {
            "validation_Accounting_1": "B",
            "validation_Accounting_2": '["$6", "6 dollars"]',
            "validation_Pharmacy_9": "E",
        },
        {
            "validation_Accounting_3": "no image (the row has NoneType in its place)",
            "validation_Pharmacy_10": "options are not the text of a list (\"['a', 'b'\")",
            "validation_Pharmacy_11": "broken image (the row's own: Truncated File Read)",
        },
    ),
    "mmmu-health": (
        "image",
        "medicine",
        1 / 5,
        {"validation_Pharmacy_9": "E"},
        {
            "validation_Pharmacy_10": "options are not the text of a list (\"['a', 'b'\")",
            "validation_Pharmacy_11": "broken image (the row's own: Truncated File Read)",
        },
    ),
    "mmmu-pro": ("image", "general", 1 / 10, {"test_History_1": "J", "test_Public_Health_1": "J"}, {}),
    "mmmu-pro-4": ("image", "general", 1 / 4, {"test_History_1": "D", "test_Public_Health_1": "D"}, {}),
    "mmmu-pro-vision": ("image", "general", 1 / 10, {"test_History_1": "C"}, {}),
    "mmmu-pro-health": ("image", "medicine", 1 / 10, {"test_Public_Health_1": "J"}, {}),
    "mathvista": (
        "image",
        "math",
        (1 / 3 + 0 + 0 + 0 + 0) / 5,
        {"1": "B", "2": "5", "3": "1.2", "4": "0.50", "5": "[1966, 1968]"},
        {"6": "the answer is not of type float ('long')", "7": "the precision is not 1 or 2 (None)"},
    ),
    "omnimedvqa": (
        "image",
        "medicine",
        (1 / 4 + 1 / 2) / 2,
        {"Chest_0000": "B", "Chest_0001": "B"},
        {"Chest_0002": "the answer is not an option ('a photograph')"},
    ),
    "nejm": ("image", "medicine", 1 / 5, {"1": "C"}, {"2": "no image (2.png was not found)"}),
    "pmc-vqa": ("image", "medicine", 1 / 4, {"1": "B"}, {"2": "no image (gone.jpg was not found)"}),
    "vqa-rad": ("image", "medicine", 1 / 2, {"1": "A", "3": "B"}, {}),
    "pathvqa": ("image", "medicine", 1 / 2, {"1": "A", "3": "B"}, {}),
    "slake": ("image", "medicine", 1 / 2, {"1": "A"}, {"4": "no image (xmlab2/source.jpg was not found)"}),
}


def read(name: str, path: Path, limit: int | None = None) -> Benchmark:
    """The copies here are small."""
    return load_benchmark(name, path, limit, any_size=True)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return cache(lambda name: read(name, COPIES[name](tmp_path_factory.mktemp(name))))


def asked(benchmark: Benchmark, item: str) -> str:
    (problem,) = (one for one in benchmark.problems if one.id == f"{benchmark.name}-{item}")
    parts = [part for message in problem_prompt(problem, None).messages for part in message.parts]
    return "".join("[image]" if isinstance(part, Picture) else part for part in parts)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_is_read_from_its_published_form(name: str, loaded: Loaded) -> None:
    modality, domain, chance, keys, broken = FOUND[name]
    benchmark = loaded(name)
    assert (benchmark.name, benchmark.modality, benchmark.domain) == (name, modality, domain)
    assert {one.id.removeprefix(f"{name}-"): one.answer for one in benchmark.problems} == keys
    assert {one.id.removeprefix(f"{name}-"): one.why for one in benchmark.broken} == broken
    assert benchmark.chance == pytest.approx(chance)
    assert all(bool(one.pictures) == (modality == "image") for one in benchmark.problems)


PROMPTS = {
    ("mmlu-pro", "71"): "Question 71?\nA: blood\nB: bone",
    ("medxpertqa-mm", "MM-0"): "[image][image]\nWhat helps the patient of MM-0?\n"
    "A: drug 0\nB: drug 1\nC: drug 2\nD: drug 3\nE: drug 4",
    ("mmmu", "validation_Accounting_1"): "[image] Compare it with [image]. What does image 1 cost?\n"
    "A: $6\nB: the firm's share\nC: 6,000\nD: None",
    ("mmmu", "validation_Accounting_2"): "How much is [image]?\nAnswer with a single word, number or phrase.",
    ("mmmu", "validation_Pharmacy_9"): "Which one is [image]?\nimage 2: [image]\nimage 3: [image]\n"
    "A: image 2\nB: image 3\nC: neither\nD: x\nE: y",
    ("mmmu-pro-vision", "test_History_1"): "[image]The image shows a question and its options. Answer it.",
    ("mathvista", "1"): "[image]\nFind $m \\angle H$\nA: 145°\nB: 35°\nC: 55°",
    ("mathvista", "2"): "[image]\nHow many cubes are there?\nAnswer with a whole number.",
    ("mathvista", "4"): "[image]\nWhat is the price? (Unit: $)\nAnswer with a number to two decimal places.",
    ("pmc-vqa", "1"): "[image]\nWhat is shown?\nA: Blood\nB: Bone, broken\nC: Skin\nD: Hair",
    ("slake", "1"): "[image]\nDoes it show the liver?\nA: Yes\nB: No",
}


@pytest.mark.parametrize(("name", "item"), PROMPTS)
def test_what_is_asked_word_for_word(name: str, item: str, loaded: Loaded) -> None:
    assert asked(loaded(name), item) == PROMPTS[name, item]


def test_images_arrive_in_a_form_that_models_take(loaded: Loaded) -> None:
    problem = loaded("mmmu-health").problems[0]
    shown = [Image.open(io.BytesIO(picture.encoded)) for picture in problem.pictures]
    assert [image.mode for image in shown] == ["RGB", "RGB", "RGB"]
    assert all(image.width * image.height <= MOST_PIXELS for image in shown)


def test_a_limit_is_spread_evenly_and_keeps_the_items_names(tmp_path: Path) -> None:
    rows = [schemas.gsm8k(f"{n}?", "so", str(n)) for n in range(10)]
    path = schemas.write_jsonl(tmp_path / "test.jsonl", rows)
    few = read("gsm8k", path, limit=3)
    assert [(one.id, one.answer) for one in few.problems] == [
        ("gsm8k-1", "0"),
        ("gsm8k-4", "3"),
        ("gsm8k-7", "6"),
    ]
    assert len(read("gsm8k", path, limit=99).problems) == 10


def test_rows_that_are_no_rows_are_broken_and_twins_are_told_apart(tmp_path: Path) -> None:
    row = {"id": "a", "question": "?", "options": {"A": "x", "B": "y"}, "label": "A"}
    path = schemas.write_jsonl(tmp_path / "test.jsonl", [row, row, b"{oops", [1]])
    benchmark = read("medxpertqa-text", path)
    assert [one.id for one in benchmark.problems] == ["medxpertqa-text-a", "medxpertqa-text-a-2"]
    assert [(one.id, one.why) for one in benchmark.broken] == [
        ("medxpertqa-text-3", "not JSON (Expecting property name enclosed in double quotes at character 2)"),
        ("medxpertqa-text-4", "not an object"),
    ]


@pytest.mark.parametrize(
    ("name", "row", "said"),
    [
        (
            "medqa",
            {"question": "?", "choices": []},
            "test.jsonl:1: not in the form of medqa, which has the columns "
            "question, options, answer_idx; this has question, choices",
        ),
        (
            "slake",
            schemas.gsm8k("?", "", "1") | {"img_name": "", "q_lang": "zh"},
            "no row belongs to slake",
        ),
        (
            "nejm",
            {"question": "?", "options": ["a", "b"], "answer": "A", "image": "gone.png"},
            "benchmark nejm has no problems; all of its items are broken, the first one: no image",
        ),
        ("gsm8", {}, "unknown benchmark 'gsm8'; did you mean gsm8k?"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(name: str, row: object, said: str, tmp_path: Path) -> None:
    path = schemas.write_jsonl(tmp_path / "test.jsonl", [row])
    with pytest.raises(ValueError) as caught:
        read(name, path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_benchmark_that_is_not_on_the_hub_says_where_it_comes_from() -> None:
    with pytest.raises(ValueError, match=r"medqa-5 needs your own copy: get questions/US/test\.jsonl"):
        load_benchmark("medqa-5")
