"""Two servers, one of them with its weights over two workers, sample for one trainer."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from tests.train.rollouts import settings
from tests.vllm.servers import serving_policy
from tests.vllm.test_engine import assert_same, run
from tests.vllm.test_engine_weights import assert_close, learn_something, logprobs_of

from xreasoner.models.load import Loaded
from xreasoner.parallel import join_world
from xreasoner.recipe.settings import ServerSettings
from xreasoner.records import Prompt, Sampling
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.rollout.vllm_engine.remote_engine import RemoteVllmEngine
from xreasoner.train.policy import open_policy
from xreasoner.train.samplers import TrainedWeights


@pytest.fixture(scope="module")
def servers(
    lm: Path, server: ServerSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerSettings]:
    log = tmp_path_factory.mktemp("replica") / "log"
    with serving_policy(lm, log, workers=2) as another:
        yield ServerSettings(url=(*server.urls, *another.urls), model="policy")


def answered(url: str) -> int:
    """Requests that a server has finished."""
    metrics = urlopen(url.removesuffix("/v1") + "/metrics").read().decode()
    return sum(
        int(float(count)) for count in re.findall(r"^vllm:request_success_total.* (\S+)$", metrics, re.M)
    )


def test_all_workers_of_both_get_the_weights_and_share_the_prompts(
    servers: ServerSettings, lm: Path, lm_torch: TorchEngine, text_prompts: list[Prompt]
) -> None:
    engine = RemoteVllmEngine(servers, lm, join_world())
    policy = open_policy(lm, settings(), 0, join_world())
    engine.take_weights(TrainedWeights(policy))
    before = [answered(url) for url in servers.urls]
    sampling = Sampling(think_budget=7, answer_budget=9)
    assert_same(run(engine, text_prompts, sampling), run(lm_torch, text_prompts, sampling))
    shares = [answered(url) - one for url, one in zip(servers.urls, before, strict=True)]
    assert len(text_prompts) == 12 and min(shares) >= 6, "at least one request for each prompt"
    trained = TorchEngine(Loaded(policy.lm, policy.tokenizer, None))
    for _ in range(2):
        learn_something(policy)
        engine.take_weights(TrainedWeights(policy))
        assert_close(logprobs_of(engine, text_prompts), logprobs_of(trained, text_prompts))
