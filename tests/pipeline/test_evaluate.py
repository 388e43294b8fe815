"""Answers in a run directory: whose they are, which the report shows, and the line about a result."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.evals.scripted import ScriptedEngine
from tests.evals.test_runner import TEN, run, says

from xreasoner.evals.task import is_asked
from xreasoner.pipeline.evaluate import in_words, prepare_answers, shorter_tasks, tasks_of, write_asked
from xreasoner.recipe.schema import Evaluation
from xreasoner.storage.files import unfinished

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
