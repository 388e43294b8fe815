"""Each stage of a recipe on given GPUs: its memory, its compute and what to change where it does not fit."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from xreasoner.estimate import memory
from xreasoner.estimate.data_size import DataSize, typical_data_size
from xreasoner.estimate.gpus import Gpus
from xreasoner.estimate.host_memory import HostMemory, host_memory
from xreasoner.estimate.memory import BFLOAT16, FLOAT32, Memory, TrainingSetup
from xreasoner.estimate.model_shape import Shape
from xreasoner.estimate.time import (
    ComputeEstimate,
    engine_width,
    estimate_compute,
    rows_at_once,
)
from xreasoner.recipe.schema import Evaluation, GrpoStage, Lora, Recipe, SftStage, Stage
from xreasoner.rollout.choose import VLLM_FROM

ON_MACHINE = 8
"""Assumed GPUs of a machine, which share one copy of the weights with `shard_over: node`."""
PROMPT = 512
"""Assumed tokens of a prompt, where the recipe limits only the answer."""


@dataclass(frozen=True)
class MemoryPeak:
    """The memory of a GPU at one moment: during an update, or while answers are generated."""

    name: str
    memory: Memory


@dataclass(frozen=True)
class StageEstimate:
    stage: str
    gpus: int
    peaks: tuple[MemoryPeak, ...]
    compute: ComputeEstimate | None
    """None where the amount of data is unknown."""
    data_size: DataSize | None
    advice: tuple[str, ...]
    host: HostMemory | None = None
    """None where nothing is trained."""

    def fits(self, gpus: Gpus) -> bool:
        return all(peak.memory.total <= gpus.memory for peak in self.peaks)


def estimate_recipe(
    recipe: Recipe, shape: Shape, gpus: Gpus, data_sizes: Mapping[str, DataSize]
) -> list[StageEstimate]:
    """`data_sizes` has the prepared stages; for others the typical size of their corpora is assumed."""
    found = [
        estimate_stage(name, stage, shape, gpus, data_sizes.get(name) or typical_data_size(stage))
        for name, stage in recipe.stages.items()
    ]
    if recipe.evaluation.benchmarks:
        found.append(estimate_evaluation(recipe.evaluation, shape, gpus))
    return found


def estimate_stage(name: str, stage: Stage, shape: Shape, gpus: Gpus, data_size: DataSize) -> StageEstimate:
    peaks = peaks_of(stage, shape, gpus)
    fits = all(peak.memory.total <= gpus.memory for peak in peaks)
    advice = [] if fits else list(remedies(name, stage, shape, gpus))
    if fits and isinstance(stage, GrpoStage):
        advice += vllm_remedies(name, stage, shape, gpus)
    compute = None
    if data_size.problems == 0 and stage.steps is None:
        advice.append(f"{name}: the amount of data is unknown; run `xreasoner data stats` first")
    else:
        compute = estimate_compute(stage, shape, data_size, gpus)
    # A checkpoint is saved in the precision of the start, which real models have in bfloat16.
    host = host_memory(training_setup(stage, shape, gpus.count), BFLOAT16, stage.save_in_background)
    return StageEstimate(name, gpus.count, peaks, compute, data_size, tuple(advice), host)


def compute_width(stage: Stage) -> int:
    """Bytes per number; on a GPU `auto` is bfloat16."""
    return FLOAT32 if stage.dtype == "float32" else BFLOAT16


def training_setup(stage: Stage, shape: Shape, gpus: int) -> TrainingSetup:
    return TrainingSetup(
        shape=shape,
        compute=compute_width(stage),
        gpus=min(gpus, ON_MACHINE) if stage.shard_over == "node" else gpus,
        adapters=shape.adapters(stage.lora.rank, stage.lora.targets) if stage.lora else 0,
        frozen_embeddings="embeddings" in stage.freeze,
    )


def longest_answer(asked: GrpoStage | Evaluation) -> int:
    """Tokens of prompt and answer."""
    longest = PROMPT + asked.think_budget + asked.answer_budget
    limit = asked.max_length if isinstance(asked, GrpoStage) else None
    return min(longest, limit) if limit is not None else longest


def longest_row(stage: Stage) -> int:
    """A sequence longer than the microbatch gets a row of its own."""
    return max(stage.tokens_per_microbatch, longest_sequence(stage))


def longest_sequence(stage: Stage) -> int:
    return longest_answer(stage) if isinstance(stage, GrpoStage) else stage.max_length


def peaks_of(stage: Stage, shape: Shape, gpus: Gpus) -> tuple[MemoryPeak, ...]:
    trained = training_setup(stage, shape, gpus.count)
    update = memory.training(trained, longest_row(stage), stage.gradient_checkpointing, gpus.memory)
    if not isinstance(stage, GrpoStage):
        return (MemoryPeak("update", update),)
    # The reference model, in float32. With LoRA it is the adapter switched off.
    has_reference = stage.kl > 0 and not stage.lora
    reference = FLOAT32 * shape.parameters / trained.gpus if has_reference else 0.0
    # Where the model is sharded, each GPU samples from a full copy.
    width = engine_width(stage, gpus.count)
    beside = reference + (width * shape.parameters if gpus.count > 1 else 0.0)
    held = FLOAT32 * shape.parameters / trained.gpus if not stage.lora else memory.weights(trained)
    rows = rows_at_once(stage, gpus.count)
    tokens = longest_answer(stage)
    answers = memory.generating(shape, held + beside, rows, tokens, width, gpus.memory)
    return (
        MemoryPeak("update", replace(update, weights=update.weights + beside)),
        MemoryPeak("answers", replace(answers, optimizer=update.optimizer)),
    )


def vllm_remedies(name: str, stage: GrpoStage, shape: Shape, gpus: Gpus) -> Iterator[str]:
    """Advice where vLLM would sample but does not fit.

    It needs at least its weights and the cache of one answer, and gets at most what training leaves."""
    by_choice = stage.rollout == "auto" and shape.parameters >= VLLM_FROM["cuda"]
    if stage.rollout != "vllm" and not by_choice:
        return
    trained = training_setup(stage, shape, gpus.count)
    tokens = longest_answer(stage)
    least = trained.compute * shape.parameters + memory.kv_cache(shape, 1, tokens, trained.compute)
    taken = memory.weights(trained) + memory.optimizer(trained) + memory.system(gpus.memory)
    lowest, highest = least / gpus.memory, 1 - taken / gpus.memory
    if lowest <= stage.rollout_memory <= highest:
        return
    who = f"{name}: vLLM{', which rollout=auto uses if installed,' if by_choice else ''}"
    if math.floor(100 * highest) >= 100 * lowest:
        yield f"{who} fits with rollout_memory={math.floor(100 * highest) / 100:.2f}"
    else:
        yield f"{who} does not fit beside training; use rollout=torch"


def remedies(name: str, stage: Stage, shape: Shape, gpus: Gpus) -> Iterator[str]:
    """Changes that save memory, the mildest first, each on top of the ones before."""
    changed, needed = stage, most(stage, shape, gpus)
    for said, change in milder(stage):
        before, changed = needed, changed.model_copy(update=change)
        needed = most(changed, shape, gpus)
        fits = needed <= gpus.memory
        if needed < before:
            yield f"{name}: {said}: {needed / 1e9:.0f} GB{', fits' if fits else ''}"
        if fits:
            return
    if stage.lora is None and (count := enough(changed.model_copy(update={"lora": None}), shape, gpus)):
        yield f"{name}: or without LoRA on {count} of these GPUs: fits"
    yield f"{name}: or use a smaller model, or GPUs with more memory"


def enough(stage: Stage, shape: Shape, gpus: Gpus) -> int | None:
    """The number of these GPUs that the stage fits on, up to 64 times the given number."""
    counts = (2**power * gpus.count for power in range(1, 7))
    return next((n for n in counts if most(stage, shape, replace(gpus, count=n)) <= gpus.memory), None)


def most(stage: Stage, shape: Shape, gpus: Gpus) -> float:
    return max(peak.memory.total for peak in peaks_of(stage, shape, gpus))


def milder(stage: Stage) -> Iterator[tuple[str, dict[str, object]]]:
    if not stage.gradient_checkpointing:
        yield "gradient_checkpointing=true", {"gradient_checkpointing": True}
    longest = longest_sequence(stage)
    if stage.tokens_per_microbatch > longest:
        yield f"tokens_per_microbatch={longest}", {"tokens_per_microbatch": longest}
    if isinstance(stage, GrpoStage):
        for rows in (64, 16):
            if stage.rows > rows:
                yield f"rows={rows}", {"rows": rows}
    if stage.kl if isinstance(stage, GrpoStage) else 0:
        yield "kl=0", {"kl": 0.0}
    if stage.lora is None:
        yield "lora={rank: 64}", {"lora": Lora(rank=64)}
    if isinstance(stage, SftStage):
        # The last resort: longer chains are then left out.
        for length in (8192, 4096):
            if stage.max_length > length:
                shorter = {"max_length": length, "tokens_per_microbatch": length}
                yield ", ".join(f"{key}={length}" for key in shorter), dict(shorter)


def estimate_evaluation(evaluation: Evaluation, shape: Shape, gpus: Gpus) -> StageEstimate:
    """Each GPU holds the whole model with its vision tower, and evaluates its share of the problems."""
    width = FLOAT32 if evaluation.dtype == "float32" else BFLOAT16
    tokens = longest_answer(evaluation)
    held = width * (shape.parameters + shape.vision)
    used = memory.generating(shape, held, evaluation.rows, tokens, width, gpus.memory)
    advice = []
    if used.total > gpus.memory:
        free = gpus.memory - (used.total - used.kv_cache - used.logits)
        rows = int(free / ((used.kv_cache + used.logits) / evaluation.rows))
        advice.append(
            f"evaluation: rows={rows} fits" if rows > 0 else "evaluation: use GPUs with more memory"
        )
    return StageEstimate("evaluation", gpus.count, (MemoryPeak("answers", used),), None, None, tuple(advice))
