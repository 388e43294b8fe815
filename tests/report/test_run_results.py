"""From a run's directory to results.json: against hand counts, and as the design says it looks."""

import json
from pathlib import Path

import pytest
from tests.report.demo_run import make_run

from xreasoner.evals.samples import read_samples
from xreasoner.evals.statistics import paired_difference, wilson_interval
from xreasoner.report.results import collect, stage_order, stage_parents, write_results

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
    assert set(found) == wanted | {"budgets", "needs_image", "conditions", "data_revisions"}
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
    (evals / "manifest.json").write_text("{}")
    (evals / "running.jsonl").write_text("")
    with pytest.raises(ValueError, match="no finished evaluation"):
        collect(tmp_path)
