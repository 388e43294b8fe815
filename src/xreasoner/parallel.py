"""Ranks, seeds, reductions and sharding."""

import atexit
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor

from xreasoner.launch import peers

T = TypeVar("T")

TIMEOUT = timedelta(minutes=10)
"""Of a collective in which all ranks take part with equal work: beyond it something hangs."""
UNEVEN_TIMEOUT = timedelta(days=7)
"""Of a wait for uneven work: the first rank grafts alone, or one rank's answers are longer than the others'.
A rank that dies meanwhile ends all others (launch/peers.py), so no rank waits for it."""


@dataclass(frozen=True)
class World:
    rank: int
    size: int
    device: torch.device
    disks: tuple[int, ...] = ()
    """For each rank, the first one that sees the same run directory (disks/); empty: all see one."""

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @property
    def has_one_disk(self) -> bool:
        return len(set(self.disks)) <= 1

    @property
    def keeps_a_copy(self) -> bool:
        """Whether this rank keeps the copies on a disk that is not the first rank's."""
        return not self.is_first and bool(self.disks) and self.disks[self.rank] == self.rank

    @property
    def writers(self) -> list[int]:
        """The ranks whose files the first one sees."""
        return [rank for rank in range(self.size) if not self.disks or self.disks[rank] == 0]


def launched_processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def join_world() -> World:
    """The world torchrun describes in the environment; without it, this process alone."""
    size, rank = launched_processes(), int(os.environ.get("RANK", "0"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if size > 1 and not dist.is_initialized():
        dist.init_process_group(backend_of(device), timeout=TIMEOUT)
    return World(rank, size, device)


def backend_of(device: torch.device) -> str:
    return "nccl" if device.type == "cuda" else "gloo"


@contextmanager
def rejoining(world: World) -> Iterator[None]:
    """Around a call that ends all process groups of this process; then the ranks connect on a new port."""
    if world.size == 1:
        yield
        return
    (address, *_) = gather_shares([(peers.own_address(), free_port())], world)
    yield
    host, port = peers.reachable(address)
    store = dist.TCPStore(host, port, world.size, world.is_first, TIMEOUT)  # type: ignore[attr-defined]
    dist.init_process_group(backend_of(world.device), None, TIMEOUT, world.size, world.rank, store)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Seeded by the step, so a resumed run needs no saved generator state."""
    torch.manual_seed((seed * 1_000_003 + step) * 4099 + rank)


def sum_over_ranks(value: Tensor, world: World) -> Tensor:
    """The sum over all ranks, on each of them."""
    if world.size > 1:
        dist.all_reduce(value)
    return value


def own_share(items: Sequence[T], world: World) -> Sequence[T]:
    """This rank's part of work that all ranks know."""
    return items[world.rank :: world.size]


def gather_shares(own: Sequence[T], world: World, group: dist.ProcessGroup | None = None) -> list[T]:
    """The results of all shares, in the order of the work, on every rank."""
    if world.size == 1:
        return list(own)
    shares: list[list[T]] = [[] for _ in range(world.size)]
    dist.all_gather_object(shares, list(own), group=group or waiting_group())
    found: dict[int, T] = {}
    for rank, some in enumerate(shares):
        found |= {rank + world.size * i: one for i, one in enumerate(some)}
    return [found[place] for place in range(len(found))]


def full_weight(weight: Tensor) -> Tensor:
    """A sharded weight, gathered on every rank. All ranks call this in the same order."""
    return weight.full_tensor() if isinstance(weight, DTensor) else weight


def wait_for_all(world: World, group: dist.ProcessGroup | None = None) -> None:
    if world.size > 1:
        dist.barrier(group=group or waiting_group())


def waiting_group() -> dist.ProcessGroup:
    return _cpu_group("uneven work", dist.group.WORLD)


def saving_group(world: World) -> dist.ProcessGroup | None:
    """For the thread that saves a training state: its messages must not mix with those of training."""
    return _cpu_group("saving", dist.group.WORLD) if world.size > 1 else None


@lru_cache(maxsize=2)
def _cpu_group(purpose: str, world_group: dist.ProcessGroup) -> dist.ProcessGroup:
    """Another group of all ranks, on the CPU, with the long timeout; rebuilt for every new world group."""
    return dist.new_group(backend="gloo", timeout=UNEVEN_TIMEOUT)


@contextmanager
def ending_together(world: World) -> Iterator[None]:
    """Around the work of all ranks: an error or a kill in one of them ends all others within seconds."""
    with peers.ending_together(world.rank, world.size, lambda address: gather_shares([address], world)[0]):
        yield
    atexit.register(leave_world)


def leave_world() -> None:
    """End the threads of all process groups while Python still runs.

    A thread of gloo that frees its last tensor after Python has ended aborts the process. Only where all work
    succeeded: after an error, other ranks may still be in a collective, and leaving would wait for them."""
    _cpu_group.cache_clear()
    if dist.is_initialized():
        dist.destroy_process_group()


def shard(
    model: nn.Module,
    layers: nn.ModuleList,
    compute_dtype: torch.dtype,
    world: World,
    over: Literal["all", "node"] = "all",
) -> None:
    """FSDP2: weights, gradients and optimizer states sharded over the ranks, gathered layer by layer.

    It averages gradients over the ranks: for the gradient of a sum, multiply the loss by the world's size.
    """
    if world.size == 1:
        return
    precision = MixedPrecisionPolicy(
        param_dtype=compute_dtype if compute_dtype != torch.float32 else None,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,
    )
    mesh = node_mesh(world) if over == "node" else None
    for layer in layers:
        fully_shard(layer, mesh=mesh, mp_policy=precision)
    fully_shard(model, mesh=mesh, mp_policy=precision)
    register_fsdp_forward_method(model, "logits")


def node_mesh(world: World) -> DeviceMesh:
    """Rows of ranks that each share one copy of the weights."""
    on_node = int(os.environ.get("LOCAL_WORLD_SIZE", world.size))
    if world.size % on_node:
        raise ValueError(
            f"shard_over: node needs equally many processes on each machine; here are {on_node} "
            f"of {world.size}. Use shard_over: all"
        )
    shape = (world.size // on_node, on_node)
    return init_device_mesh(world.device.type, shape, mesh_dim_names=("copies", "shards"))


def keep_only_shards(model: nn.Module) -> None:
    """After a forward pass without a backward pass, the embeddings are still whole."""
    if isinstance(model, FSDPModule):
        model.reshard()


def reduces_gradients(model: nn.Module, now: bool) -> None:
    """Whether the next backward pass sums gradients over the ranks. If not, each rank keeps its own."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(now)
