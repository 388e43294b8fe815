"""Host memory of one rank's process while it reads and writes, in bytes: all formulas, with their reasons.

On a GPU this comes on top of the process itself. On a CPU the model and its moments are host memory too
(`weights_on_cpu`, `moments_on_cpu`). `benchmarks/checkpoints.py` compares the formulas with measured peaks.
"""

from dataclasses import dataclass

from xreasoner.estimate.memory import FLOAT32, TrainingSetup
from xreasoner.storage.files import BUFFER

PROCESS = 1.5e9
"""Python, torch with CUDA, transformers, the tokenizer and the address space that NCCL touches."""


@dataclass(frozen=True)
class HostMemory:
    """The peaks of one rank."""

    load: float
    save: float
    resume: float
    write_checkpoint: float
    ahead: float = 0.0
    """Of the first rank."""

    @property
    def most(self) -> float:
        """With the process itself. A state may still be written while a checkpoint is."""
        return PROCESS + max(self.load, self.resume, self.save + self.write_checkpoint + self.ahead)


def host_memory(t: TrainingSetup, saved: int, in_background: bool, max_lag: int = 0) -> HostMemory:
    return HostMemory(
        load(), save(t, in_background), resume(t), write_checkpoint(t, saved), ahead(t, max_lag)
    )


def read_whole(weights: float) -> float:
    """transformers reads a model that is evaluated into host memory before it goes to the GPU. With the
    process itself."""
    return PROCESS + weights


def ahead(t: TrainingSetup, max_lag: int) -> float:
    """The weights that the answers of the next steps are sampled with: for each step under way a copy."""
    return (max_lag + 1) * t.compute * t.shape.parameters if max_lag else 0.0


def weights_on_cpu(t: TrainingSetup) -> float:
    width = t.compute if t.adapters else FLOAT32
    return (width * t.shape.parameters + FLOAT32 * t.adapters) / t.gpus


def moments_on_cpu(t: TrainingSetup) -> float:
    return 2 * FLOAT32 * t.trainable / t.gpus


def copy_on_cpu(t: TrainingSetup) -> float:
    """To sample from, whole on each rank, and a weight that is gathered for it."""
    return t.compute * (t.shape.parameters + 2 * largest(t))


def load() -> float:
    """Shards are read block by block into the memory they stay in."""
    return BUFFER


def save(t: TrainingSetup, in_background: bool) -> float:
    """In the background, a copy of the rank's part of the state: trained weights and both moments. Else one
    tensor at a time."""
    return 3 * FLOAT32 * t.trainable / t.gpus if in_background else FLOAT32 * largest(t) / t.gpus


def resume(t: TrainingSetup) -> float:
    """Each stored piece is read whole, then a rank keeps its rows of it. As many ranks saved it as resume."""
    return FLOAT32 * largest(t) / t.gpus


def write_checkpoint(t: TrainingSetup, saved: int) -> float:
    """A weight is gathered whole. On a GPU it is gathered there, and the host has a copy of it to write. On a
    CPU the pieces are there until they are one."""
    return saved * largest(t) * (2 if t.on_cpu and t.gpus > 1 else 1)


def largest(t: TrainingSetup) -> float:
    """The numbers of the largest trained tensor."""
    return t.shape.embedding
