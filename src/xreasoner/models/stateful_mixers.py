"""Layers that carry a state from token to token (linear attention, convolution, Mamba) in packed rows.

Not on every device do they support sequence boundaries, so each is called once per sequence. All other layers
still compute the whole row at once.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from xreasoner.models.packed_sequences import PackedSequences

STATEFUL = frozenset(
    {
        "Qwen3_5GatedDeltaNet",
        "Qwen3_5MoeGatedDeltaNet",
        "Qwen3NextGatedDeltaNet",
        "OlmoHybridGatedDeltaNet",
        "Lfm2ShortConv",
        "Lfm2MoeShortConv",
        "FalconH1Mixer",
        "BambaMixer",
        "GraniteMoeHybridMambaLayer",
        "NemotronHMamba2Mixer",
    }
)
"""Classes of transformers whose forward pass takes hidden states first and returns hidden states alone."""


@contextmanager
def per_sequence(model: nn.Module) -> Iterator[None]:
    """Inside, the model's stateful layers see one sequence at a time: those of its `sequences` argument."""
    mixers = [module for module in model.modules() if type(module).__name__ in STATEFUL]
    if not mixers:
        yield
        return
    row: list[PackedSequences] = []

    def remember(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        row[:] = [kwargs["sequences"]]

    hook = model.register_forward_pre_hook(remember, with_kwargs=True)
    for mixer in mixers:
        mixer.forward = _split(mixer.forward, row)
    try:
        yield
    finally:
        hook.remove()
        for mixer in mixers:
            del mixer.forward  # the class's own is found again


def _split(forward: Callable[..., Tensor], row: list[PackedSequences]) -> Callable[..., Tensor]:
    def split(hidden_states: Tensor, *args: Any, sequences: Any = None, **kwargs: Any) -> Tensor:
        (boundaries,) = row
        parts_1LE = hidden_states.split(boundaries.lengths, dim=1)
        outputs: list[Tensor] = []
        for i, parent in enumerate(boundaries.parents):
            if parent is None:
                outputs.append(forward(parts_1LE[i], *args, **kwargs))
            else:
                # The state at the end of the prompt is computed again for each of its replies.
                whole_1LE = torch.cat([parts_1LE[parent], parts_1LE[i]], dim=1)
                outputs.append(forward(whole_1LE, *args, **kwargs)[:, parts_1LE[parent].shape[1] :])
        return torch.cat(outputs, dim=1)

    return split
