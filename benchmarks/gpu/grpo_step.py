"""One GRPO step at 1.5B, split in sampling, grading and update: 64 x 8 samples of up to 1,024 tokens."""

from collections.abc import Iterator
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path

import torch
from benchmarks.gpu.models import end_after, random_lm, random_prompts, tokenizer_of
from benchmarks.gpu.stages import graded, grpo_stage, new_policy
from benchmarks.gpu.suite import Check, Line, Machine, Part, at_most, measured

from xreasoner.records import Kind, Problem, Rollout, Sampling
from xreasoner.rewards.grade import Grader
from xreasoner.train.collect import RolloutBatch
from xreasoner.train.optim import GuardedStep, adamw
from xreasoner.train.samplers import open_sampler
from xreasoner.train.update import UpdateMetrics, update

SIZE = "1.5B"


def measure(machine: Machine) -> Iterator[Line]:
    count, samples, mean, cap = (4, 2, 8, 24) if machine.tiny else (64, 8, 300, 1024)
    lm = random_lm(SIZE, machine, torch.float32)
    vocabulary = lm.config.vocab_size
    end_after(lm, tokenizer_of(vocabulary), mean)
    stage = grpo_stage(dtype="bfloat16", rollout="torch", tokens_per_microbatch=8192, lr=1e-6)
    policy = new_policy(lm, stage, machine.world)
    take_step = GuardedStep(policy.loss, adamw(policy.loss, stage.lr), stage.clip_norm)
    prompts = random_prompts(count, vocabulary, (16, 128))
    kind: Kind = "math" if find_spec("math_verify") else "number"
    problems = {prompt.id: Problem(prompt.id, ("?",), "1/2", kind) for prompt in prompts}
    rollouts: list[Rollout] = []
    updated: list[UpdateMetrics] = []

    with open_sampler(stage, Path("unused"), policy) as sampler, Grader() as grader:
        grader.score_many([(problems[prompts[0].id], "<answer>1</answer>")])  # starts its processes

        def sample() -> None:
            sampling = Sampling(samples, stage.temperature, 0, cap, forced_exit=False)
            rollouts.extend(sampler.generate(prompts, sampling))

        def grade() -> None:
            answers = cycle(("<answer>0.5</answer>", "<answer>$\\frac{2}{3}$</answer>"))
            texts = [f"{rollout.text} {answer}" for rollout, answer in zip(rollouts, answers, strict=False)]
            scores = grader.score_many(
                [(problems[r.prompt_id], t) for r, t in zip(rollouts, texts, strict=True)]
            )
            assert [score.correct for score in scores[:2]] == [True, False]

        def learn() -> None:
            groups = tuple(
                graded(problems[p.id], [r for r in rollouts if r.prompt_id == p.id]) for p in prompts
            )
            with sampler.training():
                updated.append(update(policy, None, take_step, RolloutBatch(groups, count, 0), stage, 0))

        sampling, grading, updating = (machine.seconds(work) for work in (sample, grade, learn))
    tokens = sum(len(rollout.token_ids) for rollout in rollouts)
    size = f"{len(rollouts)} answers, {tokens:,} tokens"
    yield measured("sampling", sampling, "s", f"{size}, {tokens / sampling:,.0f} tokens/s")
    yield measured("grading", grading, "s", f"{len(rollouts) / grading:,.0f} answers/s, kind {kind}")
    yield measured("update", updating, "s", f"{tokens / updating:,.0f} tokens/s")
    yield measured("step", sampling + grading + updating, "s")
    yield at_most("mismatch of sampler and trainer", updated[0].mismatch, 1e-3)
    if machine.device.type == "cuda":
        yield measured("peak memory", torch.cuda.max_memory_allocated() / 1e9, "GB")


PART = Part("grpo", 90, [Check(f"{SIZE}, one step", measure, seconds=60)])
