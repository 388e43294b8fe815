"""The loop of all phases: lessons, their loss, one step of the optimizer."""

import random
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import Parameter
from transformers import Qwen2_5_VLForConditionalGeneration

from xreasoner.miniworld.eyes.sheets import Desk, Sheet, sheet_loss, with_features
from xreasoner.miniworld.lessons import Lesson
from xreasoner.storage.journal import Say

Teacher = Callable[[random.Random, float], Lesson]
"""The next lesson, by the progress from 0 to 1."""
Sheets = Callable[[float], list[Sheet]]
"""The sheets of a step, by the progress."""
Kept = list[list[list[Sheet]]]
"""By part of a phase: the sheets of each step."""
LossOf = Callable[[Sheet], Tensor]
"""The sum over the lessons of a sheet."""
KEPT_APART = 5
"""Parts of a phase that have kept sheets of their own, so that a phase may become harder."""


def fresh_sheets(teacher: Teacher, desk: Desk, rng: random.Random, rows: int) -> Sheets:
    def sheets(progress: float) -> list[Sheet]:
        return desk.sheets([teacher(rng, progress) for _ in range(rows)], rng, parts=2)

    return sheets


def look_once(model: Qwen2_5_VLForConditionalGeneration, fresh: Sheets, steps: int) -> Kept:
    """The sheets of so many steps, seen by the tower, which must not change while they are used."""
    each = max(1, steps // KEPT_APART)

    def look(progress: float) -> list[Sheet]:
        return [with_features(model, sheet) for sheet in fresh(progress)]

    return [[look((part + i / each) / KEPT_APART) for i in range(each)] for part in range(KEPT_APART)]


def kept_sheets(kept: Kept, rng: random.Random) -> Sheets:
    """The same sheets again and again."""
    return lambda progress: rng.choice(kept[min(int(progress * KEPT_APART), KEPT_APART - 1)])


def language_loss(model: Qwen2_5_VLForConditionalGeneration, pull: float, held: float = 0.0) -> LossOf:
    return lambda sheet: sheet_loss(model, sheet, pull, held)


def train(
    model: Qwen2_5_VLForConditionalGeneration,
    trained: list[Parameter],
    sheets: Sheets,
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
        loss = learn(loss_of, sheets(step / steps))
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        mean = loss if step == 0 else 0.95 * mean + 0.05 * loss
        if step % 100 == 0 or step == steps - 1:
            say(f"  step {step:5d}/{steps}  loss {mean:.3f}")
    model.requires_grad_(True)


def learn(loss_of: LossOf, sheets: list[Sheet]) -> float:
    """Accumulates the gradient of the mean loss over all lessons; returns the mean."""
    lessons, total = sum(sheet.lessons for sheet in sheets), 0.0
    for sheet in sheets:
        loss = loss_of(sheet) / lessons
        loss.backward()
        total += loss.item()
    return total
