"""A first recipe for a model, data and GPUs, with settings that fit into their memory."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from xreasoner.estimate.estimate import (
    estimate_evaluation,
    may_use_vllm,
    milder,
    most,
    vllm_bounds,
)
from xreasoner.estimate.gpus import Gpus
from xreasoner.estimate.model_shape import Shape
from xreasoner.evals.eval_options import INSTRUCTION, EvalOptions, entry
from xreasoner.recipe.file import Raw, check
from xreasoner.recipe.schema import GrpoStage, SftStage, Stage

SMALL = 100e6
"""Parameters. Smaller models learn with larger steps and answer briefly."""
MINIWORLD = "miniworld"
FEW_STEPS = 60
"""Fewer optimizer steps change little."""


@dataclass(frozen=True)
class FirstData:
    """An entry of `data`, and what its rows allow."""

    entry: Raw
    has_thoughts: bool
    """Then it is imitated, else reinforced."""
    count: int = 1_000_000
    """Rows; large if unknown."""
    tokens: int = 1_000_000_000
    """Of these rows, roughly; large if unknown."""


@dataclass(frozen=True)
class Wishes:
    name: str
    model: str
    shape: Shape
    context: int
    """The most tokens of a sequence."""
    data: tuple[FirstData, ...]
    gpus: Gpus
    benchmarks: tuple[str | Raw, ...] = ()
    """Names, or whole entries; by default those that suit the model."""


def first_recipe(wish: Wishes) -> Raw:
    think = budget(wish.context)
    stages: dict[str, Raw] = {}
    if imitated := [one for one in wish.data if one.has_thoughts]:
        stages["sft"] = sft_stage(wish, imitated)
    if reinforced := [one for one in wish.data if not one.has_thoughts]:
        stages["rl"] = grpo_stage(wish, reinforced, think)
    raw: Raw = {
        "name": wish.name,
        "model": wish.model,
        "instruction": "think then answer" if wish.model == MINIWORLD else INSTRUCTION,
        "stages": stages,
        "evaluation": {
            "think_budget": think,
            "answer_budget": think // 8,
            "benchmarks": benchmarks(wish),
        },
    }
    return fitted(raw, wish)


def budget(context: int) -> int:
    return min(4096, context // 8)


def is_small(wish: Wishes) -> bool:
    return wish.shape.parameters < SMALL


def sft_stage(wish: Wishes, data: Sequence[FirstData]) -> Raw:
    longest = min(16384, wish.context // 4)
    small = is_small(wish)
    tokens = 4096 if small else 524288 if wish.gpus.count >= 8 else 131072
    found = sum(one.tokens for one in data)
    # Few rows are seen often enough for FEW_STEPS, yet in steps that are worth one.
    step = min(tokens, max(1024, found // 20))
    epochs = min(20, max(2, math.ceil(FEW_STEPS * step / found)))
    return {
        "kind": "sft",
        "data": [one.entry for one in data],
        **({} if wish.model == MINIWORLD else {"filters": {"thoughts": "required"}}),
        "epochs": epochs,
        "lr": 2e-3 if small else 1e-5,
        "tokens_per_step": step,
        "tokens_per_microbatch": min(tokens, 2 * longest if small else longest),
        "max_length": longest,
        **frozen(wish),
    }


def grpo_stage(wish: Wishes, data: Sequence[FirstData], think: int) -> Raw:
    rows = sum(one.count for one in data)
    longest = min(8192, wish.context // 2)
    held_out = min(128, rows // 10)
    return {
        "kind": "grpo",
        "data": [one.entry for one in data],
        **({} if wish.model == MINIWORLD else {"filters": {}}),
        "steps": 50 if is_small(wish) else 200,
        "lr": 3e-4 if is_small(wish) else 3e-6,
        "prompts_per_step": max(1, min(rows // 2, 128 if wish.gpus.count >= 8 else 32)),
        "samples_per_prompt": 8,
        "think_budget": think,
        "answer_budget": think // 8,
        "max_length": longest,
        "tokens_per_microbatch": 2 * longest if is_small(wish) else longest,
        **({"held_out": held_out, "eval_every": 20} if held_out else {}),
        **frozen(wish),
    }


def frozen(wish: Wishes) -> Raw:
    """Its visual tokens are aligned with its embeddings."""
    return {"freeze": ["embeddings"]} if wish.model == MINIWORLD else {}


def benchmarks(wish: Wishes) -> list[Raw]:
    if wish.model == MINIWORLD and not wish.benchmarks:
        families = {"families": ["sums", "bars", "shapes"], "views": ["image"]}
        return [
            {"source": MINIWORLD, "name": "many", "steps": [3, 6], "count": 200, **families},
            {
                "source": MINIWORLD,
                "name": "look",
                "role": "perception",
                "asked": "plainly",
                "steps": [1, 1],
                "count": 60,
                **families,
            },
        ]
    names = wish.benchmarks or (("mmmu-pro", "mathvista", "probe") if wish.shape.vision else ("gsm8k",))
    return [
        entry(one, EvalOptions(count=None if one == "probe" else 500)) if isinstance(one, str) else one
        for one in names
    ]


# --- what fits ------------------------------------------------------------------------------------------


def fitted(raw: Raw, wish: Wishes) -> Raw:
    recipe = check(raw, wish.name)
    stages = {name: {**raw["stages"][name], **changes(stage, wish)} for name, stage in recipe.stages.items()}
    rows = recipe.evaluation.rows
    while rows > 1 and not estimate_evaluation(
        recipe.evaluation.model_copy(update={"rows": rows}), wish.shape, wish.gpus
    ).fits(wish.gpus):
        rows //= 2
    evaluation = raw["evaluation"] | ({"rows": rows} if rows != recipe.evaluation.rows else {})
    return {**raw, "stages": stages, "evaluation": evaluation}


def changes(stage: Stage, wish: Wishes) -> Raw:
    """The mildest changes with which the stage fits."""

    def needed(made: Sequence[Raw]) -> float:
        update = {key: value for change in made for key, value in change.items()}
        return most(stage.model_copy(update=update), wish.shape, wish.gpus)

    made = list[Raw]()
    for _, change in milder(stage, wish.shape, wish.gpus):
        if needed(made) <= wish.gpus.memory:
            break
        if "rollout" not in change:  # a server needs GPUs of its own
            made.append(change)
    if needed(made) > wish.gpus.memory:
        raise ValueError(
            f"--gpus {wish.gpus}: {wish.model} does not fit: {stage.kind} needs {needed(made) / 1e9:.0f} GB "
            "on each with the mildest settings; name more GPUs, GPUs with more memory, or a smaller model"
        )
    for change in tuple(made):  # what a later change made unnecessary
        if needed(without := [one for one in made if one is not change]) <= wish.gpus.memory:
            made = without
    return written({key: value for change in made for key, value in change.items()}, stage, wish)


def written(update: Raw, stage: Stage, wish: Wishes) -> Raw:
    changed = stage.model_copy(update=update)
    if changed.lora is not None:
        rate = 1e-4 if isinstance(stage, SftStage) else 2e-5
        update |= {"lora": changed.lora.model_dump(mode="json", exclude_defaults=True), "lr": rate}
    return update | (room_for_vllm(changed, wish) if isinstance(changed, GrpoStage) else {})


def room_for_vllm(stage: GrpoStage, wish: Wishes) -> Raw:
    """On a GPU, `auto` samples by vLLM if it is installed."""
    if not may_use_vllm(stage.rollout, wish.shape):
        return {}
    lowest, highest = vllm_bounds(stage, wish.shape, wish.gpus)
    if lowest <= stage.rollout_memory <= highest:
        return {}
    enough = max(stage.rollout_memory, math.ceil(100 * lowest) / 100)
    return {"rollout_memory": min(highest, enough)} if lowest <= highest else {"rollout": "torch"}
