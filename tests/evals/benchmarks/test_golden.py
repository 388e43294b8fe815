"""A golden table: replies to one item of every benchmark, and how each must be graded."""

from collections.abc import Callable, Iterator
from functools import cache

import pytest
from tests.evals.benchmarks.copies import COPIES

from xreasoner.evals.benchmarks import BENCHMARKS, load_benchmark
from xreasoner.evals.task import Benchmark
from xreasoner.records import Score
from xreasoner.rewards.grade import Grader

# name, item: {reply: Right, Wrong or Missing}
GOLDEN: dict[tuple[str, str], dict[str, str]] = {
    ("gsm8k", "2"): {
        "<answer>12,000</answer>": "R",
        "<answer>$12000</answer>": "R",
        "The boat costs $1200 times 10.\nThe answer is \\$12,000.": "R",
        "<answer>1200</answer>": "W",
        "<think>12000</think>": "M",
    },
    ("math-500", "test/prealgebra/7.json"): {
        "\\boxed{\\frac14}": "R",
        "<answer>0.25</answer>": "R",
        "<answer>\\frac{2}{4}</answer>": "W",
    },
    ("mmlu-pro", "0"): {
        "<answer>J: choice 9</answer>": "R",
        "<answer>J</answer>": "R",
        "The answer is (I).": "W",
    },
    ("mmlu-pro-health", "71"): {"<answer>B: bone</answer>": "R", "<answer>C</answer>": "W", "bone": "R"},
    ("gpqa-diamond", "rec1"): {
        "<answer>C: to B, slowly</answer>": "R",
        "<answer>to B, slowly</answer>": "R",
        "<answer>B: to C</answer>": "W",
        "<answer>B: to B, slowly</answer>": "W",
    },
    ("medqa", "1"): {
        "<answer>D: Zinc</answer>": "R",
        "<answer>Zinc</answer>": "R",
        "<answer>E</answer>": "W",
    },
    ("medqa-5", "1"): {"<answer>E: Gold</answer>": "R", "<answer>D: Zinc</answer>": "W"},
    ("medxpertqa-text", "Text-0"): {"<answer>J: drug 9</answer>": "R", "<answer>I: drug 8</answer>": "W"},
    ("medxpertqa-mm", "MM-0"): {"<answer>E</answer>": "R", "<answer>D or E</answer>": "W", "": "M"},
    ("mmmu", "validation_Accounting_1"): {
        "<answer>B: the firm's share</answer>": "R",
        "(B) the firm's share": "R",
        "<answer>The firm's share.</answer>": "R",
        "<answer>A: $6</answer>": "W",
    },
    ("mmmu", "validation_Accounting_2"): {
        "<answer>$6</answer>": "R",
        "<answer>It is 6 dollars.</answer>": "R",
        "<answer>$7</answer>": "W",
        "<think>so $6": "M",
    },
    ("mmmu-health", "validation_Pharmacy_9"): {
        "<answer>E: y</answer>": "R",
        "<answer>A: image 2</answer>": "W",
        "<answer>image 3</answer>": "W",
    },
    ("mmmu-pro", "test_History_1"): {
        "<answer>J: choice 9</answer>": "R",
        "<answer>A: choice 0</answer>": "W",
    },
    ("mmmu-pro-4", "test_History_1"): {"<answer>D</answer>": "R", "<answer>J</answer>": "W"},
    ("mmmu-pro-vision", "test_History_1"): {"<answer>C</answer>": "R", "<answer>choice 2</answer>": "R"},
    ("mmmu-pro-health", "test_Public_Health_1"): {"\\boxed{J}": "R", "\\boxed{B}": "W"},
    ("mathvista", "1"): {
        "<answer>B: 35°</answer>": "R",
        "<answer>35°</answer>": "R",
        "<answer>B: 55°</answer>": "W",
        "<answer>A</answer>": "W",
    },
    ("mathvista", "2"): {
        "<answer>5 cubes</answer>": "R",
        "<answer>five</answer>": "R",
        "<answer>5 or 6</answer>": "W",
        "<answer>-5</answer>": "W",
    },
    ("mathvista", "3"): {
        "<answer>1.2 m/s</answer>": "R",
        "<answer>1.24</answer>": "R",
        "<answer>1.3</answer>": "W",
        "<answer>1.2e0</answer>": "R",
    },
    ("mathvista", "4"): {
        "<answer>$0.50</answer>": "R",
        "<answer>1/2</answer>": "R",
        "<answer>50%</answer>": "W",
    },
    ("mathvista", "5"): {"<answer>[1966, 1968]</answer>": "R", "<answer>1968, 1966</answer>": "W"},
    ("omnimedvqa", "Chest_0000"): {
        "<answer>B: X-ray</answer>": "R",
        "<answer>X-Ray</answer>": "R",
        "C. CT": "W",
    },
    ("nejm", "1"): {"<answer>C: Gout</answer>": "R", "<answer>Lupus</answer>": "W"},
    ("pmc-vqa", "1"): {"<answer>B: Bone, broken</answer>": "R", "<answer>Bone</answer>": "W"},
    ("vqa-rad", "3"): {"<answer>B: No</answer>": "R", "No, it is not.": "R", "<answer>Yes</answer>": "W"},
    ("pathvqa", "1"): {"<answer>A: Yes</answer>": "R", "yes, there is": "R", "No, there is not": "W"},
    ("slake", "1"): {"<answer>A: Yes</answer>": "R", "<answer>B: Yes</answer>": "W"},
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Benchmark]:
    return cache(
        lambda name: load_benchmark(name, COPIES[name](tmp_path_factory.mktemp(name)), any_size=True)
    )


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(workers=1, seconds=30) as grader:
        yield grader


def verdict(score: Score) -> str:
    if score.correct is None:
        return "unscored"
    return "M" if score.missing else "R" if score.correct else "W"


def test_the_table_names_every_benchmark() -> None:
    assert {name for name, _ in GOLDEN} == set(BENCHMARKS)


@pytest.mark.parametrize(("name", "item"), GOLDEN)
def test_replies_count_as_they_must(
    name: str, item: str, loaded: Callable[[str], Benchmark], grader: Grader
) -> None:
    (problem,) = (one for one in loaded(name).problems if one.id == f"{name}-{item}")
    replies = GOLDEN[name, item]
    scores = grader.score_many([(problem, reply) for reply in replies])
    assert {reply: verdict(score) for reply, score in zip(replies, scores, strict=True)} == replies
