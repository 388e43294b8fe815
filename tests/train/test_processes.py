"""Several processes with sharded weights against one: same loss, same training, same checkpoint."""

from functools import partial
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from tests.train.processes import difference, read_metrics, train_on
from tests.train.rollouts import settings as grpo_settings
from tests.train.test_sft import settings
from torch._dynamo.utils import counters
from transformers import AutoModelForCausalLM

from xreasoner.records import Problem
from xreasoner.train.grpo import train_grpo
from xreasoner.train.sft import train_sft
from xreasoner.train.step_display import NoDisplay


def test_two_processes_train_as_one_and_resume(start: Path, problems: list[Problem], tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    train_sft(settings(steps=5, lr=1e-3), start, problems, one, 0, NoDisplay())
    train_on(start, tmp_path, {"two": settings(steps=5, lr=1e-3)}, problems)
    first = read_metrics(two)
    for key in ("loss", "grad_norm"):
        assert [line[key] for line in first] == pytest.approx(
            [line[key] for line in read_metrics(one)], rel=1e-4
        )
    trained = AutoModelForCausalLM.from_pretrained(two / "model").state_dict()
    expected = AutoModelForCausalLM.from_pretrained(one / "model").state_dict()
    torch.testing.assert_close(trained, expected, rtol=1e-3, atol=1e-4)

    # From the state after step 4 only the last step is done again, to the last bit.
    train_on(start, tmp_path, {"two": settings(steps=5, lr=1e-3)}, problems)
    again = AutoModelForCausalLM.from_pretrained(two / "model").state_dict()
    assert all(torch.equal(trained[name], again[name]) for name in trained)
    assert read_metrics(two)[:4] == first[:4]


SFT = {
    "plain": {"steps": 3},
    "reduced once a step": {"steps": 3, "gradient_reduction": "step"},
    # One or two sequences a step: there are fewer than ranks.
    "few": {"steps": 3, "tokens_per_step": 30},
    "lora": {"steps": 3, "lr": 1e-2, "lora": {"rank": 4}},
    "bfloat16": {"steps": 3, "dtype": "bfloat16"},
    "lora in bfloat16": {"steps": 3, "lr": 1e-2, "dtype": "bfloat16", "lora": {"rank": 4}},
}
# Of what training moves: bfloat16 has eight bits, and AdamW's first steps make much of small gradients.
BFLOAT16 = 0.15


@pytest.mark.slow
def test_three_processes_imitate_as_one(start: Path, problems: list[Problem], tmp_path: Path) -> None:
    stages = {name: settings(**{"lr": 1e-3, **changes}) for name, changes in SFT.items()}
    train_on(start, tmp_path / "many", stages, problems, processes=3)
    for name, chosen in stages.items():
        one, many = tmp_path / "one" / name, tmp_path / "many" / name
        train_sft(chosen, start, problems, one, 0, NoDisplay())
        rounded = chosen.dtype == "bfloat16"
        for key in ("loss", "grad_norm", "tokens"):
            assert [line[key] for line in read_metrics(many)] == pytest.approx(
                [line[key] for line in read_metrics(one)], rel=0.02 if rounded else 1e-4
            ), (name, key)
        trained, expected = (AutoModelForCausalLM.from_pretrained(out / "model") for out in (many, one))
        if rounded:
            assert difference(many / "model", one / "model", start) < BFLOAT16, name
        else:
            torch.testing.assert_close(trained.state_dict(), expected.state_dict(), rtol=1e-3, atol=1e-4)
        if chosen.lora and not rounded:
            before = AutoModelForCausalLM.from_pretrained(start)
            adapted = PeftModel.from_pretrained(before, many / "model" / "adapter").merge_and_unload()
            torch.testing.assert_close(adapted.state_dict(), trained.state_dict(), rtol=1e-5, atol=1e-6)


GRPO = {
    "plain": {"samples_every": 1, "eval_every": 2},
    "kl": {"kl": 0.1, "updates_per_batch": 2, "steps": 2},
    "reduced once a step": {"gradient_reduction": "step", "steps": 2},
    # The reference is the adapter switched off.
    "lora": {"lr": 1e-2, "lora": {"rank": 4}, "kl": 0.1, "updates_per_batch": 2, "steps": 2},
    "oversample": {"oversample": 2.0, "prompts_per_step": 3, "steps": 2},
    "minibatches": {"minibatches": 2, "updates_per_batch": 2, "importance": "sequence", "steps": 2},
    # A single row: two of the three have none.
    "few": {"prompts_per_step": 1, "samples_per_prompt": 8, "tokens_per_microbatch": 1000},
    # Nobody comes to an answer: neither momentum nor decay may move a weight.
    "silent": {"forced_exit": False, "think_budget": 1, "answer_budget": 1, "weight_decay": 0.1, "steps": 2},
}


@pytest.mark.slow
def test_three_processes_reinforce_as_one(gambler: Path, arms: list[Problem], tmp_path: Path) -> None:
    stages = {name: grpo_settings(**{"lr": 1e-3, **changes}) for name, changes in GRPO.items()}
    train_on(gambler, tmp_path / "many", stages, arms, held_out=3, processes=3)
    for name, chosen in stages.items():
        one, many = tmp_path / "one" / name, tmp_path / "many" / name
        train_grpo(chosen, gambler, arms, arms[:3], one, 0, NoDisplay())
        for mine, theirs in zip(read_metrics(one), read_metrics(many), strict=True):
            untimed = {key for key in mine if not key.endswith("seconds")}
            assert [theirs[key] for key in untimed] == pytest.approx(
                [mine[key] for key in untimed], rel=1e-3, abs=1e-5
            ), name
        trained = AutoModelForCausalLM.from_pretrained(many / "model").state_dict()
        expected = AutoModelForCausalLM.from_pretrained(one / "model").state_dict()
        torch.testing.assert_close(trained, expected, rtol=1e-3, atol=1e-4)
    begun = AutoModelForCausalLM.from_pretrained(gambler).state_dict()
    assert all(torch.equal(trained[name], begun[name]) for name in begun), "the last stage was silent"
    assert any(line.get("grad_norm", 0) > 0 for line in read_metrics(tmp_path / "many" / "few"))
    samples = sorted(path.name for path in (tmp_path / "many" / "plain" / "samples").iterdir())
    assert samples == [f"step-{step:06}.jsonl" for step in range(1, 5)]
    first = (tmp_path / "one" / "plain" / "samples" / samples[0]).read_bytes()
    assert (tmp_path / "many" / "plain" / "samples" / samples[0]).read_bytes() == first


@pytest.mark.slow
def test_two_copies_on_two_nodes_train_as_one_process(
    start: Path, gambler: Path, problems: list[Problem], arms: list[Problem], tmp_path: Path
) -> None:
    """Four ranks, two on a machine: each machine has a copy of the weights, and saves it once."""
    chosen = settings(steps=3, lr=1e-3, shard_over="node")
    train_on(start, tmp_path, {"four": chosen}, problems, processes=4)
    train_sft(chosen, start, problems, tmp_path / "one", 0, NoDisplay())
    assert [line["grad_norm"] for line in read_metrics(tmp_path / "four")] == pytest.approx(
        [line["grad_norm"] for line in read_metrics(tmp_path / "one")], rel=1e-4
    )
    assert difference(tmp_path / "four" / "model", tmp_path / "one" / "model", start) < 1e-3
    again = {"four": chosen}
    trained = (tmp_path / "four" / "model" / "model.safetensors").read_bytes()
    train_on(start, tmp_path, again, problems, processes=4)  # from the state after step 2
    assert (tmp_path / "four" / "model" / "model.safetensors").read_bytes() == trained
    rl = grpo_settings(steps=2, lr=1e-3, shard_over="node")
    train_on(gambler, tmp_path, {"rl": rl}, arms, processes=4)
    train_grpo(rl, gambler, arms, [], tmp_path / "rl-one", 0, NoDisplay())
    assert difference(tmp_path / "rl" / "model", tmp_path / "rl-one" / "model", gambler) < 1e-3


@pytest.mark.slow
def test_machines_of_unequal_size_are_refused(start: Path, problems: list[Problem], tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="ValueError: shard_over: node needs equally many processes"):
        train_on(start, tmp_path, {"sft": settings(shard_over="node")}, problems, processes=3)


@pytest.mark.slow
def test_compiled_layers_train_as_plain_ones(
    start: Path,
    gambler: Path,
    problems: list[Problem],
    arms: list[Problem],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which layers are captured, with which gradients, is ours. A C++ compiler only takes longer."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    for name, compiled in (("plain", False), ("compiled", True)):
        chosen = settings(steps=3, lr=1e-3, compile=compiled)
        train_sft(chosen, start, problems, tmp_path / name, 0, NoDisplay())
        rl = grpo_settings(steps=2, lr=1e-3, compile=compiled)
        train_grpo(rl, gambler, arms, [], tmp_path / f"{name}-rl", 0, NoDisplay())
    assert counters["stats"]["unique_graphs"] > 0
    for stage, begun in (("", start), ("-rl", gambler)):
        found, expected = (tmp_path / f"{name}{stage}" / "model" for name in ("compiled", "plain"))
        assert difference(found, expected, begun) < 1e-3
