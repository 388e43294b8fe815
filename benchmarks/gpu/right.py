"""Is what the GPU computes right? Against the CPU, against float64, and against transformers' own `generate`.

Suffixes: 1 the batch of one row, T tokens of the row, N its target tokens, V vocabulary.
"""

import copy
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from benchmarks.gpu.models import end_after, random_examples, random_lm, random_prompts, tokenizer_of
from benchmarks.gpu.resume import kill_and_resume_grpo, kill_and_resume_sft
from benchmarks.gpu.stages import grpo_stage, made_up_groups, new_policy, sft_stage
from benchmarks.gpu.suite import Check, Line, Machine, Part, Precision, at_least, at_most
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from xreasoner.models.load import Loaded
from xreasoner.parallel import World
from xreasoner.records import Rollout, Sampling
from xreasoner.rollout.torch_engine.decode_graphs import CudaRecorder, Work
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.train.collect import RolloutBatch
from xreasoner.train.optim import GuardedStep, adamw
from xreasoner.train.policy import Policy
from xreasoner.train.rows import PackedRow, pack, pack_shared, shared_prompts
from xreasoner.train.samplers import open_sampler
from xreasoner.train.update import UpdateMetrics, update

CPU = World(0, 1, torch.device("cpu"))


def logprobs_and_gradient(policy: Policy, row: PackedRow) -> tuple[Tensor, Tensor]:
    """Of the target tokens, and of their mean loss; on the CPU."""
    with policy.loss.computing(), policy.precision():
        found = policy.loss(row)
        (found.loss / row.targets).backward()
    gradient = torch.cat([p.grad.flatten() for p in policy.lm.parameters() if p.grad is not None])
    policy.lm.zero_grad()
    return found.logprob_N.cpu(), gradient.float().cpu()


def relative(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


def packed_attention_against_the_loop(precision: Precision, machine: Machine) -> Iterator[Line]:
    """Replies that share their prompt, by the GPU's kernel, against the loop on the CPU in float32."""
    lm = random_lm("small", machine, torch.float32)
    ours = new_policy(lm, sft_stage(dtype=precision), machine.world)
    other = new_policy(copy.deepcopy(lm).cpu(), sft_stage(dtype="float32"), CPU)
    groups = made_up_groups(4, 4, lm.config.vocab_size)
    shared = [one for group in groups for one in shared_prompts(group, "score", 4096)]
    found, expected = (logprobs_and_gradient(p, pack_shared(shared, p.world.device)) for p in (ours, other))
    exact = precision == "float32"
    yield at_most(
        "log-probabilities, mean distance",
        (found[0] - expected[0]).abs().mean().item(),
        1e-4 if exact else 2e-2,
    )
    yield at_most("gradient, relative distance", relative(found[1], expected[1]), 1e-3 if exact else 5e-2)


def loss_against_float64(precision: Precision, machine: Machine) -> Iterator[Line]:
    """From the same hidden states and head: only the loss itself can differ."""
    lm = random_lm("small", machine, torch.float32)
    policy = new_policy(lm, sft_stage(dtype=precision), machine.world)
    row = pack(random_examples(512, 256, lm.config.vocab_size, random.Random(0)), machine.device)
    hidden: list[Tensor] = []
    hook = lm.base_model.register_forward_hook(lambda *call: hidden.append(call[2].last_hidden_state))
    found_N, _ = logprobs_and_gradient(policy, row)
    hook.remove()
    hidden_NE = hidden[0][0].index_select(0, row.predicting_N).to(policy.compute_dtype)
    head_VE = lm.get_output_embeddings().weight.to(policy.compute_dtype)
    logits_NV = hidden_NE.double() @ head_VE.double().T
    expected_N = F.cross_entropy(logits_NV, row.target_N, reduction="none").detach().float().cpu()
    yield at_most("mean distance", (found_N + expected_N).abs().mean().item(), 1e-3)


def grpo_step_against_the_cpu(precision: Precision, machine: Machine) -> Iterator[Line]:
    """The same batch and weights, with a KL term: the metrics of the step and the weights after it."""
    lm = random_lm("small", machine, torch.float32)
    exact = precision == "float32"
    found = grpo_step(lm, precision, machine.world)
    expected = grpo_step(copy.deepcopy(lm).cpu(), "float32", CPU)
    norm = found[0].grad_norm / expected[0].grad_norm
    yield at_most("gradient norm, relative distance", abs(norm - 1), 1e-3 if exact else 5e-2)
    yield at_most("KL of an unchanged policy", abs(found[0].kl), 1e-6)
    moved = relative(found[1], expected[1])
    yield at_most("change of the weights, relative distance", moved, 2e-2 if exact else 0.5)


def grpo_step(lm: PreTrainedModel, precision: Precision, world: World) -> tuple[UpdateMetrics, Tensor]:
    stage = grpo_stage(dtype=precision, kl=0.1, lr=1e-4)
    before = torch.cat([p.detach().flatten().cpu() for p in lm.parameters()])
    policy = new_policy(copy.deepcopy(lm), stage, world)
    reference = new_policy(lm, stage, world)
    groups = made_up_groups(4, 4, lm.config.vocab_size)
    take_step = GuardedStep(policy.loss, adamw(policy.loss, 1e-4), stage.clip_norm)
    done = update(policy, reference, take_step, RolloutBatch(groups, 4, 0), stage, 0)
    after = torch.cat([p.detach().flatten().cpu() for p in policy.lm.parameters()])
    return done, after - before


def greedy_against_generate(precision: Precision, machine: Machine) -> Iterator[Line]:
    engine, lm = new_engine(precision, machine)
    prompts = random_prompts(16, lm.config.vocab_size, (4, 40))
    cap = 16 if machine.tiny else 64
    sampling = Sampling(1, 0.0, 0, cap, forced_exit=False)
    equal = sum(
        list(rollout.token_ids) == by_generate(engine, rollout, cap)
        for rollout in engine.generate(prompts, sampling)
    )
    yield at_least("prompts with equal tokens, of 16", equal, 16 if precision == "float32" else 12)


@torch.inference_mode()
def by_generate(engine: TorchEngine, rollout: Rollout, cap: int) -> list[int]:
    lm, special = engine.loaded.model, engine.special_tokens
    ids_1T = torch.tensor([rollout.prompt_ids], device=lm.device)
    out_1T = lm.generate(
        ids_1T,
        attention_mask=torch.ones_like(ids_1T),
        do_sample=False,
        max_new_tokens=cap,
        suppress_tokens=sorted(special.banned),
        eos_token_id=sorted(special.stops),
    )
    return out_1T[0, ids_1T.shape[1] :].tolist()


def sampled_against_a_forward_pass(precision: Precision, machine: Machine) -> Iterator[Line]:
    """The log-probabilities that come with sampled tokens, against those of one plain forward pass."""
    engine, lm = new_engine(precision, machine)
    prompts = random_prompts(8, lm.config.vocab_size, (4, 40))
    distances: list[Tensor] = []
    for rollout in engine.generate(prompts, Sampling(4, 1.0, 0, 32, forced_exit=False)):
        ids_1T = torch.tensor([rollout.prompt_ids + rollout.token_ids], device=lm.device)
        with torch.inference_mode():
            logprob_TV = lm(input_ids=ids_1T).logits[0].float().log_softmax(-1)
        own_T = logprob_TV[:-1].gather(1, ids_1T[0, 1:, None])[len(rollout.prompt_ids) - 1 :, 0]
        distances.append((own_T.cpu() - torch.tensor(rollout.logprobs)).abs())
    limit = 1e-4 if precision == "float32" else 2e-2
    yield at_most("log-probabilities, mean distance", torch.cat(distances).mean().item(), limit)


def forced_exit(precision: Precision, machine: Machine) -> Iterator[Line]:
    """The prompt opens the thought, and no answer may think for more than 8 tokens."""
    engine, lm = new_engine(precision, machine)
    assert isinstance(engine.loaded.tokenizer.chat_template, str)
    engine.loaded.tokenizer.chat_template += "{%- if add_generation_prompt -%}<think>{%- endif -%}"
    prompts = random_prompts(8, lm.config.vocab_size, (4, 40))
    exit_ids = list(engine.special_tokens.exits.closing_thought)
    good = forced = 0
    for rollout in engine.generate(prompts, Sampling(4, 1.0, 8, 8)):
        injected = [i for i, own in zip(rollout.token_ids, rollout.by_policy, strict=True) if not own]
        forced += rollout.forced_exit
        good += injected == (exit_ids if rollout.forced_exit else []) and rollout.think_tokens <= 8
    yield at_least("answers with the right injected tokens, of 32", good, 32)
    yield at_least("forced exits", forced, 1)


def lora_and_checkpointing(precision: Precision, machine: Machine) -> Iterator[Line]:
    """Fresh adapters change nothing; recomputing the activations changes no gradient."""
    row = pack(random_examples(512, 256, 512, random.Random(0)), machine.device)
    plain, lora, recomputed = (
        logprobs_and_gradient(
            new_policy(
                random_lm("small", machine, torch.float32), sft_stage(dtype=precision, **keys), machine.world
            ),
            row,
        )
        for keys in ({}, {"lora": {"rank": 8}}, {"gradient_checkpointing": True})
    )
    yield at_most("fresh LoRA, largest distance", (lora[0] - plain[0]).abs().max().item(), 1e-6)
    yield at_most("checkpointing, gradient", relative(recomputed[1], plain[1]), 1e-3)


def graphs_against_single_steps(precision: Precision, machine: Machine) -> Iterator[Line]:
    """Decoding steps recorded and repeated, in twelve of sixteen rows at most, against steps one by one."""
    engine, lm = new_engine(precision, machine)
    prompts = random_prompts(4, lm.config.vocab_size, (4, 40))
    found: list[dict[tuple[str, int], Rollout]] = []
    for recorder in (CudaRecorder() if machine.device.type == "cuda" else RerunRecorder(), None):
        engine.recorder = recorder
        answers = engine.generate(prompts, Sampling(3, 1.0, 0, 64, forced_exit=False))
        found.append({(one.prompt_id, one.sample): one for one in answers})
    recorded, single = found
    equal = sum(recorded[key].token_ids == single[key].token_ids for key in single)
    yield at_least("answers with equal tokens, of 12", equal, 12 if precision == "float32" else 9)


class RerunRecorder:
    """For a machine without graphs: the work is done again by its own code."""

    def warm_up(self, work: Work) -> None:
        work()

    def record(self, work: Work) -> Work:
        return work


def sampler_against_trainer(precision: Precision, machine: Machine) -> Iterator[Line]:
    """What GRPO reports as `mismatch`, of the sampler and the trainer it takes on this device."""
    lm = random_lm("small", machine, torch.float32)
    tokenizer = tokenizer_of(lm.config.vocab_size)
    end_after(lm, tokenizer, 64)
    stage = grpo_stage(dtype=precision, rollout="torch")
    policy = new_policy(lm, stage, machine.world)
    prompts = random_prompts(4, lm.config.vocab_size, (4, 40))
    with open_sampler(stage, Path("unused"), policy) as sampler:
        rollouts = list(sampler.generate(prompts, Sampling(4, 1.0, 0, 128, forced_exit=False)))
    groups = made_up_groups(4, 4, lm.config.vocab_size)
    by_prompt = {p.id: [r for r in rollouts if r.prompt_id == p.id] for p in prompts}
    sampled = tuple(
        replace(
            group, answers=tuple(replace(a, rollout=r) for a, r in zip(group.answers, found, strict=True))
        )
        for group, found in zip(groups, by_prompt.values(), strict=True)
    )
    take_step = GuardedStep(policy.loss, adamw(policy.loss, 1e-4), stage.clip_norm)
    done = update(policy, None, take_step, RolloutBatch(sampled, 4, 0), stage, 0)
    yield at_most("log-probabilities, mean distance", done.mismatch, 1e-3 if precision == "float32" else 2e-3)


def new_engine(precision: Precision, machine: Machine) -> tuple[TorchEngine, PreTrainedModel]:
    lm = random_lm("small", machine, torch.float32)
    tokenizer = tokenizer_of(lm.config.vocab_size)
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter *= 4 if parameter.ndim > 1 else 1  # far from a tie between two tokens
    end_after(lm, tokenizer, 64)
    lm.to(getattr(torch, precision))
    return TorchEngine(Loaded(lm, tokenizer, None), max_rows=16), lm


CHECKS = (
    packed_attention_against_the_loop,
    loss_against_float64,
    grpo_step_against_the_cpu,
    greedy_against_generate,
    sampled_against_a_forward_pass,
    graphs_against_single_steps,
    forced_exit,
    lora_and_checkpointing,
    kill_and_resume_sft,
    kill_and_resume_grpo,
    sampler_against_trainer,
)
PRECISIONS: Sequence[Precision] = ("float32", "bfloat16")
PART = Part(
    "right",
    80,
    [
        Check(f"{check.__name__.replace('_', ' ')}, {precision}", partial(check, precision), seconds=4)
        for check in CHECKS
        for precision in PRECISIONS
    ],
    is_speed=False,
)
