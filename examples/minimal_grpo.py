"""GRPO in one file, made to be read and copied: a tiny model is rewarded for right answers.

    python examples/minimal_grpo.py

A step draws some problems, samples a group of answers to each and grades them. Answers better than the
mean of their group become more likely, the others less likely. Everything is plain PyTorch; the parts of
X-Reasoner it uses are functions that need no recipe. src/xreasoner/train/grpo.py is the full loop.
"""

import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from xreasoner.chat.template import problem_prompt
from xreasoner.miniworld.problems import make_problems
from xreasoner.models.load import Loaded, load
from xreasoner.models.packed_attention import packed_attention
from xreasoner.models.resolve import MINIWORLD
from xreasoner.models.surgery import detach
from xreasoner.records import Problem, Rollout, Sampling
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.train.loss import LanguageModelLoss
from xreasoner.train.policy_loss import LossInputs, group_advantages, scaled, token_ratio
from xreasoner.train.rows import PackedReply, PolicyRow, SharedPrompt, policy_row

STEPS = 150
PROMPTS_PER_STEP = 24
SAMPLES_PER_PROMPT = 8
LR = 5e-4
SAMPLING = Sampling(n=SAMPLES_PER_PROMPT, temperature=1.0, think_budget=24, answer_budget=12)


def load_text_model() -> Loaded:
    """The base is a vision-language model. Training is text-only, so its language model is detached first."""
    with tempfile.TemporaryDirectory() as folder:
        detach(MINIWORLD, Path(folder, "text"))
        return load(Path(folder, "text"), dtype=torch.float32)


def sample(engine: TorchEngine, problems: Sequence[Problem], seed: int) -> list[list[Rollout]]:
    """The answers to each problem. An engine yields rollouts in the order in which they finish."""
    prompts = [problem_prompt(problem, instruction=None) for problem in problems]
    found: dict[str, list[Rollout]] = {problem.id: [] for problem in problems}
    for rollout in engine.generate(prompts, replace(SAMPLING, seed=seed)):
        found[rollout.prompt_id].append(rollout)
    return [found[problem.id] for problem in problems]


def grade(
    grader: Grader, problems: Sequence[Problem], groups: Sequence[Sequence[Rollout]]
) -> list[list[float]]:
    asked = [
        (problem, rollout.text) for problem, group in zip(problems, groups, strict=True) for rollout in group
    ]
    scores = iter(grader.score_many(asked))
    return [[float(next(scores).correct is True) for _ in group] for group in groups]


def row_of(groups: Sequence[Sequence[Rollout]], rewards: Sequence[Sequence[float]]) -> PolicyRow | None:
    """One packed row of all groups in which some answer was better than another; prompts appear once."""
    prompts: list[SharedPrompt] = []
    for group, rewarded in zip(groups, rewards, strict=True):
        advantages = group_advantages(rewarded, scaled)
        if any(advantages):
            replies = tuple(
                # Tokens that the forced exit injected are not the policy's, and do not learn.
                PackedReply(
                    rollout.token_ids, tuple(map(bool, rollout.by_policy)), rollout.logprobs, advantage
                )
                for rollout, advantage in zip(group, advantages, strict=True)
            )
            prompts.append(SharedPrompt(group[0].prompt_ids, replies))
    return policy_row(prompts, by_answer=False, device=torch.device("cpu")) if prompts else None


def token_loss(row: PolicyRow, logprob_N: Tensor, at: slice) -> Tensor:
    """The loss of the row's tokens `at` these places: a long row is computed in parts."""
    # One update a batch: the policy that sampled is the old policy, so every ratio is 1 here.
    old_N, one_N = row.sampled_logprob_N[at], torch.ones_like(logprob_N)
    return token_ratio(LossInputs(logprob_N, old_N, row.advantage_N[at], one_N, 0.2, 0.28)).loss_N


def main() -> list[float]:
    """Train, and return the mean reward of every step."""
    torch.manual_seed(0)
    model = load_text_model()
    model_loss = LanguageModelLoss(model.model)  # a packed row in, the summed loss of its target tokens out
    optimizer = torch.optim.AdamW(model_loss.parameters(), lr=LR, betas=(0.9, 0.95), weight_decay=0.0)
    engine = TorchEngine(model)  # samples from the very weights that are trained
    drawn = make_problems("shapes", "text", (2, 3), 300, "train", seed=0)
    # Without options: among four, a lucky guess would be rewarded like a right answer.
    problems = [problem for problem in drawn if not problem.choices]

    means: list[float] = []
    began = time.monotonic()
    with Grader() as grader:
        for step in range(STEPS):
            asked = random.Random(step).sample(problems, PROMPTS_PER_STEP)
            groups = sample(engine, asked, seed=step)
            rewards = grade(grader, asked, groups)
            means.append(fmean(reward for group in rewards for reward in group))
            if row := row_of(groups, rewards):
                # Over all sampled tokens, those of groups without signal included.
                tokens = sum(sum(rollout.by_policy) for group in groups for rollout in group)
                model.model.train()
                with packed_attention(model.model):
                    loss = model_loss(row.row, partial(token_loss, row)).loss / tokens
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model_loss.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
            if (step + 1) % 5 == 0:
                seconds = time.monotonic() - began
                print(f"step {step + 1:3}  reward of the last five {fmean(means[-5:]):.2f}  {seconds:.0f} s")
    return means


if __name__ == "__main__":
    main()
