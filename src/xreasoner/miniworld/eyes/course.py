"""Make the base checkpoint of a world: two parts apart, then aligned, then trained together.

All worlds start from the same two parts. The language model has learned text. The tower has learned to tell
symbols apart (tower.py). Then the projector, whose last layer is new, is aligned to the frozen language model
by transcribing pictures, and after it projector and tower by describing them. Where a world has no pull,
language loss alone ties visual tokens to words.
"""

import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from transformers import Qwen2_5_VLForConditionalGeneration

from xreasoner.miniworld.eyes.sheets import Desk
from xreasoner.miniworld.eyes.teaching import describing, lessons_of, reading
from xreasoner.miniworld.eyes.tower import learn_symbols
from xreasoner.miniworld.eyes.training import (
    Kept,
    Teacher,
    fresh_sheets,
    kept_sheets,
    language_loss,
    look_once,
    train,
)
from xreasoner.miniworld.eyes.worlds import LEVELS, VisualWorld
from xreasoner.miniworld.lessons import Syllabus
from xreasoner.miniworld.model import Size, new_model, save_base
from xreasoner.miniworld.tokenizer import build_tokenizer
from xreasoner.models.load import load
from xreasoner.models.resolve import MINIWORLD
from xreasoner.models.side_files import new_folder, refuse_filled
from xreasoner.storage.files import write_atomically
from xreasoner.storage.journal import Say

SIZE = Size(vision_hidden=96, vision_heads=3, vision_layers=3, sees_whole_picture=True)


@dataclass(frozen=True)
class Course:
    """Steps and rates of the phases."""

    text_steps: int = 0
    """0: the language model of the shipped base, which has also learned pictures of a tied world."""
    tower_steps: int = 1500
    projector_steps: int = 1000
    """With tower and language model frozen."""
    first: Teacher = reading
    """What the projector learns."""
    kept_steps: int = 400
    """So many steps' pictures are seen once by the frozen tower, and used again and again."""
    eyes_steps: int = 800
    """Projector and tower."""
    steps: int = 0
    """On text and pictures together. 0: the language model stays as it was, without these pictures."""
    rows: int = 32
    text_lr: float = 3e-3
    tower_lr: float = 3e-3
    projector_lr: float = 5e-3
    eyes_lr: float = 1.5e-3
    joint_lr: float = 1e-3
    drawn: float = 0.65
    syllabus: Syllabus = field(default_factory=Syllabus)


def learn_text(model: Qwen2_5_VLForConditionalGeneration, course: Course, seed: int, say: Say) -> None:
    desk, rng = Desk(build_tokenizer(), LEVELS[0]), random.Random(f"text {seed}")
    sheets = fresh_sheets(lessons_of(course.syllabus, drawn=0.0), desk, rng, course.rows)
    trained = list(model.model.language_model.parameters())
    train(
        model, trained, sheets, language_loss(model, 0), steps=course.text_steps, lr=course.text_lr, say=say
    )


def looked_at(
    start: Qwen2_5_VLForConditionalGeneration, world: VisualWorld, course: Course, seed: int
) -> Kept:
    """What the projector learns from. Worlds that differ in their loss alone may share it."""
    desk, rng = Desk(build_tokenizer(), world), random.Random(f"pictures {seed}")
    return look_once(start, fresh_sheets(course.first, desk, rng, course.rows), course.kept_steps)


def learn_to_see(
    start: Qwen2_5_VLForConditionalGeneration,
    world: VisualWorld,
    course: Course,
    seed: int,
    say: Say,
    kept: Kept | None = None,
) -> Qwen2_5_VLForConditionalGeneration:
    """The base of a world: the projector is aligned, then the eyes, then all are trained together."""
    model = new_model(replace(SIZE, rope_sections=world.sections), seed)
    model.load_state_dict(start.state_dict())
    desk, rng = Desk(build_tokenizer(), world), random.Random(f"eyes {world.name} {seed}")
    visual, loss_of = model.model.visual, language_loss(model, world.pull, world.held)
    if course.projector_steps:
        say(f"projector: tower and language model frozen ({world.name})")
        sheets = kept_sheets(kept or looked_at(start, world, course, seed), rng)
        steps, lr = course.projector_steps, course.projector_lr
        train(model, list(visual.merger.parameters()), sheets, loss_of, steps=steps, lr=lr, say=say)
    eyes = list(visual.parameters())
    if course.eyes_steps:
        say("eyes: describing pictures, language model frozen")
        sheets = fresh_sheets(describing, desk, rng, course.rows)
        train(model, eyes, sheets, loss_of, steps=course.eyes_steps, lr=course.eyes_lr, say=say)
    if course.steps:
        say("both: text and pictures; embeddings stay frozen")
        words = model.get_input_embeddings().weight
        both = eyes + [p for p in model.model.language_model.parameters() if p is not words]
        sheets = fresh_sheets(lessons_of(course.syllabus, course.drawn), desk, rng, course.rows)
        train(model, both, sheets, loss_of, steps=course.steps, lr=course.joint_lr, say=say)
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
    learn_symbols(model, seed, course.tower_steps, course.rows, course.tower_lr, say)
    if kept is not None:
        write_atomically(kept, save({name: value.clone() for name, value in model.state_dict().items()}))
    return model


def build_world_base(level: int, seed: int, out: Path, say: Say, course: Course | None = None) -> None:
    """What `xreasoner miniworld base OUT --level N` does."""
    if level not in range(len(LEVELS)):
        raise ValueError(f"level {level}: there are worlds from 0 (tied) to {len(LEVELS) - 1} (free)")
    refuse_filled(out)
    course = course or Course()
    model = learn_to_see(starting_model(course, seed, None, say), LEVELS[level], course, seed, say)
    with new_folder(out) as folder:
        save_base(model, folder)
