"""QLoRA: adapters beside a base in 4 bits, with bitsandbytes' kernels for the CPU."""

from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from peft import PeftModel
from tests.train.processes import difference, read_metrics, run_on_ranks, train_stages
from tests.train.rollouts import settings as grpo_settings
from tests.train.test_sft import settings, weights
from transformers import AutoModelForCausalLM

from xreasoner.estimate.memory import NF4
from xreasoner.models.checkpoint import save_model
from xreasoner.models.load import Loaded
from xreasoner.parallel import join_world
from xreasoner.records import Message, Problem, Prompt, Sampling
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.train import quantized
from xreasoner.train.grpo import train_grpo
from xreasoner.train.policy import open_policy, trained_weights
from xreasoner.train.quantized import BLOCK, quantized_layers
from xreasoner.train.sft import train_sft
from xreasoner.train.step_display import NoDisplay

QLORA = {"lora": {"rank": 4, "base": "4bit"}, "dtype": "float32"}


@pytest.fixture
def start(tmp_path: Path, new_lm: Any, tokenizer: Any) -> Path:
    """Wide enough for rows of whole blocks."""
    save_model(new_lm(hidden_size=64, intermediate_size=128), tokenizer, tmp_path / "start")
    return tmp_path / "start"


def rounded(weight: torch.Tensor) -> torch.Tensor:
    """What 4 bits leave of it."""
    packed = quantize_4bit(weight, blocksize=BLOCK, quant_type="nf4", compress_statistics=True)
    return dequantize_4bit(*packed)


def is_quantized(name: str) -> bool:
    return "_proj.weight" in name


def test_the_base_computes_with_4_bits(start: Path) -> None:
    policy = open_policy(start, settings(**QLORA), 0, join_world())
    assert len(list(quantized_layers(policy.lm))) == 2 * 7
    expected = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
    with torch.no_grad():
        for name, weight in expected.named_parameters():
            if is_quantized(name):
                assert 0 < (rounded(weight) - weight).norm() < 0.15 * weight.norm()
                weight.copy_(rounded(weight))
    ids_1T = torch.arange(3, 40)[None]
    torch.testing.assert_close(policy.lm(ids_1T).logits, expected(ids_1T).logits, rtol=1e-4, atol=1e-4)
    # Samplers of their own get the same; a packed matrix has 4 bits a weight, and no parameter.
    sent = dict(trained_weights(policy, torch.float32))
    assert sent.keys() == weights(start).keys() - {"lm_head.weight"}, "it is tied"
    for name, weight in expected.named_parameters():
        torch.testing.assert_close(sent[name], weight)
    for _, layer in quantized_layers(policy.lm):
        assert layer.packed.nbytes == layer.in_features * layer.out_features / 2
    assert not any(is_quantized(name) and "lora" not in name for name, _ in policy.lm.named_parameters())


def test_the_packed_size_is_the_estimated_one() -> None:
    packed, state = quantize_4bit(
        torch.randn(512, 1024), blocksize=BLOCK, quant_type="nf4", compress_statistics=True
    )
    size = packed.nbytes + state.absmax.nbytes + state.state2.absmax.nbytes
    assert size == NF4 * 512 * 1024


def test_rows_that_are_not_whole_blocks_stay_as_they_are(new_lm: Any, tokenizer: Any, tmp_path: Path) -> None:
    save_model(new_lm(hidden_size=96, intermediate_size=128), tokenizer, tmp_path / "narrow")
    policy = open_policy(tmp_path / "narrow", settings(**QLORA), 0, join_world())
    found = {name.split(".")[-2] for name, _ in quantized_layers(policy.lm)}
    assert found == {"down_proj"}, "only its rows have 128 weights"
    assert dict(trained_weights(policy, torch.float32)).keys() == weights(tmp_path / "narrow").keys() - {
        "lm_head.weight"
    }


def test_sft_learns_and_merges_into_the_exact_weights(
    start: Path, problems: list[Problem], tmp_path: Path
) -> None:
    train_sft(settings(steps=12, lr=2e-2, **QLORA), start, problems, tmp_path, 0, NoDisplay())
    losses = [line["loss"] for line in read_metrics(tmp_path)]
    assert losses[-1] < 0.8 * losses[0]
    saved, before = weights(tmp_path / "model"), weights(start)
    assert saved.keys() == before.keys()
    moved = {name for name in before if not torch.equal(saved[name], before[name])}
    assert moved == {name for name in before if is_quantized(name)}
    # peft comes to the same from the exact base and the adapter; with the quantised base it would not.
    exact = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
    merged = PeftModel.from_pretrained(exact, tmp_path / "model" / "adapter").merge_and_unload().state_dict()
    for name, weight in saved.items():
        torch.testing.assert_close(weight, merged[name], rtol=1e-5, atol=1e-6)


def test_grpo_samples_from_the_base_in_4_bits(gambler: Path, arms: list[Problem], tmp_path: Path) -> None:
    chosen = grpo_settings(steps=3, lr=1e-2, kl=0.1, **QLORA)
    train_grpo(chosen, gambler, arms, [], tmp_path, 0, NoDisplay())
    lines = read_metrics(tmp_path)
    assert any(line["grad_norm"] > 0 for line in lines)
    # The sampler's log-probabilities are the trainer's. How products of 4 bits round depends on the CPU.
    assert all(line["mismatch"] < 1e-3 for line in lines)
    policy = open_policy(gambler, chosen, 0, join_world())
    ask = [Prompt("a", (Message("user", ("what ?",)),))]
    greedy = Sampling(think_budget=6, answer_budget=4)
    (found,) = TorchEngine(Loaded(policy.lm, policy.tokenizer, None)).generate(ask, greedy)
    ids_1T = torch.tensor([[*found.prompt_ids, *found.token_ids]])
    logprobs = policy.lm(ids_1T).logits[0].log_softmax(-1)
    first = len(found.prompt_ids)
    for place, (token, logprob) in enumerate(zip(found.token_ids, found.logprobs, strict=True)):
        if found.by_policy[place]:
            assert logprobs[first + place - 1, token].item() == pytest.approx(
                logprob, abs=1e-3
            )  # tokens are banned in sampling


def test_a_killed_run_resumes_to_the_same_weights(
    start: Path, problems: list[Problem], tmp_path: Path
) -> None:
    chosen = settings(steps=5, lr=1e-2, **QLORA)
    train_sft(chosen, start, problems, tmp_path, 0, NoDisplay())
    unbroken = weights(tmp_path / "model")
    train_sft(chosen, start, problems, tmp_path, 0, NoDisplay())  # from the state after step 4
    assert all(torch.equal(weight, unbroken[name]) for name, weight in weights(tmp_path / "model").items())


def test_two_ranks_learn_as_one(
    gambler: Path, problems: list[Problem], arms: list[Problem], tmp_path: Path
) -> None:
    """Each has the whole base in 4 bits; adapters, embeddings and norms are sharded."""
    chosen = {"sft": settings(steps=3, lr=1e-2, **QLORA)}, {"rl": grpo_settings(steps=3, kl=0.1, **QLORA)}
    for stage, learned in zip(chosen, (problems, arms), strict=True):
        run_on_ranks(train_stages, 2, gambler, tmp_path / "two", stage, learned)
        train_stages(gambler, tmp_path / "one", stage, learned)
        (name,) = stage
        one, two = tmp_path / "one" / name, tmp_path / "two" / name
        for mine, theirs in zip(read_metrics(one), read_metrics(two), strict=True):
            known = [key for key in mine if not key.endswith("seconds")]
            expected = pytest.approx([mine[key] for key in known], rel=1e-3, abs=1e-4)
            assert [theirs[key] for key in known] == expected
        assert any(line["grad_norm"] > 0 for line in read_metrics(two))
        assert difference(two / "model", one / "model", gambler) < 1e-3
        # Merged into the exact weights by one process, and as an adapter that peft reads.
        exact = AutoModelForCausalLM.from_pretrained(gambler, dtype=torch.float32)
        adapted = PeftModel.from_pretrained(exact, two / "model" / "adapter").merge_and_unload().state_dict()
        for weight, saved in weights(two / "model").items():
            torch.testing.assert_close(saved, adapted[weight], rtol=1e-5, atol=1e-6)


def test_a_missing_package_is_refused_in_one_line(
    start: Path, problems: list[Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings(steps=2, **QLORA)
    monkeypatch.setattr(quantized, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"^lora\.base: 4bit needs bitsandbytes: pip install"):
        train_sft(chosen, start, problems, tmp_path, 0, NoDisplay())
