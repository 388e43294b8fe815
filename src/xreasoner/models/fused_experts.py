"""Experts that a vision-language checkpoint stores as two tensors a layer, and the text model one by one.

`gate_up_proj` has the gate and up projections of all experts, `down_proj` their down projections. Releases of
Qwen3-VL-MoE store each expert's matrix with rows and columns exchanged, later saves do not.

Suffixes: R rows and C columns of a matrix, 2 the gate and the up projection.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from xreasoner.models.tensor_files import FLOATS, MadeTensor, StoredTensor, read_blocks

GATE_UP, DOWN = "experts.gate_up_proj", "experts.down_proj"


@dataclass(frozen=True)
class Fused:
    """One stored tensor of all experts of a layer."""

    stored: StoredTensor
    turned: bool
    """Each expert's matrix has its rows and columns exchanged."""

    @property
    def parts(self) -> tuple[str, ...]:
        return ("gate_proj", "up_proj") if self.stored.name.endswith(GATE_UP) else ("down_proj",)

    def name_of(self, expert: int, part: str) -> str:
        return f"{self.stored.name.rpartition('.')[0]}.{expert}.{part}.weight"

    @property
    def names(self) -> list[str]:
        return [self.name_of(expert, part) for expert in range(self.stored.shape[0]) for part in self.parts]

    def split(self) -> list[StoredTensor]:
        """Each expert's tensors, in the order of their bytes."""
        experts, *matrix = self.stored.shape
        rows, columns = matrix[::-1] if self.turned else matrix
        rows //= len(self.parts)
        size = self.stored.size // experts // len(self.parts)
        found = list[StoredTensor]()
        for place, name in enumerate(self.names):
            start = self.stored.start + place * size
            plain = replace(self.stored, name=name, shape=(rows, columns), start=start, size=size)
            found.append(self._turned_part(plain, place) if self.turned else plain)
        return found

    def _turned_part(self, plain: StoredTensor, place: int) -> StoredTensor:
        expert, part = divmod(place, len(self.parts))
        read = partial(self._read_turned, expert, part)
        return MadeTensor(plain.file, plain.name, plain.dtype, plain.shape, plain.start, plain.size, read)

    def _read_turned(self, expert: int, part: int) -> Iterator[Tensor]:
        experts, *matrix = self.stored.shape
        size = self.stored.size // experts
        start = self.stored.start + expert * size
        one = replace(self.stored, shape=tuple(matrix), start=start, size=size)
        yield value_of(one).T.chunk(len(self.parts))[part]

    def joined(self, parts: Mapping[str, StoredTensor]) -> StoredTensor:
        """The stored tensor again, of these tensors of the experts."""
        old = self.stored
        make = partial(self._joined_blocks, [parts[name] for name in self.names], old.dtype)
        return MadeTensor(old.file, old.name, old.dtype, old.shape, old.start, old.size, make)

    def _joined_blocks(self, parts: list[StoredTensor], dtype: str) -> Iterator[Tensor]:
        for first in range(0, len(parts), len(self.parts)):
            one_RC = torch.cat([value_of(part, dtype) for part in parts[first : first + len(self.parts)]])
            yield one_RC.T if self.turned else one_RC


def fused_experts(
    stored: Mapping[str, StoredTensor], config: PreTrainedConfig, wanted: Iterable[str]
) -> dict[str, Fused]:
    """By name, if the text model, which has the `wanted` tensors, stores experts one by one."""
    if not any(name.endswith("experts.0.gate_proj.weight") for name in wanted):
        return {}
    downs = [tensor for name, tensor in stored.items() if name.endswith(DOWN)]
    size = (config.moe_intermediate_size, config.hidden_size)
    turned = bool(downs) and downs[0].shape[1:] == size
    found = (name for name in stored if name.endswith((GATE_UP, DOWN)) and len(stored[name].shape) == 3)
    return {name: Fused(stored[name], turned) for name in found}


def value_of(stored: StoredTensor, dtype: str | None = None) -> Tensor:
    wanted = dtype or stored.dtype
    data = bytearray().join(read_blocks(stored, wanted))
    assert stored.shape and len(data) == math.prod(stored.shape) * FLOATS[wanted].itemsize, stored.name
    return torch.frombuffer(data, dtype=FLOATS[wanted]).view(stored.shape)
