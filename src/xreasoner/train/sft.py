"""Supervised fine-tuning: imitate written thoughts, on the assistant's tokens only."""

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from xreasoner.data.steps import cut_steps
from xreasoner.data.token_store import TokenStore, open_tokens, token_store
from xreasoner.models.checkpoint import load_state, save_state
from xreasoner.models.packed_attention import packed_attention
from xreasoner.parallel import join_world, own_share, seed_step, sum_over_ranks, wait_for_all
from xreasoner.recipe.schema import SftStage
from xreasoner.records import Problem
from xreasoner.storage.files import write_json
from xreasoner.train.metrics import metrics_of
from xreasoner.train.optim import adamw, cosine, guarded_clip, set_lr, trainable
from xreasoner.train.policy import Policy, open_policy, save_policy
from xreasoner.train.rows import cut_rows, pack
from xreasoner.train.step_display import NoDisplay, StepDisplay, displaying


def train_sft(
    settings: SftStage,
    start: Path,
    problems: Sequence[Problem],
    out: Path,
    seed: int,
    display: StepDisplay,
    instruction: str | None = None,
) -> None:
    """Train the checkpoint `start` into `out/model`. An interrupted run resumes from `out/state`."""
    world = join_world()
    display = display if world.is_first else NoDisplay()
    policy = open_policy(start, settings, seed, world)
    examples = read_examples(problems, settings, instruction, seed, policy, out, display)
    steps = cut_steps(
        examples.lengths,
        settings.tokens_per_step,
        seed,
        steps=settings.steps,
        epochs=settings.epochs,
        at_least=world.size,
    )
    optimizer = adamw(policy.loss, settings.lr, settings.betas, settings.weight_decay)
    done, _ = load_state(out / "state", policy.loss, optimizer, world)
    lr_at = cosine(settings.lr, len(steps), settings.warmup, settings.min_lr_ratio)

    with (
        metrics_of(world, out / "metrics.jsonl", done) as metrics,
        displaying(display, "sft", len(steps), done),
    ):
        for step in range(done, len(steps)):
            began = time.monotonic()
            seed_step(seed, step, world.rank)
            set_lr(optimizer, lr_at(step))
            loss = accumulate(policy, examples, steps[step], settings.tokens_per_microbatch)
            grad_norm = guarded_clip(trainable(policy.loss), settings.clip_norm, loss, step)
            optimizer.step()
            optimizer.zero_grad()

            seconds = time.monotonic() - began
            tokens = sum(examples.lengths[index] for index in steps[step])
            measured = {
                "loss": loss,
                "lr": lr_at(step),
                "grad_norm": grad_norm,
                "tokens": tokens,
                "seconds": seconds,
            }
            metrics.write(step + 1, measured)
            display.step(step + 1, {"loss": loss, "tokens/s": tokens / seconds})
            if (step + 1) % settings.checkpoint_every == 0 and step + 1 < len(steps):
                save_state(out / "state", policy.loss, optimizer, step + 1, {}, world)
    save_policy(policy, out / "model")


def accumulate(policy: Policy, examples: TokenStore, step: Sequence[int], tokens_per_row: int) -> float:
    """Leave in `.grad` the gradient of the mean over all target tokens of all ranks; return that mean."""
    world = policy.world
    rows = cut_rows([examples.lengths[index] for index in step], tokens_per_row, world.size)
    targets = sum(examples.targets[index] for index in step)
    loss_sum = torch.zeros((), device=world.device)
    with packed_attention(policy.lm), policy.precision():
        for row in own_share(rows, world):
            packed = pack([examples[step[place]] for place in row], world.device)
            loss = policy.loss(packed).loss
            # FSDP averages gradients over the ranks: times the world's size, that is a sum.
            (loss * (world.size / targets)).backward()
            loss_sum += loss.detach()
    return sum_over_ranks(loss_sum, world).item() / targets


def read_examples(
    problems: Sequence[Problem],
    settings: SftStage,
    instruction: str | None,
    seed: int,
    policy: Policy,
    out: Path,
    display: StepDisplay,
) -> TokenStore:
    """Tokenised by the first rank; kept beside the training state and deleted with it at the end."""
    folder = out / "state" / "tokens"
    if policy.world.is_first:
        token_store(problems, instruction, policy.tokenizer, folder, display.note)
    wait_for_all(policy.world)
    every = open_tokens(folder)
    if settings.answers == "shuffled":
        every = every.with_swapped_replies(seed)
    kept = every.up_to(settings.max_length)
    if policy.world.is_first:
        write_json(out / "data.json", summary(every, kept))
    if len(kept) < len(every):
        display.note(
            f"{len(every) - len(kept)} of {len(every)} examples are longer than "
            f"{settings.max_length} tokens and left out"
        )
    return kept


def summary(every: TokenStore, kept: TokenStore) -> dict[str, int]:
    return {
        "examples": len(kept),
        "left_out": len(every) - len(kept),
        "tokens": sum(kept.lengths),
        "targets": sum(kept.targets),
    }
