"""Memory of each part of training, in bytes on one GPU: all formulas, with their reasons.

They follow from how we train: trainable weights, their gradients and both moments of AdamW are float32;
matrices are multiplied in `compute` precision; sequences are packed into rows of a token budget; attention
stores no scores; the loss never holds all logits. `benchmarks/memory_estimate.py` checks the formulas against
measured peaks.
"""

from dataclasses import dataclass, fields

from xreasoner.estimate.model_shape import Shape

FLOAT32, BFLOAT16 = 4, 2
NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes per weight: half a byte, a byte for the scale of 64, and a number for the scale of 256 scales."""
CUDA_CONTEXT = 0.8e9
"""Driver, kernels and libraries of a process."""
FRAGMENTATION = 0.06
"""Fraction of GPU memory that the allocator loses to fragmentation."""
CHUNK_BYTES = {"cpu": 256 * 2**20, "cuda": 512 * 2**20}
LEAST_ROWS = 256
"""Both as in `train.loss`: how many targets the loss takes at once."""
PREFILL_TOKENS = 16384
"""As in `rollout.torch_engine.prefill`: the most tokens of prompts that are computed at once."""
PATCHES, TOWER_HIDDEN, TOWER_MLP = 4, 1280, 3420
"""Of Qwen2.5-VL's vision tower: patches per visual token, and the widths of its layers."""


@dataclass(frozen=True)
class Memory:
    weights: float = 0.0
    gradients: float = 0.0
    optimizer: float = 0.0
    activations: float = 0.0
    logits: float = 0.0
    kv_cache: float = 0.0
    system: float = 0.0

    @property
    def total(self) -> float:
        return sum(self.parts().values())

    def parts(self) -> dict[str, float]:
        return {part.name: getattr(self, part.name) for part in fields(self)}


@dataclass(frozen=True)
class TrainingSetup:
    """What is trained of a model, and how."""

    shape: Shape
    compute: int
    """Bytes per number in matrix multiplications."""
    gpus: int = 1
    """Weights, gradients and moments are sharded over them."""
    adapters: int = 0
    """Parameters of LoRA; 0: full fine-tuning."""
    in_4_bits: bool = False
    """The matrices of the frozen layers."""
    frozen_embeddings: bool = False
    on_cpu: bool = False
    """On a CPU attention always computes in float32 and copies its output once."""

    @property
    def trainable(self) -> int:
        if self.adapters:
            return self.adapters
        return self.shape.parameters - (self.shape.ends if self.frozen_embeddings else 0)


def weights(t: TrainingSetup) -> float:
    """Trainable weights are float32 and sharded; gathered or cast copies come on top."""
    if t.in_4_bits:
        # Of a layer only its adapters are gathered.
        gathered = t.compute * (t.shape.ends + 2 * t.adapters / t.shape.layers) if t.gpus > 1 else 0.0
        return packed(t) + (unpacked(t) + FLOAT32 * t.adapters) / t.gpus + gathered
    if t.adapters:
        held = (t.compute * t.shape.parameters + FLOAT32 * t.adapters) / t.gpus
    else:
        held = FLOAT32 * t.shape.parameters / t.gpus
    if t.gpus > 1:
        # Two layers (the current and the prefetched one) and both embeddings are gathered.
        return held + t.compute * (2 * t.shape.layer + t.shape.ends)
    if t.compute < FLOAT32 and not t.adapters:
        # Autocast keeps its copy of every matrix until the last row of the step.
        return held + t.compute * (t.shape.layers * t.shape.layer_matrices + t.shape.embedding)
    return held


def packed(t: TrainingSetup) -> float:
    """A base in 4 bits, whole on each GPU; one matrix at a time is unpacked."""
    return NF4 * t.shape.layers * t.shape.layer_matrices + t.compute * t.shape.hidden * t.shape.mlp


def unpacked(t: TrainingSetup) -> float:
    """What of such a base stays as it is: embeddings and norms."""
    return t.compute * (t.shape.parameters - t.shape.layers * t.shape.layer_matrices)


def gradients(t: TrainingSetup) -> float:
    """Like the trainable weights; when sharded, one layer and the embeddings are whole before reduction."""
    held = FLOAT32 * t.trainable / t.gpus
    if t.gpus > 1 and not t.adapters:
        return held + t.compute * (t.shape.layer + (0 if t.frozen_embeddings else t.shape.ends))
    return held


def optimizer(t: TrainingSetup) -> float:
    """AdamW: two float32 moments of each trainable weight."""
    return 2 * FLOAT32 * t.trainable / t.gpus


def kept_by_layer(t: TrainingSetup, checkpointing: bool = False) -> float:
    """Bytes per token that one layer keeps for its backward pass.

    Norms: the input and the normalised input in float32; the outputs in `compute` precision, once per matrix
    under autocast, else once. Attention: queries, keys, values and the output. MLP: gate and up; with
    checkpointing, which recomputes whole layers, also silu of the gate and the product.
    """
    s, c = t.shape, t.compute
    cast = t.gpus == 1 and c < FLOAT32
    norms = 2 * 2 * s.hidden * FLOAT32 + (5 if cast else 2) * s.hidden * c
    attention = (3 * s.queries + 2 * s.kv) * FLOAT32 if t.on_cpu else 2 * (s.queries + s.kv) * c
    return norms + attention + (4 if checkpointing else 2) * s.mlp * c + kept_by_adapters(t)


def kept_by_adapters(t: TrainingSetup) -> float:
    """LoRA computes in float32 beside each matrix and keeps a float32 copy of lower-precision inputs."""
    if not t.adapters:
        return 0.0
    s = t.shape
    return (2 * s.hidden + s.queries + s.mlp) * FLOAT32 if t.compute < FLOAT32 else 0.0


def activations(t: TrainingSetup, tokens: int, checkpointing: bool) -> float:
    """Of one row with this many tokens. The backward pass of a layer starts after the loss has freed its
    chunks, so only what it needs beyond them raises the peak."""
    s = t.shape
    between = s.hidden * (FLOAT32 if t.gpus == 1 else t.compute)
    last_norm = 2 * s.hidden * FLOAT32 + s.hidden * t.compute
    passing: float = 3 * s.mlp * t.compute + 2 * s.hidden * FLOAT32
    kept = s.layers * (between if checkpointing else kept_by_layer(t))
    if checkpointing:
        passing += kept_by_layer(t, checkpointing)
    return tokens * (kept + last_norm) + max(0.0, tokens * passing - logits(t, tokens))


def logits(t: TrainingSetup, targets: int) -> float:
    """A chunk's logits, which become its gradient in place, and that in `compute` precision where it differs.

    The gradients of the hidden states and of the head exist until the backward pass takes them."""
    s = t.shape
    most = CHUNK_BYTES["cpu" if t.on_cpu else "cuda"] // (FLOAT32 * s.vocabulary)
    chunk = min(targets, max(LEAST_ROWS, most)) * s.vocabulary
    head = 0 if t.adapters or t.frozen_embeddings else s.embedding
    rounded = t.compute * chunk if t.compute < FLOAT32 else 0
    return FLOAT32 * (chunk + 2 * targets * s.hidden + head) + rounded


def kv_cache(shape: Shape, rows: int, tokens: int, width: int) -> float:
    """Keys and values of every layer, for this many rows and tokens."""
    return 2 * shape.layers * shape.kv * rows * tokens * width


def system(gpu_memory: float) -> float:
    return CUDA_CONTEXT + FRAGMENTATION * gpu_memory


def training(t: TrainingSetup, tokens: int, checkpointing: bool, gpu_memory: float = 0.0) -> Memory:
    """The peak of a training step whose longest row has this many tokens."""
    return Memory(
        weights=weights(t),
        gradients=gradients(t),
        optimizer=optimizer(t),
        activations=activations(t, tokens, checkpointing),
        logits=logits(t, tokens),
        system=system(gpu_memory) if gpu_memory else 0.0,
    )


def prefill(shape: Shape, tokens: int, width: int) -> float:
    """Prompts of this many tokens in one layer, of which nothing is kept: the input and its sum with the
    output, the normalised input in float32 and rounded, and of the MLP gate, up and product."""
    return tokens * (shape.hidden * (3 * width + FLOAT32) + 3 * shape.mlp * width)


def vision_tower(tokens: int, width: int) -> float:
    """Images of this many visual tokens in one layer of the tower: as above, and queries, keys and values."""
    layer = TOWER_HIDDEN * (6 * width + FLOAT32) + 3 * TOWER_MLP * width
    return PATCHES * tokens * layer


@dataclass(frozen=True)
class Prompts:
    """The prompts that are generated from at once."""

    count: int
    text: int
    """Tokens of each, without images."""
    image: int = 0
    """Visual tokens of each."""

    @property
    def tokens(self) -> int:
        return self.text + self.image


def reading(shape: Shape, prompts: Prompts, width: int) -> float:
    """The larger of two moments: the tower sees the images, or the language model reads the prompts."""
    most = min(prompts.count, max(1, PREFILL_TOKENS // prompts.tokens))
    images = vision_tower(most * prompts.image, width) if prompts.image else 0.0
    return max(images, prefill(shape, most * prompts.tokens, width))


def generating(
    shape: Shape, held: float, rows: int, prompts: Prompts, answer: int, width: int, gpu_memory: float
) -> Memory:
    """The resident weights, the full cache of `rows` answers, the logits of one step, and the largest batch
    of prompts."""
    return Memory(
        weights=held,
        activations=reading(shape, prompts, width),
        kv_cache=kv_cache(shape, rows, prompts.tokens + answer, width),
        logits=2 * FLOAT32 * rows * shape.vocabulary,
        system=system(gpu_memory),
    )
