"""Memory of each part of training, in bytes on one GPU. Every formula stands here, with its reason.

How training works decides the formulas: weights that learn, their gradients and both moments of AdamW are
float32; matrices are multiplied in `compute` precision; sequences are packed into rows of a token budget;
attention keeps no scores; the loss never holds all logits. `benchmarks/memory_estimate.py` checks all this
against measured peaks.
"""

from dataclasses import dataclass, fields

from xreasoner.estimate.model_shape import Shape

FLOAT32, BFLOAT16 = 4, 2
CUDA_CONTEXT = 0.8e9
"""Driver, kernels and libraries of a process."""
FRAGMENTATION = 0.06
"""Share of a GPU's memory that the allocator cannot hand out in the sizes asked for."""
LOGIT_COPIES = 3
"""A chunk of logits, its exponentials and its gradient."""


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
    """The part of a model that learns, and how."""

    shape: Shape
    compute: int
    """Bytes of a number in matrix multiplications."""
    gpus: int = 1
    """Among which weights, gradients and moments are divided."""
    adapters: int = 0
    """Parameters of LoRA; 0: all weights learn."""
    frozen_embeddings: bool = False
    on_cpu: bool = False
    """There attention is computed in float32 whatever the precision, and its output copied once."""

    @property
    def learning(self) -> int:
        if self.adapters:
            return self.adapters
        return self.shape.parameters - (self.shape.ends if self.frozen_embeddings else 0)


def weights(t: TrainingSetup) -> float:
    """What learns is float32, and divided; what is gathered or cast for computing comes on top."""
    if t.adapters:
        return t.compute * t.shape.parameters + FLOAT32 * t.adapters
    held = FLOAT32 * t.shape.parameters / t.gpus
    if t.gpus > 1:
        # Two layers (one computed, the next on its way) and both embeddings are gathered in `compute`.
        return held + t.compute * (2 * t.shape.layer + t.shape.ends)
    if t.compute < FLOAT32:
        # Autocast keeps its cast of every matrix until the step's last row is done.
        return held + t.compute * (t.shape.layers * t.shape.layer_matrices + t.shape.embedding)
    return held


def gradients(t: TrainingSetup) -> float:
    """As long as what learns; divided, one layer and the embeddings are whole before they are summed."""
    held = FLOAT32 * t.learning / t.gpus
    if t.gpus > 1 and not t.adapters:
        return held + t.compute * (t.shape.layer + (0 if t.frozen_embeddings else t.shape.ends))
    return held


def optimizer(t: TrainingSetup) -> float:
    """AdamW: two float32 moments of everything that learns."""
    return 2 * FLOAT32 * t.learning / t.gpus


def kept_by_layer(t: TrainingSetup) -> float:
    """Bytes that one layer keeps of one token for its backward pass.

    Norms: the input, and the input divided by its length, in float32; their outputs in `compute`, once for
    each matrix that autocast casts for, once for all where nothing is cast. Attention: queries, keys, values
    and the output. MLP: gate, its silu, up, and their product.
    """
    s, c = t.shape, t.compute
    cast = t.gpus == 1 and c < FLOAT32
    norms = 2 * 2 * s.hidden * FLOAT32 + (5 if cast else 2) * s.hidden * c
    attention = (3 * s.queries + 2 * s.kv) * FLOAT32 if t.on_cpu else 2 * (s.queries + s.kv) * c
    return norms + attention + 4 * s.mlp * c + kept_by_adapters(t)


def kept_by_adapters(t: TrainingSetup) -> float:
    """LoRA computes in float32 beside each matrix: its input again, in that precision, where it differs."""
    if not t.adapters:
        return 0.0
    s = t.shape
    return (2 * s.hidden + s.queries + s.mlp) * FLOAT32 if t.compute < FLOAT32 else 0.0


def activations(t: TrainingSetup, tokens: int, checkpointing: bool) -> float:
    """Of one row of so many tokens. What the backward pass of one layer needs beside what is kept comes after
    the loss has given its chunks back: only what it needs beyond them raises the peak."""
    s = t.shape
    between = s.hidden * (FLOAT32 if t.gpus == 1 else t.compute)
    last_norm = 2 * s.hidden * FLOAT32 + s.hidden * t.compute
    passing: float = 3 * s.mlp * t.compute + 2 * s.hidden * FLOAT32
    kept = s.layers * (between if checkpointing else kept_by_layer(t))
    if checkpointing:
        passing += kept_by_layer(t)
    return tokens * (kept + last_norm) + max(0.0, tokens * passing - logits(t, tokens))


def logits(t: TrainingSetup, targets: int) -> float:
    """The loss cuts the targets so that a chunk of logits is about as large as all their hidden states.

    On one GPU it also holds the gradient of the head before that is added to the sum of the step."""
    s = t.shape
    whole = targets * s.vocabulary
    chunk = min(whole, max(2 * targets * s.hidden, s.vocabulary))
    head = 0 if t.adapters or t.frozen_embeddings or t.gpus > 1 else s.embedding
    return FLOAT32 * (LOGIT_COPIES * chunk + 2 * targets * s.hidden + head)


def kv_cache(shape: Shape, rows: int, tokens: int, width: int) -> float:
    """Keys and values of every layer, for so many rows of so many tokens."""
    return 2 * shape.layers * shape.kv * rows * tokens * width


def system(gpu_memory: float) -> float:
    return CUDA_CONTEXT + FRAGMENTATION * gpu_memory


def training(t: TrainingSetup, tokens: int, checkpointing: bool, gpu_memory: float = 0.0) -> Memory:
    """The peak of a training step whose longest row has so many tokens."""
    return Memory(
        weights=weights(t),
        gradients=gradients(t),
        optimizer=optimizer(t),
        activations=activations(t, tokens, checkpointing),
        logits=logits(t, tokens),
        system=system(gpu_memory) if gpu_memory else 0.0,
    )


def generating(shape: Shape, held: float, rows: int, tokens: int, width: int, gpu_memory: float) -> Memory:
    """Weights that are there anyway, the cache at its fullest, and the logits of one step."""
    return Memory(
        weights=held,
        kv_cache=kv_cache(shape, rows, tokens, width),
        logits=2 * FLOAT32 * rows * shape.vocabulary,
        system=system(gpu_memory),
    )
