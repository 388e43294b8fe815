"""vLLM gets the trainer's exact weights, and keeps nothing of the old ones."""

from pathlib import Path

import pytest
import torch
from tests.train.rollouts import settings
from tests.vllm.conftest import shaken
from transformers import AutoModelForCausalLM

from xreasoner.models.load import Loaded
from xreasoner.parallel import join_world
from xreasoner.records import Prompt, Sampling
from xreasoner.rollout.engine import Engine
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.rollout.vllm_engine.engine import VllmEngine
from xreasoner.train.policy import Policy, open_policy, save_policy
from xreasoner.train.samplers import TrainedWeights

GREEDY = Sampling(think_budget=8, answer_budget=6)


def logprobs_of(engine: Engine, prompts: list[Prompt]) -> dict[str, tuple[float, ...]]:
    return {rollout.prompt_id: rollout.logprobs for rollout in engine.generate(prompts, GREEDY)}


@pytest.mark.parametrize("lora", [None, {"rank": 4}], ids=["full", "lora"])
def test_after_an_update_the_engine_samples_from_the_new_weights(
    lm: Path, lm_vllm: VllmEngine, text_prompts: list[Prompt], lora: dict[str, int] | None
) -> None:
    policy = open_policy(lm, settings(lora=lora), 0, join_world())
    trained = TorchEngine(Loaded(policy.lm, policy.tokenizer, None))
    before = logprobs_of(trained, text_prompts)
    lm_vllm.take_weights(TrainedWeights(policy))
    assert_close(logprobs_of(lm_vllm, text_prompts), before)
    learn_something(policy)
    after = logprobs_of(trained, text_prompts)
    assert all(max(abs(a - b) for a, b in zip(after[i], before[i], strict=False)) > 0.01 for i in before)
    # The same prompts again: a prefix cache that was kept would answer with the old keys and values.
    lm_vllm.take_weights(TrainedWeights(policy))
    assert_close(logprobs_of(lm_vllm, text_prompts), after)


def learn_something(policy: Policy) -> None:
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in policy.lm.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))


def assert_close(found: dict[str, tuple[float, ...]], expected: dict[str, tuple[float, ...]]) -> None:
    assert found.keys() == expected.keys()
    for prompt_id, logprobs in expected.items():
        assert found[prompt_id] == pytest.approx(logprobs, abs=5e-4)


def test_sent_weights_are_those_of_a_saved_checkpoint(lm: Path, tmp_path: Path) -> None:
    policy = open_policy(lm, settings(lora={"rank": 4}), 0, join_world())
    shaken(policy.lm, 0.1)
    save_policy(policy, tmp_path / "saved")
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    sent = dict(TrainedWeights(policy))
    assert sent.keys() == saved.state_dict().keys() - saved.all_tied_weights_keys.keys()
    for name, weight in sent.items():
        torch.testing.assert_close(weight, saved.state_dict()[name])
