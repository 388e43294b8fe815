"""How vLLM uses its share of a GPU: the weights, and a cache for a number of answers at once."""

from dataclasses import dataclass

from xreasoner.estimate.gpus import Gpus
from xreasoner.estimate.memory import CUDA_CONTEXT, kv_cache, prefill
from xreasoner.estimate.model_shape import Shape

SERVER_SHARE = 0.9
"""Of a GPU's memory: the default of `vllm serve`, and what we take to evaluate."""
ANSWERS_OF_A_SERVER = 16
"""Of full length at once: with fewer it would mostly read its weights."""
BATCH_TOKENS = 8192
"""vLLM's own limit of tokens in one step, by default; it keeps memory for their activations."""


@dataclass(frozen=True)
class VllmShare:
    given: float
    weights: float
    cache: float
    """What is left of the share for keys and values."""
    asked: int
    """Answers to generate at once; those beyond what the cache holds wait."""
    longest: int
    """Tokens of a prompt with the longest answer."""
    each: float
    """The cache of one such answer."""

    @property
    def holds(self) -> int:
        """Answers of full length. Shorter ones are more."""
        return max(0, int(self.cache / self.each))


def gpus_of_a_server(shape: Shape, gpus: Gpus, longest: int, width: int, vision: int = 0) -> int | None:
    """The fewest of these GPUs over which a server can spread its weights (`--tensor-parallel-size`, which
    divides the heads) and still hold some answers of full length; None if those of a machine are too few."""
    for count in (1, 2, 4, 8):
        share = vllm_share(shape, gpus, SERVER_SHARE, 1, longest, width, vision)
        saved = share.weights * (1 - 1 / count)
        if shape.heads % count == 0 and share.cache + saved >= ANSWERS_OF_A_SERVER * share.each / count:
            return count
    return None


def vllm_share(
    shape: Shape, gpus: Gpus, share: float, asked: int, longest: int, width: int, vision: int = 0
) -> VllmShare:
    """`vision`: parameters of the tower, which vLLM loads too."""
    weights = width * (shape.parameters + vision)
    given = share * gpus.memory
    cache = given - weights - prefill(shape, BATCH_TOKENS, width) - CUDA_CONTEXT
    each = kv_cache(shape, 1, longest, width)
    return VllmShare(given, weights, cache, asked, longest, each)
