"""The transfer table, references of other runs, budgets, and two runs compared: against counts by hand."""

import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from tests.evals.scripted import ScriptedEngine
from tests.evals.test_runner import TEN, says, task

from xreasoner.evals.runner import evaluate
from xreasoner.evals.samples import problems_path, read_answers, write_problems
from xreasoner.evals.summary import summarise
from xreasoner.evals.task import Benchmark
from xreasoner.records import Picture, Sampling
from xreasoner.report.compare import answers_folder, compare_runs, print_comparison
from xreasoner.report.html_tables import budgets, cell, counted, needs_image, transfer
from xreasoner.report.paper import paper, published_columns, transfer_rows
from xreasoner.report.results import Results, collect
from xreasoner.report.table import print_table
from xreasoner.rewards.grade import Grader

PICTURED = tuple(
    replace(one, question=(Picture(b"\x89PNG" + bytes([i])), "?")) for i, one in enumerate(TEN.problems)
)
SHOWN = Benchmark("mmmu-pro", "image", "general", PICTURED)
BLIND = Benchmark("mmmu-pro-without-image", "text", "general", TEN.problems, role="blind")
RIGHT = {"base": range(3), "sft": range(7)}


def right_in(numbers: range) -> ScriptedEngine:
    def answer(prompt_id: str, sample: int) -> str:
        number = int(prompt_id[1:4])
        return f"<think>x</think><answer>{number + 1 if number in numbers else -1}</answer>"

    return ScriptedEngine(answer)


def evaluated(
    run_dir: Path, benchmark: Benchmark, right: dict[str, range], budget: int | None = None
) -> Path:
    with Grader() as grader:
        for stage, numbers in right.items():
            asked = task(run_dir / "evals" / stage, Sampling(), benchmark)
            asked = asked.with_budget(budget) if budget is not None else asked
            evaluate(asked, right_in(numbers), grader, lambda _: None)
    return run_dir


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return evaluated(tmp_path / "run", SHOWN, RIGHT)


def test_points_above_the_base_on_all_and_on_image_needed_items(run_dir: Path) -> None:
    evaluated(run_dir, BLIND, {"base": range(2), "sft": range(1, 3)})
    results = collect(run_dir)
    (row,) = results.needs_image
    assert (row.judges, row.samples, row.least_right, row.n) == ("stages", 1, None, 7)
    assert row.accuracy == {"base": 0.0, "sft": pytest.approx(4 / 7)}
    every, needed = transfer_rows(results)
    assert (every.subset, every.n, every.base, every.changes[0].difference) == ("all", 10, 0.3, 0.4)  # type: ignore[union-attr]
    assert (needed.subset, needed.n, needed.base) == ("image-needed", 7, 0.0)
    assert needed.changes[0].difference == pytest.approx(4 / 7)  # type: ignore[union-attr]
    assert (every.published, needed.published) == ((0.387, 0.407, 0.43, None), ())
    assert published_columns([every]) == paper().columns
    console = Console(width=110, record=True, file=io.StringIO())
    print_table(results, console)
    assert re.search(r"mmmu-pro +30.0 +\+40.0 \[.*38.7 +40.7 +43.0 +–", console.export_text())
    page = transfer(results)
    assert "+40.0" in page and ">43.0<small>+4.3</small>" in page and "read off the figures" in page


def test_the_papers_figures_are_those_of_the_design() -> None:
    assert paper().accuracies["medqa"] == (0.563, 0.716, 0.623, 0.724)
    assert paper().accuracies["nejm"] == (None, None, 0.457, None)
    assert len(paper().accuracies) == 9


def test_one_stage_alone_has_nothing_to_transfer(tmp_path: Path) -> None:
    assert transfer(collect(evaluated(tmp_path, SHOWN, {"base": range(3)}))) == ""


def left_out(results: Results) -> set[str]:
    """Of the comparison of base and sft."""
    (shown,) = (one for one in results.evaluated if one.role == "skill")
    kept = shown.answers("image-needed", ("base", "sft"))["base"]
    every = shown.by_stage["base"].problems.values()
    return {one.problem.item for one in every} - {one.problem.item for one in kept.problems.values()}


def test_several_samples_judge_by_halves_and_the_page_shows_several_thresholds(tmp_path: Path) -> None:
    for stage, right in {"base": range(2), "sft": range(5)}.items():
        for benchmark, numbers in ((SHOWN, range(5)), (BLIND, right)):
            asked = task(tmp_path / "evals" / stage, Sampling(n=4), benchmark)
            with Grader() as grader:
                evaluate(asked, right_in(numbers), grader, lambda _: None)
    rows = collect(tmp_path).needs_image
    # Two samples judge; items without options are never guessed, so one right sample of them is enough.
    assert [(row.least_right, row.samples, row.n) for row in rows] == [(None, 2, 5), (1, 2, 5), (2, 2, 5)]
    page = needs_image(collect(tmp_path))
    assert "at least 2 times in 2 by a stage compared" in page and "<td>5</td>" in page


def test_references_are_stages_or_other_runs(run_dir: Path, tmp_path: Path) -> None:
    evaluated(run_dir, BLIND, {"base": range(2), "sft": range(1, 3)})
    other = evaluated(tmp_path / "other", BLIND, {"large": range(8, 10)})
    both = {"p000", "p001", "p002"}  # what base or sft solve; each of them judges, whichever is named
    assert left_out(collect(run_dir)) == left_out(collect(run_dir, ["sft"])) == both
    assert left_out(collect(run_dir, ["base", str(other)])) == {"p008", "p009"}
    (run_dir / "recipe.yaml").write_text(f"evaluation: {{references: ['{other}']}}")
    assert left_out(collect(run_dir)) == {"p008", "p009"}
    with pytest.raises(ValueError, match="neither a stage of this run nor"):
        collect(run_dir, [str(tmp_path / "nowhere")])


def test_budgets_are_told_with_the_tokens_they_really_took(run_dir: Path) -> None:
    evaluated(run_dir, SHOWN, {"sft": range(4)}, budget=9)
    evaluated(run_dir, SHOWN, {"sft": range(5)}, budget=100)
    rows = collect(run_dir).budgets
    assert [(row.stage, row.think_budget, row.accuracy) for row in rows] == [
        ("sft", 9, 0.4),
        ("sft", 100, 0.5),
        ("sft", 4096, 0.7),
    ]
    assert "4,096" in budgets(collect(run_dir))
    found = json.loads(json.dumps(collect(run_dir).as_json()))
    assert [row["think_budget"] for row in found["budgets"]] == [9, 100, 4096]


def test_two_runs_are_compared_on_what_both_were_asked(run_dir: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run_dir, other)
    path = other / "evals" / "sft" / "mmmu-pro.jsonl"
    first, *others = read_answers(path).problems.values()
    changed = replace(first, problem=replace(first.problem, answer="other"))
    write_problems(problems_path(path), [changed, *others])
    (row,) = compare_runs([f"{run_dir}:base"], [f"{other}:sft"])
    assert (row.seeds, row.change.n, row.before, row.after) == (1, 9, 2 / 9, 6 / 9)
    assert row.p_corrected == row.change.p
    with pytest.raises(ValueError, match="name one of its models"):
        answers_folder(str(run_dir))
    with pytest.raises(ValueError, match="no model 'rl'"):
        answers_folder(f"{run_dir}:rl")


@pytest.mark.parametrize("width", [50, 80, 120])
def test_a_comparison_is_readable_at_any_width(run_dir: Path, width: int) -> None:
    rows = compare_runs([f"{run_dir}:base"], [f"{run_dir}:sft"])
    written = io.StringIO()
    print_comparison(rows, Console(width=width, file=written))
    shown = written.getvalue()
    assert max(map(len, shown.splitlines())) <= width
    for row in rows:
        # No name and no figure is broken.
        interval = f"[{100 * row.change.low:+.1f}, {100 * row.change.high:+.1f}]"
        for text in (row.benchmark, f"{100 * row.before:.1f} → {100 * row.after:.1f}", interval):
            assert text in shown


def test_several_seeds_are_compared_over_seeds_too(run_dir: Path, tmp_path: Path) -> None:
    second = evaluated(tmp_path / "second", SHOWN, {"base": range(3), "sft": range(5)})
    runs = [str(run_dir), str(second)]
    (row,) = compare_runs([f"{run}:base" for run in runs], [f"{run}:sft" for run in runs])
    assert (row.seeds, row.change.n, row.before) == (2, 10, 0.3)
    assert (row.after, row.change.difference) == (pytest.approx(0.6), pytest.approx(0.3))
    (alone,) = compare_runs([f"{second}:base"], [f"{second}:sft"])
    assert row.change.low < alone.change.low  # two seeds that differ say little of a third
    with pytest.raises(ValueError, match="2 seeds before, 1 after"):
        compare_runs(runs, runs[:1])


def test_a_cell_tells_votes_shares_and_what_stands_together(tmp_path: Path) -> None:
    out = tmp_path / "evals" / "base"
    with Grader() as grader:
        evaluate(task(out, Sampling(n=2)), ScriptedEngine(says), grader, lambda _: None)
    summary = summarise(read_answers(out / "sums.jsonl"))
    shown = cell(summary)
    for words in ("majority 70.0", "pass@2 70.0", "forced 10%", "missing 20%"):
        assert words in shown
    assert counted(summary) == "10"
    assert "4 independent groups" in counted(replace(summary, clusters=4))
