"""Copies files from the first rank's disk to the others, and back.

On each other disk, the first rank that sees it keeps copies of what its machine reads, under the same paths.
Only files that differ are sent, in blocks, between CPUs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import xxhash

from xreasoner.parallel import World, gather_shares, wait_for_all, waiting_group
from xreasoner.storage.disk import UNFINISHED, require_room
from xreasoner.storage.files import remove, written_atomically
from xreasoner.storage.folders import facts_of

BLOCK = 2**26
"""Bytes in memory at a time."""
EVERYTHING = ("**/*",)
RECIPE = "recipe.yaml"
"""Only the folder that holds the run has it; copies do not."""
NOT_COPIED = (RECIPE, "lock", "log")
"""Files that each run directory has for itself."""

Facts = Mapping[str, Any]
Files = Mapping[str, Facts]
"""Size and digest of each file, by its path within a folder."""


@dataclass(frozen=True)
class Transfer:
    sender: int
    receiver: int
    name: str
    facts: Facts


def copy_to_all(
    folder: Path,
    world: World,
    only: Sequence[str] = EVERYTHING,
    group: dist.ProcessGroup | None = None,
) -> None:
    """Make the folder on every disk equal to the one on the first rank's; `only`: patterns of the files.

    All ranks call this, and wait for each other."""
    if not world.has_one_disk:
        listed = gather_shares([files_in(folder, only) if world.is_first else {}], world, group)[0]
        lacking: list[str] = []
        if world.keeps_a_copy:
            held = files_in(folder, only)
            for name in held.keys() - listed.keys():
                remove(folder / name)
            lacking = [name for name, facts in listed.items() if held.get(name) != facts]
        every = gather_shares([lacking], world, group)
        transfers = [
            Transfer(0, receiver, name, listed[name])
            for receiver, names in enumerate(every)
            for name in names
        ]
        move(folder, transfers, world, group)
    wait_for_all(world, group)


def copy_to_first(
    folder: Path, world: World, only: Sequence[str] = EVERYTHING, group: dist.ProcessGroup | None = None
) -> None:
    """Copy files in the folder from the other disks to the first rank's. Each rank passes its own `only`."""
    if world.has_one_disk:
        return
    offered = gather_shares([files_in(folder, only) if world.keeps_a_copy else {}], world, group)
    wanted: list[Transfer] = []
    if world.is_first:
        held = files_in(folder, EVERYTHING)
        wanted = [
            Transfer(sender, 0, name, facts)
            for sender, files in enumerate(offered)
            for name, facts in files.items()
            if held.get(name) != facts
        ]
    move(folder, gather_shares([wanted], world, group)[0], world, group)


def files_in(folder: Path, only: Sequence[str]) -> Files:
    found = sorted({path for pattern in only for path in folder.glob(pattern) if path.is_file()})
    names = {path.relative_to(folder).as_posix(): path for path in found if UNFINISHED not in path.name}
    left_out = NOT_COPIED if only != (RECIPE,) else ()
    return {name: facts_of(path) for name, path in names.items() if name not in left_out}


def move(folder: Path, transfers: Sequence[Transfer], world: World, group: dist.ProcessGroup | None) -> None:
    coming = sum(one.facts["bytes"] for one in transfers if one.receiver == world.rank)
    require_room(folder, coming, "what another machine sends")
    for one in transfers:
        if one.sender == world.rank:
            send(folder / one.name, one, group or waiting_group())
        elif one.receiver == world.rank:
            receive(folder / one.name, one, group or waiting_group())


def send(path: Path, one: Transfer, group: dist.ProcessGroup) -> None:
    with path.open("rb") as file:
        for size in block_sizes(one.facts["bytes"]):
            block = torch.empty(size, dtype=torch.uint8)
            read = file.readinto(block.numpy().data)
            assert read == size, f"{path} changed while it was sent"
            dist.send(block, one.receiver, group)


def receive(path: Path, one: Transfer, group: dist.ProcessGroup) -> None:
    digest = xxhash.xxh3_128()
    with written_atomically(path) as file:
        for size in block_sizes(one.facts["bytes"]):
            block = torch.empty(size, dtype=torch.uint8)
            dist.recv(block, one.sender, group)
            file.write(block.numpy().data)
            digest.update(block.numpy().data)
        if digest.hexdigest() != one.facts["xxh3_128"]:
            raise ValueError(
                f"{path}: rank {one.receiver} received it damaged from rank {one.sender}; "
                "run the command again"
            )


def block_sizes(size: int) -> list[int]:
    return [min(BLOCK, size - start) for start in range(0, size, BLOCK)]
