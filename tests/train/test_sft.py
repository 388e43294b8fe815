import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from xreasoner.chat.template import training_example
from xreasoner.data.token_store import token_store
from xreasoner.parallel import join_world
from xreasoner.recipe.schema import Lora, SftStage
from xreasoner.records import Problem
from xreasoner.storage.state_folders import complete_states, read_note
from xreasoner.train import sft
from xreasoner.train.policy import open_policy
from xreasoner.train.sft import accumulate, thinking_family, train_sft
from xreasoner.train.step_display import NoDisplay


def settings(**changes: Any) -> SftStage:
    source = {"source": "jsonl", "path": "unused.jsonl"}
    keys = {
        "kind": "sft",
        "data": [source],
        "steps": 6,
        "lr": 1e-2,
        "tokens_per_step": 400,
        "tokens_per_microbatch": 150,
        "checkpoint_every": 2,
    }
    return SftStage.model_validate({**keys, **changes})


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return AutoModelForCausalLM.from_pretrained(checkpoint, dtype="auto").state_dict()


def losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_accumulated_rows_equal_one_big_row(start: Path, problems: list[Problem], tmp_path: Path) -> None:
    policy = open_policy(start, settings(), 0, join_world())
    store = token_store(problems, None, policy.tokenizer, tmp_path / "tokens", print)
    found = []
    for tokens_per_row in (100_000, 120):
        loss = accumulate(policy, store, range(len(store)), settings(tokens_per_microbatch=tokens_per_row))
        found.append((loss, {name: p.grad.clone() for name, p in policy.loss.named_parameters()}))
        policy.loss.zero_grad()
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-4, atol=1e-6)


def test_it_learns_and_says_so(start: Path, problems: list[Problem], tmp_path: Path) -> None:
    train_sft(settings(steps=40), start, problems, tmp_path / "out", 0, NoDisplay())
    found = losses(tmp_path / "out")
    assert len(found) == 40
    assert found[-1] < 0.4 * found[0]
    assert json.loads((tmp_path / "out" / "data.json").read_text())["examples"] == len(problems)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("changes", [{}, {"lora": Lora(rank=4)}, {"dtype": "bfloat16"}])
@pytest.mark.parametrize("kill_at", [1, 3, 5])
def test_a_resumed_run_ends_bit_identical(
    start: Path,
    problems: list[Problem],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    kill_at: int,
) -> None:
    train_sft(settings(**changes), start, problems, tmp_path / "whole", 3, NoDisplay())

    calls = 0
    unbroken = sft.accumulate

    def killed(*args: Any) -> float:
        nonlocal calls
        calls += 1
        if calls == kill_at + 1:
            raise KilledError
        return unbroken(*args)

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(sft, "accumulate", killed)
        train_sft(settings(**changes), start, problems, tmp_path / "broken", 3, NoDisplay())
    train_sft(settings(**changes), start, problems, tmp_path / "broken", 3, NoDisplay())

    whole, resumed = weights(tmp_path / "whole" / "model"), weights(tmp_path / "broken" / "model")
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert losses(tmp_path / "whole") == losses(tmp_path / "broken")
    begun = weights(start)
    assert any(not torch.equal(whole[name], begun[name]) for name in whole)


def test_frozen_embeddings_stay(start: Path, problems: list[Problem], tmp_path: Path) -> None:
    train_sft(settings(freeze=["embeddings"]), start, problems, tmp_path / "out", 0, NoDisplay())
    before, after = weights(start), weights(tmp_path / "out" / "model")
    assert torch.equal(before["model.embed_tokens.weight"], after["model.embed_tokens.weight"])
    assert not torch.equal(
        before["model.layers.0.mlp.up_proj.weight"], after["model.layers.0.mlp.up_proj.weight"]
    )


def test_adapters_are_merged_into_a_plain_checkpoint(
    start: Path, problems: list[Problem], tmp_path: Path
) -> None:
    train_sft(
        settings(lora={"rank": 2, "targets": ["q_proj"]}), start, problems, tmp_path / "out", 0, NoDisplay()
    )
    before, after = weights(start), weights(tmp_path / "out" / "model")
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {f"model.layers.{i}.self_attn.q_proj.weight" for i in (0, 1)}
    change = (
        after["model.layers.0.self_attn.q_proj.weight"] - before["model.layers.0.self_attn.q_proj.weight"]
    )
    assert torch.linalg.matrix_rank(change, tol=1e-4) == 2


def test_the_checkpoint_keeps_the_precision_it_came_with(
    start: Path, problems: list[Problem], tmp_path: Path
) -> None:
    AutoModelForCausalLM.from_pretrained(start, dtype=torch.bfloat16).save_pretrained(start)
    train_sft(settings(), start, problems, tmp_path / "out", 0, NoDisplay())
    assert {weight.dtype for weight in weights(tmp_path / "out" / "model").values()} == {torch.bfloat16}


def test_gradient_checkpointing_changes_nothing(start: Path, problems: list[Problem], tmp_path: Path) -> None:
    train_sft(settings(), start, problems, tmp_path / "plain", 0, NoDisplay())
    train_sft(settings(gradient_checkpointing=True), start, problems, tmp_path / "saving", 0, NoDisplay())
    assert losses(tmp_path / "plain") == pytest.approx(losses(tmp_path / "saving"), rel=1e-4)


def test_examples_beyond_max_length_are_left_out_and_counted(
    start: Path, problems: list[Problem], tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    lengths = [len(training_example(problem, None, tokenizer).ids) for problem in problems]
    bound = sorted(lengths)[len(lengths) // 2]
    train_sft(settings(max_length=bound), start, problems, tmp_path / "out", 0, NoDisplay())
    summary = json.loads((tmp_path / "out" / "data.json").read_text())
    assert summary["left_out"] == sum(length > bound for length in lengths) > 0


def held_out_losses(out: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["held_out_loss"] for line in lines if "held_out_loss" in line}


def test_the_held_out_loss_is_that_of_transformers(
    start: Path, problems: list[Problem], tmp_path: Path
) -> None:
    held_out = problems[:7]
    chosen = settings(steps=4, held_out=7, eval_every=2)
    train_sft(chosen, start, problems[7:], tmp_path / "out", 0, NoDisplay(), held_out=held_out)
    found = held_out_losses(tmp_path / "out")
    assert list(found) == [0, 2, 4]
    for step, checkpoint in ((0, start), (4, tmp_path / "out" / "model")):
        model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype="auto")
        tokenizer = open_policy(checkpoint, settings(), 0, join_world()).tokenizer
        total = count = 0.0
        for problem in held_out:
            example = training_example(problem, None, tokenizer)
            ids = torch.tensor([example.ids])
            labels = torch.where(torch.tensor([example.is_target]), ids, -100)
            targets = sum(example.is_target)
            with torch.no_grad():
                total += model(input_ids=ids, labels=labels).loss.item() * targets
            count += targets
        assert found[step] == pytest.approx(total / count, rel=1e-4)


def test_the_checkpoint_with_the_lowest_held_out_loss_is_kept_if_asked(
    start: Path, problems: list[Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings(steps=4, held_out=1, eval_every=1, checkpoint_every=1)
    arguments = (start, problems[1:], tmp_path / "plain", 0, NoDisplay(), None, problems[:1])
    train_sft(chosen, *arguments)
    measured = iter([3.0, 2.0, 1.0, 2.0, 3.0])
    monkeypatch.setattr(sft, "mean_loss", lambda *_: next(measured))
    best = tmp_path / "best"
    train_sft(
        chosen.model_copy(update={"keep_best": True}),
        start,
        problems[1:],
        best,
        0,
        NoDisplay(),
        None,
        problems[:1],
    )
    assert not (tmp_path / "plain" / "best").exists()
    kept, last = weights(best / "model"), weights(tmp_path / "plain" / "model")
    assert any(not torch.equal(kept[name], last[name]) for name in last)
    newest = complete_states(best / "state")[-1]
    assert read_note(newest)["extra"]["best"] == {"score": -1.0, "step": 2}


def test_replies_are_swapped_in_families_or_domains_and_rehearsals_keep_theirs() -> None:
    labs = Problem("a", ("q",), "7", "exact", reasoning="so", tags={"family": "labs"}, domain="clinical")
    assert [
        thinking_family(problem) for problem in (labs, replace(labs, tags={}), replace(labs, reasoning=""))
    ] == ["labs", "clinical", None]
