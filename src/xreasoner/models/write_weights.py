"""A Hugging Face checkpoint written weight by weight by all ranks: no rank ever holds the whole model."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from xreasoner.models.tensor_files import FLOATS, SINGLE, StoredTensor, new_header, write_index
from xreasoner.parallel import World, full_weight, gather_shares, wait_for_all
from xreasoner.storage.folders import folder_written_atomically

FILE_BYTES = 5 * 10**9
NAMES = {dtype: name for name, dtype in FLOATS.items()}


@contextmanager
def folder_of_all_ranks(out: Path, world: World) -> Iterator[Path]:
    """A folder that the ranks fill that see the first one's disk. It gets its name once all have left."""
    with folder_written_atomically(out) if world.is_first else nullcontext() as own:
        (folder, *_) = gather_shares([own], world)
        assert folder is not None
        yield folder
        wait_for_all(world)
    wait_for_all(world)


def write_weights(
    shapes: Mapping[str, tuple[int, ...]],
    weights: Iterable[tuple[str, Tensor]],
    dtype: torch.dtype,
    folder: Path,
    world: World,
    file_bytes: int = FILE_BYTES,
) -> None:
    """A weight is gathered on all ranks, and written by one of them; the files are dealt to the writers."""
    described = {name: _described(name, shape, dtype) for name, shape in shapes.items()}
    files = cut_files(described, file_bytes)
    coming = iter(weights)
    for number, (file, names) in enumerate(files.items()):
        is_own = world.writers[number % len(world.writers)] == world.rank
        with (folder / file).open("wb") if is_own else nullcontext() as stream:
            if stream:
                stream.write(new_header((name, described[name]) for name in names))
            for wanted in names:
                name, weight = next(coming)
                assert (name, weight.shape, weight.dtype) == (wanted, shapes[wanted], dtype), name
                whole = full_weight(weight)
                if stream:
                    stream.write(_bytes_of(whole))
            if stream:
                stream.flush()
                os.fsync(stream.fileno())
    assert next(coming, None) is None
    if world.is_first and len(files) > 1:
        total = sum(tensor.size for tensor in described.values())
        write_index(folder, {name: file for file, names in files.items() for name in names}, total)


def cut_files(described: Mapping[str, StoredTensor], file_bytes: int) -> dict[str, Sequence[str]]:
    """The names in each file: in order, as many as fit."""
    files: list[list[str]] = [[]]
    size = 0
    for name, tensor in described.items():
        if files[-1] and size + tensor.size > file_bytes:
            files.append([])
            size = 0
        files[-1].append(name)
        size += tensor.size
    if len(files) == 1:
        return {SINGLE: files[0]}
    return {
        f"model-{number:05d}-of-{len(files):05d}.safetensors": names
        for number, names in enumerate(files, start=1)
    }


def _described(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> StoredTensor:
    return StoredTensor(
        Path(), name, NAMES[dtype], tuple(shape), 0, torch.Size(shape).numel() * dtype.itemsize
    )


def _bytes_of(weight: Tensor) -> memoryview:
    flat = weight.detach().cpu().contiguous().view(-1)
    content: memoryview = flat.view(torch.uint8).numpy().data
    return content


def write_side_files(
    lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype, folder: Path
) -> None:
    """All of a checkpoint but the weights."""
    lm.config.save_pretrained(folder)
    write_dtype(folder / "config.json", dtype)
    if lm.can_generate():
        lm.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_dtype(config_file: Path, dtype: torch.dtype) -> None:
    """The configuration has the precision of the model in memory, not that of the weights that are saved."""
    config = json.loads(config_file.read_text())
    config["dtype"] = str(dtype).removeprefix("torch.")
    config_file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
