"""The loop of all phases: lessons, their loss, one step of the optimizer."""

import random
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import Parameter
from transformers import Qwen2_5_VLForConditionalGeneration

from xreasoner.miniworld.base.encode import LessonBatch, LessonEncoder, lesson_loss
from xreasoner.miniworld.base.lessons import Lesson
from xreasoner.storage.journal import Say

Teacher = Callable[[random.Random, float], Lesson]
"""The next lesson, by the progress from 0 to 1."""
Batches = Callable[[float], list[LessonBatch]]
"""The batches of a step, by the progress."""
LossOf = Callable[[LessonBatch], Tensor]
"""The sum over the lessons of a batch."""


def fresh_batches(teacher: Teacher, encoder: LessonEncoder, rng: random.Random, rows: int) -> Batches:
    def batches(progress: float) -> list[LessonBatch]:
        return encoder.batches([teacher(rng, progress) for _ in range(rows)], rng, parts=2)

    return batches


def language_loss(model: Qwen2_5_VLForConditionalGeneration, pull: float) -> LossOf:
    return lambda batch: lesson_loss(model, batch, pull)


def train(
    model: Qwen2_5_VLForConditionalGeneration,
    trained: list[Parameter],
    batches: Batches,
    loss_of: LossOf,
    *,
    steps: int,
    lr: float,
    say: Say,
) -> None:
    model.requires_grad_(False)
    for parameter in trained:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(trained, lr=lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=max(steps, 2), pct_start=0.1)
    mean = 0.0
    for step in range(steps):
        optimizer.zero_grad()
        loss = learn(loss_of, batches(step / steps))
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        mean = loss if step == 0 else 0.95 * mean + 0.05 * loss
        if step % 100 == 0 or step == steps - 1:
            say(f"  step {step:5d}/{steps}  loss {mean:.3f}")
    model.requires_grad_(True)


def learn(loss_of: LossOf, batches: list[LessonBatch]) -> float:
    """Accumulates the gradient of the mean loss over all lessons; returns the mean."""
    lessons, total = sum(batch.lessons for batch in batches), 0.0
    for batch in batches:
        loss = loss_of(batch) / lessons
        loss.backward()
        total += loss.item()
    return total
