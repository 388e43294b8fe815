"""`xreasoner init` as typed: what it writes can be planned, and fits the GPUs it was written for."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from xreasoner.cli.main import app
from xreasoner.estimate.estimate import estimate_recipe
from xreasoner.estimate.gpus import read_gpus
from xreasoner.estimate.model_shape import KNOWN
from xreasoner.pipeline.stages import make_plan
from xreasoner.recipe.file import read_recipe

SEVEN = "Qwen/Qwen2.5-VL-7B-Instruct"


def typed(*words: str | Path, answers: str = "") -> Result:
    return CliRunner().invoke(app, ["init", *map(str, words)], input=answers)


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    rows = [{"problem": f"what is {one} + {one} ?", "solution": str(2 * one)} for one in range(1, 25)]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_three_answers_give_a_recipe_that_can_be_planned(
    questions: Path, tiny_base: Path, tmp_path: Path
) -> None:
    out = tmp_path / "first.yaml"
    done = typed("--out", out, "--bench", "probe", answers=f"{tiny_base}\n{questions}\ncpu\n")
    assert done.exit_code == 0, done.output
    recipe = read_recipe(out, [f"out={tmp_path / 'run'}", "evaluation.benchmarks=[]"])
    (stage,) = make_plan(recipe).stages
    assert (stage.name, stage.settings.kind, len(stage.problems)) == ("rl", "grpo", 24)
    assert stage.settings.held_out == 2, "a tenth"
    assert out.read_text().startswith("# Made by `xreasoner init`")


def test_rows_with_thoughts_are_imitated_and_others_reinforced(tmp_path: Path) -> None:
    table, out = tmp_path / "thoughts.csv", tmp_path / "first.yaml"
    table.write_text("q,why,a\nwhat is 1 + 1 ?,1 + 1 = 2,2\n")
    assert (
        typed("--model", SEVEN, "--data", f"{table},gsm8k", "--gpus", "8xH100-80", "--out", out).exit_code
        == 0
    )
    stages = read_recipe(out).stages
    assert {name: [entry.source for entry in stage.data] for name, stage in stages.items()} == {
        "sft": ["table"],
        "rl": ["gsm8k"],
    }
    (entry,) = stages["sft"].data
    assert (entry.columns.question, entry.columns.answer, entry.columns.reasoning) == ("q", "a", "why")


@pytest.mark.parametrize("gpus", ["1xRTX4090-24", "1xH100-80", "2xA100-80", "8xH100-80"])
def test_what_is_written_fits_the_named_gpus(gpus: str, tmp_path: Path) -> None:
    out = tmp_path / "first.yaml"
    size = "3B" if "4090" in gpus else "7B"
    model = f"Qwen/Qwen2.5-VL-{size}-Instruct"
    done = typed("--model", model, "--data", "openthoughts,orz-math", "--gpus", gpus, "--out", out)
    assert done.exit_code == 0, done.output
    recipe = read_recipe(out)
    found = estimate_recipe(recipe, KNOWN[model], read_gpus(gpus), {})
    assert [one.stage for one in found] == ["sft", "rl", "evaluation"]
    assert [one.stage for one in found if not one.fits(read_gpus(gpus)) or one.advice] == []
    # Eight large GPUs need no adapters, a small one does, at their own learning rate.
    assert (recipe.stages["sft"].lora is None, recipe.stages["sft"].lr) == {
        "1xRTX4090-24": (False, 1e-4),
        "1xH100-80": (False, 1e-4),
    }.get(gpus, (True, 1e-5))


def test_mistakes_are_named(questions: Path, tmp_path: Path) -> None:
    wanted = {
        ("--data", "gsm9k"): "--data gsm9k: no such file; did you mean gsm8k?",
        ("--gpus", "1xRTX4080-16"): "unknown GPU RTX4080; did you mean RTX4090?",
        ("--gpus", "1xT4-1"): "does not fit: grpo needs",
        ("--columns", "q=a"): "--columns q: it has the form question=q,answer=a; known: question",
        ("--out", str(questions)): "mine.jsonl: it exists; choose another file with --out",
    }
    for change, said in wanted.items():
        options = {
            "--model": SEVEN,
            "--data": str(questions),
            "--gpus": "1xH100-80",
            "--out": str(tmp_path / "o"),
        }
        options |= dict([change])
        done = typed(*(word for pair in options.items() for word in pair))
        assert said in str(done.exception), change
    table = tmp_path / "odd.csv"
    table.write_text("left,right\n1,2\n")
    done = typed("--model", SEVEN, "--data", table, "--gpus", "1xH100-80")
    assert "which column is the question? It has left, right; give --columns question=..." in str(
        done.exception
    )
