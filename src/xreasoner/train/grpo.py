"""GRPO: reinforcement learning on answers that can be checked.

One step: collect answers (collect.py), pack them into rows (rows.py), update the policy (update.py).
With `max_lag`, the answers of later steps are sampled meanwhile (ahead.py).
It differs from the GRPO of the textbook in ten points:

- The loss is a mean over all learned tokens of the batch, so every token weighs the same (update.backward).
- The upper clip is wider than the lower one, so unlikely tokens can gain (policy_loss.token_ratio).
- Groups whose answers all got the same reward have no gradient and are not computed (rows.policy_rows).
- Their tokens stay in the denominator, so skipping changes the cost and not the step (rows.denominator).
- `oversample` draws more problems than are wanted and keeps those with a gradient (collect.Collector).
- A mini-batch without signal takes no step, so momentum and decay move nothing (update.update).
- KL is off by default; it is k3 weighted by the ratio, for the right gradient (policy_loss.kl_estimate).
- If sampler and trainer differ, importance weights are truncated by token (policy_loss.importance_weight)
- or masked by answer (policy_loss.sequence_weight); `mismatch` is the mean difference (update.measured).
- Injected tokens of a forced exit and answers that were not graded get no gradient (rows.learns).
"""

import dataclasses
import math
import time
from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from xreasoner.data.prompt_length import longest_sequence
from xreasoner.launch.interrupts import held_back
from xreasoner.models.tensor_files import parameters
from xreasoner.parallel import World, join_world, seed_step
from xreasoner.recipe.schema import GrpoStage
from xreasoner.records import Problem
from xreasoner.rewards.grade import Grader
from xreasoner.rewards.reward_sum import RewardSum
from xreasoner.rollout.engine import Engine
from xreasoner.storage.run_folder import METRICS
from xreasoner.train.ahead import RolloutSource, open_rollouts
from xreasoner.train.best import Best, is_evaluated, keep_best, kept, write_result
from xreasoner.train.collect import Collector, RolloutBatch, sampling_of
from xreasoner.train.metrics import (
    MetricsFile,
    NoMetrics,
    metrics_of,
    peak_memory,
    rollout_metrics,
    trained_lengths,
    write_samples,
)
from xreasoner.train.microbatch import MicroBatch
from xreasoner.train.optim import GuardedStep, adamw, cosine, set_lr
from xreasoner.train.packing_check import NOT_PACKED
from xreasoner.train.policy import Policy, open_policy
from xreasoner.train.speed import Utilisation
from xreasoner.train.step_display import NoDisplay, StepDisplay, displaying
from xreasoner.train.training_states import UNMEASURED, TrainingStates
from xreasoner.train.update import UpdateMetrics, update
from xreasoner.train.warn import GrpoWatch, warn_of_settings

SHOWN = ("reward", "think_tokens", "forced", "skipped", "entropy")


def train_grpo(
    settings: GrpoStage,
    start: Path,
    problems: Sequence[Problem],
    held_out: Sequence[Problem],
    out: Path,
    seed: int,
    display: StepDisplay,
    instruction: str | None = None,
    world: World | None = None,
) -> None:
    """Train the checkpoint `start` into `out/model`. An interrupted run resumes from `out/state`."""
    if not problems:
        raise ValueError("there is nothing to train on: the data of this stage is empty")
    world = world or join_world()
    display = display if world.is_first else NoDisplay()
    policy = open_policy(start, settings, seed, world)
    if not policy.loss.packs:
        display.note(NOT_PACKED)
    reference = open_reference(policy, start, settings, seed)
    optimizer = adamw(policy.loss, settings.lr, settings.betas, settings.weight_decay)
    take_step = GuardedStep(
        policy.loss, optimizer, settings.clip_norm, settings.non_finite_steps, display.note
    )
    microbatch = MicroBatch(settings, world, display.note)
    states = TrainingStates(out, policy.loss, optimizer, world, settings.save_in_background, display.note)
    done, extra = states.resume()
    best, take_step.in_a_row = Best(**extra.get("best", {})), extra.get("not_finite_in_a_row", 0)
    steps = settings.steps or math.ceil((settings.epochs or 0) * len(problems) / settings.prompts_per_step)
    lr_at = cosine(settings.lr, steps, settings.warmup, settings.min_lr_ratio)

    def longest() -> int:
        prompts = ((problem, instruction) for problem in chain(problems, held_out))
        return longest_sequence(prompts, sampling_of(settings, seed, step=0), policy.tokenizer)

    def collector(engine: Engine, world: World) -> Collector:
        return Collector(engine, grader, rewards, instruction, settings, seed, world)

    watch = GrpoWatch(display.note)
    warn_of_settings(settings, steps, parameters(start), display.note)
    with (
        held_back(),
        states,
        Grader() as grader,
        RewardSum(settings.rewards, display.note) as rewards,
        open_rollouts(settings, start, policy, problems, range(done, steps), collector, longest) as rollouts,
        metrics_of(world, out / METRICS, done, "unmeasured" in extra) as metrics,
        displaying(display, "grpo", steps, done),
    ):
        if settings.eval_every and (done == 0 or "unmeasured" in extra):
            with states.interruptible(done, kept(best, take_step) | UNMEASURED):
                best = evaluate_held_out(policy, rollouts, held_out, done, best, out, metrics)
        for step in range(done, steps):
            began = time.monotonic()
            seed_step(seed, step)
            with states.interruptible(step, kept(best, take_step)):
                batch = rollouts.take(step)
            collected = time.monotonic()
            set_lr(optimizer, lr_at(step))
            with rollouts.training():
                made = partial(update, policy, reference, take_step, batch, step=step)
                has_one_step = settings.updates_per_batch == settings.minibatches == 1
                updated = microbatch.fit(made, optimizer.zero_grad, has_one_step)
            values = step_metrics(batch, updated, lr_at(step), began, collected, policy.used)
            metrics.write(step + 1, values)
            display.step(step + 1, {name: values[name] for name in SHOWN})
            watch.see(step + 1, values)
            if world.is_first and (step + 1) % settings.samples_every == 0:
                write_samples(batch, out / "samples" / f"step-{step + 1:06}.jsonl", policy.tokenizer.decode)
            if is_evaluated(step + 1, steps, settings.eval_every):
                with states.interruptible(step + 1, kept(best, take_step) | UNMEASURED):
                    best = evaluate_held_out(policy, rollouts, held_out, step + 1, best, out, metrics)
            if (step + 1) % settings.checkpoint_every == 0 and step + 1 < steps:
                states.save(step + 1, kept(best, take_step))
            states.end_if_interrupted(step + 1, kept(best, take_step))
        states.finish()
        with states.interruptible(steps, kept(best, take_step)):
            write_result(policy, best, out)


def step_metrics(
    batch: RolloutBatch,
    updated: UpdateMetrics,
    lr: float,
    began: float,
    collected: float,
    used: Utilisation,
) -> dict[str, float]:
    """`rollout_seconds`: how long the update waited for its rollouts."""
    seconds = {
        "rollout_seconds": collected - began,
        "grading_seconds": batch.grading_seconds,
        "sync_seconds": batch.sync_seconds,
        "update_seconds": time.monotonic() - collected,
    }
    if batch.seconds:
        seconds["sampling_seconds"] = batch.seconds
    seconds |= used.of(trained_lengths(batch), seconds["update_seconds"]) | peak_memory()
    return rollout_metrics(batch) | dataclasses.asdict(updated) | {"lr": lr} | seconds


def open_reference(policy: Policy, start: Path, settings: GrpoStage, seed: int) -> Policy | None:
    """The policy as it was when the stage began, read from disk: never guessed from a configuration.

    With LoRA it is the policy itself, with its adapters switched off."""
    if settings.kl == 0:
        return None
    if policy.lora:
        return policy
    reference = open_policy(start, settings, seed, policy.world)
    reference.lm.requires_grad_(False).eval()
    return reference


def evaluate_held_out(
    policy: Policy,
    rollouts: RolloutSource,
    held_out: Sequence[Problem],
    step: int,
    best: Best,
    out: Path,
    metrics: MetricsFile | NoMetrics,
) -> Best:
    """Measure accuracy on the held-out problems, and keep the checkpoint if it is the best so far."""
    accuracy = rollouts.accuracy(held_out)
    metrics.write(step, {"held_out": accuracy})
    return keep_best(policy, accuracy, step, best, out)
