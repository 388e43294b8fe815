"""Training states: saved on some ranks, resumed on others."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.disks.test_copy_files import held, join_with_disks
from tests.train.processes import difference, loaded_state, read_metrics, run_on_ranks, train_on, train_stages
from tests.train.rollouts import settings as grpo_settings
from tests.train.test_sft import settings, weights

from xreasoner.models.checkpoint import save_model
from xreasoner.recipe.schema import GrpoStage, SftStage
from xreasoner.records import Problem
from xreasoner.storage.folders import discard
from xreasoner.storage.state_folders import complete_states, saved_step
from xreasoner.train import training_states
from xreasoner.train.grpo import train_grpo
from xreasoner.train.sft import train_sft
from xreasoner.train.step_display import NoDisplay

LORA = {"lora": {"rank": 4, "targets": ["q_proj", "down_proj"]}}


def without_the_last_state(out: Path, to: Path) -> Path:
    """A copy of a stage as it was when it was killed before step 4."""
    shutil.copytree(out, to)
    shutil.rmtree(to / "model")
    discard(complete_states(to / "state")[-1])
    assert saved_step(to / "state") == 2
    return to


@pytest.mark.parametrize("changes", [{}, {"freeze": ["embeddings"]}, {"dtype": "bfloat16"}, LORA])
def test_every_number_of_ranks_loads_what_four_saved(
    start: Path, problems: list[Problem], tmp_path: Path, changes: dict[str, Any]
) -> None:
    chosen = settings(steps=5, **changes)
    train_on(start, tmp_path, {"four": chosen}, problems, processes=4)
    step, alone = loaded_state(start, chosen, tmp_path / "four")
    assert step == 4
    assert any("embed_tokens" in name for name in alone) == (not changes or "dtype" in changes)
    assert all(np.abs(values).max() > 0 for name, values in alone.items() if "exp_avg" in name)
    assert all(values == 4 for name, values in alone.items() if name.startswith("step."))
    for processes in (2, 3, 4):
        for found in run_on_ranks(loaded_state, processes, start, chosen, tmp_path / "four"):
            assert found[0] == 4
            assert found[1].keys() == alone.keys()
            assert all(np.array_equal(values, alone[name]) for name, values in found[1].items())


# Of what training moves. In bfloat16 a rank rounds the sums of other rows than one process does.
APART = {"float32": 1e-3, "bfloat16": 0.15}
FLOAT32 = {"rtol": 1e-3, "atol": 1e-4}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_run_that_changes_its_ranks_ends_as_one_that_does_not(
    start: Path, problems: list[Problem], tmp_path: Path, dtype: str
) -> None:
    chosen = settings(steps=5, lr=1e-3, dtype=dtype)
    train_on(start, tmp_path, {"four": chosen}, problems, processes=4)
    train_sft(chosen, start, problems, tmp_path / "one", 0, NoDisplay())
    two = without_the_last_state(tmp_path / "four", tmp_path / "two")
    alone = without_the_last_state(tmp_path / "four", tmp_path / "alone")
    four = without_the_last_state(tmp_path / "one", tmp_path / "from-one")
    train_on(start, tmp_path, {"two": chosen}, problems, processes=2)
    train_sft(chosen, start, problems, alone, 0, NoDisplay())
    train_on(start, tmp_path, {"from-one": chosen}, problems, processes=4)
    losses = [line["loss"] for line in read_metrics(tmp_path / "one")]
    for out in (two, alone, four):
        assert difference(out / "model", tmp_path / "one" / "model", start) < APART[dtype]
        close = 1e-4 if dtype == "float32" else 0.02
        assert [line["loss"] for line in read_metrics(out)] == pytest.approx(losses, rel=close)


def test_grpo_that_changes_its_ranks_ends_as_one_process_does(
    gambler: Path, arms: list[Problem], tmp_path: Path
) -> None:
    chosen = grpo_settings(steps=5, lr=1e-3, kl=0.1)
    train_on(gambler, tmp_path, {"four": chosen}, arms, processes=4)
    train_grpo(chosen, gambler, arms, [], tmp_path / "one", 0, NoDisplay())
    two = without_the_last_state(tmp_path / "four", tmp_path / "two")
    alone = without_the_last_state(tmp_path / "four", tmp_path / "alone")
    four = without_the_last_state(tmp_path / "one", tmp_path / "from-one")
    train_on(gambler, tmp_path, {"two": chosen}, arms, processes=2)
    train_grpo(chosen, gambler, arms, [], alone, 0, NoDisplay())
    train_on(gambler, tmp_path, {"from-one": chosen}, arms, processes=4)
    for out in (two, alone, four):
        for mine, theirs in zip(read_metrics(tmp_path / "one"), read_metrics(out), strict=True):
            untimed = [key for key in mine if not key.endswith("seconds")]
            assert [theirs[key] for key in untimed] == pytest.approx(
                [mine[key] for key in untimed], rel=1e-3, abs=1e-5
            )
        assert difference(out / "model", tmp_path / "one" / "model", gambler) < APART["float32"]


def test_grpo_resumes_on_two_ranks_to_the_last_bit(
    gambler: Path, arms: list[Problem], tmp_path: Path
) -> None:
    chosen: dict[str, SftStage | GrpoStage] = {"rl": grpo_settings(steps=4, kl=0.1, checkpoint_every=2)}
    train_on(gambler, tmp_path, chosen, arms, processes=2)
    trained, measured = weights(tmp_path / "rl" / "model"), read_metrics(tmp_path / "rl")
    assert saved_step(tmp_path / "rl" / "state") == 2
    train_on(gambler, tmp_path, chosen, arms, processes=2)
    again = weights(tmp_path / "rl" / "model")
    assert all(torch.equal(again[name], trained[name]) for name in trained)
    for before, after in zip(measured, read_metrics(tmp_path / "rl"), strict=True):
        untimed = {key for key in before if not key.endswith("seconds")}
        assert {key: after[key] for key in untimed} == {key: before[key] for key in untimed}


def test_frozen_embeddings_stay_and_the_rest_is_trained_as_on_one_rank(
    start: Path, problems: list[Problem], tmp_path: Path, new_lm: Any, tokenizer: Any
) -> None:
    save_model(new_lm(tie_word_embeddings=False), tokenizer, tmp_path / "untied")
    for begun in (start, tmp_path / "untied"):
        chosen = settings(steps=3, lr=1e-3, freeze=["embeddings"])
        train_on(begun, tmp_path / f"{begun.name}-2", {"sft": chosen}, problems, processes=2)
        train_sft(chosen, begun, problems, tmp_path / f"{begun.name}-1", 0, NoDisplay())
        found, before = weights(tmp_path / f"{begun.name}-2" / "sft" / "model"), weights(begun)
        ends = {name for name in before if "embed_tokens" in name or "lm_head" in name}
        assert ends
        assert {name for name in before if torch.equal(found[name], before[name])} == ends
        alone = weights(tmp_path / f"{begun.name}-1" / "model")
        torch.testing.assert_close(found, alone, **FLOAT32)


def train_until_killed_in_the_second_save(start: Path, out: Path, chosen: Any, problems: Any) -> None:
    """All of the state's files are on disk, but it is not marked as complete."""
    complete = training_states.complete_state

    def killed(state: Path, note: Any) -> None:
        if note["step"] == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        complete(state, note)

    training_states.complete_state = killed
    train_stages(start, out, {"sft": chosen}, problems)


@pytest.mark.parametrize("in_background", [True, False])
def test_a_kill_while_a_state_is_written_leaves_the_one_before(
    start: Path, problems: list[Problem], tmp_path: Path, in_background: bool
) -> None:
    chosen = settings(steps=6, save_in_background=in_background)
    with pytest.raises(EOFError):
        run_on_ranks(train_until_killed_in_the_second_save, 1, start, tmp_path, chosen, problems)
    state = tmp_path / "sft" / "state"
    assert (state / "step-00000004").is_dir()
    assert [path.name for path in complete_states(state)] == ["step-00000002"]
    train_sft(chosen, start, problems, tmp_path / "sft", 0, NoDisplay())
    train_sft(chosen, start, problems, tmp_path / "unbroken", 0, NoDisplay())
    found, expected = weights(tmp_path / "sft" / "model"), weights(tmp_path / "unbroken" / "model")
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_two_states_are_kept(start: Path, problems: list[Problem], tmp_path: Path) -> None:
    train_sft(settings(steps=5, checkpoint_every=1), start, problems, tmp_path, 0, NoDisplay())
    assert sorted(path.name for path in (tmp_path / "state").glob("step-*")) == [
        "step-00000003",
        "step-00000004",
    ]


@pytest.mark.parametrize("in_background", [True, False])
def test_a_state_that_cannot_be_written_stops_the_run_in_one_line(
    start: Path,
    problems: list[Problem],
    tmp_path: Path,
    in_background: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training_states, "whole_state", lambda folder, say: None)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "step-00000002").write_text("a file where a folder should be")
    monkeypatch.setattr(training_states, "drop_incomplete_states", lambda folder, say: None)
    with pytest.raises(ValueError, match="rank 0 could not save the training state") as raised:
        chosen = settings(steps=5, save_in_background=in_background)
        train_sft(chosen, start, problems, tmp_path, 0, NoDisplay())
    assert "\n" not in str(raised.value)


def train_apart(start: Path, folders: list[Path], chosen: SftStage, problems: list[Problem]) -> list[str]:
    folder, world = join_with_disks(folders, block=2**20)
    train_sft(chosen, start, problems, folder, 0, NoDisplay(), world=world)
    return sorted(held(folder))


def test_training_keeps_its_states_and_its_result_on_the_first_disk(
    start: Path, problems: list[Problem], tmp_path: Path
) -> None:
    """Three ranks, the third on a machine of its own; then one rank on each of two machines, resumed."""
    a, b, together = tmp_path / "a", tmp_path / "b", tmp_path / "together"
    chosen = settings(steps=5, lr=1e-3)
    files = run_on_ranks(train_apart, 3, start, [a, a, b], chosen, problems)
    run_on_ranks(train_apart, 3, start, [together] * 3, chosen, problems)
    assert all(
        torch.equal(weight, weights(together / "model")[name])
        for name, weight in weights(a / "model").items()
    )
    assert [path.name for path in complete_states(a / "state")] == ["step-00000002", "step-00000004"]
    assert {path.name[:4] for path in (a / "state" / "step-00000004").glob("__*")} == {"__0_", "__1_", "__2_"}
    assert all("tokens/" in name for name in files[2]), "its machine has what it reads"
    unbroken = weights(a / "model")
    run_on_ranks(train_apart, 2, start, [a, b], chosen, problems)
    for name, weight in weights(a / "model").items():
        torch.testing.assert_close(weight, unbroken[name], rtol=1e-3, atol=1e-4)
    assert not list(b.glob("state/step-*"))
