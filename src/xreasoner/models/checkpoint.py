"""Checkpoints. A kill leaves the old one or the new one, never a part of one."""

from pathlib import Path

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xreasoner.models.write_weights import write_dtype
from xreasoner.storage.folders import folder_written_atomically


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    out: Path,
    weights: dict[str, Tensor] | None = None,
) -> None:
    """A Hugging Face checkpoint. `weights`, gathered or converted, are saved in place of the model's own."""
    with folder_written_atomically(out) as folder:
        model.save_pretrained(folder, state_dict=weights)
        if weights:
            write_dtype(folder / "config.json", next(iter(weights.values())).dtype)
        tokenizer.save_pretrained(folder)
