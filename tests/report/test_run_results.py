"""From a run directory to results.json, against counts by hand."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from tests.evals.scripted import ScriptedEngine, problem
from tests.evals.test_runner import TEN, run, says
from tests.report.demo_run import make_run

from xreasoner.evals.samples import read_answers, read_samples
from xreasoner.evals.statistics import paired_difference, wilson_interval
from xreasoner.evals.task import Benchmark
from xreasoner.report.html_tables import cell
from xreasoner.report.results import collect, stage_order, stage_parents, write_results
from xreasoner.report.table import print_table
from xreasoner.storage.run_folder import Manifest

ROW_KEYS = {
    "stage", "benchmark", "modality", "domain", "n", "accuracy", "low", "high",
    "forced", "missing", "unscored", "broken", "mean_think_tokens", "role", "subset",
    "clusters", "scored", "majority", "pass_at", "cut", "rules",
}  # fmt: skip


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "demo", count=12)


def test_results_have_the_form_the_design_gives_them(run_dir: Path, tmp_path: Path) -> None:
    write_results(collect(run_dir), tmp_path / "results.json")
    found = json.loads((tmp_path / "results.json").read_text())
    wanted = {"run", "recipe", "wall_seconds", "versions", "results", "comparisons"}
    extra = {"prompt_gains", "budgets", "needs_image", "conditions", "data_revisions", "groups"}
    assert set(found) == wanted | extra
    assert (found["run"], found["recipe"], found["wall_seconds"]) == ("demo", "quickstart", 123.0)
    assert all(set(row) == ROW_KEYS for row in found["results"])
    wanted = {"from", "to", "benchmark", "subset", "n", "difference", "low", "high", "p"}
    wanted |= {"p_corrected", "needed"}
    assert all(set(comparison) == wanted for comparison in found["comparisons"])
    assert {row["modality"] for row in found["results"]} == {"text", "image"}


def test_a_row_counts_what_the_samples_say(run_dir: Path) -> None:
    row = next(row for row in collect(run_dir).rows if (row.stage, row.benchmark) == ("sft", "sums-image"))
    samples = list(read_samples(run_dir / "evals/sft/sums-image.jsonl"))
    right = sum(sample.score.correct is True for sample in samples)
    assert (row.n, row.accuracy) == (12, right / 12)
    assert (row.low, row.high) == wilson_interval(right, 12)
    assert row.forced == sum(sample.forced for sample in samples) / 12
    assert (row.role, row.subset) == ("skill", "all")


def test_a_comparison_pairs_the_same_items(run_dir: Path) -> None:
    found = {
        (one.before, one.after): one.change
        for one in collect(run_dir).comparisons
        if one.benchmark == "bars-text"
    }
    assert list(found) == [("base", "sft"), ("sft", "rl"), ("base", "rl")]
    paths = [run_dir / f"evals/{stage}/bars-text.jsonl" for stage in ("base", "rl")]
    scores = [[float(bool(one.score.correct)) for one in read_samples(path)] for path in paths]
    assert found["base", "rl"] == paired_difference(*scores)


def test_items_solved_blind_are_left_out_of_the_image_needed_rows(run_dir: Path) -> None:
    solvable = {
        sample.problem_id
        for stage in ("base", "sft", "rl")
        for sample in read_samples(run_dir / f"evals/{stage}/bars-image-without-image.jsonl")
        if sample.score.correct
    }
    assert 0 < len(solvable) < 12
    rows = [row for row in collect(run_dir).rows if row.subset == "image-needed"]
    assert {row.benchmark for row in rows} == {"bars-image"}
    assert [row.n for row in rows] == [12 - len(solvable)] * 3
    changes = [one.change for one in collect(run_dir).comparisons if one.subset == "image-needed"]
    assert [change.n for change in changes] == [12 - len(solvable)] * 3


def test_stages_come_in_the_order_of_the_run(run_dir: Path, tmp_path: Path) -> None:
    assert collect(run_dir).stages == ("base", "sft", "rl")
    for folder in (
        "stages/10-late",
        "stages/2-early",
        "evals/base",
        "evals/extra",
        "evals/pictures",
        "stages/x",
    ):
        (tmp_path / folder).mkdir(parents=True)
    assert stage_order(tmp_path) == ["base", "early", "late", "extra"]


def test_a_stage_from_another_than_the_one_before_is_compared_with_that(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("stages: {sft: {kind: sft}, rl-only: {from: base}, med: null}")
    parents = stage_parents(tmp_path, ["base", "sft", "rl-only", "late"])
    assert parents == {"sft": "base", "rl-only": "base", "late": "rl-only"}


def test_what_is_unfinished_or_no_evaluation_is_passed_over(run_dir: Path, tmp_path: Path) -> None:
    evals = tmp_path / "evals" / "base"
    evals.mkdir(parents=True)
    Manifest({"checkpoint": "x"}).write(evals)
    (evals / "running.jsonl").write_text("")
    with pytest.raises(ValueError, match="no finished evaluation"):
        collect(tmp_path)


def test_accuracy_by_tag_is_that_of_the_items_with_it(run_dir: Path) -> None:
    rows = [row for row in collect(run_dir).groups if (row.stage, row.benchmark) == ("rl", "bars-text")]
    answers = read_answers(run_dir / "evals/rl/bars-text.jsonl")
    by_steps: dict[int, list[bool]] = {}
    for one in answers.samples:
        steps = int(answers.problems[one.problem_id].problem.tags["steps"])
        by_steps.setdefault(steps, []).append(bool(one.score.correct))
    found = {row.value: (row.n, row.accuracy) for row in rows if row.tag == "steps"}
    assert found == {steps: (len(right), sum(right) / len(right)) for steps, right in by_steps.items()}
    assert list(found) == sorted(found)


def test_the_official_average_of_mmmu_pro_is_over_its_forms(tmp_path: Path) -> None:
    """Four of eight in one form, two of eight in the other: 3/8, with eight independent questions."""
    for form, right in (("mmmu-pro", 4), ("mmmu-pro-vision", 2)):
        shown = [replace(problem(i, picture=True), id=f"{form}-{i}", item=f"{form}-{i}") for i in range(8)]
        engine = ScriptedEngine(lambda name, _, right=right: answer_to(int(name.rpartition("-")[2]), right))
        run(engine, tmp_path / "evals" / "base", benchmark=Benchmark(form, "image", "general", tuple(shown)))
    rows = {row.benchmark: row for row in collect(tmp_path).rows}
    overall = rows["mmmu-pro-overall"]
    assert (overall.accuracy, overall.n, overall.clusters) == (3 / 8, 16, 8)
    assert rows["mmmu-pro"].accuracy == 1 / 2 and rows["mmmu-pro-vision"].accuracy == 1 / 4


def answer_to(number: int, right: int) -> str:
    return f"<answer>{number + 1 if number < right else 99}</answer>"


def test_an_accuracy_over_no_items_is_a_dash(tmp_path: Path) -> None:
    class Refusing(ScriptedEngine):
        def generate(self, prompts, sampling):  # type: ignore[no-untyped-def]
            for rollout in super().generate(prompts, sampling):
                yield replace(rollout, trouble="no image")

    run(Refusing(says), tmp_path / "evals" / "base", benchmark=TEN)
    results = collect(tmp_path)
    (row,) = results.rows
    assert (row.scored, row.broken) == (0, 1.0)
    assert results.as_json()["results"][0]["accuracy"] is None
    console = Console(width=100, record=True, file=io.StringIO())
    print_table(results, console)
    shown = console.export_text()
    assert re.search(r"sums +10 +– ", shown) and "general (n = 10): base –" in shown and "0.0" not in shown
    assert "0.0" not in cell(row) and ">–<" in cell(row)
