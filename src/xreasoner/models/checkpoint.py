"""Checkpoints. A kill leaves the old one or the new one, never a part of one."""

import json
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xreasoner.storage.files import folder_written_atomically

ALL_WEIGHTS = StateDictOptions(full_state_dict=True, cpu_offload=True)


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
            _write_dtype(folder / "config.json", next(iter(weights.values())).dtype)
        tokenizer.save_pretrained(folder)


def _write_dtype(config_file: Path, dtype: torch.dtype) -> None:
    # save_pretrained writes the precision of the model in memory, not that of the weights it is given.
    config = json.loads(config_file.read_text())
    config["dtype"] = str(dtype).removeprefix("torch.")
    config_file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
