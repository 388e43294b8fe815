"""Machines with disks of their own: processes that see different folders."""

import errno
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.processes import run_on_ranks

from xreasoner.disks import copy_files
from xreasoner.disks.copy_files import copy_to_all, copy_to_first
from xreasoner.disks.find_disks import find_disks, move_run_to_first
from xreasoner.parallel import World, join_world, wait_for_all

Content = dict[str, bytes]
LONG = bytes(range(256)) * 10


def join_with_disks(folders: list[Path], block: int = 1000) -> tuple[Path, World]:
    """`folders`: what each rank sees. Files are sent in several blocks."""
    copy_files.BLOCK = block
    world = join_world()
    return folders[world.rank], find_disks(folders[world.rank], world)


def held(folder: Path) -> Content:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fill(folder: Path, content: Content) -> Path:
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def see_each_other(folders: list[Path]) -> World:
    return join_with_disks(folders)[1]


def test_ranks_find_those_that_see_the_same_folder(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    found = run_on_ranks(see_each_other, 4, [a, b, a, b])
    assert [one.disks for one in found] == [(0, 1, 0, 1)] * 4
    assert [one.keeps_a_copy for one in found] == [False, True, False, False]
    assert found[3].writers == [0, 2]
    assert not found[0].has_one_disk
    assert held(a) == held(b) == {}
    (one, other) = run_on_ranks(see_each_other, 2, [a, a])
    assert one.has_one_disk
    assert other.writers == [0, 1]
    assert not other.keeps_a_copy


def find_without_room(folder: Path) -> str:
    world = join_world()
    with pytest.MonkeyPatch.context() as patch:
        if world.rank == 0:
            patch.setattr(Path, "touch", no_room)
        try:
            find_disks(folder, world)
        except OSError as error:
            return str(error)
    return "found"


def no_room(path: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_where_one_rank_has_no_room_for_its_marker_all_end_and_none_is_left(tmp_path: Path) -> None:
    said = run_on_ranks(find_without_room, 2, tmp_path)
    assert said == ["[Errno 28] No space left on device"] * 2
    assert held(tmp_path) == {}


def copy_there_and_back(folders: list[Path]) -> tuple[Content, Content]:
    folder, world = join_with_disks(folders)
    copy_to_all(folder / "data", world)
    copied = held(folder)
    wait_for_all(world)
    fill(folder, {f"answers/{world.rank}/new": b"of its own", f"answers/{world.rank}/old": b"x"})
    copy_to_first(folder / "answers", world, [f"{world.rank}/n*"])
    wait_for_all(world)
    return copied, held(folder)


def test_files_are_copied_to_all_disks_and_brought_back(tmp_path: Path) -> None:
    mine = {"data/long": LONG, "data/deep/er/empty": b"", "data/changed": b"now", "data/same": b"same"}
    first = fill(tmp_path / "a", {**mine, "elsewhere": b"1"})
    there = fill(
        tmp_path / "b", {"data/changed": b"old", "data/same": b"same", "data/extra": b"", "own": b"2"}
    )
    unchanged = (there / "data" / "same").stat().st_mtime_ns
    (_, brought), (copied, _) = run_on_ranks(copy_there_and_back, 2, [first, there])
    assert copied == {**mine, "own": b"2"}
    assert (there / "data" / "same").stat().st_mtime_ns == unchanged, "it was not sent"
    assert {name for name in brought if name.startswith("answers/1")} == {"answers/1/new"}
    assert brought["answers/1/new"] == b"of its own"


def move_home(folders: list[Path]) -> None:
    move_run_to_first(*join_with_disks(folders))


def test_a_run_moves_to_the_machine_of_the_first_rank(tmp_path: Path) -> None:
    run = {"recipe.yaml": b"name: run", "stages/1-sft/model/weights": LONG}
    old = fill(tmp_path / "old", {**run, "lock": b"7"})
    run_on_ranks(move_home, 2, [tmp_path / "new", old])
    assert held(tmp_path / "new") == run
    assert held(old) == {"stages/1-sft/model/weights": LONG, "lock": b"7"}, "a copy from now on"
    run_on_ranks(move_home, 2, [tmp_path / "new", old])
    fill(old, {"recipe.yaml": b"name: another"})
    with pytest.raises(AssertionError, match="the machines of ranks 0, 1 each hold a run here; move all but"):
        run_on_ranks(move_home, 2, [tmp_path / "new", old])
    assert held(old)["recipe.yaml"] == b"name: another"


def copy_over_a_bad_line(folders: list[Path]) -> None:
    folder, world = join_with_disks(folders)
    send = copy_files.dist.send

    def damaged(block: torch.Tensor, *to: Any) -> None:
        block[-1] ^= 1
        send(block, *to)

    copy_files.dist.send = damaged
    copy_to_all(folder, world)


def test_what_arrives_damaged_is_refused(tmp_path: Path) -> None:
    first = fill(tmp_path / "a", {"data": LONG})
    with pytest.raises(
        AssertionError, match="b/data: rank 1 received it damaged from rank 0; run the command again"
    ):
        run_on_ranks(copy_over_a_bad_line, 2, [first, tmp_path / "b"])
    assert held(tmp_path / "b") == {}
