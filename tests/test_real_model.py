"""A real language model of about 0.5B parameters, if XREASONER_REAL_MODEL names its folder."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from xreasoner.chat.template import encode_prompt, problem_prompt
from xreasoner.models.load import Loaded, load
from xreasoner.models.packed_sequences import PackedSequences
from xreasoner.records import Problem, Sampling
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.train import packing_check
from xreasoner.train.loss import LanguageModelLoss
from xreasoner.train.rows import PackedReply, SharedPrompt, pack, pack_shared

FOLDER = os.environ.get("XREASONER_REAL_MODEL")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(FOLDER is None, reason="XREASONER_REAL_MODEL is not set")]
QUESTIONS = ("What is 17 + 25?", "A shirt costs $12 and a hat half as much. What do both cost together?")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return load(Path(str(FOLDER)), dtype=torch.float32)


def test_greedy_tokens_are_those_of_generate(loaded: Loaded) -> None:
    prompts = [problem_prompt(Problem(text, (text,), "1", "math"), None) for text in QUESTIONS]
    found = TorchEngine(loaded).generate(prompts, Sampling(1, 0.0, 0, 24, forced_exit=False))
    tokens = {rollout.prompt_id: list(rollout.token_ids) for rollout in found}
    for prompt in prompts:
        ids_1T = torch.tensor([encode_prompt(prompt, loaded.tokenizer, None).ids])
        generated_1T = loaded.model.generate(ids_1T, max_new_tokens=24, do_sample=False)
        assert tokens[prompt.id] == generated_1T[0, ids_1T.shape[1] :].tolist()


@torch.no_grad()
def test_the_sampler_has_the_trainers_probabilities(loaded: Loaded) -> None:
    prompt = problem_prompt(Problem("p", (QUESTIONS[0],), "1", "math"), None)
    sampling = Sampling(4, 1.0, 0, 24, forced_exit=False, seed=1)
    rollouts = list(TorchEngine(loaded).generate([prompt], sampling))
    replies = [PackedReply(r.token_ids, (True,) * len(r.token_ids), r.logprobs, 0.0) for r in rollouts]
    row = pack_shared([SharedPrompt(rollouts[0].prompt_ids, tuple(replies))], CPU)
    loss = LanguageModelLoss(loaded.model)
    with loss.computing():
        trained_N = loss(row).logprob_N
    sampled_N = torch.tensor([p for rollout in rollouts for p in rollout.logprobs])
    assert (trained_N - sampled_N).abs().mean() < 1e-4


@torch.no_grad()
def test_the_packing_check_tells_a_leak_from_rounding(loaded: Loaded) -> None:
    loss = LanguageModelLoss(loaded.model)
    assert packing_check.check_packing(loss, torch.float32)
    examples = packing_check._examples(loss)
    expected = [packing_check._own_logprobs(loss, example) for example in examples]
    row = pack(examples, CPU)
    with loss.computing():
        leaking_N = loss(replace(row, sequences=PackedSequences.of((len(row.ids_1T[0]),), CPU))).logprob_N
    distances = packing_check._distances(leaking_N, expected)
    assert distances[0] < packing_check.LEAK[torch.float32]
    for dtype in (torch.float32, torch.bfloat16):
        assert distances[1] > 3 * packing_check.LARGEST[dtype]
        assert not packing_check._is_rounding(distances, dtype)
