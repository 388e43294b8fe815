"""Machines without a shared disk: the first rank's files are copied to the others, and back.

The run is on the disk of the first rank. On each other disk the first rank that sees it keeps copies of what
its machine reads, under the same paths. Only files that differ are sent, in blocks, between CPUs.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
HOME = "recipe.yaml"
"""Only the folder that holds the run has it; copies do not."""
OWN = (HOME, "lock", "log")
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


def find_disks(folder: Path, world: World) -> World:
    """Which ranks see the same folder: each leaves a mark there, and looks for those of the others."""
    if world.size == 1:
        return world
    (tag, *_) = gather_shares([os.urandom(8).hex()], world)
    folder.mkdir(parents=True, exist_ok=True)
    marks = [folder / f".disk-{tag}{UNFINISHED}{rank}" for rank in range(world.size)]
    failure = leave(marks[world.rank])
    wait_for_all(world)
    first = next((rank for rank, mark in enumerate(marks) if mark.exists()), world.rank)
    disks = gather_shares([first], world)
    marks[world.rank].unlink(missing_ok=True)  # swept by who takes the lock of that disk
    wait_for_all(world)  # an error of one rank ends the others where they are
    if failure:
        raise failure
    return replace(world, disks=tuple(disks))


def leave(mark: Path) -> OSError | None:
    try:
        mark.touch()
    except OSError as error:
        return error
    return None


def bring_home(folder: Path, world: World) -> None:
    """The first rank may run on another machine than before: then the run moves to its disk."""
    if world.has_one_disk:
        return
    looks_after = world.is_first or world.keeps_a_copy
    holding = gather_shares([looks_after and (folder / HOME).exists()], world)
    homes = [rank for rank, holds in enumerate(holding) if holds]
    if len(homes) > 1:
        raise ValueError(
            f"{folder}: the machines of ranks {', '.join(map(str, homes))} each hold a run here; "
            "move all but one away"
        )
    if homes and homes != [0]:
        for only in (EVERYTHING, (HOME,)):  # that one last: a kill meanwhile leaves the run where it was
            bring_to_first(folder, world, only if world.rank in homes else ())
        if world.rank in homes:
            (folder / HOME).unlink()
        wait_for_all(world)


def copy_to_all(
    folder: Path,
    world: World,
    only: Sequence[str] = EVERYTHING,
    group: dist.ProcessGroup | None = None,
) -> None:
    """Make the folder on all disks what it is on the first rank's. `only`: patterns of the files that count.

    All ranks call this, and wait."""
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


def bring_to_first(
    folder: Path, world: World, only: Sequence[str] = EVERYTHING, group: dist.ProcessGroup | None = None
) -> None:
    """Copy what other disks have in the folder to the first rank's. Each rank says what `only` counts."""
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
    own = OWN if only != (HOME,) else ()
    return {name: facts_of(path) for name, path in names.items() if name not in own}


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
                f"{path}: rank {one.receiver} got it damaged from rank {one.sender}; run the command again"
            )


def block_sizes(size: int) -> list[int]:
    return [min(BLOCK, size - start) for start in range(0, size, BLOCK)]
