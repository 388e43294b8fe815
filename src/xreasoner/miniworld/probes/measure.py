"""What a checkpoint can do in a world: read, take one step and many, on seen and on new looks.

Suffixes: S visual tokens, W words, E hidden size.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import Qwen2_5_VLForConditionalGeneration

from xreasoner.chat.template import problem_prompt
from xreasoner.chat.think import THINK_OPEN
from xreasoner.miniworld.base.encode import LessonEncoder, unchanged, visual_tokens
from xreasoner.miniworld.base.lessons import THINK_INSTRUCTION, Lesson, jumble
from xreasoner.miniworld.item import Item, Split
from xreasoner.miniworld.pictures.drawing import draw_picture, encode_picture, moved
from xreasoner.miniworld.pictures.worlds import VisualWorld
from xreasoner.miniworld.probes.controls import MANY_STEPS, SAMPLING, as_read, swap_images, transcribed
from xreasoner.miniworld.problems import make_items, phrase, read_problem
from xreasoner.miniworld.tokenizer import build_tokenizer
from xreasoner.models.load import load
from xreasoner.records import Problem
from xreasoner.rewards.grade import Grader
from xreasoner.rollout.engine import Engine
from xreasoner.rollout.torch_engine.engine import TorchEngine

ONE_STEP_SUMS = 60
"""Few different ones exist."""


def pictured(problem: Problem, item: Item, world: VisualWorld, looks: Split, by: int = 0) -> Problem:
    """The problem with its scene drawn in the world, in an appearance of the split `looks`."""
    rng = random.Random(f"picture {looks} {item.key}")
    pixels = moved(draw_picture(item.scene, world, rng, looks), by, by)
    return replace(problem, question=(encode_picture(pixels), *problem.question[1:]))


Make = Callable[[str], list[Problem]]


def probes(world: VisualWorld, split: Split, count: int) -> dict[str, tuple[Make, str | None]]:
    """Problems of a family and their instruction, by name; `split` is that of the items."""

    def solve(steps: tuple[int, int], looks: Split | None, by: int = 0, options: float = 0.0) -> Make:
        def make(family: str) -> list[Problem]:
            few = min(count, ONE_STEP_SUMS) if family == "sums" and steps == (1, 1) else count
            items = make_items(family, steps, few, split, 0)
            written = [phrase(item, "text", 0, options) for item in items]
            if looks is None:
                return written
            drawn = [phrase(item, "image", 0, options) for item in items]
            return [pictured(p, item, world, looks, by) for p, item in zip(drawn, items, strict=True)]

        return make

    def read(looks: Split | None, by: int = 0) -> Make:
        def make(family: str) -> list[Problem]:
            items = make_items(family, (2, 4), count, split, 0)
            if looks is None:
                return [read_problem(item, "text", 0) for item in items]
            return [pictured(read_problem(item, "image", 0), item, world, looks, by) for item in items]

        return make

    def others(family: str) -> list[Problem]:
        """Each problem with the image of another of as many steps: what is solved without looking."""
        return swap_images(solve(MANY_STEPS, split)(family))

    return {
        "read, text": (read(None), None),
        "read, seen looks": (read("train"), None),
        "read, new looks": (read(split), None),
        "read, new looks, moved 2": (read(split, by=2), None),
        "one step, text": (solve((1, 1), None), None),
        "one step, images": (solve((1, 1), split), None),
        "one step, images, asked to think": (solve((1, 1), split), THINK_INSTRUCTION),
        "one step with options, text": (solve((1, 1), None, options=1.0), THINK_INSTRUCTION),
        "many steps, text": (solve(MANY_STEPS, None), THINK_INSTRUCTION),
        "many steps, images, seen looks": (solve(MANY_STEPS, "train"), THINK_INSTRUCTION),
        "many steps, images": (solve(MANY_STEPS, split), THINK_INSTRUCTION),
        "many steps, images, asked plainly": (solve(MANY_STEPS, split), None),
        "many steps, images, moved 2": (solve(MANY_STEPS, split, by=2), THINK_INSTRUCTION),
        "many steps, images of others": (others, THINK_INSTRUCTION),
    }


def share_right(engine: Engine, problems: list[Problem], instruction: str | None) -> float:
    by_id = {problem.id: problem for problem in problems}
    answers = engine.generate([problem_prompt(problem, instruction) for problem in problems], SAMPLING)
    with Grader() as grader:
        right = [grader.score(by_id[one.prompt_id], one.text).correct is True for one in answers]
    return round(sum(right) / len(right), 4)


def accuracies(
    checkpoint: Path,
    world: VisualWorld,
    split: Split,
    count: int,
    families: tuple[str, ...],
    only: tuple[str, ...] = (),
) -> dict[str, dict[str, float]]:
    """By probe and family; of all probes, or of those named."""
    engine = TorchEngine(load(checkpoint))
    return {
        name: {family: share_right(engine, make(family), instruction) for family in families}
        for name, (make, instruction) in probes(world, split, count).items()
        if not only or name in only
    }


def solved_if_read(
    checkpoint: Path, world: VisualWorld, split: Split, count: int, families: tuple[str, ...]
) -> dict[str, tuple[int, int, int]]:
    """Many-step problems on images in new looks, by family: how many thoughts restate the scene as it is, how
    many of those end with the right answer, and how many of the others do."""
    engine, found = TorchEngine(load(checkpoint)), dict[str, tuple[int, int, int]]()
    make, instruction = probes(world, split, count)["many steps, images"]
    with Grader() as grader:
        for family in families:
            items = make_items(family, MANY_STEPS, count, split, 0)
            problems = {problem.id: problem for problem in make(family)}
            scenes = dict(zip(problems, (" ".join(item.scene.words()) for item in items), strict=True))
            prompts = [problem_prompt(problem, instruction) for problem in problems.values()]
            read = restated = right = 0
            for answer in engine.generate(prompts, SAMPLING):
                is_right = grader.score(problems[answer.prompt_id], answer.text).correct is True
                is_read = restatement(answer.text) == scenes[answer.prompt_id]
                read, restated, right = read + is_read, restated + (is_read and is_right), right + is_right
            found[family] = (read, restated, right - restated)
    return found


def solved_as_read(
    checkpoint: Path, world: VisualWorld, split: Split, count: int, families: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """Accuracy by looks and family on many-step problems whose image the checkpoint transcribes first, and
    then solves as text."""
    engine, found = TorchEngine(load(checkpoint)), dict[str, dict[str, float]]()
    looks_of: dict[str, Split] = {"seen looks": "train", "new looks": split}
    for name, looks in looks_of.items():
        found[name] = {}
        for family in families:
            items = make_items(family, MANY_STEPS, count, split, 0)
            drawn = [pictured(read_problem(item, "image", 0), item, world, looks) for item in items]
            asked = [phrase(item, "image", 0, choice_share=0.0) for item in items]
            as_text = [as_read(*pair) for pair in zip(asked, transcribed(engine, drawn), strict=True)]
            found[name][family] = share_right(engine, as_text, THINK_INSTRUCTION)
    return found


def restatement(reply: str) -> str:
    """What a thought says it sees, before it starts to work."""
    return reply.partition(THINK_OPEN)[2].partition(" so ")[0].strip()


def alignment(checkpoint: Path, world: VisualWorld, pictures: int = 500) -> dict[str, float] | None:
    """How visual tokens are like the embeddings of their words; None if a symbol has no tokens of its own."""
    if not world.tokens:
        return None
    model = load(checkpoint).model
    assert isinstance(model, Qwen2_5_VLForConditionalGeneration)
    rng = random.Random("alignment")
    lessons = [Lesson("", (jumble(rng, 4), "read"), "x") for _ in range(pictures)]
    batch = LessonEncoder(build_tokenizer(), world).batch(lessons, rng)
    with torch.inference_mode():
        embeddings: Any = model.get_input_embeddings().weight
        seen_SE, meant_S = visual_tokens(model, batch), batch.meant_S
        cosines = F.cosine_similarity(seen_SE, embeddings[meant_S], dim=-1)
        best = cosines.view(-1, world.tokens).argmax(-1) + world.tokens * torch.arange(len(lessons) * 4)
        found = likeness(seen_SE[best], meant_S[best], embeddings[meant_S.unique()], embeddings)
        return found | {"like itself before the last layer": unchanged(model, batch)}


def likeness(seen_SE: Tensor, meant_S: Tensor, shown_WE: Tensor, embeddings: Tensor) -> dict[str, float]:
    """Of visual tokens and the embeddings of their words; `shown_WE` are those of all words shown."""
    words_SE = embeddings[meant_S]
    unit_WE = F.normalize(shown_WE, dim=-1)
    nearest_SE = shown_WE[(F.normalize(seen_SE, dim=-1) @ unit_WE.T).argmax(-1)]
    return {
        "cosine": F.cosine_similarity(seen_SE, words_SE, dim=-1).mean().item(),
        "cosine without the means": F.cosine_similarity(
            seen_SE - seen_SE.mean(0), words_SE - words_SE.mean(0), dim=-1
        )
        .mean()
        .item(),
        "nearest to its word": (nearest_SE == words_SE).all(-1).float().mean().item(),
        "length, of its word's": (seen_SE.norm(dim=-1) / words_SE.norm(dim=-1)).mean().item(),
    }
