"""Answers in a run directory: which are kept, which are set aside, and the line that sums them up."""

from pathlib import Path

from tests.evals.scripted import ScriptedEngine
from tests.evals.test_runner import TEN, run, says

from xreasoner.pipeline.evaluate import in_words, prepare_answers, set_aside_unasked, shorter_tasks, tasks_of
from xreasoner.recipe.schema import Evaluation
from xreasoner.storage.files import unfinished

EVALUATION = Evaluation(think_budget=10, budgets=(5,))


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_a_recipe_does_not_ask_any_more_is_put_aside(tmp_path: Path) -> None:
    out = tmp_path / "evals" / "base"
    for folder, name in ((out, "sums"), (out, "old"), (out / "budget-5", "sums"), (out / "budget-5", "old")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text("{}")
    (out / "budget-7").mkdir()
    (out / "manifest.json").write_text("{}")
    unfinished(out / "sums.jsonl").write_text("half")
    set_aside_unasked(out, [TEN], EVALUATION, tmp_path)
    assert names(out) == ["budget-5/sums.json", "manifest.json", "sums.json"]
    assert len(list((tmp_path / "stale").iterdir())) == 3


def test_answers_of_another_checkpoint_are_put_aside_and_those_of_the_same_kept(tmp_path: Path) -> None:
    out = tmp_path / "evals" / "base"
    prepare_answers(out, "one", tmp_path)
    (out / "sums.jsonl").write_text("")
    prepare_answers(out, "one", tmp_path)
    assert names(out) == ["manifest.json", "sums.jsonl"]
    prepare_answers(out, "two", tmp_path)
    assert names(out) == ["manifest.json"]


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
