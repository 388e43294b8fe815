"""Train the base checkpoint: first text, then the vision tower, then both together.

It stands for an instruct model: it reads images and answers one-step questions, but fails at longer ones.

Suffixes: B lessons, T tokens, E hidden size, C cells of the alphabet, N target tokens.
"""

import random
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLForConditionalGeneration

from xreasoner.miniworld.base.lessons import Syllabus, next_lesson
from xreasoner.miniworld.model import Size, new_model, save_base
from xreasoner.miniworld.scene import alphabet
from xreasoner.miniworld.tied.classroom import CellBatch, Classroom
from xreasoner.miniworld.tied.seeing import cell_pixels, learn_to_see, look, meanings
from xreasoner.miniworld.tied.tied_accuracy import base_accuracies
from xreasoner.miniworld.tokenizer import build_tokenizer
from xreasoner.models.side_files import new_folder, refuse_filled
from xreasoner.storage.files import write_json
from xreasoner.storage.journal import Say

MEASURED = "measured.json"
PROBLEMS = 200
"""Test problems per probe of the finished checkpoint."""


@dataclass(frozen=True)
class TiedSettings:
    size: Size = field(default_factory=Size)
    syllabus: Syllabus = field(default_factory=Syllabus)
    seed: int = 0
    text_steps: int = 700
    seeing_steps: int = 1000
    steps: int = 4500
    """Steps on text and images together."""
    rows: int = 32
    lr: float = 2e-3
    seeing_lr: float = 1e-3
    drawn: float = 0.65


def batch_loss(model: Qwen2_5_VLForConditionalGeneration, seen_CE: Tensor, batch: CellBatch) -> Tensor:
    embeds_BTE = model.get_input_embeddings()(batch.ids_BT)
    is_cell = batch.cells_BT >= 0
    embeds_BTE = torch.where(is_cell[..., None], seen_CE[batch.cells_BT.clamp(min=0)], embeds_BTE)
    hidden_BTE = model.model.language_model(
        inputs_embeds=embeds_BTE, position_ids=batch.positions_3BT, use_cache=False
    ).last_hidden_state
    learned = batch.targets_BT != -100
    loss_N = F.cross_entropy(model.lm_head(hidden_BTE[learned]), batch.targets_BT[learned], reduction="none")
    return loss_N @ batch.weights_BT[learned]


def learn(model: Qwen2_5_VLForConditionalGeneration, seen_CE: Tensor, batches: list[CellBatch]) -> float:
    """Accumulates the gradient of the mean loss over all lessons; returns the mean."""
    lessons = sum(len(batch.ids_BT) for batch in batches)
    total = 0.0
    for batch in batches:
        loss = batch_loss(model, seen_CE, batch) / lessons
        loss.backward()
        total += loss.item()
    return total


def teach(
    model: Qwen2_5_VLForConditionalGeneration,
    classroom: Classroom,
    settings: TiedSettings,
    steps: int,
    drawn: float,
    seen_CE: Tensor,
    say: Say,
) -> None:
    """Train the trainable parameters of the language model for `steps` batches of lessons."""
    # The 0 at the end is kept because the shipped base was trained with this seed.
    rng = random.Random(f"lessons {settings.seed} {drawn} 0")
    trained = [p for p in model.model.language_model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=settings.lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.lr, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        lessons = [next_lesson(rng, settings.syllabus, drawn, step / steps) for _ in range(settings.rows)]
        optimizer.zero_grad()
        loss = learn(model, seen_CE, classroom.batches(lessons, rng, parts=2))
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            say(f"  step {step:5d}/{steps}  loss {loss:.3f}")


def make_tied_base(
    settings: TiedSettings, say: Say
) -> tuple[Qwen2_5_VLForConditionalGeneration, PreTrainedTokenizerFast]:
    model, tokenizer = new_model(settings.size, settings.seed), build_tokenizer()
    cells = alphabet()
    classroom = Classroom(tokenizer, cells)
    nothing = torch.zeros(1, settings.size.hidden)
    say("text: the language model learns to read, add and answer")
    teach(model, classroom, settings, settings.text_steps, 0.0, nothing, say)
    say("vision: the vision tower learns the meaning of each cell")
    pixels = cell_pixels(cells)
    known = learn_to_see(
        model, pixels, meanings(model, tokenizer, cells), settings.seeing_steps, settings.seeing_lr
    )
    say(f"  {known:.1%} of the cells are recognised")
    say("text and images together, with vision tower and embeddings frozen")
    model.get_input_embeddings().weight.requires_grad_(False)
    with torch.no_grad():
        seen_CE = look(model, pixels)
    teach(model, classroom, settings, settings.steps, settings.drawn, seen_CE, say)
    model.requires_grad_(True)
    return model, tokenizer


def build_tied_base(settings: TiedSettings, out: Path, say: Say) -> None:
    """What `xreasoner miniworld base OUT` does: train, save, measure. OUT appears when all of it is done."""
    refuse_filled(out)
    model, _ = make_tied_base(settings, say)
    with new_folder(out) as folder:
        save_base(model, folder)
        say("measured on the test split:")
        write_json(folder / MEASURED, base_accuracies(folder, PROBLEMS, say))
