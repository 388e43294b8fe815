"""New weights for a model inside vLLM, without a file or a restart.

For a server in another process, see weight_transfer.py.
"""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn


def load_weights(engine: Any, weights: Iterable[tuple[str, Tensor]]) -> None:
    """Replace the weights of an engine in this process and empty its caches."""
    engine.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
    engine.apply_model(repack_tied_head)
    engine.reset_mm_cache()
    engine.reset_encoder_cache()
    assert engine.reset_prefix_cache(), "weights were replaced while requests were running"


def repack_tied_head(model: nn.Module) -> None:
    """On a CPU vLLM's output layer keeps a packed copy of its weights; reloading tied weights misses it."""
    for module in model.modules():
        if type(module).__name__ == "ParallelLMHead" and hasattr(module, "cpu_linear"):
            module.quant_method.process_weights_after_loading(module)  # type: ignore[operator, union-attr]
