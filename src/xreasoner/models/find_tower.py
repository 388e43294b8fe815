"""Where a vision-language checkpoint holds its text tower, found by names and shapes.

The text tower's configuration makes a causal language model of transformers. Its tensors, under their own
names and with their shapes, are looked for behind one prefix of the checkpoint.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion

from xreasoner.models.tensor_files import StoredTensor


@dataclass(frozen=True)
class TextModel:
    """What a checkpoint of a causal language model holds."""

    shapes: Mapping[str, tuple[int, ...]]
    body: str
    """What the names of all tensors but the head begin with."""
    embeddings: str
    head: str

    @property
    def parts(self) -> frozenset[str]:
        return frozenset(_part(name, self.body) for name in self.shapes if name != self.head)


@dataclass(frozen=True)
class Layout:
    """How a checkpoint names its text tower: `body` stands where the text model has its own."""

    body: str
    embeddings: str
    head: str


def text_model(config: PreTrainedConfig) -> TextModel:
    with torch.device("meta"):
        lm: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    saved = revert_weight_conversion(lm, dict(lm.state_dict()))
    shapes = {name: tuple(tensor.shape) for name, tensor in saved.items()}
    head, embeddings = lm.get_output_embeddings(), lm.get_input_embeddings()
    assert head is not None and embeddings is not None
    names = (f"{name_of(module, lm)}.weight" for module in (embeddings, head))
    return TextModel(shapes, f"{body_of(lm)}.", *names)


def body_of(lm: PreTrainedModel) -> str:
    """All of it but the head."""
    embeddings = lm.get_input_embeddings()
    assert embeddings is not None
    return name_of(embeddings, lm).rpartition(".")[0]


def name_of(module: nn.Module, model: nn.Module) -> str:
    return next(name for name, found in model.named_modules() if found is module)


def find_layout(text: TextModel, stored: Mapping[str, StoredTensor], vlm: Path) -> Layout:
    """Releases and later saves of one model name their tensors differently, so the names found decide."""
    ending = text.embeddings.removeprefix(text.body)
    shape = text.shapes[text.embeddings]
    prefixes = [name.removesuffix(ending) for name, t in stored.items() if name.endswith(ending)]
    bodies = [body for body in prefixes if stored[body + ending].shape == shape]
    if len(bodies) > 1:
        bodies = [body for body in bodies if not missing(text, body, stored)] or bodies[:1]
    if len(bodies) > 1:
        raise ValueError(
            f"{vlm} holds several text models ({', '.join(bodies)}): which one writes is not known"
        )
    if not bodies:
        raise ValueError(
            f"{vlm} is not a complete checkpoint: none of its tensors ends in {ending} with shape {shape}"
        )
    return Layout(bodies[0], bodies[0] + ending, _head(text, bodies[0], stored))


def _head(text: TextModel, body: str, stored: Mapping[str, StoredTensor]) -> str:
    """Beside the body or above it, nearest first."""
    above = body
    while above:
        above = above.removesuffix(".").rpartition(".")[0]
        above = f"{above}." if above else ""
        if above + text.head in stored:
            return above + text.head
    return text.head


def missing(text: TextModel, body: str, stored: Mapping[str, StoredTensor]) -> list[str]:
    """The text model's tensors, the head aside, that are not behind this prefix with their shapes."""
    names = {name: body + name.removeprefix(text.body) for name in text.shapes if name != text.head}
    return [n for n, there in names.items() if there not in stored or stored[there].shape != text.shapes[n]]


def text_names(text: TextModel, layout: Layout, stored: Mapping[str, StoredTensor]) -> dict[str, str]:
    """The text tower's tensors: their name in the vision-language model, and in the text model."""
    renamed = {
        name: text.body + name.removeprefix(layout.body)
        for name in stored
        if name.startswith(layout.body) and _part(name, layout.body) in text.parts
    }
    if layout.head in stored:
        renamed[layout.head] = text.head
    # Old versions of transformers saved these buffers, newer ones recompute them: left where they are.
    return {name: own for name, own in renamed.items() if not own.endswith("rotary_emb.inv_freq")}


def _part(name: str, body: str) -> str:
    return name.removeprefix(body).partition(".")[0]
