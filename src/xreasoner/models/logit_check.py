"""Whether the text model computes on text what the vision-language model computes, with the real weights.

A cut of both is enough: the first layers, two or as many as it takes to see every kind of layer, the final
norm, and the first rows of the embeddings and the head. Of a 7B that is 2 GB in float32.

Suffixes: B sequences, T tokens, V vocabulary.
"""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING
from transformers.utils.logging import disable_progress_bar

from xreasoner.models.families import find_family
from xreasoner.models.find_tower import body_of, text_model
from xreasoner.models.read_weights import compute_buffers, give_memory, rows_of
from xreasoner.models.tensor_files import FLOATS, StoredTensor, read_blocks

ROWS = 2048
"""Of the embeddings and the head."""
TOKENS = 48
WHOLE_NUMBERS = {"I64": torch.int64, "I32": torch.int32}
"""Some models store tables of them, such as those of hashes."""
TOLERANCE = 1e-4
"""Of the logits' spread. Both compute in float32."""


def check_same_logits(
    vlm: Path, config: PreTrainedConfig, text_config: PreTrainedConfig, tensors: Mapping[str, StoredTensor]
) -> None:
    """`tensors`: the text tower's, by their names in the text model."""
    text_cut, vlm_cut = deepcopy(text_config), deepcopy(config)
    if scale := find_family(config.model_type).scale_left_out:
        setattr(text_cut, scale, 1.0)
    layers = layers_to_compare(text_config, tensors)
    for part in (text_cut, vlm_cut.get_text_config()):
        cut(part, layers)
    lm = _text_model_with(text_cut, tensors)
    whole = _same_weights_in(vlm_cut, lm, vlm)
    ids_BT = _text_ids(config, text_cut.vocab_size)
    with torch.no_grad():
        ours_BTV, theirs_BTV = (m(input_ids=ids_BT, use_cache=False).logits for m in (lm, whole))
    off = float((ours_BTV - theirs_BTV).abs().max() / theirs_BTV.std())
    if not off < TOLERANCE:  # NaN is not below it either
        raise ValueError(
            f"{vlm}: on text, {type(lm).__name__} computes other logits than {type(whole).__name__} (off by "
            f"{off:.2g} of their spread), so its text tower cannot be trained as a model of its own"
        )


def layers_to_compare(config: PreTrainedConfig, tensors: Mapping[str, StoredTensor]) -> int:
    """The first layers, up to the first of the last kind. Layers that share keys need all others too."""
    layers: int = config.num_hidden_layers
    if getattr(config, "num_kv_shared_layers", 0):
        return layers
    lists = [value for value in vars(config).values() if is_per_layer(value, layers)]
    kinds = [(*(repr(one[i]) for one in lists), _shapes_of_layer(tensors, i)) for i in range(layers)]
    return min(layers, 1 + max(1, *(kinds.index(kind) for kind in set(kinds))))


def is_per_layer(value: object, layers: int) -> bool:
    return isinstance(value, list) and len(value) == layers


def _shapes_of_layer(tensors: Mapping[str, StoredTensor], layer: int) -> frozenset[tuple[str, Any]]:
    mark = f".layers.{layer}."
    return frozenset((name.partition(mark)[2], t.shape) for name, t in tensors.items() if mark in name)


def cut(config: PreTrainedConfig, layers: int) -> None:
    for key, value in list(vars(config).items()):
        if is_per_layer(value, config.num_hidden_layers):
            setattr(config, key, value[:layers])
    config.num_hidden_layers = layers
    config.vocab_size = min(config.vocab_size, ROWS)
    config.pad_token_id = 0  # it may be behind the cut


def _text_model_with(config: PreTrainedConfig, tensors: Mapping[str, StoredTensor]) -> PreTrainedModel:
    shapes = text_model(config).shapes
    weights = {name: _read(tensors[name], shape) for name, shape in shapes.items() if name in tensors}
    disable_progress_bar()
    model_class: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    lm: PreTrainedModel = model_class.from_pretrained(
        None, config=config, state_dict=weights, dtype=torch.float32
    )
    return lm


def _read(stored: StoredTensor, shape: tuple[int, ...]) -> Tensor:
    """Weights in float32; of the first tokens where there is a row per token."""
    part = rows_of(stored, 0, shape[0]) if shape else stored
    assert part.shape == shape, f"{stored.name} has shape {stored.shape}, its cut {shape}"
    dtype = (FLOATS | WHOLE_NUMBERS)[stored.dtype]
    blocks = [torch.frombuffer(block, dtype=dtype) for block in read_blocks(part, part.dtype)]
    values = torch.cat(blocks).view(shape)
    return values.float() if dtype.is_floating_point else values


def _same_weights_in(config: PreTrainedConfig, lm: PreTrainedModel, vlm: Path) -> PreTrainedModel:
    """The vision-language model with the text model's weights; its vision tower is never run."""
    with torch.device("meta"):
        whole: PreTrainedModel = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
    compute_buffers(whole, torch.device("cpu"))
    give_memory(whole, torch.device("cpu"))  # the vision tower's is never touched, so it uses none
    weights = lm.get_submodule(body_of(lm)).state_dict()
    tower, head = find_module(whole, weights), whole.get_output_embeddings()
    if tower is None or head is None:
        raise ValueError(
            f"{vlm}: no part of {type(whole).__name__} has the tensors of {type(lm).__name__}, so its text "
            "tower cannot be trained as a model of its own"
        )
    tower.load_state_dict(weights, assign=True)
    head.load_state_dict(lm.get_output_embeddings().state_dict(), assign=True)
    return whole.eval()


def find_module(model: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module | None:
    """The part of the model that has exactly these tensors."""
    wanted = {name: tensor.shape for name, tensor in weights.items()}
    for module in model.modules():
        if {name: tensor.shape for name, tensor in module.state_dict().items()} == wanted:
            return module
    return None


def _text_ids(config: PreTrainedConfig, vocabulary: int) -> Tensor:
    """Neither images nor other marks are among them."""
    marks = {value for key, value in _settings(config) if "token" in key and isinstance(value, int)}
    text_T = torch.tensor([token for token in range(vocabulary) if token not in marks])
    return text_T[torch.randint(len(text_T), (1, TOKENS), generator=torch.Generator().manual_seed(0))]


def _settings(config: PreTrainedConfig) -> list[tuple[str, Any]]:
    return [*config.to_dict().items(), *config.get_text_config().to_dict().items()]
