"""What vLLM makes of its share of a GPU: weights, and a cache that holds so many answers at once."""

from dataclasses import dataclass

from xreasoner.estimate.gpus import Gpus
from xreasoner.estimate.memory import CUDA_CONTEXT, kv_cache, prefill
from xreasoner.estimate.model_shape import Shape

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


def vllm_share(
    shape: Shape, gpus: Gpus, share: float, asked: int, longest: int, width: int, vision: int = 0
) -> VllmShare:
    """`vision`: parameters of the tower, which vLLM loads too."""
    weights = width * (shape.parameters + vision)
    given = share * gpus.memory
    cache = given - weights - prefill(shape, BATCH_TOKENS, width) - CUDA_CONTEXT
    each = kv_cache(shape, 1, longest, width)
    return VllmShare(given, weights, cache, asked, longest, each)
