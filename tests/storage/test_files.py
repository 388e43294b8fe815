"""Files appear complete or not at all; temporary files are swept; partly written lines are dropped."""

import errno
import os
import shutil
import signal
from pathlib import Path

import pytest

from xreasoner.storage.disk import errors_named
from xreasoner.storage.files import (
    BLOCK,
    drop_torn_line,
    sweep,
    sweep_for,
    unfinished,
    write_atomically,
    write_json,
    written_atomically,
)
from xreasoner.storage.folders import folder_written_atomically


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with written_atomically(path) as file:
        file.write(b"some")
        assert not path.exists()
    assert path.read_bytes() == b"some"
    write_json(path, {"a": [1]})
    assert path.read_text() == '{\n "a": [\n  1\n ]\n}\n'


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with pytest.raises(KeyboardInterrupt), written_atomically(path) as file:
        file.write(b"half of the ne")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_sweep_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    unfinished(path).write_bytes(b"half of the ne")
    unfinished(tmp_path / "folder").mkdir()
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_sweep_spares_what_is_being_written(tmp_path: Path) -> None:
    file_path, folder_path = tmp_path / "file", tmp_path / "folder"
    with written_atomically(file_path) as file, folder_written_atomically(folder_path) as folder:
        (folder / "inside").touch()
        sweep(tmp_path)
        sweep_for(file_path)
        sweep_for(folder_path)
        file.write(b"whole")
    assert file_path.read_bytes() == b"whole"
    assert (folder_path / "inside").exists()


def test_what_a_killed_process_wrote_goes_with_the_next_sweep(tmp_path: Path) -> None:
    pid = os.fork()
    if not pid:
        with written_atomically(tmp_path / "file"), folder_written_atomically(tmp_path / "folder"):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert len(list(tmp_path.iterdir())) == 2
    sweep_for(tmp_path / "file")
    assert list(tmp_path.iterdir()) == [tmp_path / f".folder.unfinished-{pid}"]
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("torn", [0, 1, BLOCK - 2, BLOCK, 2 * BLOCK + 7])
def test_what_follows_the_last_newline_is_cut_off(tmp_path: Path, torn: int) -> None:
    path = tmp_path / "lines"
    for whole in (b"", b"one\n", b"one\ntwo\n"):
        path.write_bytes(whole + b"x" * torn)
        drop_torn_line(path)
        assert path.read_bytes() == whole


def test_a_copy_that_finds_no_room_names_the_folder(tmp_path: Path) -> None:
    """`copyfile` names its source first, and `copytree` raises a list of errors in place of the first one."""
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "file").touch()

    def full(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), source, None, target)

    with pytest.raises(OSError) as found, errors_named(tmp_path / "to"):
        full(str(tmp_path / "from" / "file"), str(tmp_path / "to" / "file"))
    assert (found.value.errno, found.value.filename) == (errno.ENOSPC, str(tmp_path / "to"))
    with pytest.raises(OSError) as found, errors_named(tmp_path / "to"):
        shutil.copytree(tmp_path / "from", tmp_path / "to", copy_function=full)
    assert (found.value.errno, found.value.filename) == (errno.ENOSPC, str(tmp_path / "to"))
