"""Each stage of a recipe on given GPUs: its memory, its compute and what to change where it does not fit."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from xreasoner.estimate import memory
from xreasoner.estimate.data_size import DataSize, typical_data_size
from xreasoner.estimate.disk_time import ON_MACHINE, DiskTime, disk_time
from xreasoner.estimate.gpus import Gpus
from xreasoner.estimate.host_memory import host_memory, read_whole
from xreasoner.estimate.memory import BFLOAT16, FLOAT32, Memory, Prompts, TrainingSetup
from xreasoner.estimate.model_shape import Shape
from xreasoner.estimate.time import (
    ComputeEstimate,
    compute_width,
    estimate_compute,
    rows_at_once,
)
from xreasoner.estimate.vllm_share import SERVER_SHARE, VllmShare, gpus_of_a_server, vllm_share
from xreasoner.recipe.schema import Evaluation, GrpoStage, Lora, Recipe, SftStage, Stage
from xreasoner.recipe.settings import VLLM_FROM, EvaluationEngine

PROMPT = 512
"""Assumed tokens of a prompt, where the recipe limits only the answer."""
IMAGE_PIXELS, PIXELS_OF_A_TOKEN = 2**20, 28 * 28
"""Assumed: one image of a megapixel in each prompt of an evaluation, unless `max_pixels` is less."""


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
    host: float
    """Bytes of each GPU's process at its peak."""
    disk: DiskTime | None = None
    """None where nothing is trained."""
    vllm: VllmShare | None = None
    """Where vLLM is used, or would be if it is installed."""

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
    if recipe.evaluation.benchmarks and recipe.evaluation.server is None:
        found.append(estimate_evaluation(recipe.evaluation, shape, gpus))
    return found


def estimate_stage(name: str, stage: Stage, shape: Shape, gpus: Gpus, data_size: DataSize) -> StageEstimate:
    peaks = peaks_of(stage, shape, gpus)
    fits = all(peak.memory.total <= gpus.memory for peak in peaks)
    advice = list[str]()
    if isinstance(stage, GrpoStage) and (fits or stage.rollout == "vllm"):
        advice += vllm_remedies(name, stage, shape, gpus)
    if not fits and not advice:
        advice += remedies(name, stage, shape, gpus)
    compute = None
    if data_size.problems == 0 and stage.steps is None:
        advice.append(f"{name}: the amount of data is unknown; run `xreasoner data stats` first")
    else:
        compute = estimate_compute(stage, shape, data_size, gpus)
    # A checkpoint is saved in the precision of the start, which real models have in bfloat16.
    trained = training_setup(stage, shape, gpus.count)
    disk = disk_time(trained, BFLOAT16, stage.save_in_background)
    max_lag = stage.max_lag if isinstance(stage, GrpoStage) else 0
    host = host_memory(trained, BFLOAT16, stage.save_in_background, max_lag).most
    vllm = share_of_vllm(stage, shape, gpus) if isinstance(stage, GrpoStage) else None
    return StageEstimate(name, gpus.count, peaks, compute, data_size, tuple(advice), host, disk, vllm)


def copies_to_sample_from(stage: Stage, gpus: Gpus) -> bool:
    """The torch engine has a copy on each GPU where the trained weights are sharded, or in float32."""
    if not isinstance(stage, GrpoStage) or stage.rollout in ("vllm", "server"):
        return False
    return gpus.count > 1 or (stage.lora is None and stage.dtype != "float32")


def may_use_vllm(engine: EvaluationEngine, shape: Shape) -> bool:
    return engine == "vllm" or (engine == "auto" and shape.parameters >= VLLM_FROM["cuda"])


def share_of_vllm(stage: GrpoStage, shape: Shape, gpus: Gpus) -> VllmShare | None:
    if not may_use_vllm(stage.rollout, shape):
        return None
    rows = rows_at_once(stage, gpus.count)
    return vllm_share(shape, gpus, stage.rollout_memory, rows, longest_answer(stage), compute_width(stage))


def training_setup(stage: Stage, shape: Shape, gpus: int) -> TrainingSetup:
    return TrainingSetup(
        shape=shape,
        compute=compute_width(stage),
        gpus=min(gpus, ON_MACHINE) if stage.shard_over == "node" else gpus,
        adapters=shape.adapters(stage.lora.rank, stage.lora.targets) if stage.lora else 0,
        in_4_bits=stage.lora is not None and stage.lora.base == "4bit",
        frozen_embeddings="embeddings" in stage.freeze,
    )


def longest_answer(stage: GrpoStage) -> int:
    """Tokens of prompt and answer."""
    longest = PROMPT + stage.think_budget + stage.answer_budget
    return min(longest, stage.max_length) if stage.max_length is not None else longest


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
    width = compute_width(stage)
    copy = width * shape.parameters if copies_to_sample_from(stage, gpus) else 0.0
    beside = reference + copy
    held = FLOAT32 * shape.parameters / trained.gpus if not stage.lora else memory.weights(trained)
    updating = MemoryPeak("update", replace(update, weights=update.weights + beside))
    if stage.rollout == "server":
        return (updating,)
    if stage.rollout == "vllm":
        # Its weights and cache are freed during the update.
        share = vllm_share(shape, gpus, stage.rollout_memory, 1, longest_answer(stage), width)
        answers = Memory(
            weights=held + beside + share.weights,
            kv_cache=max(0.0, share.given - share.weights),
            system=memory.system(gpus.memory),
        )
    else:
        rows = rows_at_once(stage, gpus.count)
        answer = min(stage.think_budget + stage.answer_budget, longest_answer(stage) - 1)
        prompts = Prompts(math.ceil(rows / stage.samples_per_prompt), longest_answer(stage) - answer)
        answers = memory.generating(shape, held + beside, rows, prompts, answer, width, gpus.memory)
    return updating, MemoryPeak("answers", replace(answers, optimizer=update.optimizer))


def vllm_remedies(name: str, stage: GrpoStage, shape: Shape, gpus: Gpus) -> Iterator[str]:
    """Advice where vLLM would sample but does not fit."""
    if not may_use_vllm(stage.rollout, shape):
        return
    lowest, highest = vllm_bounds(stage, shape, gpus)
    if lowest <= stage.rollout_memory <= highest:
        return
    by_choice = stage.rollout == "auto"
    who = f"{name}: vLLM{', which rollout=auto uses if installed,' if by_choice else ''}"
    if highest >= lowest:
        yield f"{who} fits with rollout_memory={highest:.2f}"
    else:
        yield f"{who} does not fit beside training; use rollout=torch"


def vllm_bounds(stage: GrpoStage, shape: Shape, gpus: Gpus) -> tuple[float, float]:
    """Of `rollout_memory`: at least the weights and the cache of one answer, at most what training leaves."""
    trained = training_setup(stage, shape, gpus.count)
    tokens = longest_answer(stage)
    least = trained.compute * shape.parameters + memory.kv_cache(shape, 1, tokens, trained.compute)
    taken = memory.weights(trained) + memory.optimizer(trained) + memory.system(gpus.memory)
    return least / gpus.memory, math.floor(100 * (1 - taken / gpus.memory)) / 100


def remedies(name: str, stage: Stage, shape: Shape, gpus: Gpus) -> Iterator[str]:
    """Changes that save memory, the mildest first, each on top of the ones before."""
    changed, needed = stage, most(stage, shape, gpus)
    for said, change in milder(stage, shape, gpus):
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


def milder(stage: Stage, shape: Shape, gpus: Gpus) -> Iterator[tuple[str, dict[str, object]]]:
    if not stage.gradient_checkpointing:
        yield "gradient_checkpointing=true", {"gradient_checkpointing": True}
    longest = longest_sequence(stage)
    if stage.tokens_per_microbatch > longest:
        yield f"tokens_per_microbatch={longest}", {"tokens_per_microbatch": longest}
    if isinstance(stage, GrpoStage):
        for rows in (64, 16):
            if stage.rows > rows:
                yield f"rows={rows}", {"rows": rows}
        own = gpus_of_a_server(shape, gpus, longest, compute_width(stage))
        if stage.rollout != "server" and own:
            spread = f" (--tensor-parallel-size {own})" if own > 1 else ""
            yield f"rollout=server, on GPUs of its own{spread}", {"rollout": "server"}
        if stage.kl:
            yield "kl=0", {"kl": 0.0}
    lora = stage.lora or Lora(rank=64)
    if stage.lora is None:
        yield "lora={rank: 64}", {"lora": lora}
    if lora.base == "own":
        yield "lora.base=4bit", {"lora": lora.model_copy(update={"base": "4bit"})}
    if isinstance(stage, SftStage):
        # The last resort: longer chains are then left out.
        for length in (8192, 4096):
            if stage.max_length > length:
                shorter = {"max_length": length, "tokens_per_microbatch": length}
                yield ", ".join(f"{key}={length}" for key in shorter), dict(shorter)


def estimate_evaluation(evaluation: Evaluation, shape: Shape, gpus: Gpus) -> StageEstimate:
    """Each GPU holds the whole model with its vision tower, and evaluates its share of the problems."""
    width = FLOAT32 if evaluation.dtype == "float32" else BFLOAT16
    answer = evaluation.think_budget + evaluation.answer_budget
    prompts = Prompts(evaluation.rows, PROMPT, image_tokens(evaluation) if shape.vision else 0)
    held = width * (shape.parameters + shape.vision)
    used = memory.generating(shape, held, evaluation.rows, prompts, answer, width, gpus.memory)
    vllm = None
    if may_use_vllm(evaluation.engine, shape):
        longest = prompts.tokens + answer
        vllm = vllm_share(shape, gpus, SERVER_SHARE, evaluation.rows, longest, width, shape.vision)
    advice = list[str]()
    if evaluation.engine == "generate" or (evaluation.engine == "auto" and shape.by_generate):
        advice.append(
            "evaluation: without vLLM or a server, transformers' own generate answers one question at a "
            "time, slowly"
        )
    if used.total > gpus.memory:
        free = gpus.memory - (used.total - used.kv_cache - used.logits)
        rows = int(free / ((used.kv_cache + used.logits) / evaluation.rows))
        longest = prompts.tokens + answer
        own = gpus_of_a_server(shape, gpus, longest, width, shape.vision)
        if rows > 0:
            advice.append(f"evaluation: rows={rows} fits")
        elif own:
            served = f"a server with --tensor-parallel-size {own} for each checkpoint"
            advice.append(f"evaluation: after=[], then {served} (docs/vllm.md) fits")
        else:
            advice.append("evaluation: use GPUs with more memory")
    peaks = (MemoryPeak("answers", used),)
    host = read_whole(held)
    return StageEstimate("evaluation", gpus.count, peaks, None, None, tuple(advice), host, vllm=vllm)


def image_tokens(evaluation: Evaluation) -> int:
    return min(IMAGE_PIXELS, evaluation.max_pixels or IMAGE_PIXELS) // PIXELS_OF_A_TOKEN
