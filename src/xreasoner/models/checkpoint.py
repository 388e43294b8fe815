"""Checkpoints and training states. A kill leaves the old one or the new one, never a part of one."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.optim import Optimizer
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xreasoner.parallel import World, wait_for_all
from xreasoner.storage.files import folder_written_atomically, write_json, written_atomically

STATE_FILE = "state.pt"
ALL_WEIGHTS = StateDictOptions(full_state_dict=True, cpu_offload=True)
TRAINED_WEIGHTS = StateDictOptions(
    full_state_dict=True, cpu_offload=True, ignore_frozen_params=True, strict=False
)


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


def save_state(
    folder: Path, model: nn.Module, optimizer: Optimizer, step: int, extra: dict[str, Any], world: World
) -> None:
    """Trained weights, optimizer and step. Frozen weights are in the checkpoint training started from."""
    if world.size > 1:
        weights = get_model_state_dict(model, options=TRAINED_WEIGHTS)
        moments = get_optimizer_state_dict(model, optimizer, options=TRAINED_WEIGHTS)
    else:
        weights = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
        moments = optimizer.state_dict()
    if world.is_first:
        with written_atomically(folder / STATE_FILE) as file:
            torch.save({"step": step, "model": weights, "optimizer": moments, "extra": extra}, file)
        write_json(folder / "step.json", {"step": step})  # readable without loading the state
    wait_for_all(world)


def load_state(
    folder: Path, model: nn.Module, optimizer: Optimizer, world: World
) -> tuple[int, dict[str, Any]]:
    """The step to resume from and the extras; (0, {}) where there is no state yet."""
    if not (folder / STATE_FILE).is_file():
        return 0, {}
    state = torch.load(folder / STATE_FILE, map_location="cpu", weights_only=True)
    if world.size > 1:
        set_model_state_dict(model, state["model"], options=TRAINED_WEIGHTS)
        set_optimizer_state_dict(model, optimizer, state["optimizer"], options=TRAINED_WEIGHTS)
    else:
        _, unexpected = model.load_state_dict(state["model"], strict=False)
        assert not unexpected, unexpected
        optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["extra"]
