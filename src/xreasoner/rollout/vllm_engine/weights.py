"""New weights for a model that vLLM holds, without a file and without a restart."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn


def take_weights(engine: Any, weights: Iterable[tuple[str, Tensor]]) -> None:
    """Replace the weights of an engine in this process; what was computed with the old ones is forgotten."""
    engine.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
    engine.apply_model(renew_packed_head)
    engine.reset_mm_cache()
    engine.reset_encoder_cache()
    assert engine.reset_prefix_cache(), "weights were replaced while requests were under way"


def renew_packed_head(model: nn.Module) -> None:
    """On a CPU the output layer keeps a packed copy of its weights: if tied, a reload passes it by."""
    for module in model.modules():
        if type(module).__name__ == "ParallelLMHead" and hasattr(module, "cpu_linear"):
            module.quant_method.process_weights_after_loading(module)  # type: ignore[operator, union-attr]
