"""Stages run in order, are skipped when done and refused when changed; training is a stand-in here."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tests.pipeline.recipes import QUIET, evaluated, recipe

from xreasoner.models.surgery import detach
from xreasoner.pipeline import run as pipeline
from xreasoner.pipeline.run import run_recipe
from xreasoner.pipeline.stages import make_plan
from xreasoner.recipe.file import check
from xreasoner.report.results import Results
from xreasoner.report.write import write_report
from xreasoner.rollout import choose
from xreasoner.storage.run_folder import read_manifest


def test_each_stage_starts_from_the_one_before_and_keeps_the_eyes(
    trained, tiny_base: Path, tmp_path: Path
) -> None:
    run_recipe(recipe(tiny_base, tmp_path, one={}, two={"lr": 0.25}), QUIET)
    stages = tmp_path / "stages"
    assert trained == [("1-one", tmp_path / "base" / "model"), ("2-two", stages / "1-one" / "model")]
    before, after = (
        load_file(folder / "model.safetensors") for folder in (tiny_base, stages / "2-two" / "checkpoint")
    )
    assert before.keys() == after.keys()
    for name, weight in before.items():
        grown = 0.0 if "visual" in name else 0.75
        assert (after[name] - weight).sub(grown).abs().max() < 1e-6, name
    assert not (stages / "2-two" / "state").exists()


def test_a_done_run_does_nothing(trained, tiny_base: Path, tmp_path: Path) -> None:
    wanted = recipe(tiny_base, tmp_path, one={}, two={})
    run_recipe(wanted, QUIET)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "stages").rglob("*") if path.is_file()}
    run_recipe(wanted, QUIET)
    assert len(trained) == 2
    assert files == {
        path: path.stat().st_mtime_ns for path in (tmp_path / "stages").rglob("*") if path.is_file()
    }


def test_a_stage_broken_off_after_training_is_not_trained_again(
    trained, tiny_base: Path, tmp_path: Path
) -> None:
    wanted = recipe(tiny_base, tmp_path, one={})
    run_recipe(wanted, QUIET)
    folder = tmp_path / "stages" / "1-one"
    whole = (folder / "checkpoint" / "model.safetensors").read_bytes()
    manifest = read_manifest(folder)
    replace(manifest, state="trained").write(folder)
    (folder / "checkpoint" / "model.safetensors").unlink()
    assert make_plan(wanted).stages[0].status == "resumed"
    run_recipe(wanted, QUIET)
    assert len(trained) == 1
    assert (folder / "checkpoint" / "model.safetensors").read_bytes() == whole
    assert make_plan(wanted).stages[0].status == "done"


def test_every_checkpoint_is_asked_and_only_once(
    trained, tiny_base: Path, tmp_path: Path, monkeypatch
) -> None:
    wanted = evaluated(recipe(tiny_base, tmp_path, one={}))
    run_recipe(wanted, QUIET)
    answers = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.glob("evals/*/*.jsonl")}
    assert {str(path) for path in answers} == {
        f"evals/{stage}/sums-{view}.jsonl" for stage in ("base", "one") for view in ("text", "image")
    }
    assert all(len(text.splitlines()) == 3 for text in answers.values())
    results = json.loads((tmp_path / "results.json").read_text())
    assert {(row["stage"], row["benchmark"]) for row in results["results"]} == {
        (stage, f"sums-{view}") for stage in ("base", "one") for view in ("text", "image")
    }

    def no_model(*_: object) -> None:
        raise AssertionError("a finished evaluation opened a model")

    monkeypatch.setattr("xreasoner.pipeline.evaluate.open_engine", no_model)
    run_recipe(wanted, QUIET)


def test_benchmarks_no_longer_asked_leave_the_report(trained, tiny_base: Path, tmp_path: Path) -> None:
    run_recipe(evaluated(recipe(tiny_base, tmp_path, one={})), QUIET)
    run_recipe(evaluated(recipe(tiny_base, tmp_path, one={}), views=("text",)), QUIET)
    results = json.loads((tmp_path / "results.json").read_text())
    assert {row["benchmark"] for row in results["results"]} == {"sums-text"}
    assert (tmp_path / "evals" / "one" / "sums-image.jsonl").exists()
    run_recipe(evaluated(recipe(tiny_base, tmp_path, one=None)), QUIET)
    results = json.loads((tmp_path / "results.json").read_text())
    assert {(row["stage"], row["benchmark"]) for row in results["results"]} == {
        ("base", "sums-text"),
        ("base", "sums-image"),
    }
    assert not (tmp_path / "stale").exists()


def test_a_missing_engine_is_missed_before_anything_is_trained(
    trained, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "why_not_vllm", lambda: "it is not here")
    monkeypatch.setattr(choose, "VLLM_FROM", {"cpu": 0})
    raw = json.loads(evaluated(recipe(tiny_base, tmp_path, one={})).model_dump_json(by_alias=True))
    raw["evaluation"]["engine"] = "vllm"
    with pytest.raises(ValueError, match=r"^engine vllm: it is not here$"):
        run_recipe(check(raw, "test"), QUIET)
    assert trained == []
    raw["evaluation"] |= {"engine": "auto", "after": ["one"]}
    run_recipe(check(raw, "test"), QUIET)
    assert "evaluation: auto uses the torch engine: it is not here" in (tmp_path / "log").read_text()


def test_a_text_only_model_needs_no_surgery(trained, tiny_base: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    detach(tiny_base, text)
    run_recipe(evaluated(recipe(text, tmp_path / "run", one={}), views=("text",)), QUIET)
    assert trained == [("1-one", text)]
    folder = tmp_path / "run" / "stages" / "1-one"
    assert (folder / "model").is_dir()
    assert not (folder / "checkpoint").exists()
    assert (tmp_path / "run" / "evals" / "one" / "sums-text.json").is_file()
    with pytest.raises(ValueError, match="this model is text-only, but the benchmark sums-image has images"):
        make_plan(evaluated(recipe(text, tmp_path / "run", one={})))


def test_only_the_named_checkpoints_are_evaluated(trained, tiny_base: Path, tmp_path: Path) -> None:
    wanted = evaluated(recipe(tiny_base, tmp_path, one={}, two={}), views=("text",))
    few = wanted.model_copy(update={"evaluation": wanted.evaluation.model_copy(update={"after": ("two",)})})
    run_recipe(few, QUIET)
    assert [path.name for path in sorted((tmp_path / "evals").glob("*/"))] == ["two"]


def test_a_plan_changes_nothing(tiny_base: Path, tmp_path: Path) -> None:
    plan = make_plan(evaluated(recipe(tiny_base, tmp_path / "run", one={}, two={"from": "base"})))
    assert [(stage.name, stage.start, stage.status) for stage in plan.stages] == [
        ("one", "base", "new"),
        ("two", "base", "new"),
    ]
    assert [len(stage.problems) for stage in plan.stages] == [10, 10]
    assert not (tmp_path / "run").exists()


def test_the_page_grows_with_the_run_and_loads_itself_again_until_the_end(
    trained, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = list[str]()

    def written(run_dir: Path, is_live: bool = False) -> Results:
        results = write_report(run_dir, is_live=is_live)
        pages.append((run_dir / "report.html").read_text())
        return results

    monkeypatch.setattr(pipeline, "write_report", written)
    monkeypatch.setattr(pipeline, "SECONDS_BETWEEN_PAGES", -1.0)
    run_recipe(evaluated(recipe(tiny_base, tmp_path, one={}, two={})), QUIET)
    assert ['http-equiv="refresh"' in page for page in pages] == [True, False]
    assert ["one → two<" in page for page in pages] == [False, True]
