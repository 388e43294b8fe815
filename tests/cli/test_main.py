"""The commands in real processes: their output and their exit codes."""

import os
import re
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from tests import forked
from tests.forked import Done

from xreasoner.cli.failures import raised_by_us
from xreasoner.pipeline.stages import make_plan
from xreasoner.recipe.file import read_recipe

RECIPE = """
name: small
model: {base}
out: {out}
about_minutes: 2.5
stages:
  sft:
    kind: sft
    data: [{{source: miniworld, families: [sums], steps: [1, 2], count: 20}}]
    steps: 30
evaluation:
  benchmarks: [{{source: miniworld, families: [sums], steps: [1, 2], count: 5}}]
"""


@pytest.fixture
def small(tiny_base: Path, tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE.format(base=tiny_base, out=tmp_path / "run"))
    return path


def call(*arguments: object) -> Done:
    return forked.call(*arguments, environment={"COLUMNS": "200"})


def started(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "xreasoner", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={"COLUMNS": "200"}, check=False)


def processor_seconds(*arguments: object) -> tuple[subprocess.CompletedProcess[str], float]:
    """The less of two calls: a wall clock would measure what else the machine does."""
    took = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = started(*arguments)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return done, min(took)


def test_help_comes_at_once() -> None:
    done, seconds = processor_seconds("--help")
    assert done.returncode == 0
    for command in ("run", "eval", "report", "detach", "graft", "schema", "data", "miniworld"):
        assert command in done.stdout
    assert seconds < 0.5


def test_the_version_is_that_of_the_package() -> None:
    done = call("--version")
    assert (done.returncode, done.stdout) == (0, f"xreasoner {version('xreasoner')}\n")


def test_a_dry_run_prints_the_plan_and_writes_nothing(small: Path, tmp_path: Path) -> None:
    done, seconds = processor_seconds("run", small, "sft.steps=40", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert seconds < 2
    for said in ("sft, 40 steps", "20", "sums-image: 5 problems", "about 2.5 minutes"):
        assert said in done.stdout
    assert "evaluation: the budgets are 4,608 tokens, but the model's context is 1,024" in done.stdout
    assert not (tmp_path / "run").exists()


def test_a_dry_run_leaves_the_run_directory_as_it_is(small: Path, tmp_path: Path) -> None:
    """Though it has to prepare data for the plan."""
    (tmp_path / "run" / "hub").mkdir(parents=True)
    (tmp_path / "run" / "hub" / "revisions.json").write_text("{}")
    before = contents(tmp_path)
    done = call("run", small, "sft.filters={duplicates: exact}", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path) == before


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["sft.held_out=20", "sft.eval_every=5"],
            "stages.sft.held_out: 20 of 20 problems leaves none to train on",
        ),
        (
            ["evaluation.references=[gone]"],
            "evaluation.references: gone is neither a stage of this recipe nor",
        ),
        (["seed=18446744073709551616"], "seed: should be less than 9223372036854775808"),
    ],
)
def test_what_can_be_known_is_known_before_a_run(small: Path, overrides: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        make_plan(read_recipe(small, overrides))


def test_a_mistake_is_one_line_and_exit_code_2(small: Path) -> None:
    done = call("run", small, "sft.lrr=1")
    assert done.returncode == 2
    assert done.stderr == f"{small} with sft.lrr=1: stages.sft.lrr: unknown key; did you mean lr?\n"
    assert done.stdout == ""


def test_a_model_that_is_not_there_is_named(small: Path) -> None:
    done = call("run", small, "model=nowhere", "--dry-run")
    assert done.returncode == 2
    assert done.stderr.startswith("model nowhere: no such folder")


def test_detach_then_graft_gives_the_same_weights(tiny_base: Path, tmp_path: Path) -> None:
    assert call("detach", tiny_base, tmp_path / "lm").returncode == 0
    assert call("graft", tiny_base, tmp_path / "lm", tmp_path / "vlm").returncode == 0
    weights = [(folder / "model.safetensors").read_bytes() for folder in (tiny_base, tmp_path / "vlm")]
    assert weights[0] == weights[1]
    again = call("detach", tiny_base, tmp_path / "lm")
    assert again.returncode == 2
    assert again.stderr.count("\n") == 1


def test_training_data_is_shown(small: Path) -> None:
    done = call("data", "show", small, "--count", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("<think>") == 2


def test_budgets_are_suggested_from_the_replies_of_the_model(small: Path) -> None:
    done = call("data", "budgets", small, "--stage", "sft", "--questions", "4", "--longest", "40")
    assert done.returncode == 0, done.stderr
    assert re.search(r"thought +\d+ +\d+ +\d+ +\d+", done.stdout)
    assert re.search(r"sft\.think_budget=64 sft\.answer_budget=\d+", done.stdout)


def test_the_schema_is_printed() -> None:
    committed = Path(__file__).parent.parent.parent / "recipes" / "recipe.schema.json"
    assert call("schema").stdout == committed.read_text()


def test_only_our_own_messages_are_shown_without_a_traceback() -> None:
    with pytest.raises(ValueError) as theirs:
        int("x")  # raised in this file, which is not the package
    assert not raised_by_us(theirs.value.__traceback__)
    with pytest.raises(ValueError) as ours:
        from xreasoner.recipe.file import read_recipe

        read_recipe(Path("nowhere"))
    assert raised_by_us(ours.value.__traceback__)


def test_any_checkpoint_can_be_evaluated(small: Path, tiny_base: Path, tmp_path: Path) -> None:
    budgets = ("evaluation.think_budget=4", "evaluation.answer_budget=2")
    done = call("eval", tiny_base, "--recipe", small, *budgets, "--out", tmp_path / "asked")
    assert done.returncode == 0, done.stderr
    answers = (tmp_path / "asked" / "evals" / "base" / "sums-image.jsonl").read_text()
    assert len(answers.splitlines()) == 5
    assert (tmp_path / "asked" / "report.html").is_file()
    assert "sums-image" in call("report", tmp_path / "asked").stdout


@pytest.mark.skipif(sys.platform != "linux", reason="asks GNU's OpenMP")
def test_threads_do_not_spin_while_they_wait() -> None:
    """OpenMP prints its settings when torch loads it."""
    asked = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-m", "xreasoner", "doctor"],
        env=asked | {"OMP_DISPLAY_ENV": "true"},
        capture_output=True,
        text=True,
    )
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in done.stdout + done.stderr
