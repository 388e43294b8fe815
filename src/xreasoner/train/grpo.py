"""GRPO: reinforcement learning on answers that can be verified."""

import dataclasses
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch.optim import Optimizer

from xreasoner.models.checkpoint import load_state, save_state
from xreasoner.parallel import World, join_world, seed_step, wait_for_all
from xreasoner.recipe.schema import GrpoStage
from xreasoner.records import Problem
from xreasoner.rewards.grade import Grader
from xreasoner.storage.files import folder_written_atomically
from xreasoner.train.groups import Batch, Rewarder, learned_tokens
from xreasoner.train.metrics import MetricsFile, NoMetrics, metrics_of
from xreasoner.train.optim import adamw, cosine, guarded_clip, set_lr, trainable
from xreasoner.train.policy import Policy, open_policy, save_policy
from xreasoner.train.policy_update import add_reference, backward, policy_rows
from xreasoner.train.samplers import open_sampler
from xreasoner.train.step_display import NoDisplay, StepDisplay, displaying
from xreasoner.train.watch import describe, keep_samples

SHOWN = ("reward", "think_tokens", "forced", "skipped", "entropy")


@dataclass(frozen=True)
class Best:
    """The checkpoint that did best on the held-out problems."""

    accuracy: float = -1.0
    step: int = 0


def train_grpo(
    settings: GrpoStage,
    start: Path,
    problems: Sequence[Problem],
    held_out: Sequence[Problem],
    out: Path,
    seed: int,
    display: StepDisplay,
    instruction: str | None = None,
) -> None:
    """From the checkpoint `start` to `out/model`; killed, it goes on from the last state in `out/state`."""
    if not problems:
        raise ValueError("there is nothing to train on: the data of this stage is empty")
    world = join_world()
    display = display if world.is_first else NoDisplay()
    policy = open_policy(start, settings, seed, world)
    reference = open_reference(start, settings, seed, world)
    optimizer = adamw(policy.nll, settings.lr, settings.betas, settings.weight_decay)
    done, extra = load_state(out / "state", policy.nll, optimizer, world)
    cursor, best = extra.get("cursor", 0), Best(**extra.get("best", {}))
    steps = settings.steps or math.ceil((settings.epochs or 0) * len(problems) / settings.prompts_per_step)
    lr_at = cosine(settings.lr, steps, settings.warmup, settings.min_lr_ratio)

    with (
        open_sampler(settings, start, policy) as sampler,
        Grader() as grader,
        metrics_of(world, out / "metrics.jsonl", done) as metrics,
        displaying(display, "grpo", steps, done),
    ):
        rewarder = Rewarder(sampler, grader, instruction, settings, seed, world)
        if done == 0 and settings.eval_every:
            best = watch(policy, rewarder, held_out, 0, best, out, metrics)
        for step in range(done, steps):
            began = time.monotonic()
            seed_step(seed, step)
            batch = rewarder.collect(problems, step, cursor)
            cursor, collected = batch.cursor, time.monotonic()
            set_lr(optimizer, lr_at(step))
            with sampler.training():
                values = describe(batch) | learn(policy, reference, optimizer, batch, settings, step)
            values |= {"lr": lr_at(step), "rollout_seconds": collected - began}
            values["update_seconds"] = time.monotonic() - collected
            metrics.write(step + 1, values)
            display.step(step + 1, {name: values[name] for name in SHOWN})
            if world.is_first and (step + 1) % settings.samples_every == 0:
                keep_samples(batch, out / "samples" / f"step-{step + 1:06}.jsonl")
            if is_watched(step + 1, steps, settings):
                best = watch(policy, rewarder, held_out, step + 1, best, out, metrics)
            if (step + 1) % settings.checkpoint_every == 0 and step + 1 < steps:
                kept = {"cursor": cursor, "best": dataclasses.asdict(best)}
                save_state(out / "state", policy.nll, optimizer, step + 1, kept, world)
        finish(policy, best, out)


def learn(
    policy: Policy,
    reference: Policy | None,
    optimizer: Optimizer,
    batch: Batch,
    settings: GrpoStage,
    step: int,
) -> dict[str, float]:
    """The optimizer steps on one batch of answers; none where no answer was better than another."""
    has_signal = settings.kl > 0 or any(group.has_signal for group in batch.groups)
    rows = policy_rows(batch.groups, settings, policy) if has_signal else []
    if not rows:
        return {"loss": 0.0, "grad_norm": 0.0, "clip_fraction": 0.0, "mismatch": 0.0, "kl": 0.0}
    if reference:
        add_reference(reference, rows, settings.temperature)
    # Skipped answers count: leaving them out of the mean would change the weight of the others.
    tokens = learned_tokens(batch.groups, settings.overlong)
    for _ in range(settings.updates_per_batch):
        gradient = backward(policy, rows, tokens, settings)
        grad_norm = guarded_clip(trainable(policy.nll), settings.clip_norm, gradient.loss, step)
        optimizer.step()
        optimizer.zero_grad()
    return dataclasses.asdict(gradient) | {"grad_norm": grad_norm}


def is_watched(step: int, steps: int, settings: GrpoStage) -> bool:
    return settings.eval_every > 0 and (step % settings.eval_every == 0 or step == steps)


def watch(
    policy: Policy,
    rewarder: Rewarder,
    held_out: Sequence[Problem],
    step: int,
    best: Best,
    out: Path,
    metrics: MetricsFile | NoMetrics,
) -> Best:
    """Ask the held-out problems; where they went better than ever, keep the checkpoint."""
    accuracy = rewarder.accuracy(held_out)
    metrics.write(step, {"held_out": accuracy})
    if accuracy <= best.accuracy:
        return best
    save_policy(policy, out / "best")
    return Best(accuracy, step)


def finish(policy: Policy, best: Best, out: Path) -> None:
    """The stage's result is the best checkpoint where one was watched for, else the last."""
    if best == Best():
        save_policy(policy, out / "model")
        return
    if policy.world.is_first:
        with folder_written_atomically(out / "model") as folder:
            shutil.copytree(out / "best", folder, dirs_exist_ok=True)
    wait_for_all(policy.world)


def open_reference(start: Path, settings: GrpoStage, seed: int, world: World) -> Policy | None:
    """The policy as it was when the stage began, read from disk: never guessed from a configuration."""
    if settings.kl == 0:
        return None
    reference = open_policy(start, settings.model_copy(update={"lora": None}), seed, world)
    reference.lm.requires_grad_(False).eval()
    return reference
