"""Nothing is trained twice for nothing, and nothing trained is set aside unasked."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.pipeline.recipes import QUIET, evaluated, recipe

from xreasoner.chat.template import encode_plainly, problem_prompt
from xreasoner.miniworld.tokenizer import build_tokenizer
from xreasoner.parallel import join_world
from xreasoner.pipeline import run as pipeline
from xreasoner.pipeline.run import run_recipe
from xreasoner.pipeline.stages import make_plan
from xreasoner.recipe.file import check
from xreasoner.recipe.schema import EXECUTION, SCHEDULE, GrpoStage, Recipe, SftStage
from xreasoner.storage.checked_json import read_checked_json, write_checked_json
from xreasoner.storage.journal import Journal
from xreasoner.storage.run_folder import read_manifest
from xreasoner.storage.state_folders import complete_state, state_folder

BARS = [{"source": "miniworld", "families": ["bars"], "steps": [1, 2], "count": 10}]
FIRST: dict[str, dict | None] = {"one": {}, "two": {}, "three": {"from": "one"}}


def write_table(path: Path, count: int = 6) -> Path:
    rows = [
        {"question": f"What is the sum of {n} and {n + 3} ?", "answer": str(2 * n + 3)} for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"two": {"lr": 0.1}}, "stage two was trained with other settings: lr was 0.5, is 0.1"),
        ({"one": {"weight_decay": 0.1}}, "stage one was .*: settings.weight_decay was 0.0, is 0.1"),
        ({"two": {"from": "base"}}, "stage two was trained with other settings: start was "),
        ({"three": {"from": "one", "data": BARS}}, "stage three was trained with other settings: data was "),
        ({"one": None, "three": {}}, "stage two was trained with other settings: start was "),
    ],
)
def test_a_finished_stage_with_other_settings_is_refused_by_the_key(
    trained,
    tiny_base: Path,
    tmp_path: Path,
    changes: dict,
    refused: str,
) -> None:
    run_recipe(recipe(tiny_base, tmp_path, **FIRST), QUIET)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "stages").rglob("*")}
    with pytest.raises(ValueError, match=refused) as caught:
        run_recipe(recipe(tiny_base, tmp_path, **(FIRST | changes)), QUIET)
    assert "add --redo " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "stages").rglob("*")}
    assert len(trained) == 3


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({"one": {"checkpoint_every": 7, "tokens_per_microbatch": 64, "gradient_checkpointing": True}}, []),
        ({"two": {"from": "one"}}, []),
        ({"three": None}, []),
        ({"four": {"from": "two"}}, ["4-four"]),
    ],
)
def test_what_leaves_a_stage_as_it_is_trains_nothing_again(
    trained,
    tiny_base: Path,
    tmp_path: Path,
    changes: dict,
    more: list[str],
) -> None:
    run_recipe(recipe(tiny_base, tmp_path, **FIRST), QUIET)
    del trained[:]
    run_recipe(recipe(tiny_base, tmp_path, **(FIRST | changes)), QUIET)
    assert [name for name, _ in trained] == more
    assert not (tmp_path / "stale").exists()
    assert {path.name for path in (tmp_path / "stages").iterdir()} == {"1-one", "2-two", "3-three", *more}


def test_a_stage_put_before_others_moves_nothing(trained, tiny_base: Path, tmp_path: Path) -> None:
    run_recipe(recipe(tiny_base, tmp_path, one={}, two={"from": "one"}), QUIET)
    del trained[:]
    run_recipe(recipe(tiny_base, tmp_path, one={}, new={}, two={"from": "one"}), QUIET)
    assert [name for name, _ in trained] == ["2-new"]


@pytest.mark.parametrize(
    ("redo", "again"),
    [
        (["one"], ["1-one", "2-two", "3-three"]),
        (["two"], ["2-two"]),
        (["two", "three"], ["2-two", "3-three"]),
    ],
)
def test_redo_sets_a_stage_and_what_starts_from_it_aside(
    trained,
    tiny_base: Path,
    tmp_path: Path,
    redo: list[str],
    again: list[str],
) -> None:
    run_recipe(evaluated(recipe(tiny_base, tmp_path, **FIRST)), QUIET)
    old = (tmp_path / "stages" / "2-two" / "model" / "model.safetensors").read_bytes()
    del trained[:]
    changed = {name: {**(FIRST[name] or {}), "lr": 0.1} for name in redo}
    run_recipe(evaluated(recipe(tiny_base, tmp_path, **(FIRST | changed))), QUIET, redo)
    assert [name for name, _ in trained] == again
    stale = {path.name.partition("-")[2] for path in (tmp_path / "stale").iterdir()}
    assert stale == {f"stages-{name}" for name in again} | {
        f"evals-{name.partition('-')[2]}" for name in again
    }
    (kept,) = (tmp_path / "stale").glob("*-stages-2-two/model/model.safetensors")
    assert kept.read_bytes() == old
    with pytest.raises(ValueError, match="no stage 'five'"):
        run_recipe(recipe(tiny_base, tmp_path, **FIRST), QUIET, ["five"])


@pytest.mark.parametrize(
    ("update", "said"),
    [
        ({"seed": 1}, "seed was 0, is 1"),
        ({"instruction": "think"}, 'instruction was null, is "think"'),
        ({"model": "other"}, "start was "),
    ],
)
def test_another_seed_instruction_or_base_is_refused(
    trained,
    tiny_base: Path,
    tmp_path: Path,
    update: dict[str, Any],
    said: str,
) -> None:
    wanted = recipe(tiny_base, tmp_path / "run", one={})
    run_recipe(wanted, QUIET)
    if "model" in update:
        shutil.copytree(tiny_base, tmp_path / "other")
        (tmp_path / "other" / "generation_config.json").write_text("{}")
        update = {"model": str(tmp_path / "other")}
    with pytest.raises(ValueError, match=f"other settings: {said}"):
        run_recipe(wanted.model_copy(update=update), QUIET)


def test_the_version_of_the_package_and_a_copy_of_the_base_change_nothing(
    trained,
    tiny_base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_recipe(recipe(tiny_base, tmp_path / "run", one={}), QUIET)
    monkeypatch.setattr("xreasoner.__version__", "99.0")
    shutil.copytree(tiny_base, tmp_path / "copy", copy_function=shutil.copyfile)
    run_recipe(recipe(tmp_path / "copy", tmp_path / "run", one={}), QUIET)
    assert len(trained) == 1


def test_a_manifest_that_lacks_a_newer_setting_had_its_default(
    trained,
    tiny_base: Path,
    tmp_path: Path,
) -> None:
    run_recipe(recipe(tiny_base, tmp_path, one={}), QUIET)
    path = tmp_path / "stages" / "1-one" / "manifest.json"
    content = read_checked_json(path, "")
    for name in ("weight_decay", "betas", "lora"):
        del content["made_from"]["settings"][name]
    del content["schedule"]["clip_norm"]
    write_checked_json(path, content)
    assert make_plan(recipe(tiny_base, tmp_path, one={})).stages[0].status == "done"
    changed = make_plan(recipe(tiny_base, tmp_path, one={"weight_decay": 0.1})).stages[0]
    assert (changed.status, changed.why) == ("changed", "settings.weight_decay was 0.0, is 0.1")


def with_table(model: Path, out: Path, table: Path, *benchmarks: Path) -> Recipe:
    data = [{"source": "table", "path": str(table)}]
    stage = {"kind": "sft", "steps": 2, "data": data, "filters": {}}
    named = [{"source": "jsonl", "name": path.stem, "path": str(path)} for path in benchmarks]
    evaluation = {"think_budget": 4, "answer_budget": 2, "benchmarks": named, "after": []}
    raw = {
        "name": "t",
        "model": str(model),
        "out": str(out),
        "stages": {"one": stage},
        "evaluation": evaluation,
    }
    return check(raw, "test")


def test_a_benchmark_added_to_a_finished_run_retrains_only_if_it_removes_problems(
    trained,
    tiny_base: Path,
    tmp_path: Path,
) -> None:
    """D1: the manifest knows the problems that were kept, not how they were found."""
    table, run = write_table(tmp_path / "mine.jsonl"), tmp_path / "run"
    other, same = tmp_path / "other.jsonl", tmp_path / "same.jsonl"
    other.write_text(json.dumps({"question": "Who wrote the book about the river?", "answer": "x"}) + "\n")
    same.write_text(table.read_text().splitlines()[2] + "\n")
    run_recipe(with_table(tiny_base, run, table), QUIET)
    run_recipe(with_table(tiny_base, run, table, other), QUIET)
    (tmp_path / "elsewhere").mkdir()
    moved = write_table(tmp_path / "elsewhere" / "mine.jsonl")
    run_recipe(with_table(tiny_base, run, moved, other), QUIET)
    assert len(trained) == 1
    with pytest.raises(ValueError, match="stage one was trained with other settings: data was "):
        run_recipe(with_table(tiny_base, run, table, same), QUIET)
    assert len(trained) == 1


# --- real training, interrupted and resumed with other settings -----------------------------------------


class InterruptError(Exception):
    pass


def stages_of(sft: dict, rl: dict) -> dict[str, Any]:
    data = [{"source": "miniworld", "families": ["sums"], "steps": [1, 1], "count": 40}]
    sizes = {"prompts_per_step": 4, "samples_per_prompt": 4, "think_budget": 12, "answer_budget": 6}
    return {
        "sft": {
            "kind": "sft",
            "steps": 6,
            "lr": 3e-3,
            "tokens_per_step": 512,
            "checkpoint_every": 2,
            "data": data,
        }
        | sft,
        "rl": {
            "kind": "grpo",
            "steps": 4,
            "lr": 1e-3,
            "skip_zero_spread": False,
            "checkpoint_every": 2,
            "data": data,
        }
        | sizes
        | rl,
    }


def real(model: Path, out: Path, sft: dict | None = None, rl: dict | None = None) -> Recipe:
    raw = {"name": "t", "model": str(model), "out": str(out), "stages": stages_of(sft or {}, rl or {})}
    return check(raw | {"instruction": "think then answer"}, "test")


def interrupted(recipe_: Recipe, stage: str, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the recipe and stop `stage` in the middle of step `at`, as a killed process would."""
    from xreasoner.train import step_display

    class Stopping(step_display.NoDisplay):
        def step(self, number: int, values: dict[str, float]) -> None:
            if number == at and (recipe_.run_dir / "stages" / stage).exists():
                raise InterruptError

    with monkeypatch.context() as patched, pytest.raises(InterruptError):
        patched.setattr(pipeline, "StepLines", lambda *_: Stopping())
        run_recipe(recipe_, QUIET)


def weights(out: Path, stage: str) -> bytes:
    return (out / "stages" / stage / "model" / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_a_run_resumed_with_another_execution_ends_bit_identical(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D2: what decides only how a stage is computed may change in the middle of it."""
    run_recipe(real(tiny_base, tmp_path / "unbroken"), QUIET)
    out = tmp_path / "broken"
    interrupted(real(tiny_base, out), "1-sft", 5, monkeypatch)
    sft = {"gradient_checkpointing": True, "checkpoint_every": 1}
    interrupted(real(tiny_base, out, sft), "2-rl", 3, monkeypatch)
    rl = {"rows": 3, "samples_every": 1, "checkpoint_every": 5}
    run_recipe(real(tiny_base, out, sft, rl), QUIET)
    for stage in ("1-sft", "2-rl"):
        assert weights(out, stage) == weights(tmp_path / "unbroken", stage), stage
    assert not (out / "stale").exists()
    done = read_manifest(out / "stages" / "1-sft")
    assert [(one.step, one.change, one.affects_result) for one in done.history] == [
        (4, "gradient_checkpointing was false, is true", False),
        (4, "checkpoint_every was 2, is 1", False),
    ]
    assert done.fingerprint == read_manifest(tmp_path / "unbroken" / "stages" / "1-sft").fingerprint
    run_recipe(
        real(tiny_base, out, {"tokens_per_microbatch": 64}, {"rows": 7}), QUIET
    )  # nothing is left to do


@pytest.mark.slow
def test_the_learning_rate_and_the_length_may_change_in_the_middle_and_are_noted(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    interrupted(real(tiny_base, out), "1-sft", 5, monkeypatch)
    plan = make_plan(real(tiny_base, out, {"lr": 1e-3, "steps": 5}))
    assert (plan.stages[0].status, plan.stages[0].why) == (
        "resumed",
        "steps was 6, is 5, lr was 0.003, is 0.001",
    )
    run_recipe(real(tiny_base, out, {"lr": 1e-3, "steps": 5}), QUIET)
    manifest = read_manifest(out / "stages" / "1-sft")
    assert {(one.step, one.change) for one in manifest.history} == {
        (4, "lr was 0.003, is 0.001"),
        (4, "steps was 6, is 5"),
    }
    rates = [
        json.loads(line) for line in (out / "stages" / "1-sft" / "metrics.jsonl").read_text().splitlines()
    ]
    assert [row["step"] for row in rates] == [1, 2, 3, 4, 5]
    assert "sft: resumed with changed settings: steps was 6, is 5, lr was" in (out / "log").read_text()
    with pytest.raises(ValueError, match=r"other settings: lr was 0\.001, is 0\.002"):
        run_recipe(real(tiny_base, out, {"lr": 2e-3, "steps": 5}), QUIET)


def test_a_partly_trained_stage_is_refused_too_and_one_without_a_state_is_not(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(real(tiny_base, tmp_path), "1-sft", 1, monkeypatch)
    other = make_plan(real(tiny_base, tmp_path, {"weight_decay": 0.1})).stages[0]
    assert other.status == "new"
    state = state_folder(tmp_path / "stages" / "1-sft" / "state", 1)
    state.mkdir(parents=True)
    complete_state(state, {"step": 1, "extra": {}})
    with pytest.raises(ValueError, match=r"settings\.weight_decay was 0\.0, is 0\.1"):
        run_recipe(real(tiny_base, tmp_path, {"weight_decay": 0.1}), QUIET)


def test_a_grpo_stage_leaves_out_prompts_that_max_length_does_not_allow(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D5: no sequence of prompt, thought and answer is longer than max_length."""
    seen: list[int] = []
    monkeypatch.setattr(
        pipeline, "train_grpo", lambda settings, start, problems, *rest: seen.append(len(problems))
    )
    data = [
        {"source": "miniworld", "families": ["sums"], "steps": [steps, steps], "count": 10, "choices": 0}
        for steps in (1, 4)
    ]
    sizes = {"kind": "grpo", "steps": 1, "think_budget": 12, "answer_budget": 6, "data": data}

    def plan_of(max_length: int | None) -> tuple[Any, Recipe]:
        raw = {"name": "t", "model": str(tiny_base), "out": str(tmp_path / str(max_length))}
        recipe_ = check(raw | {"stages": {"rl": sizes | {"max_length": max_length}}}, "test")
        (tmp_path / str(max_length)).mkdir()
        return make_plan(recipe_).stages[0], recipe_

    lengths = sorted(
        len(encode_plainly(problem_prompt(problem, None), build_tokenizer())[0])
        for problem in plan_of(None)[0].problems
    )
    assert lengths[9] < lengths[10]
    for name, max_length, kept in (("all", lengths[-1] + 18, 20), ("short", lengths[10] + 17, 10)):
        stage, recipe_ = plan_of(max_length)
        journal = Journal(QUIET, tmp_path / f"{name}.log")
        pipeline.train(stage, tiny_base, recipe_, journal, join_world())
        assert seen.pop() == kept
    assert (
        "rl: 10 of 20 problems are left out: their prompts have more than"
        in (tmp_path / "short.log").read_text()
    )
    stage, recipe_ = plan_of(19)
    with pytest.raises(ValueError, match="rl: 20 of 20 problems are left out: "):
        pipeline.train(stage, tiny_base, recipe_, Journal(QUIET, tmp_path / "none.log"), join_world())


def test_every_setting_has_one_kind() -> None:
    assert not SCHEDULE & EXECUTION
    assert {*SftStage.model_fields, *GrpoStage.model_fields} >= SCHEDULE | EXECUTION
