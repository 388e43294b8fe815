"""Decontamination knows the whole catalogue that is on this machine, not only what a recipe asks."""

import json
from pathlib import Path

import pytest
from tests.data import true_schemas as schemas

from xreasoner.data.hub import pinned_in
from xreasoner.data.prepare import prepare, read_report
from xreasoner.evals.benchmarks.catalogue import BENCHMARKS
from xreasoner.evals.benchmarks.catalogue_text import read_catalogue
from xreasoner.recipe.file import check
from xreasoner.recipe.schema import Recipe
from xreasoner.storage.files import write_json

QUESTIONS = [
    "A farmer in the north has seven red apples and buys nine more, how many are there?",
    "Which train reaches the harbour first if both of them leave the old town at noon?",
    "Find the area of a garden whose longer side is twice as long as its shorter one.",
    "How often does the lighthouse flash during the night if it pauses for a quarter hour?",
]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "xreasoner"


def recipe(tmp_path: Path) -> Recipe:
    """Trains on four questions; asks one item of a benchmark that has two of them."""
    test = [schemas.gsm8k(question, "so", "1") for question in (*QUESTIONS[:2], "1?", "2?")]
    copy = schemas.write_jsonl(tmp_path / "gsm8k.jsonl", test)
    rows = [{"question": question, "answer": "1"} for question in QUESTIONS]
    table = schemas.write_jsonl(tmp_path / "mine.jsonl", rows)
    filters = {"duplicates": "keep"}
    stage = {"kind": "sft", "steps": 1, "data": [{"source": "table", "path": str(table)}], "filters": filters}
    entry = {"source": "benchmark", "name": "gsm8k", "path": str(copy), "count": 1, "any_size": True}
    raw = {"name": "t", "model": "m", "out": str(tmp_path / "run"), "stages": {"sft": stage}}
    return check(raw | {"evaluation": {"benchmarks": [entry]}}, "test")


def test_items_that_a_recipe_leaves_out_of_a_benchmark_are_protected_too(
    tiny_base: Path, tmp_path: Path
) -> None:
    wanted = recipe(tmp_path)
    catalogue = read_catalogue(wanted.evaluation)
    assert len(catalogue.questions["gsm8k"]) == 4
    assert list(catalogue.missing) == [name for name in BENCHMARKS if name != "gsm8k"]
    store = prepare(wanted, "sft", tiny_base, {}, print, lambda: catalogue)
    assert [problem.question[0] for problem in store] == QUESTIONS[2:]
    report = read_report(store.folder)
    assert (report.benchmarks, report.protected) == ({"gsm8k": 2}, 1)
    assert report.unprotected == list(catalogue.missing)


def test_a_benchmark_that_the_recipe_does_not_ask_is_protected_once_it_was_downloaded(
    tiny_base: Path, tmp_path: Path, empty_cache: Path
) -> None:
    row = {
        "problem": QUESTIONS[3],
        "solution": "",
        "answer": "1",
        "subject": "x",
        "level": 1,
        "unique_id": "u",
    }
    file = schemas.write_jsonl(tmp_path / "test.jsonl", [row])
    folder = empty_cache / "hub" / "HuggingFaceH4--MATH-500"
    write_json(folder / "c0ffee" / "--test.json", [str(file)])
    write_json(folder / "latest.json", "c0ffee")
    wanted = recipe(tmp_path)
    write_json(wanted.run_dir / "hub" / "revisions.json", {"HuggingFaceH4/MATH-500": "c0ffee"})

    with pinned_in(wanted.run_dir):
        catalogue = read_catalogue(wanted.evaluation)
    assert [problem.question[0] for problem in catalogue.questions["math-500"]] == [QUESTIONS[3]]
    store = prepare(wanted, "sft", tiny_base, {}, print, lambda: catalogue)
    assert [problem.question[0] for problem in store] == [QUESTIONS[2]]


def test_a_later_download_prepares_nothing_again(tiny_base: Path, tmp_path: Path) -> None:
    wanted = recipe(tmp_path)
    first = prepare(wanted, "sft", tiny_base, {}, print)

    def read_again() -> tuple[dict, list[str]]:
        raise AssertionError("the catalogue was read again")

    again = prepare(wanted, "sft", tiny_base, {}, print, read_again)
    assert again.fingerprint == first.fingerprint
    assert json.loads((first.folder / "report.json").read_text())["unprotected"] == []
