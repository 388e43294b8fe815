"""Answers in a run directory: whose they are, which the report shows, and the line about a result."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.evals.scripted import ScriptedEngine
from tests.evals.test_runner import TEN, run, says

from xreasoner.evals.task import is_asked
from xreasoner.pipeline.evaluate import (
    conditions_of,
    in_words,
    method_of,
    prepare_answers,
    shorter_tasks,
    tasks_of,
    write_asked,
)
from xreasoner.recipe.schema import Evaluation
from xreasoner.storage.files import unfinished
from xreasoner.storage.run_folder import read_manifest

EVALUATION = Evaluation(think_budget=10, budgets=(5,))


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_a_recipe_no_longer_asks_stays_on_disk_and_leaves_the_report(tmp_path: Path) -> None:
    other = replace(TEN, name="other")
    assert is_asked(tmp_path, "sums", "budget-7")
    write_asked(tmp_path, [], [TEN, other], Evaluation(think_budget=10, budgets=(5, 7)))
    write_asked(tmp_path, [], [TEN], EVALUATION)
    assert is_asked(tmp_path, "sums") and is_asked(tmp_path, "sums", "budget-5")
    assert not is_asked(tmp_path, "other") and not is_asked(tmp_path, "sums", "budget-7")


def test_a_folder_holds_the_answers_of_one_checkpoint(tmp_path: Path) -> None:
    out = tmp_path / "evals" / "base"
    prepare_answers(out, "one")
    (out / "sums.jsonl").write_text("")
    unfinished(out / "sums.jsonl").write_text("half")
    prepare_answers(out, "one")
    assert names(out) == ["manifest.json", "sums.jsonl"]
    with pytest.raises(ValueError, match="these are the answers of another checkpoint"):
        prepare_answers(out, "two")
    assert names(out) == ["manifest.json", "sums.jsonl"]


def test_another_precision_starts_anew_and_says_so(tmp_path: Path) -> None:
    out, said = tmp_path / "evals" / "base", list[str]()
    one = {"engine": "torch", "dtype": "float32"}
    prepare_answers(out, "same", one, {"versions": {"torch": "2.13"}}, said.append)
    (out / "sums.jsonl").write_text("")
    prepare_answers(out, "same", one, {"versions": {"torch": "2.14"}}, said.append)
    assert said == [] and names(out) == ["manifest.json", "sums.jsonl"]
    prepare_answers(out, "same", {"engine": "torch", "dtype": "bfloat16"}, {}, said.append)
    assert names(out) == ["manifest.json"]
    (line,) = said
    assert line.startswith('base: dtype was "float32", is "bfloat16", so it is evaluated anew')
    assert (tmp_path / "stale" / "1-evals-base" / "sums.jsonl").exists()
    manifest = read_manifest(out)
    assert manifest is not None and manifest.made_from["dtype"] == "bfloat16"


def test_an_evaluation_is_known_by_engine_precision_and_pixels(tiny_base: Path) -> None:
    cpu = torch.device("cpu")
    found = method_of(tiny_base, Evaluation(), cpu)
    assert (found["engine"], found["attention"], found["pixels"]) == ("torch", "sdpa", [784, 200704])
    assert found["dtype"] in ("float32", "bfloat16")
    fixed = Evaluation(dtype="float32", min_pixels=262144, max_pixels=262144)
    assert method_of(tiny_base, fixed, cpu) | {"engine": ""} == {
        "engine": "", "dtype": "float32", "attention": "sdpa", "pixels": [262144, 262144],
    }  # fmt: skip
    conditions = conditions_of(cpu, tiny_base)
    assert conditions["revisions"] == {}
    assert conditions["device"].startswith("cpu") and "torch" in conditions["versions"]


def test_shorter_budgets_belong_to_what_wants_thinking(tmp_path: Path) -> None:
    (task,) = tasks_of([TEN], EVALUATION, tmp_path / "base")
    assert task.keeps_tokens and task.sampling.think_budget == 10
    (shorter,) = shorter_tasks(task, EVALUATION)
    assert (shorter.sampling.think_budget, shorter.out.name, shorter.keeps_tokens) == (5, "budget-5", False)
    assert shorter.pictures == task.pictures == tmp_path / "pictures"
    assert shorter.asked != task.asked


def test_a_line_says_the_accuracy_and_what_it_hides(tmp_path: Path) -> None:
    said = in_words(run(ScriptedEngine(says), tmp_path))
    assert said == "sums: 70.0% [40, 89] of 10, 10% forced, 20% missing"
