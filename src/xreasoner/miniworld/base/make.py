"""Make a base checkpoint: a language model from text, a tower that tells symbols apart, then both together.

It stands for an instruct model: it reads images and answers one-step questions, but fails at longer ones.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration

from xreasoner.miniworld.base.accuracy import base_accuracies
from xreasoner.miniworld.base.bank import fill_bank
from xreasoner.miniworld.base.encode import LessonEncoder, visual_tokens
from xreasoner.miniworld.base.lessons import CELLS, Lesson, Syllabus, next_lesson
from xreasoner.miniworld.base.settings import TEXT, TEXT_AND_PICTURES, BaseSettings
from xreasoner.miniworld.base.tower import ONE_TOKEN, learn_symbols, world_of_tower
from xreasoner.miniworld.base.training import Teacher, fresh_batches, language_loss, train
from xreasoner.miniworld.model import new_model, save_base
from xreasoner.miniworld.pictures.worlds import LEVELS, VisualWorld
from xreasoner.miniworld.scene import Scene
from xreasoner.miniworld.tokenizer import build_tokenizer
from xreasoner.models.side_files import new_folder, refuse_filled
from xreasoner.storage.files import write_atomically, write_json
from xreasoner.storage.journal import Say

MEASURED = "measured.json"
PROBLEMS = 200
"""Development problems per probe of the finished checkpoint."""
State = dict[str, Tensor]


def lessons_of(syllabus: Syllabus, drawn: float) -> Teacher:
    return lambda rng, progress: next_lesson(rng, syllabus, drawn, progress)


def learn_text(settings: BaseSettings, say: Say) -> State:
    """The weights of a language model trained on text alone."""
    model = new_model(settings.size, settings.seed)
    encoder, rng = LessonEncoder(build_tokenizer(), LEVELS[0]), random.Random(f"text {settings.seed}")
    batches = fresh_batches(lessons_of(TEXT, drawn=0.0), encoder, rng, settings.rows)
    trained = list(model.model.language_model.parameters())
    steps, lr = settings.text_steps, settings.text_lr
    train(model, trained, batches, language_loss(model, 0), steps=steps, lr=lr, say=say)
    return model.model.language_model.state_dict()


def part(kept: Path | None, name: str, learn: Callable[[], State]) -> State:
    """The weights of a finished phase, from the folder `kept` if they are there."""
    if kept is None:
        return learn()
    file = kept / f"{name}.safetensors"
    if not file.exists():
        state = {key: value.clone() for key, value in learn().items()}
        kept.mkdir(parents=True, exist_ok=True)
        write_atomically(file, save(state))
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged ({error}): delete it, and it is made again") from error


@torch.no_grad()
def renew_projector(model: Qwen2_5_VLForConditionalGeneration, encoder: LessonEncoder) -> None:
    """A new last layer of the projector, so that no visual token means a word yet. Visual tokens start about
    as long as words: much longer ones would pass the layers nearly unchanged."""
    last = model.model.visual.merger.mlp[-1]
    last.reset_parameters()
    batch = encoder.batch([Lesson("", (Scene(tuple(CELLS)),), "x")], random.Random(0))
    embeddings: Any = model.get_input_embeddings().weight
    words_CE = embeddings[[encoder.ids(cell.word)[0] for cell in CELLS]]
    ratio = visual_tokens(model, batch).norm(dim=-1).mean() / words_CE.norm(dim=-1).mean()
    for parameter in last.parameters():
        parameter.div_(ratio)


def learn_both(
    text: State, tower: State, settings: BaseSettings, world: VisualWorld, say: Say
) -> Qwen2_5_VLForConditionalGeneration:
    """Language model and projector on text and pictures. Tower and embeddings stay as they are."""
    model = new_model(replace(settings.size, rope_sections=world.sections), settings.seed)
    model.model.language_model.load_state_dict(text)
    model.model.visual.load_state_dict(tower)
    encoder, rng = LessonEncoder(build_tokenizer(), world), random.Random(f"both {settings.seed}")
    if settings.views and world.tokens:
        encoder.bank = fill_bank(model, encoder, rng, settings.views)
    renew_projector(model, encoder)
    embeddings = model.get_input_embeddings().weight
    trained = [*model.model.visual.merger.parameters()]
    trained += [p for p in model.model.language_model.parameters() if p is not embeddings]
    batches = fresh_batches(lessons_of(TEXT_AND_PICTURES, settings.drawn), encoder, rng, settings.rows)
    steps, lr = settings.steps, settings.lr
    train(model, trained, batches, language_loss(model, world.pull), steps=steps, lr=lr, say=say)
    return model


def make_base(
    settings: BaseSettings, world: VisualWorld, say: Say, kept: Path | None = None
) -> Qwen2_5_VLForConditionalGeneration:
    def text() -> State:
        say("text: the language model learns to read, add and answer")
        return learn_text(settings, say)

    def tower() -> State:
        say("tower: it learns to tell symbols apart")
        return learn_symbols(settings, say, towers)

    towers = world_of_tower(world)
    of_world = "" if towers == ONE_TOKEN else f"-{towers.name.replace(' ', '-')}"
    learned = part(kept, f"text-{settings.seed}", text), part(kept, f"tower-{settings.seed}{of_world}", tower)
    say(f"text and pictures together ({world.name})")
    return learn_both(*learned, settings, world, say)


def build_base(settings: BaseSettings, world: VisualWorld, out: Path, say: Say, kept: Path | None) -> None:
    """What `xreasoner miniworld base OUT` does: train, save, measure. OUT appears when all of it is done."""
    refuse_filled(out)
    model = make_base(settings, world, say, kept)
    with new_folder(out) as folder:
        save_base(model, folder)
        say("measured on development items and looks:")
        write_json(folder / MEASURED, base_accuracies(folder, world, PROBLEMS, say))
