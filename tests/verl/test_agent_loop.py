"""The agent loop in verl's own worker on Ray, with its client, load balancer, reward workers and data set.

Only the server is ours: verl's needs a GPU. The oracle writes the same answers token by token.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from omegaconf import OmegaConf
from tests.verl import server as server_module
from tests.verl.tiny_qwen import MARKS
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from verl import DataProto
from verl.experimental.agent_loop.agent_loop import AgentLoopWorker
from verl.experimental.reward_loop import RewardLoopManager
from verl.trainer.ppo.core_algos import agg_loss, compute_grpo_outcome_advantage
from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn
from verl.workers.rollout.llm_server import LLMServerClient
from verl.workers.rollout.router import GlobalRequestLoadBalancer

from xreasoner.chat.template import encode_plainly, problem_prompt
from xreasoner.data.sources import split_held_out, training_problems
from xreasoner.recipe.schema import Recipe
from xreasoner.records import Problem
from xreasoner.rewards.grade import Grader

PROMPTS = 24


@dataclass
class Cluster:
    config: Any
    worker: AgentLoopWorker
    server: Any

    def run(self, greedy: bool, copies: int = 1) -> DataProto:
        """As verl's trainer does it: a batch of the data set, every row `copies` times, to the worker."""
        tokenizer = AutoTokenizer.from_pretrained(self.config.actor_rollout_ref.model.path)
        rows = RLHFDataset(self.config.data.train_files, tokenizer, self.config.data)
        batch = DataProto.from_single_dict(collate_fn([rows[i] for i in range(PROMPTS)]))
        batch.non_tensor_batch["uid"] = np.array([f"u{i}" for i in range(PROMPTS)], dtype=object)
        batch = batch.repeat(copies, interleave=True)
        batch.meta_info |= {"validate": greedy, "global_steps": 1}
        return asyncio.run(self.worker.generate_sequences(batch))


@pytest.fixture(scope="module")
def cluster(config: Any) -> Iterator[Cluster]:
    OmegaConf.resolve(config)
    # The template of these tests opens the thought, which is two tokens more than were exported.
    config.actor_rollout_ref.rollout.prompt_length += 2
    config.reward.num_workers = 1
    ray.init(num_cpus=4, object_store_memory=200 * 2**20, include_dashboard=False, log_to_driver=False)
    ray.cloudpickle.register_pickle_by_value(server_module)  # Ray's workers cannot import tests
    server = server_module.TransformersServer.remote(config.actor_rollout_ref.model.path)
    balancer = ray.remote(GlobalRequestLoadBalancer).remote(servers={"only": server})
    rewards = RewardLoopManager(config)
    client = LLMServerClient(config, balancer)
    yield Cluster(config, AgentLoopWorker(config, client, None, rewards.reward_loop_worker_handles), server)
    ray.shutdown()


@pytest.fixture(scope="module")
def greedy(cluster: Cluster) -> DataProto:
    return cluster.run(greedy=True)


@dataclass
class ByHand:
    """A greedy answer written out token by token, with the whole prompt computed anew for each."""

    tokens: list[int]
    mask: list[int]
    logprobs: list[float]
    stop: str

    @property
    def forced(self) -> bool:
        return 0 in self.mask


def answer_by_hand(model: PreTrainedModel, prompt: list[int], tokenizer: PreTrainedTokenizerBase) -> ByHand:
    """The prompt has opened the thought: 12 tokens for it, then `</think>`, then 6 for the answer."""
    marks = [i for i in tokenizer.convert_tokens_to_ids(list(MARKS)) if i != tokenizer.eos_token_id]
    rows_without_token = range(len(tokenizer), model.config.vocab_size)
    done, left, closed = ByHand([], [], [], "length"), 12, False
    while left or not closed:
        if left == 0:
            injected = tokenizer.encode("\n</think>\n", add_special_tokens=False)
            done.tokens += injected
            done.mask += [0] * len(injected)
            done.logprobs += [0.0] * len(injected)
            left, closed = 6, True
        logits = model(torch.tensor([prompt + done.tokens])).logits[0, -1]
        logits[[*marks, *rows_without_token]] = -torch.inf
        token = int(logits.argmax())
        done.tokens.append(token)
        done.mask.append(1)
        done.logprobs.append(float(logits.log_softmax(-1)[token]))
        left -= 1
        if token == tokenizer.eos_token_id:
            done.stop = "eos"
            break
        if token == tokenizer.convert_tokens_to_ids("</think>") and not closed:
            left, closed = 6, True
    return done


@pytest.fixture(scope="module")
def asked(recipe: Recipe) -> list[Problem]:
    problems, _ = split_held_out(training_problems(recipe.stages["rl"].data, recipe.seed), 6, recipe.seed)
    return problems[:PROMPTS]


@pytest.fixture(scope="module")
def oracle(exported: Path, recipe: Recipe, asked: list[Problem]) -> list[ByHand]:
    model = AutoModelForCausalLM.from_pretrained(exported / "model", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(exported / "model")
    prompts = [encode_plainly(problem_prompt(p, recipe.instruction), tokenizer)[0] for p in asked]
    with torch.no_grad():
        return [answer_by_hand(model, ids, tokenizer) for ids in prompts]


def answer(batch: DataProto, row: int) -> tuple[list[int], list[int], list[float]]:
    length = int(batch.batch["attention_mask"][row, batch.batch["prompts"].shape[1] :].sum())
    parts = (batch.batch[name][row, :length].tolist() for name in ("responses", "response_mask"))
    return (*parts, batch.batch["rollout_log_probs"][row, :length].tolist())


def test_the_answers_are_those_written_by_hand(greedy: DataProto, oracle: list[ByHand]) -> None:
    for row, one in enumerate(oracle):
        tokens, mask, logprobs = answer(greedy, row)
        assert (tokens, mask) == (one.tokens, one.mask)
        assert logprobs == pytest.approx(one.logprobs, abs=2e-4)


def test_all_ways_to_end_a_thought_are_met(oracle: list[ByHand]) -> None:
    """Else the comparison above would show little."""
    assert {one.forced for one in oracle} == {True, False}
    assert {one.stop for one in oracle} == {"eos", "length"}


def test_injected_tokens_have_mask_zero(greedy: DataProto, exported: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(exported / "model")
    exit_ids = tokenizer.encode("\n</think>\n", add_special_tokens=False)
    injected = 0
    for row in range(PROMPTS):
        tokens, mask, _ = answer(greedy, row)
        if 0 in mask:
            at = mask.index(0)
            assert at == 12, "the thought had its budget"
            assert tokens[at : at + len(exit_ids)] == exit_ids
            assert mask.count(0) == len(exit_ids)
            injected += 1
    assert injected > 0


def test_the_reward_is_our_graders(
    greedy: DataProto, oracle: list[ByHand], asked: list[Problem], exported: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(exported / "model")
    texts = [tokenizer.decode(one.tokens, skip_special_tokens=True) for one in oracle]
    with Grader() as grader:
        scores = grader.score_many(list(zip(asked, texts, strict=True)))
    assert greedy.batch["rm_scores"].sum(-1).tolist() == [float(score.correct or False) for score in scores]
    assert greedy.non_tensor_batch["missing"].tolist() == [float(score.missing) for score in scores]
    assert greedy.non_tensor_batch["forced_exit"].tolist() == [float(one.forced) for one in oracle]


def test_requests_ban_what_is_not_text(cluster: Cluster, greedy: DataProto, exported: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(exported / "model")
    requests = ray.get(cluster.server.seen.remote())
    image = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    assert all(request["logit_bias"][image] == -100.0 for request in requests)
    assert all(request["stop_token_ids"] == [tokenizer.eos_token_id] for request in requests)
    assert max(request["max_tokens"] for request in requests) == 12


def test_a_sampled_group_gets_verls_advantages(cluster: Cluster) -> None:
    """Drawn answers go through verl's own GRPO: injected tokens have no advantage and no part in the loss."""
    batch = cluster.run(greedy=False, copies=4)
    mask = batch.batch["response_mask"]
    rewards = batch.batch["rm_scores"].clone()
    rewards[::4, 0] += 1.0  # random text is never right: one answer of each group is made so
    groups = np.repeat([f"u{i}" for i in range(PROMPTS)], 4)
    advantages, _ = compute_grpo_outcome_advantage(rewards, mask, groups)
    # Rewards 1, 0, 0, 0: mean 1/4, deviation 1/2.
    assert advantages[0][mask[0] == 1].unique().tolist() == pytest.approx([1.5], abs=1e-4)
    assert advantages[1][mask[1] == 1].unique().tolist() == pytest.approx([-0.5], abs=1e-4)
    assert advantages[mask == 0].abs().sum() == 0
    ones = torch.ones_like(advantages)
    assert agg_loss(ones, mask, "token-mean") == pytest.approx(1.0)
    injected = (batch.batch["attention_mask"][:, -mask.shape[1] :] - mask).sum()
    assert injected > 0
    assert int(mask.sum() + injected) == int(batch.batch["attention_mask"][:, -mask.shape[1] :].sum())
