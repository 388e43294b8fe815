"""A real `vllm serve`: token ids in and out, and new weights while it runs."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.train.rollouts import settings
from tests.vllm.test_engine import assert_same, run
from tests.vllm.test_engine_weights import assert_close, learn_something, logprobs_of

from xreasoner.models.load import Loaded
from xreasoner.parallel import free_port, join_world
from xreasoner.recipe.settings import ServerSettings
from xreasoner.records import Prompt, Sampling
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.rollout.vllm_engine.remote_engine import RemoteVllmEngine
from xreasoner.train.policy import open_policy
from xreasoner.train.samplers import TrainedWeights


def test_rollouts_and_new_weights(
    server: ServerSettings, lm: Path, lm_torch: TorchEngine, text_prompts: list[Prompt]
) -> None:
    engine = RemoteVllmEngine(server, lm, join_world())
    policy = open_policy(lm, settings(), 0, join_world())
    engine.take_weights(TrainedWeights(policy))
    for sampling in (Sampling(think_budget=7, answer_budget=9), Sampling(think_budget=0, answer_budget=4)):
        assert_same(run(engine, text_prompts, sampling), run(lm_torch, text_prompts, sampling))
    trained = TorchEngine(Loaded(policy.lm, policy.tokenizer, None))
    for _ in range(2):
        learn_something(policy)
        engine.take_weights(TrainedWeights(policy))
        assert_close(logprobs_of(engine, text_prompts), logprobs_of(trained, text_prompts))


def test_a_server_that_samples_banned_tokens_is_an_error(
    server: ServerSettings, lm: Path, text_prompts: list[Prompt]
) -> None:
    """Here every word is banned, as vision tokens would be if the server had no logits processor."""
    engine = RemoteVllmEngine(server, lm, join_world())
    special = engine._decoder.special_tokens
    ordinary = set(range(len(engine._decoder.tokenizer))) - special.stops
    engine._decoder = replace(engine._decoder, special_tokens=replace(special, banned=frozenset(ordinary)))
    with pytest.raises(ValueError, match=r"samples banned tokens.*docs/vllm\.md"):
        list(engine.generate(text_prompts, Sampling(think_budget=4, answer_budget=4)))


def test_an_unreachable_server_is_one_line(lm: Path) -> None:
    missing = ServerSettings(url=f"http://127.0.0.1:{free_port()}/v1", model="policy")
    engine = RemoteVllmEngine(missing, lm, join_world())
    with pytest.raises(ValueError, match=r"start the server as docs/vllm\.md says"):
        engine.take_weights([])
