"""Tokens, FLOPs and hours of a stage, at the efficiency of real runs."""

import math
from dataclasses import dataclass

from xreasoner.estimate.data_size import DataSize
from xreasoner.estimate.gpus import Gpus
from xreasoner.estimate.memory import BFLOAT16, FLOAT32
from xreasoner.estimate.model_shape import Shape
from xreasoner.recipe.schema import GrpoStage, SftStage, Stage

TRAINING_EFFICIENCY = 0.40
"""Fraction of peak FLOPs that packed training reaches; good trainers report 0.35 to 0.5."""
GENERATING_EFFICIENCY = 0.5
"""Fraction of memory bandwidth that a decoding step reaches."""
LONG_TAIL = 0.6
"""Mean answer as a fraction of the thinking budget; the engine refills slots, so the mean counts."""


@dataclass(frozen=True)
class ComputeEstimate:
    steps: int
    trained_tokens: float
    generated_tokens: float
    flops: float
    hours: float


def attention_flops(shape: Shape, tokens: float, length: float) -> float:
    """Attention scores and their product with the values; on average a token attends to half its sequence."""
    return 4 * shape.layers * shape.queries * tokens * length / 2


def forward_flops(shape: Shape, tokens: float, length: float) -> float:
    """Two operations per token and matrix entry; the input embedding is a lookup."""
    matrices = shape.layers * shape.layer_matrices + shape.embedding
    return 2 * matrices * tokens + attention_flops(shape, tokens, length)


def training_flops(stage: Stage, shape: Shape, tokens: float, length: float) -> float:
    """Backward costs two forwards (one with LoRA), gradient checkpointing one more."""
    times = 1 + (1 if stage.lora else 2) + (1 if stage.gradient_checkpointing else 0)
    return times * forward_flops(shape, tokens, length)


def estimate_compute(stage: Stage, shape: Shape, data_size: DataSize, gpus: Gpus) -> ComputeEstimate:
    if isinstance(stage, SftStage):
        return estimate_sft(stage, shape, data_size, gpus)
    return estimate_grpo(stage, shape, data_size, gpus)


def estimate_sft(stage: SftStage, shape: Shape, data_size: DataSize, gpus: Gpus) -> ComputeEstimate:
    if stage.steps is not None:
        steps, tokens = stage.steps, float(stage.steps * stage.tokens_per_step)
    else:
        tokens = (stage.epochs or 0) * data_size.problems * data_size.mean_tokens
        steps = math.ceil(tokens / stage.tokens_per_step)
    flops = training_flops(stage, shape, tokens, data_size.mean_tokens)
    return ComputeEstimate(steps, tokens, 0.0, flops, flops / speed(gpus) / 3600)


def estimate_grpo(stage: GrpoStage, shape: Shape, data_size: DataSize, gpus: Gpus) -> ComputeEstimate:
    steps = stage.steps or math.ceil((stage.epochs or 0) * data_size.problems / stage.prompts_per_step)
    answers = steps * stage.prompts_per_step * stage.samples_per_prompt
    length = LONG_TAIL * stage.think_budget + stage.answer_budget / 4
    generated = stage.oversample * answers * length
    trained = answers * length + steps * stage.prompts_per_step * data_size.mean_tokens
    flops = stage.updates_per_batch * training_flops(stage, shape, trained, length)
    flops += forward_passes(stage) * forward_flops(shape, trained, length)
    seconds = flops / speed(gpus) + generating_seconds(stage, shape, generated, length, gpus)
    return ComputeEstimate(
        steps, trained, generated, flops + forward_flops(shape, generated, length), seconds / 3600
    )


def forward_passes(stage: GrpoStage) -> float:
    """Without a backward pass: of the reference, and of the old policy where the first step is too late."""
    old = 1.0 if stage.importance == "sequence" else 1 - 1 / stage.minibatches
    return old + (1 if stage.kl > 0 else 0)


def generating_seconds(stage: GrpoStage, shape: Shape, generated: float, length: float, gpus: Gpus) -> float:
    """A decoding step reads all weights and the cache, and adds one token to each row."""
    width = compute_width(stage)
    rows = rows_at_once(stage, gpus.count)
    cache = 2 * shape.layers * shape.kv * width * rows * length / 2
    seconds_a_step = (shape.parameters * width + cache) / (GENERATING_EFFICIENCY * gpus.bandwidth)
    return generated / rows * seconds_a_step / gpus.count


def compute_width(stage: Stage) -> int:
    """Bytes per number; on a GPU `auto` is bfloat16."""
    return FLOAT32 if stage.dtype == "float32" else BFLOAT16


def rows_at_once(stage: GrpoStage, gpus: int) -> int:
    """Concurrent answers on one GPU; the prompts of a step are divided among the GPUs."""
    return min(stage.rows, math.ceil(stage.prompts_per_step / gpus) * stage.samples_per_prompt)


def speed(gpus: Gpus) -> float:
    return TRAINING_EFFICIENCY * gpus.peak * gpus.count
