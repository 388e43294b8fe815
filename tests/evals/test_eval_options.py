"""An evaluation from command-line options equals one from a recipe; mistakes are one-line errors."""

from pathlib import Path

import pytest

from xreasoner.evals.eval_options import (
    INSTRUCTION,
    EvalOptions,
    evaluation_settings,
    read_budgets,
    read_paths,
    recipe_from_options,
)
from xreasoner.recipe.benchmark_entries import ProbeBenchmark, PublishedBenchmark

RECIPE = """
name: mine
model: miniworld
instruction: think
evaluation:
  answer_budget: 99
  benchmarks: [{source: miniworld, families: [sums], steps: [1, 2], count: 5}]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE)
    return path


def test_benchmarks_with_paths_and_counts() -> None:
    wish = EvalOptions(benchmarks=("gsm8k", "probe"), paths={"gsm8k": Path("/data/gsm8k")}, count=7)
    found = recipe_from_options("some/model", wish, None)
    assert found.evaluation.benchmarks == (
        PublishedBenchmark(source="benchmark", name="gsm8k", path=Path("/data/gsm8k"), count=7),
        ProbeBenchmark(source="probe", count=7),
    )
    assert found.instruction == INSTRUCTION


def test_the_prompts_of_an_option_are_those_of_its_benchmarks() -> None:
    wish = EvalOptions(benchmarks=("gsm8k", "probe"), asked=("instructed", "plainly"))
    first, probe = recipe_from_options("some/model", wish, None).evaluation.benchmarks
    assert (first.asked, probe.asked) == (("instructed", "plainly"), "plainly")
    with pytest.raises(ValueError, match="--asked: it is for --bench"):
        evaluation_settings("some/model", EvalOptions(asked=("plainly",)))


def test_budgets_samples_blindness_and_server() -> None:
    wish = EvalOptions(
        benchmarks=("mmmu",),
        samples=4,
        budgets=(1024, 256, 4096),
        without_image=True,
        server="http://x/v1",
        overrides=("evaluation.temperature=0.6",),
    )
    evaluation = recipe_from_options("qwen", wish, None).evaluation
    assert (evaluation.think_budget, evaluation.budgets) == (4096, (256, 1024))
    assert (evaluation.samples, evaluation.temperature, evaluation.blind) == (4, 0.6, True)
    assert evaluation.server is not None
    assert (evaluation.engine, evaluation.server.url, evaluation.server.model) == (
        "server",
        "http://x/v1",
        "qwen",
    )


def test_wishes_are_written_over_a_recipe_and_overrides_over_both(recipe: Path) -> None:
    kept = recipe_from_options("m", EvalOptions(overrides=("evaluation.rows=3",)), recipe)
    assert (kept.instruction, kept.evaluation.answer_budget, kept.evaluation.rows) == ("think", 99, 3)
    assert kept.evaluation.benchmarks[0].source == "miniworld"
    other = recipe_from_options("m", EvalOptions(benchmarks=("gsm8k",)), recipe)
    assert [one.source for one in other.evaluation.benchmarks] == ["benchmark"]
    assert other.evaluation.answer_budget == 99


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (EvalOptions(), "nothing to evaluate"),
        (
            EvalOptions(benchmarks=("gsm8k",), paths={"mmmu": Path("x")}),
            "--path-of mmmu: --bench does not name it",
        ),
        (EvalOptions(benchmarks=("gsm8k",), samples=4), "more than one at temperature 0 are all equal"),
        (EvalOptions(benchmarks=("gsm8k",), overrides=("evaluation.sample=4",)), "did you mean samples"),
    ],
)
def test_a_mistake_is_one_line(wish: EvalOptions, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        recipe_from_options("m", wish, None)
    assert "\n" not in str(caught.value)


def test_a_count_without_bench_is_refused() -> None:
    with pytest.raises(ValueError, match=r"--count 5: it counts items of --bench"):
        evaluation_settings("m", EvalOptions(count=5))


def test_lists_as_they_are_written_on_the_command_line() -> None:
    assert read_budgets("256, 1024,4096") == [256, 1024, 4096]
    assert (read_budgets(None), read_budgets("")) == ([], [])
    assert read_paths(["mmmu=/a/b=c"]) == {"mmmu": Path("/a/b=c")}
    with pytest.raises(ValueError, match="'1k' is not a number of tokens"):
        read_budgets("1k")
    with pytest.raises(ValueError, match="it has the form name=FOLDER"):
        read_paths(["mmmu"])
