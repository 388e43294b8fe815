"""Which ranks share a disk, and which disk holds the run: that of the first rank."""

import os
from dataclasses import replace
from pathlib import Path

from xreasoner.disks.copy_files import EVERYTHING, RECIPE, copy_to_first
from xreasoner.parallel import World, gather_shares, wait_for_all
from xreasoner.storage.disk import UNFINISHED


def find_disks(folder: Path, world: World) -> World:
    """Which ranks see the same folder: each writes a marker file and looks for those of the others."""
    if world.size == 1:
        return world
    (tag, *_) = gather_shares([os.urandom(8).hex()], world)
    folder.mkdir(parents=True, exist_ok=True)
    markers = [folder / f".disk-{tag}{UNFINISHED}{rank}" for rank in range(world.size)]
    failure = write_marker(markers[world.rank])
    wait_for_all(world)
    first = next((rank for rank, marker in enumerate(markers) if marker.exists()), world.rank)
    disks = gather_shares([first], world)
    markers[world.rank].unlink(missing_ok=True)  # else whoever next locks this disk removes it
    # No rank goes on while another one fails: it would take what it sees for a disk of its own.
    failures = [one for one in gather_shares([failure], world) if one]
    if failures:
        raise failures[0]
    return replace(world, disks=tuple(disks))


def write_marker(marker: Path) -> OSError | None:
    try:
        marker.touch()
    except OSError as error:
        return error
    return None


def move_run_to_first(folder: Path, world: World) -> None:
    """If the first rank runs on another machine than before, move the run to that machine's disk."""
    if world.has_one_disk:
        return
    has_a_disk = world.is_first or world.keeps_a_copy
    found = gather_shares([has_a_disk and (folder / RECIPE).exists()], world)
    holders = [rank for rank, holds_run in enumerate(found) if holds_run]
    if len(holders) > 1:
        raise ValueError(
            f"{folder}: the machines of ranks {', '.join(map(str, holders))} each hold a run here; "
            "move all but one away"
        )
    if holders and holders != [0]:
        for only in (EVERYTHING, (RECIPE,)):  # the recipe last: after a kill, the run is still where it was
            copy_to_first(folder, world, only if world.rank in holders else ())
        if world.rank in holders:
            (folder / RECIPE).unlink()
        wait_for_all(world)
