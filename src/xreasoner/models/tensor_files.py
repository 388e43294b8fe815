"""Safetensors files read and written as streams, with one buffer of memory whatever the size of a shard."""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xreasoner.models.config import read_config
from xreasoner.storage.files import BUFFER

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"

FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor's bytes are on disk."""

    file: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int


@dataclass(frozen=True)
class MadeTensor(StoredTensor):
    """One whose bytes are no range of a file: each of its blocks is made of others when it is read."""

    blocks: Callable[[], Iterator[Tensor]]


@dataclass(frozen=True)
class Shard:
    """One safetensors file: its header as stored, and its tensors in the order of their bytes."""

    file: Path
    header: bytes
    tensors: tuple[StoredTensor, ...]


def read_shards(checkpoint: Path) -> tuple[Shard, ...]:
    return tuple(read_shard(file) for file in _shard_files(checkpoint))


def parameters(checkpoint: Path) -> int:
    """Counted from the headers of the weight files, without reading the weights."""
    read_config(checkpoint)  # refuses what is not a checkpoint
    shards = map(read_shard, checkpoint.glob("*.safetensors"))
    return sum(math.prod(tensor.shape) for shard in shards for tensor in shard.tensors)


def read_shard(file: Path) -> Shard:
    if not file.is_file():
        raise ValueError(f"{file} is missing: the checkpoint is incomplete")
    with file.open("rb") as stream:
        length = stream.read(8)
        size = int.from_bytes(length, "little")
        if not 0 < size <= file.stat().st_size - 8:
            raise ValueError(f"{file} is not a safetensors file (a Git LFS pointer?): download it again")
        header = length + stream.read(size)
    described: dict[str, Any] = json.loads(header[8:])
    described.pop("__metadata__", None)
    tensors = (_stored(file, name, entry, len(header)) for name, entry in described.items())
    return Shard(file, header, tuple(sorted(tensors, key=lambda tensor: tensor.start)))


def _stored(file: Path, name: str, entry: dict[str, Any], data_start: int) -> StoredTensor:
    begin, end = entry["data_offsets"]
    return StoredTensor(file, name, entry["dtype"], tuple(entry["shape"]), data_start + begin, end - begin)


def _shard_files(checkpoint: Path) -> list[Path]:
    index = checkpoint / INDEX
    if index.is_file():
        return [
            checkpoint / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))
        ]
    if not (checkpoint / SINGLE).is_file():
        raise ValueError(f"{checkpoint} has neither {SINGLE} nor {INDEX}: save the full model as safetensors")
    return [checkpoint / SINGLE]


def new_header(tensors: Iterable[tuple[str, StoredTensor]]) -> bytes:
    """The header of a file that will hold these tensors under these names, in this order."""
    described: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors:
        begin, end = end, end + tensor.size
        described[name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [begin, end]}
    body = json.dumps(described, separators=(",", ":")).encode()
    body += b" " * (-len(body) % 8)
    return len(body).to_bytes(8, "little") + body


def write_index(folder: Path, weight_map: dict[str, str], total_size: int) -> None:
    """Which file holds which tensor, where there is more than one."""
    index = {"metadata": {"total_size": total_size}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def write_shard(file: Path, header: bytes, tensors: Iterable[tuple[StoredTensor, str]]) -> None:
    """Writes the header, then the bytes of each tensor in the dtype beside it."""
    with file.open("wb") as out:
        out.write(header)
        for tensor, dtype in tensors:
            for block in read_blocks(tensor, dtype):
                out.write(block)


def read_blocks(tensor: StoredTensor, dtype: str) -> Iterator[memoryview]:
    """A tensor's bytes in blocks. A block is only valid until the next one is read."""
    if isinstance(tensor, MadeTensor):
        for made in tensor.blocks():
            yield made.to(FLOATS[dtype]).contiguous().view(-1).view(torch.uint8).numpy().data
        return
    buffer = memoryview(bytearray(min(BUFFER, tensor.size)))
    left = tensor.size
    with tensor.file.open("rb") as stream:
        stream.seek(tensor.start)
        while left:
            block = buffer[: min(left, len(buffer))]
            if stream.readinto(block) != len(block):
                raise ValueError(
                    f"{tensor.file} is cut short within {tensor.name}: copy or download it again"
                )
            yield block if dtype == tensor.dtype else _cast(block, FLOATS[tensor.dtype], FLOATS[dtype])
            left -= len(block)


def _cast(block: memoryview, source: torch.dtype, target: torch.dtype) -> memoryview:
    return torch.frombuffer(block, dtype=source).to(target).view(torch.uint8).numpy().data


def same_values(a: StoredTensor, b: StoredTensor) -> bool:
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return False
    return all(x == y for x, y in zip(read_blocks(a, a.dtype), read_blocks(b, b.dtype), strict=True))
