"""Make the base checkpoint of a world: two parts apart, then aligned, then trained together.

All worlds start from the same two parts. The language model has learned text. The tower has learned to tell
symbols apart, with a classifier that is thrown away, as towers of real models learn from captions before they
meet a language model. Then the tower and its projector, whose last layer is new, are aligned to the frozen
language model by transcribing pictures. Where a world has no pull, language loss alone ties tokens to words.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import Parameter
from torch.nn import functional as F
from transformers import Qwen2_5_VLForConditionalGeneration

from xreasoner.chat.think import write_answer
from xreasoner.miniworld.eyes.sheets import Desk, Sheet, see, sheet_loss
from xreasoner.miniworld.eyes.worlds import LEVELS, VisualWorld
from xreasoner.miniworld.families.shapes import make_shapes
from xreasoner.miniworld.lessons import Lesson, Syllabus, draw_item, jumble, next_lesson, show
from xreasoner.miniworld.model import Size, new_model, save_base
from xreasoner.miniworld.problems import split_of
from xreasoner.miniworld.scene import Scene
from xreasoner.miniworld.tokenizer import build_tokenizer
from xreasoner.models.load import load
from xreasoner.models.resolve import MINIWORLD
from xreasoner.storage.journal import Say

Teacher = Callable[[random.Random, float], Lesson]
"""The next lesson, by the progress from 0 to 1."""
READ_SIZES = (2, 4, 8, 8, 12)
"""Most symbols of a picture to read, while the eyes are aligned: a larger one in each fifth of the steps."""
SYMBOLS_APART = LEVELS[2]
"""The world in which the tower learns to tell symbols apart: one in each visual token, in all looks."""
SYMBOLS_SHOWN = 8
SIZE = Size(vision_hidden=96, vision_heads=3, vision_layers=3, sees_whole_picture=True)


@dataclass(frozen=True)
class Course:
    """Steps and rates of the phases."""

    text_steps: int = 0
    """0: the language model of the shipped base, which has also learned pictures of a tied world."""
    tower_steps: int = 1000
    eyes_steps: int = 500
    steps: int = 400
    """On text and pictures together."""
    rows: int = 32
    lr: float = 3e-3
    tower_lr: float = 3e-3
    joint_lr: float = 1e-3
    drawn: float = 0.65
    counting: float = 0.12
    """Lessons that count a few shapes, in addition to the one-step questions."""
    syllabus: Syllabus = field(default_factory=Syllabus)


def count_lesson(rng: random.Random, drawn: float) -> Lesson:
    """How many of one to four shapes, answered directly."""
    while True:
        item = make_shapes(rng, 2)
        scene = Scene(item.scene.cells[: rng.randint(1, len(item.scene.cells))])
        if split_of(replace(item, scene=scene)) == "train":
            break
    wanted = item.question.split()[-1]
    count = sum(wanted in cell.parts for cell in scene.cells)
    return Lesson("", (*show(scene, rng, drawn), item.question), write_answer(str(count)))


def lesson_of(course: Course, drawn: float) -> Teacher:
    def teacher(rng: random.Random, progress: float) -> Lesson:
        if rng.random() < course.counting:
            return count_lesson(rng, drawn)
        return next_lesson(rng, course.syllabus, drawn, progress)

    return teacher


def reading(rng: random.Random, progress: float) -> Lesson:
    """A picture to transcribe: half of random symbols, half of an item's scene."""
    most = READ_SIZES[min(int(progress * len(READ_SIZES)), len(READ_SIZES) - 1)]
    if most > 2 and rng.random() < 0.5:
        cells = draw_item(rng, rng.randint(1, most // 2)).scene.cells[:most]
        scene = Scene(cells)
    else:
        scene = jumble(rng, rng.randint(2, most))
    return Lesson("", (scene, "read"), write_answer(" ".join(scene.words())))


def train(
    model: Qwen2_5_VLForConditionalGeneration,
    trained: list[Parameter],
    teacher: Teacher,
    desk: Desk,
    rng: random.Random,
    *,
    steps: int,
    rows: int,
    lr: float,
    say: Say,
    loss_of: Callable[[Sheet], Tensor] | None = None,
) -> None:
    """`loss_of`: the sum over the lessons of a sheet; by default the language loss and the pull."""
    loss_of = loss_of or (lambda sheet: sheet_loss(model, sheet, desk.world.pull))
    model.requires_grad_(False)
    for parameter in trained:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(trained, lr=lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=max(steps, 2), pct_start=0.1)
    mean = 0.0
    for step in range(steps):
        lessons = [teacher(rng, step / steps) for _ in range(rows)]
        optimizer.zero_grad()
        loss = learn(loss_of, desk.sheets(lessons, rng, parts=2))
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        mean = loss if step == 0 else 0.95 * mean + 0.05 * loss
        if step % 100 == 0 or step == steps - 1:
            say(f"  step {step:5d}/{steps}  loss {mean:.3f}")
    model.requires_grad_(True)


def learn(loss_of: Callable[[Sheet], Tensor], sheets: list[Sheet]) -> float:
    """Accumulates the gradient of the mean loss over all lessons; returns the mean."""
    lessons, total = sum(sheet.lessons for sheet in sheets), 0.0
    for sheet in sheets:
        loss = loss_of(sheet) / lessons
        loss.backward()
        total += loss.item()
    return total


def learn_text(model: Qwen2_5_VLForConditionalGeneration, course: Course, seed: int, say: Say) -> None:
    desk, rng = Desk(build_tokenizer(), LEVELS[0]), random.Random(f"text {seed}")
    trained = list(model.model.language_model.parameters())
    teacher = lesson_of(course, drawn=0.0)
    train(
        model, trained, teacher, desk, rng, steps=course.text_steps, rows=course.rows, lr=course.lr, say=say
    )


def learn_symbols(model: Qwen2_5_VLForConditionalGeneration, course: Course, seed: int, say: Say) -> None:
    """The tower learns to tell symbols apart; the last layer of the projector is new afterwards."""
    desk, rng = Desk(build_tokenizer(), SYMBOLS_APART), random.Random(f"tower {seed}")
    torch.manual_seed(seed)
    projector = model.model.visual.merger.mlp[-1]
    classifier = torch.nn.Linear(projector.out_features, len(desk.tokenizer))
    trained = [*model.model.visual.parameters(), *classifier.parameters()]

    def loss_of(sheet: Sheet) -> Tensor:
        return F.cross_entropy(classifier(see(model, sheet)), sheet.meant_S) * sheet.lessons

    def teacher(rng: random.Random, progress: float) -> Lesson:
        return Lesson("", (jumble(rng, SYMBOLS_SHOWN),), "")

    steps, rows, lr = course.tower_steps, course.rows, course.tower_lr
    train(model, trained, teacher, desk, rng, steps=steps, rows=rows, lr=lr, say=say, loss_of=loss_of)
    projector.reset_parameters()


def learn_to_see(
    start: Qwen2_5_VLForConditionalGeneration, world: VisualWorld, course: Course, seed: int, say: Say
) -> Qwen2_5_VLForConditionalGeneration:
    """The base of a world: eyes aligned to the frozen language model, then both trained."""
    model = new_model(replace(SIZE, rope_sections=world.sections), seed)
    model.load_state_dict(start.state_dict())
    desk, rng = Desk(build_tokenizer(), world), random.Random(f"eyes {world.name} {seed}")
    eyes = list(model.model.visual.parameters())
    say(f"eyes: reading pictures, language model frozen ({world.name})")
    train(model, eyes, reading, desk, rng, steps=course.eyes_steps, rows=course.rows, lr=course.lr, say=say)
    say("both: text and pictures; embeddings stay frozen")
    words = model.get_input_embeddings().weight
    both = eyes + [p for p in model.model.language_model.parameters() if p is not words]
    teacher = lesson_of(course, course.drawn)
    train(model, both, teacher, desk, rng, steps=course.steps, rows=course.rows, lr=course.joint_lr, say=say)
    return model


def starting_model(
    course: Course, seed: int, kept: Path | None, say: Say
) -> Qwen2_5_VLForConditionalGeneration:
    """The two parts that all worlds start from, made here or read from `kept`."""
    model = new_model(SIZE, seed)
    if kept is not None and kept.exists():
        model.load_state_dict(load_file(kept))
        return model
    if course.text_steps:
        say("text: the language model learns to read, add and answer")
        learn_text(model, course, seed, say)
    else:
        shipped: Any = load(MINIWORLD).model
        model.model.language_model.load_state_dict(shipped.model.language_model.state_dict())
    say("tower: it learns to tell symbols apart")
    learn_symbols(model, course, seed, say)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: value.clone() for name, value in model.state_dict().items()}, kept)
    return model


def build_world_base(
    level: int,
    seed: int,
    out: Path,
    say: Say,
    course: Course | None = None,
    kept: Path | None = None,
    after: Path | None = None,
) -> None:
    """What `xreasoner miniworld base OUT --level N` does.

    `kept` saves what all levels start from; `after` is the base of a tighter world to start from instead.
    """
    if level not in range(len(LEVELS)):
        raise ValueError(f"level {level}: there are worlds from 0 (tied) to {len(LEVELS) - 1} (free)")
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty; choose a new folder for the base checkpoint")
    course = course or Course()
    start: Any = load(after).model if after else starting_model(course, seed, kept, say)
    model = learn_to_see(start, LEVELS[level], course, seed, say)
    save_base(model, out)
