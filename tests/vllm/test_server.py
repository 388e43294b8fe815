"""A real `vllm serve`: token ids in and out, and new weights while it runs."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.train.rollouts import settings
from tests.vllm.servers import running
from tests.vllm.test_engine import assert_same, run
from tests.vllm.test_engine_weights import assert_close, learn_something, logprobs_of

from xreasoner.models.load import Loaded
from xreasoner.parallel import join_world
from xreasoner.recipe_settings import ServerAddress
from xreasoner.records import Prompt, Sampling
from xreasoner.rollout.torch_engine import TorchEngine
from xreasoner.rollout.vllm_server import VllmServer
from xreasoner.rollout.vllm_transfer import free_port
from xreasoner.train.samplers import TrainedWeights
from xreasoner.train.trainee import open_trainee

COMMAND = """
{python} -m vllm.entrypoints.openai.api_server --model {model} --served-model-name policy --port {port}
--weight-transfer-config {{"backend":"gloo"}} --logprobs-mode processed_logprobs
--logits-processors xreasoner.rollout.vllm_ban:BannedTokens --generation-config vllm
--dtype float32 --enforce-eager --no-enable-chunked-prefill
--kv-cache-memory-bytes 134217728 --max-num-seqs 32
"""
ENVIRONMENT = {"VLLM_SERVER_DEV_MODE": "1", "VLLM_USE_V2_MODEL_RUNNER": "0"}


@pytest.fixture(scope="module")
def address(lm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerAddress]:
    port, log = free_port(), tmp_path_factory.mktemp("server") / "log"
    words = [word.format(python=sys.executable, model=lm, port=port) for word in COMMAND.split()]
    with running(words, port, log, ENVIRONMENT) as url:
        yield ServerAddress(url=url, model="policy")


def test_rollouts_and_new_weights(
    address: ServerAddress, lm: Path, lm_torch: TorchEngine, text_prompts: list[Prompt]
) -> None:
    engine = VllmServer(address, lm, torch.device("cpu"))
    for sampling in (Sampling(think_budget=7, answer_budget=9), Sampling(think_budget=0, answer_budget=4)):
        assert_same(run(engine, text_prompts, sampling), run(lm_torch, text_prompts, sampling))
    trainee = open_trainee(lm, settings(), 0, join_world())
    trained = TorchEngine(Loaded(trainee.lm, trainee.tokenizer, None))
    for _ in range(2):
        learn_something(trainee)
        engine.take_weights(TrainedWeights(trainee))
        assert_close(logprobs_of(engine, text_prompts), logprobs_of(trained, text_prompts))


def test_a_server_without_the_transfer_says_so(lm: Path) -> None:
    nobody = ServerAddress(url=f"http://127.0.0.1:{free_port()}/v1", model="policy")
    engine = VllmServer(nobody, lm, torch.device("cpu"))
    with pytest.raises(ValueError, match=r"start the server as docs/vllm\.md says"):
        engine.take_weights([])
