"""A benchmark asked with two prompts: the gain of form is told from the gain of reasoning, by hand."""

import io
from dataclasses import replace

import pytest
from rich.console import Console
from tests.evals.scripted import ScriptedEngine
from tests.evals.test_runner import TEN, run

from xreasoner.evals.task import name_with_prompt
from xreasoner.report.findings import find
from xreasoner.report.html_tables import prompts
from xreasoner.report.results import Results, collect
from xreasoner.report.table import print_table

RIGHT = {
    ("base", "instructed"): 1,
    ("base", "plainly"): 6,
    ("sft", "instructed"): 8,
    ("sft", "plainly"): 7,
}
"""Of ten items, the first so many."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    run_dir = tmp_path_factory.mktemp("run")
    for (stage, prompt), right in RIGHT.items():
        name = "sums" if prompt == "instructed" else name_with_prompt("sums", prompt)

        def says(prompt_id: str, sample: int, right: int = right) -> str:
            number = int(prompt_id[1:4])
            return f"<answer>{number + 1 if number < right else 0}</answer>"

        run(
            ScriptedEngine(says),
            run_dir / "evals" / stage,
            benchmark=replace(TEN, name=name, prompt=prompt),
        )
    return collect(run_dir)


def test_the_gain_between_the_best_prompts_has_no_form_in_it(results: Results) -> None:
    (gain,) = results.prompt_gains
    assert (gain.benchmark, gain.base, gain.stage) == ("sums", "base", "sft")
    assert gain.accuracies == {"instructed": (0.1, 0.8), "plainly": (0.6, 0.7)}
    assert (gain.best_of_base, gain.best_of_stage) == ("plainly", "instructed")
    assert gain.first is not None and gain.best is not None
    assert gain.first.difference == pytest.approx(0.7)
    assert gain.best.difference == pytest.approx(0.2)
    assert gain.best.n == 10


def test_findings_count_each_problem_once(results: Results) -> None:
    (finding,) = find(results)
    assert (finding.benchmarks, finding.last.summary.n) == (("sums",), 10)
    assert finding.last.summary.accuracy == 0.8


def test_terminal_and_page_show_both_gains(results: Results) -> None:
    console = Console(file=io.StringIO(), width=200)
    print_table(results, console)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    assert "sums, sft: +70" in written
    assert "asked instructed; +20" in written
    assert "between the best prompts (base plainly 60%, sft instructed 80%)" in written
    page = prompts(results)
    assert "+70.0" in page and "+20.0" in page and "base plainly 60%, sft instructed 80%" in page
