"""Small eyes in front of a real language model: does training on text help it on pictures of text?

    OMP_NUM_THREADS=8 python benchmarks/real_eyes.py OUT --model MODEL --gsm8k GSM8K [--steps 4000]
    python benchmarks/real_eyes.py OUT --tiny     # the mini-world's language model: do the parts fit?

MODEL is the folder of a language model of Qwen2's class, about 0.5B parameters; GSM8K one with train.jsonl
and test.jsonl. A new vision tower and projector are aligned by language loss on typeset words, with the
language model frozen; a call that was interrupted goes on from its last state. OUT/base then is an ordinary
VLM, and OUT/recipe.yaml trains it with SFT and GRPO on the training *text* and evaluates it on the test
questions as text and as pictures. Every control of docs/experiments.md is a key of that recipe, such as
`sft.answers=direct`.

NOT YET RUN on a real model: it wants a GPU. The tiny form runs in the tests.

Suffixes: B lessons, T tokens, P patches, V values of a patch, I pictures.
"""

import argparse
import json
import math
import random
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from xreasoner.chat.template import encode_prompt, encode_texts
from xreasoner.data.sources import training_problems
from xreasoner.evals.benchmarks.text import read_gsm8k
from xreasoner.evals.eval_options import INSTRUCTION
from xreasoner.miniworld.base.encode import IGNORED, LessonBatch, lesson_loss
from xreasoner.miniworld.base.lessons import THINK_INSTRUCTION
from xreasoner.miniworld.pictures.drawing import encode_picture
from xreasoner.miniworld.problems import make_problems
from xreasoner.miniworld.scene import CELL
from xreasoner.miniworld.tokenizer import (
    CHAT_TEMPLATE,
    IMAGE_PAD,
    TURN_END,
    VIDEO_PAD,
    VISION_END,
    VISION_START,
)
from xreasoner.models.load import Loaded, load
from xreasoner.models.resolve import MINIWORLD
from xreasoner.models.surgery import detach
from xreasoner.pipeline.run import run_recipe
from xreasoner.recipe.file import read_recipe
from xreasoner.recipe.training_data import Gsm8kData
from xreasoner.records import Message, Problem, Prompt, Sampling
from xreasoner.rollout.torch_engine.engine import TorchEngine

READ = "read"
"""The words with which a picture is transcribed; the mini-world knows this one."""
SHOWN = "Answer the question in the picture."
SHARE_OF_WINDOWS = 0.5
"""Of the pictures to transcribe, words as they stand in a question; the others are shuffled."""


@dataclass(frozen=True)
class Plan:
    hidden: int
    layers: int
    heads: int
    steps: int
    lessons: int
    """Pictures a step."""
    most_words: int
    save_every: int
    stages: dict[str, Any]
    think_budget: int
    tested: int
    """Test questions."""
    lr: float = 1e-3


def plan_of(tiny: bool, steps: int) -> Plan:
    own = {"kind": "sft", "freeze": ["embeddings"]}
    if tiny:
        sft = own | {"steps": 2, "lr": 1e-3, "tokens_per_step": 512}
        rl = own | {"kind": "grpo", "steps": 1, "lr": 1e-4, "prompts_per_step": 2, "samples_per_prompt": 2}
        return Plan(32, 1, 2, 4, 2, 3, 2, {"sft": sft, "rl": rl | budgets(16, 8)}, 16, 2)
    sft = own | {"epochs": 2, "lr": 1e-5, "tokens_per_step": 32768, "max_length": 1024}
    rl = own | {"kind": "grpo", "steps": 60, "lr": 2e-6, "prompts_per_step": 64, "samples_per_prompt": 8}
    return Plan(384, 6, 6, steps, 32, 60, 100, {"sft": sft, "rl": rl | budgets(384, 32)}, 384, 500)


def budgets(thought: int, answer: int) -> dict[str, int]:
    return {"think_budget": thought, "answer_budget": answer}


def typeset(text: str, rng: random.Random) -> Image.Image:
    """Black on white, wrapped, of whole visual tokens."""
    size = rng.randint(14, 20)
    lines = textwrap.wrap(text, rng.randint(24, 44))
    font, left, top = ImageFont.load_default(size), rng.randint(2, 20), rng.randint(2, 20)
    wide = left + max(math.ceil(font.getlength(line)) for line in lines) + 2
    high = top + math.ceil(1.5 * size * len(lines))
    image = Image.new("RGB", (-(-wide // CELL) * CELL, -(-high // CELL) * CELL), "white")
    for i, line in enumerate(lines):
        ImageDraw.Draw(image).text((left, top + 1.5 * size * i), line, fill="black", font=font)
    return image


def behind_new_eyes(model: Path, out: Path, plan: Plan) -> None:
    """The language model as the text tower of Qwen2.5-VL's class, with a vision tower that knows nothing."""
    lm: Any = load(model, dtype=torch.float32)
    tokenizer, config = lm.tokenizer, lm.model.config
    known = tokenizer.get_vocab()
    missing = [
        mark for mark in (VISION_START, VISION_END, IMAGE_PAD, VIDEO_PAD, TURN_END) if mark not in known
    ]
    if missing:
        raise ValueError(f"{model}: its tokenizer has no {missing[0]}; use a model of Qwen's families")
    frequencies = config.hidden_size // config.num_attention_heads // 2
    height = 3 * frequencies // 8  # 24 of 64, as in Qwen2.5-VL
    rope = config.rope_parameters | {"mrope_section": [frequencies - 2 * height, height, height]}
    torch.manual_seed(0)
    vlm = Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(
            text_config=config.to_dict() | {"model_type": "qwen2_5_vl_text", "rope_parameters": rope},
            vision_config={
                "depth": plan.layers,
                "hidden_size": plan.hidden,
                "intermediate_size": 3 * plan.hidden,
                "num_heads": plan.heads,
                "out_hidden_size": config.hidden_size,
                "fullatt_block_indexes": list(range(plan.layers)),
            },
            image_token_id=known[IMAGE_PAD],
            video_token_id=known[VIDEO_PAD],
            vision_start_token_id=known[VISION_START],
            vision_end_token_id=known[VISION_END],
            tie_word_embeddings=config.tie_word_embeddings,
        )
    )
    vlm.model.language_model.load_state_dict(lm.model.model.state_dict())
    vlm.lm_head.load_state_dict(lm.model.lm_head.state_dict())
    tokenizer.chat_template = CHAT_TEMPLATE
    vlm.save_pretrained(out)
    tokenizer.save_pretrained(out)
    Qwen2VLImageProcessorPil(size={"shortest_edge": CELL**2, "longest_edge": 1024 * CELL**2}).save_pretrained(
        out
    )


def words_to_read(questions: Sequence[str], most: int, rng: random.Random) -> str:
    words = rng.choice(questions).split()
    start = rng.randrange(len(words))
    window = words[start : start + rng.randint(1, most)]
    return " ".join(window if rng.random() < SHARE_OF_WINDOWS else rng.sample(window, len(window)))


def transcription(text: str, rng: random.Random) -> Prompt:
    return Prompt(text, (Message("user", (encode_picture(np.asarray(typeset(text, rng))), f" {READ}")),))


def lessons(loaded: Loaded, texts: Sequence[str], rng: random.Random) -> LessonBatch:
    prompts = [transcription(text, rng) for text in texts]
    encoded = [encode_prompt(prompt, loaded.tokenizer, loaded.image_processor) for prompt in prompts]
    replies = encode_texts([f"{text}{TURN_END}" for text in texts], loaded.tokenizer)
    length = max(len(one.ids) + len(reply) for one, reply in zip(encoded, replies, strict=True))
    ids, targets = torch.full((2, len(texts), length), IGNORED).unbind()
    ids.fill_(loaded.tokenizer.pad_token_id)
    for row, (one, reply) in enumerate(zip(encoded, replies, strict=True)):
        ids[row, : len(one.ids) + len(reply)] = torch.tensor([*one.ids, *reply])
        targets[row, len(one.ids) - 1 : len(one.ids) + len(reply) - 1] = torch.tensor(reply)
    pixels = [one.pixel_values for one in encoded if one.pixel_values is not None]
    grids = [one.image_grid_thw for one in encoded if one.image_grid_thw is not None]
    weights = torch.tensor([[1 / len(reply)] * length for reply in replies])
    return LessonBatch(ids, torch.cat(pixels), torch.cat(grids), torch.tensor([]), targets, weights)


def on(device: str, batch: LessonBatch) -> LessonBatch:
    moved = {name: one.to(device) for name, one in vars(batch).items() if one is not None}
    return replace(batch, **moved)


def align(base: Path, questions: Sequence[str], plan: Plan, device: str, say: Any) -> None:
    """Language loss on transcriptions, longer and longer ones; states beside the base."""
    loaded, state = load(base, device, torch.float32), base.with_suffix(".state")
    model: Any = loaded.model
    model.requires_grad_(False)
    eyes = list(model.model.visual.requires_grad_(True).parameters())
    optimizer = torch.optim.AdamW(eyes, lr=plan.lr, betas=(0.9, 0.98), weight_decay=0.01)
    done = 0
    if state.exists():
        kept = torch.load(state, weights_only=True)
        done = kept["step"]
        model.model.visual.load_state_dict(kept["eyes"])
        optimizer.load_state_dict(kept["optimizer"])
    for step in range(done, plan.steps):
        rng = random.Random(f"{step} of {plan.steps}")
        progress = step / plan.steps
        optimizer.param_groups[0]["lr"] = plan.lr * min(1, 20 * progress + 0.05) * (1 - progress)
        most = 1 + round(min(1.0, 2 * progress) * (plan.most_words - 1))
        texts = [words_to_read(questions, most, rng) for _ in range(plan.lessons)]
        loss = lesson_loss(model, on(device, lessons(loaded, texts, rng)), 0.0) / plan.lessons
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(eyes, 1.0)
        optimizer.step()
        if (step + 1) % plan.save_every == 0 or step + 1 == plan.steps:
            kept = {"eyes": model.model.visual.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(kept | {"step": step + 1}, state.with_suffix(".new"))
            state.with_suffix(".new").replace(state)
            say(f"aligned {step + 1} of {plan.steps}: loss {loss.item():.3f}, at most {most} words")
    model.save_pretrained(base)


def read_share(base: Path, questions: Sequence[str], device: str) -> float:
    """The share of whole questions that are read without an error."""
    prompts = [transcription(question, random.Random(question)) for question in questions]
    whole_reply = Sampling(think_budget=0, answer_budget=256, forced_exit=False)
    rollouts = TorchEngine(load(base, device)).generate(prompts, whole_reply)
    return sum(one.text.split() == one.prompt_id.split() for one in rollouts) / len(prompts)


def problems_of(wanted: argparse.Namespace, plan: Plan) -> tuple[list[Problem], list[Problem]]:
    """To train and to test."""
    if wanted.tiny:
        return make_problems("sums", "text", (1, 3), 40, "train", 0), make_problems(
            "sums", "text", (2, 3), plan.tested, "dev", 0
        )
    train = training_problems([Gsm8kData(source="gsm8k", path=str(wanted.gsm8k / "train.jsonl"))], 0)
    rows = (wanted.gsm8k / "test.jsonl").read_text().splitlines()[: plan.tested]
    tested = [read_gsm8k(str(i), json.loads(row), None) for i, row in enumerate(rows)]  # type: ignore[arg-type]
    return train, tested


def asked(problem: Problem) -> str:
    (question,) = problem.question
    assert isinstance(question, str)
    return question


def write_tables(out: Path, train: Sequence[Problem], tested: Sequence[Problem]) -> None:
    def write(name: str, rows: list[dict[str, str]]) -> None:
        (out / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    write(
        "train.jsonl",
        [{"question": asked(one), "answer": one.answer, "reasoning": one.reasoning} for one in train],
    )
    write("test-text.jsonl", [{"question": asked(one), "answer": one.answer} for one in tested])
    (out / "pictures").mkdir(exist_ok=True)
    for i, one in enumerate(tested):
        typeset(asked(one), random.Random(one.id)).save(out / "pictures" / f"{i}.png")
    drawn = [
        {"question": SHOWN, "answer": one.answer, "image": f"pictures/{i}.png"}
        for i, one in enumerate(tested)
    ]
    write("test-image.jsonl", drawn)


def recipe_of(out: Path, plan: Plan, instruction: str) -> dict[str, Any]:
    stages = {
        name: stage | {"data": [{"source": "jsonl", "path": str(out / "train.jsonl")}]}
        for name, stage in plan.stages.items()
    }
    views = [
        {"source": "jsonl", "name": f"test-{view}", "path": str(out / f"test-{view}.jsonl")}
        for view in ("text", "image")
    ]
    return {
        "name": "real-eyes",
        "model": str(out / "base"),
        "instruction": instruction,
        "stages": stages,
        "evaluation": {"benchmarks": views, **budgets(plan.think_budget, 32)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--gsm8k", type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--tiny", action="store_true")
    wanted = parser.parse_args()
    if not wanted.tiny and not (wanted.model and wanted.gsm8k):
        parser.error("--model and --gsm8k: both are needed, or --tiny")
    plan, device = plan_of(wanted.tiny, wanted.steps), "cuda" if torch.cuda.is_available() else "cpu"
    out, console = wanted.out.resolve(), Console()
    out.mkdir(parents=True, exist_ok=True)
    model = wanted.model or out / "language-model"
    if wanted.tiny and not model.exists():
        detach(MINIWORLD, model)
    if not (out / "base").exists():
        behind_new_eyes(model, out / "base", plan)
    train, tested = problems_of(wanted, plan)
    align(out / "base", [asked(problem) for problem in train], plan, device, console.print)
    share = read_share(out / "base", [asked(problem) for problem in tested], device)
    console.print(f"test questions read without an error: {share:.1%}")
    write_tables(out, train, tested)
    recipe = out / "recipe.yaml"
    recipe.write_text(
        yaml.safe_dump(
            recipe_of(out, plan, THINK_INSTRUCTION if wanted.tiny else INSTRUCTION), sort_keys=False
        )
    )
    run_recipe(read_recipe(recipe, [f"out={out / 'run'}"]), console, [])


if __name__ == "__main__":
    main()
