"""Supervised fine-tuning: imitate written thoughts, on the assistant's tokens only."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from xreasoner.data.steps import cut_steps
from xreasoner.data.token_store import TokenStore, open_tokens, token_store
from xreasoner.disks.copy_files import copy_to_all
from xreasoner.launch.interrupts import held_back
from xreasoner.models.tensor_files import parameters
from xreasoner.parallel import World, join_world, reduces_gradients, seed_step, sum_over_ranks
from xreasoner.recipe.schema import SftStage
from xreasoner.records import Problem
from xreasoner.storage.files import write_json
from xreasoner.storage.run_folder import METRICS
from xreasoner.train.best import Best, is_evaluated, keep_best, kept, write_result
from xreasoner.train.metrics import MetricsFile, NoMetrics, metrics_of, peak_memory
from xreasoner.train.microbatch import MicroBatch
from xreasoner.train.optim import GuardedStep, adamw, cosine, set_lr
from xreasoner.train.packing_check import NOT_PACKED
from xreasoner.train.policy import Policy, open_policy
from xreasoner.train.rows import cut_rows, one_per_row, pack, rank_rows
from xreasoner.train.speed import Utilisation
from xreasoner.train.step_display import NoDisplay, StepDisplay, displaying
from xreasoner.train.training_states import UNMEASURED, TrainingStates
from xreasoner.train.warn import warn_of_settings


def train_sft(
    settings: SftStage,
    start: Path,
    problems: Sequence[Problem],
    out: Path,
    seed: int,
    display: StepDisplay,
    instruction: str | None = None,
    held_out: Sequence[Problem] = (),
    world: World | None = None,
) -> None:
    """Train the checkpoint `start` into `out/model`. An interrupted run resumes from `out/state`."""
    world = world or join_world()
    display = display if world.is_first else NoDisplay()
    policy = open_policy(start, settings, seed, world)
    if not policy.loss.packs:
        display.note(NOT_PACKED)
    examples = read_examples(problems, settings, instruction, seed, policy, out, display)
    watched = (
        read_held_out(held_out, settings.max_length, instruction, policy, out, display) if held_out else None
    )
    steps = cut_steps(
        examples.lengths,
        settings.tokens_per_step,
        seed,
        steps=settings.steps,
        epochs=settings.epochs,
    )
    optimizer = adamw(policy.loss, settings.lr, settings.betas, settings.weight_decay)
    take_step = GuardedStep(
        policy.loss, optimizer, settings.clip_norm, settings.non_finite_steps, display.note
    )
    microbatch = MicroBatch(settings, world, display.note)
    states = TrainingStates(out, policy.loss, optimizer, world, settings.save_in_background, display.note)
    done, extra = states.resume()
    best, take_step.in_a_row = Best(**extra.get("best", {})), extra.get("not_finite_in_a_row", 0)
    lr_at = cosine(settings.lr, len(steps), settings.warmup, settings.min_lr_ratio)

    warn_of_settings(settings, len(steps), parameters(start), display.note)
    with (
        held_back(),
        states,
        metrics_of(world, out / METRICS, done, "unmeasured" in extra) as metrics,
        displaying(display, "sft", len(steps), done),
    ):
        if watched and (done == 0 or "unmeasured" in extra):
            with states.interruptible(done, kept(best, take_step) | UNMEASURED):
                best = measure_held_out(policy, watched, done, best, settings, out, metrics)
        for step in range(done, len(steps)):
            began = time.monotonic()
            seed_step(seed, step, world.rank)
            set_lr(optimizer, lr_at(step))
            with states.interruptible(step, kept(best, take_step)):
                gradient = partial(accumulate, policy, examples, steps[step])
                loss = microbatch.fit(gradient, undo=optimizer.zero_grad)
            grad_norm = take_step(loss, step)
            lengths = [examples.lengths[index] for index in steps[step]]
            measured = {"loss": loss, "lr": lr_at(step), "grad_norm": grad_norm}
            measured |= speed_metrics(lengths, time.monotonic() - began, policy.used)
            metrics.write(step + 1, measured)
            display.step(step + 1, {"loss": loss, "tokens/s": measured["tokens"] / measured["seconds"]})
            if watched and is_evaluated(step + 1, len(steps), settings.eval_every):
                with states.interruptible(step + 1, kept(best, take_step) | UNMEASURED):
                    best = measure_held_out(policy, watched, step + 1, best, settings, out, metrics)
            if (step + 1) % settings.checkpoint_every == 0 and step + 1 < len(steps):
                states.save(step + 1, kept(best, take_step))
            states.end_if_interrupted(step + 1, kept(best, take_step))
        states.finish()
        with states.interruptible(len(steps), kept(best, take_step)):
            write_result(policy, best, out)


def speed_metrics(lengths: Sequence[int], seconds: float, used: Utilisation) -> dict[str, float]:
    return {"tokens": sum(lengths), "seconds": seconds, **used.of(lengths, seconds), **peak_memory()}


def measure_held_out(
    policy: Policy,
    examples: TokenStore,
    step: int,
    best: Best,
    settings: SftStage,
    out: Path,
    metrics: MetricsFile | NoMetrics,
) -> Best:
    """Measure the loss on the held-out examples; with `keep_best`, keep the checkpoint of the lowest."""
    loss = mean_loss(policy, examples)
    metrics.write(step, {"held_out_loss": loss})
    return keep_best(policy, -loss, step, best, out) if settings.keep_best else best


@torch.no_grad()
def mean_loss(policy: Policy, examples: TokenStore) -> float:
    """The mean over all target tokens, one example per row. Each rank computes equally many rows."""
    world = policy.world
    loss_sum = torch.zeros((), device=world.device)
    with policy.loss.computing(), policy.precision():
        for start in range(0, len(examples), world.size):
            place = start + world.rank
            packed = pack([examples[min(place, len(examples) - 1)]], world.device)
            loss = policy.loss(packed).loss
            if place < len(examples):  # the others only keep step: ranks gather weights together
                loss_sum += loss
    return sum_over_ranks(loss_sum, world).item() / sum(examples.targets)


def accumulate(policy: Policy, examples: TokenStore, step: Sequence[int], settings: SftStage) -> float:
    """Leave in `.grad` the gradient of the mean over all target tokens of all ranks; return that mean."""
    world = policy.world
    lengths = [examples.lengths[index] for index in step]
    packs = policy.loss.packs
    rows = cut_rows(lengths, settings.tokens_per_microbatch, world.size) if packs else one_per_row(lengths)
    own = rank_rows(rows, world)
    targets = sum(examples.targets[index] for index in step)
    loss_sum = torch.zeros((), device=world.device)
    with policy.loss.computing(), policy.precision():
        for number, row in enumerate(own):
            reduces_gradients(policy.loss, settings.gradient_reduction == "row" or number == len(own) - 1)
            packed = pack([examples[step[place]] for place in row], world.device)
            loss = policy.loss(packed).loss * bool(row)  # an empty row does not count
            # FSDP averages gradients over the ranks: times the world's size, that is a sum.
            (loss * (world.size / targets)).backward()
            loss_sum += loss.detach()
    return sum_over_ranks(loss_sum, world).item() / targets


def tokenised(
    problems: Sequence[Problem],
    instruction: str | None,
    policy: Policy,
    folder: Path,
    display: StepDisplay,
    thoughts: bool = True,
) -> TokenStore:
    """Made by the first rank; kept beside the training state and deleted with it at the end."""
    if policy.world.is_first:
        token_store(problems, instruction, policy.tokenizer, folder, display.note, thoughts)
    copy_to_all(folder, policy.world)
    return open_tokens(folder)


def read_held_out(
    problems: Sequence[Problem],
    max_length: int,
    instruction: str | None,
    policy: Policy,
    out: Path,
    display: StepDisplay,
) -> TokenStore:
    every = tokenised(problems, instruction, policy, out / "state" / "held_out_tokens", display)
    examples = every.up_to(max_length)
    if not len(examples):
        raise ValueError(f"held_out: all {len(problems)} examples are longer than max_length {max_length}")
    return examples


def read_examples(
    problems: Sequence[Problem],
    settings: SftStage,
    instruction: str | None,
    seed: int,
    policy: Policy,
    out: Path,
    display: StepDisplay,
) -> TokenStore:
    thoughts = settings.answers != "direct"
    every = tokenised(problems, instruction, policy, out / "state" / "tokens", display, thoughts)
    match settings.answers:
        case "shuffled":
            every = every.with_swapped_replies(seed, ["all problems"] * len(problems))
        case "shuffled_in_families":
            every = every.with_swapped_replies(seed, [thinking_family(problem) for problem in problems])
        case "own" | "direct":
            pass
    kept = every.up_to(settings.max_length)
    if policy.world.is_first:
        write_json(out / "data.json", summary(every, kept))
    if len(kept) < len(every):
        display.note(
            f"{len(every) - len(kept)} of {len(every)} examples are longer than "
            f"{settings.max_length} tokens and left out"
        )
    return kept


def thinking_family(problem: Problem) -> str | None:
    """None for a problem without a thought: as a rehearsal it keeps its own answer."""
    return str(problem.tags.get("family", problem.domain)) if problem.reasoning else None


def summary(every: TokenStore, kept: TokenStore) -> dict[str, int]:
    return {
        "examples": len(kept),
        "left_out": len(every) - len(kept),
        "tokens": sum(kept.lengths),
        "targets": sum(kept.targets),
    }
