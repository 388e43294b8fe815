"""The paper's recipes on a tiny model and few rows: the same stages, adapters and settings."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from tests.data import true_schemas as schemas
from tests.evals.benchmarks.copies import COPIES
from tests.rollout.chat_server import ServerReply, serving

from xreasoner.distill.distill import distill
from xreasoner.distill.settings import read_distillation
from xreasoner.distill.teacher import teacher_engine
from xreasoner.pipeline.run import run_recipe
from xreasoner.recipe.file import read_recipe
from xreasoner.rewards.grade import Grader

RECIPES = Path(__file__).parent.parent.parent / "recipes"
DRUGS = ("Aspirin", "Heparin", "Iron", "Zinc", "Gold")


def write_corpora(folder: Path) -> dict[str, Path]:
    """Files in the true schema of each corpus, laid out as the hub lays them out."""
    raw = [
        schemas.raw_chain(f"{i} + {i + 1} ?", f"{i} and {i + 1} .", f"\\boxed{{{2 * i + 1}}}", str(2 * i + 1))
        for i in range(10, 40)
    ]
    raw += [schemas.raw_chain("wrong ?", "so .", "\\boxed{1}", "2"), {"problem": None}]
    raw += [schemas.raw_chain("write it", "so .", "print", "x", domain="code")]
    orz = [schemas.orz(f"{i} - {i - 3} ?", "3") for i in range(10, 34)]
    medqa = [schemas.medqa(f"patient {i} needs ?", DRUGS[: 4 + i % 2], "ABCD"[i % 4]) for i in range(24)]
    schemas.write_parquet(folder / "openthoughts" / "metadata" / "train-00000-of-00001.parquet", raw)
    schemas.write_json(folder / "orz.json", orz)
    schemas.write_jsonl(folder / "medqa" / "train.jsonl", medqa)
    names = ("openthoughts", "orz.json", "medqa")
    return {name.partition(".")[0].replace("orz", "orz-math"): folder / name for name in names}


def shrunk(name: str, base: Path, out: Path, files: dict[str, Path]) -> list[str]:
    """Overrides that change sizes and places, and nothing else."""
    raw: dict[str, Any] = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
    changes = [f"model={base}", f"out={out}", "evaluation.think_budget=4", "evaluation.answer_budget=3"]
    for stage, settings in raw["stages"].items():
        changes += [f"{stage}.steps=2", f"{stage}.epochs=null", f"{stage}.tokens_per_microbatch=512"]
        for number, entry in enumerate(settings["data"]):
            changes += [
                f"{stage}.data.{number}.path={files[entry['source']]}",
                f"{stage}.data.{number}.max_bad_rows=0.2",
            ]
        if settings["kind"] == "sft":
            changes += [f"{stage}.tokens_per_step=512"]
        else:
            sizes = {"prompts_per_step": 2, "samples_per_prompt": 2, "think_budget": 6, "answer_budget": 4}
            sizes |= {"held_out": 2, "eval_every": 1}
            changes += [f"{stage}.{key}={value}" for key, value in sizes.items()]
    for number, entry in enumerate(raw["evaluation"]["benchmarks"]):
        folder = out.parent / f"copy-{entry['name']}"
        folder.mkdir()
        copy = COPIES[entry["name"]](folder)
        changes += [
            f"evaluation.benchmarks.{number}.path={copy}",
            f"evaluation.benchmarks.{number}.count=1",
            f"evaluation.benchmarks.{number}.any_size=true",
        ]
    return changes


def run(name: str, base: Path, out: Path, files: dict[str, Path]) -> dict[str, Any]:
    recipe = read_recipe(RECIPES / f"{name}.yaml", shrunk(name, base, out, files))
    run_recipe(recipe, Console(quiet=True))
    return json.loads((out / "results.json").read_text())


def kept(out: Path, stage: str) -> tuple[int, dict[str, int]]:
    report = json.loads((out / "data" / stage / "report.json").read_text())
    return report["kept"], report["left_out"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "left_out", "benchmarks"),
    [
        (
            "x-reasoner-7b",
            {"wrong final answer": 1, "problem is empty": 1},
            {"gsm8k", "mmlu-pro", "mmmu-pro", "mmmu", "mathvista", "medqa"},
        ),
        (
            "x-reasoner-3b-lora",
            {"wrong final answer": 1, "problem is empty": 1, "another domain": 1},
            {"gsm8k", "mmmu-pro", "mathvista"},
        ),
    ],
)
def test_the_general_recipes_run_in_their_shape(
    name: str, left_out: dict[str, int], benchmarks: set[str], tiny_base: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    results = run(name, tiny_base, out, write_corpora(tmp_path))
    asked = {(row["stage"], row["benchmark"]) for row in results["results"]}
    assert asked == {(s, b) for s in ("base", "sft", "rl") for b in benchmarks}
    assert kept(out, "sft") == (33 - sum(left_out.values()), left_out)
    assert kept(out, "rl") == (24, {})
    for folder in ("1-sft", "2-rl"):
        assert (out / "stages" / folder / "checkpoint" / "preprocessor_config.json").is_file()


@pytest.mark.slow
def test_the_medical_recipe_runs_on_what_was_distilled_for_it(tiny_base: Path, tmp_path: Path) -> None:
    files = write_corpora(tmp_path)

    def teach(body: dict[str, Any]) -> ServerReply:
        number = int(body["messages"][-1]["content"].split()[1])
        return ServerReply(f"<answer>{'ABCD'[number % 4]}</answer>", f"patient {number} needs it .")

    with serving(teach) as server:
        wanted = read_distillation(
            RECIPES / "distill" / "medqa.yaml",
            [f"teacher.url={server.url}", f"data.0.path={files['medqa']}", f"out={tmp_path / 'distilled'}"],
        )
        with Grader() as grader:
            summary = distill(wanted, teacher_engine(wanted.teacher), grader, lambda line: None)
    assert (summary.questions, summary.solved, summary.answers) == (24, 24, 96)
    files["table"] = wanted.folder / "thoughts.jsonl"
    out = tmp_path / "run"
    results = run("x-reasoner-med-7b", tiny_base, out, files)
    assert {row["stage"] for row in results["results"]} == {"base", "sft", "rl"}
    assert (kept(out, "sft"), kept(out, "rl")) == ((24 + 1, {}), (24, {}))
