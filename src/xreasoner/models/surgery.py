"""detach: take the text tower out of a vision-language model. graft: put a trained one back.

Both copy bytes from file to file, so a model never has to fit in memory, and an untrained tensor
comes back bit for bit. Vision tensors, names, shards, tokenizer and settings of a grafted model are
the original's; only the text tower's values are new, in the original's dtypes (trained in float32,
a model grafted into a bfloat16 one is rounded to bfloat16).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig, __version__

from xreasoner.models.config import has_vision, read_config
from xreasoner.models.families import find_family
from xreasoner.models.find_tower import Layout, TextModel, find_layout, text_model, text_names
from xreasoner.models.fused_experts import Fused, fused_experts
from xreasoner.models.logit_check import check_same_logits
from xreasoner.models.side_files import copy_all_but_weights, copy_text_files, new_folder
from xreasoner.models.tensor_files import (
    FLOATS,
    INDEX,
    SINGLE,
    Shard,
    StoredTensor,
    new_header,
    read_shards,
    same_values,
    write_index,
    write_shard,
)
from xreasoner.models.text_config import check_same_computation, derive_text_config, write_config


@dataclass(frozen=True)
class TextTower:
    """The text model inside a vision-language checkpoint."""

    whole: PreTrainedConfig
    """The vision-language model's configuration."""
    config: PreTrainedConfig
    text: TextModel
    shards: tuple[Shard, ...]
    fused: Mapping[str, Fused]
    """The stored tensors that the text model has as several."""
    names: dict[str, str]
    """Name in the checkpoint, or of a part of it -> name in the text model."""

    def by_text_name(self) -> dict[str, StoredTensor]:
        return {name: tensor for shard in self.shards for name, tensor in self.tensors(shard)}

    def tensors(self, shard: Shard) -> list[tuple[str, StoredTensor]]:
        parts = split_up(shard.tensors, self.fused)
        return [(self.names[tensor.name], tensor) for tensor in parts if tensor.name in self.names]


def detach(vlm: Path, out: Path) -> None:
    """Write the text tower of `vlm` as a causal language model of its own."""
    vlm, out = Path(vlm), Path(out)
    tower = _open_tower(vlm)
    _check_complete(tower, vlm)
    check_same_logits(vlm, tower.whole, tower.config, tower.by_text_name())
    with new_folder(out) as folder:
        _write_text_model(tower, folder)
        write_config(tower.config, folder)
        copy_text_files(vlm, folder)


def graft(vlm: Path, lm: Path, out: Path) -> None:
    """Write `vlm` with the text tower's values taken from `lm`, which was detached from it and trained."""
    vlm, lm, out = Path(vlm), Path(lm), Path(out)
    tower = _open_tower(vlm)
    read_config(lm)
    check_same_computation(AutoConfig.from_pretrained(lm, trust_remote_code=False), tower.config, lm)
    trained = _match(tower, lm)
    with new_folder(out) as folder:
        for shard in tower.shards:
            write_shard(folder / shard.file.name, shard.header, _replaced(tower, shard, trained))
        if (vlm / INDEX).is_file():
            (folder / INDEX).write_bytes((vlm / INDEX).read_bytes())
        copy_all_but_weights(vlm, folder)


def _open_tower(vlm: Path) -> TextTower:
    raw = read_config(vlm)
    if "quantization_config" in raw:
        raise ValueError(f"{vlm} is quantised: detach and graft need the weights in full precision")
    if not has_vision(vlm):
        raise ValueError(
            f"{vlm} is a {raw.get('model_type')!r} without a vision tower: nothing to detach from"
        )
    if raw.get("model_type") not in CONFIG_MAPPING:
        raise ValueError(
            f"{vlm} is a {raw.get('model_type')!r}, which transformers {__version__} does not know"
        )
    whole = AutoConfig.from_pretrained(vlm, trust_remote_code=False)
    _check_packages(whole, vlm)
    config = derive_text_config(whole, find_family(whole.model_type), vlm)
    text, shards = text_model(config), read_shards(vlm)
    in_files = {tensor.name: tensor for shard in shards for tensor in shard.tensors}
    fused = fused_experts(in_files, config, text.shapes)
    stored = {tensor.name: tensor for tensor in split_up(in_files.values(), fused)}
    layout = find_layout(text, stored, vlm)
    config.tie_word_embeddings = _is_tied(stored, layout, whole.tie_word_embeddings, vlm)
    config.dtype = whole.dtype or FLOATS[stored[layout.embeddings].dtype]
    return TextTower(whole, config, text, shards, fused, text_names(text, layout, stored))


def split_up(tensors: Iterable[StoredTensor], fused: Mapping[str, Fused]) -> Iterator[StoredTensor]:
    for tensor in tensors:
        yield from fused[tensor.name].split() if tensor.name in fused else [tensor]


def _check_packages(config: PreTrainedConfig, vlm: Path) -> None:
    """Vision towers with an `architecture` are built by timm."""
    if hasattr(getattr(config, "vision_config", None), "architecture") and find_spec("timm") is None:
        raise ValueError(
            f"{vlm}: transformers builds its vision tower with another package: pip install timm"
        )


def _is_tied(stored: dict[str, StoredTensor], layout: Layout, says_tied: bool, vlm: Path) -> bool:
    """Some configurations say tied although the checkpoint has a head: transformers then uses the tensors."""
    if layout.head in stored:
        return says_tied and same_values(stored[layout.head], stored[layout.embeddings])
    if not says_tied:
        raise ValueError(f"{vlm} is incomplete: its embeddings are not tied, yet {layout.head} is missing")
    return True


def _check_complete(tower: TextTower, vlm: Path) -> None:
    """`from_pretrained` only warns about a missing tensor and fills it with random numbers."""
    wanted, found = dict(tower.text.shapes), {n: t.shape for n, t in tower.by_text_name().items()}
    if tower.config.tie_word_embeddings:
        wanted.pop(tower.text.head, None)
        found.pop(tower.text.head, None)
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            (kind,) = tower.config.architectures or ["the text model"]
            raise ValueError(
                f"{vlm}: {kind} has {name} of shape {wanted.get(name)}, the checkpoint {found.get(name)}: "
                "it is incomplete, or stores its text tower in another layout"
            )


def _write_text_model(tower: TextTower, folder: Path) -> None:
    shards = [tensors for shard in tower.shards if (tensors := tower.tensors(shard))]
    weight_map: dict[str, str] = {}
    for number, tensors in enumerate(shards, start=1):
        file = SINGLE if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        write_shard(folder / file, new_header(tensors), ((tensor, tensor.dtype) for _, tensor in tensors))
        weight_map |= {name: file for name, _ in tensors}
    if len(shards) > 1:
        total = sum(tensor.size for tensors in shards for _, tensor in tensors)
        write_index(folder, weight_map, total)


def _match(tower: TextTower, lm: Path) -> dict[str, StoredTensor]:
    """The trained tensor for each of the tower's, by name in the text model. Refuses what does not fit."""
    wanted, text = tower.by_text_name(), tower.text
    trained = {tensor.name: tensor for shard in read_shards(lm) for tensor in shard.tensors}
    if tower.config.tie_word_embeddings and text.embeddings in trained:
        trained = _with_tied_head(trained, text, text.head in wanted, lm)
    for name in sorted(wanted.keys() | trained.keys()):
        if name not in trained:
            raise ValueError(f"{lm} lacks the tensor {name} of the vision-language model")
        if name not in wanted:
            raise ValueError(f"{lm} holds a tensor the vision-language model has no place for: {name}")
        _check_fits(trained[name], wanted[name], lm)
    return trained


def _with_tied_head(
    trained: dict[str, StoredTensor], text: TextModel, head_is_stored: bool, lm: Path
) -> dict[str, StoredTensor]:
    """Some trainers save a tied head and some do not: the VLM decides whether it is stored."""
    embeddings = trained[text.embeddings]
    if text.head in trained and not same_values(trained[text.head], embeddings):
        raise ValueError(
            f"{lm} holds a {text.head} of its own, but the vision-language model ties it to {text.embeddings}"
        )
    body = {name: tensor for name, tensor in trained.items() if name != text.head}
    return body | {text.head: embeddings} if head_is_stored else body


def _check_fits(found: StoredTensor, wanted: StoredTensor, lm: Path) -> None:
    if found.shape != wanted.shape:
        raise ValueError(
            f"{lm}: {found.name} has shape {found.shape}, the vision-language model's {wanted.shape}"
        )
    if found.dtype != wanted.dtype and not {found.dtype, wanted.dtype} <= FLOATS.keys():
        raise ValueError(f"{lm}: {found.name} is {found.dtype}, which does not convert to {wanted.dtype}")


def _replaced(
    tower: TextTower, shard: Shard, trained: dict[str, StoredTensor]
) -> Iterator[tuple[StoredTensor, str]]:
    """The shard's tensors in their order and dtype, those of the text tower replaced by the trained ones."""
    for tensor in shard.tensors:
        text_name = tower.names.get(tensor.name)
        if fused := tower.fused.get(tensor.name):
            parts = {name: trained[tower.names[name]] for name in fused.names}
            yield fused.joined(parts), tensor.dtype
        else:
            yield (trained[text_name] if text_name else tensor), tensor.dtype
