"""Processes that only sleep, joined by `ending_together`: no collective would notice a death."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from xreasoner.launch import peers

SIZE = 4

RANK = """
import json, os, sys, time
from pathlib import Path
from xreasoner.launch.peers import ending_together
rank, size, folder, work = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]

def share(address):
    if rank == 0:
        (folder / "new").write_text(json.dumps(address))
        (folder / "new").rename(folder / "address")
    while not (folder / "address").exists():
        time.sleep(0.01)
    return json.loads((folder / "address").read_text())

with ending_together(rank, size, share):
    (folder / f"ready-{rank}").touch()
    while not (folder / "go").exists():
        time.sleep(0.01)
    exec(work)
print("worked to the end", flush=True)
"""


@contextmanager
def ranks(folder: Path, works: dict[int, str]) -> Iterator[list[subprocess.Popen[str]]]:
    environment = os.environ | {"MASTER_ADDR": "127.0.0.1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(r), str(SIZE), str(folder), works.get(r, "time.sleep(60)")],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for r in range(SIZE)
    ]
    deadline = time.monotonic() + 60
    while not all((folder / f"ready-{r}").exists() for r in range(SIZE)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (folder / "go").touch()
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def ends(started: list[subprocess.Popen[str]], within: float) -> list[tuple[int, str]]:
    deadline = time.monotonic() + within
    found = []
    for process in started:
        _, errors = process.communicate(timeout=max(0.1, deadline - time.monotonic()))
        found.append((process.returncode, errors))
    return found


@pytest.mark.parametrize("victim", [0, 2])
def test_a_killed_rank_ends_all_others(victim: int, tmp_path: Path) -> None:
    with ranks(tmp_path, {}) as started:
        started[victim].send_signal(signal.SIGKILL)
        found = ends(started, within=5)
    for rank, (code, errors) in enumerate(found):
        if rank == victim:
            assert code == -signal.SIGKILL
        else:
            assert code == 1
            cause = f"rank {rank} ends because rank {victim} failed: its process ended without an error"
            assert errors.startswith(cause)
            assert errors.count("\n") == 1, "one line, no traceback"


def test_an_error_names_its_rank_and_its_words(tmp_path: Path) -> None:
    with ranks(tmp_path, {1: "raise ValueError('data.jsonl:7: not valid JSON')"}) as started:
        found = ends(started, within=8)
    assert [code for code, _ in found] == [1, 1, 1, 1]
    for rank in (0, 2, 3):
        assert found[rank][1] == (
            f"rank {rank} ends because rank 1 failed: ValueError: data.jsonl:7: not valid JSON\n"
        )
    assert "Traceback" in found[1][1]
    assert "not valid JSON" in found[1][1]


def test_the_rank_beside_the_server_is_told_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the process that tells the others, who would then name it as the cause."""
    told: list[int] = []
    server = peers.PeerServer(3)
    connections = {rank: socket.create_connection(("127.0.0.1", server.port)) for rank in (0, 1, 2)}
    ports = {connection.getsockname()[1]: rank for rank, connection in connections.items()}
    monkeypatch.setattr(
        peers, "send", lambda connection, message: told.append(ports[connection.getpeername()[1]])
    )
    for rank in (0, 2, 1):
        connections[rank].sendall(json.dumps({"say": "here", "rank": rank}).encode() + b"\n")
        time.sleep(0.2)
    connections[2].sendall(json.dumps({"say": "failed", "rank": 2, "why": "ValueError: x"}).encode() + b"\n")
    deadline = time.monotonic() + 5
    while len(told) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert told == [2, 1, 0]
    for connection in connections.values():
        connection.close()


def test_an_error_of_all_ranks_is_shown_once(tmp_path: Path) -> None:
    with ranks(tmp_path, dict.fromkeys(range(SIZE), "raise ValueError('the same')")) as started:
        found = ends(started, within=8)
    assert sum("Traceback" in errors for _, errors in found) == 1


def test_a_consequence_is_not_taken_for_the_cause(tmp_path: Path) -> None:
    """A collective fails in the other ranks at once; its cause may be learned a moment later."""
    fails = "import time; time.sleep(0.5); raise RuntimeError('Connection closed by peer')"
    with ranks(tmp_path, {0: fails, 1: fails, 3: fails}) as started:
        time.sleep(0.6)
        started[2].send_signal(signal.SIGKILL)
        found = ends(started, within=8)
    for rank in (0, 1, 3):
        assert found[rank][1].startswith(f"rank {rank} ends because rank 2 failed: its process ended")
        assert "Traceback" not in found[rank][1]


def test_ranks_that_finish_at_different_times_end_well(tmp_path: Path) -> None:
    works = {rank: f"time.sleep({delay})" for rank, delay in enumerate((0.0, 1.0, 0.2, 0.5))}
    with ranks(tmp_path, works) as started:
        found = ends(started, within=8)
    assert found == [(0, "")] * SIZE


def test_a_machine_that_vanished_is_found_by_probes() -> None:
    """No packet tells of a power cut: the kernel asks after 5 silent seconds and gives up 15 later."""
    from xreasoner.launch.peers import keep_alive

    with socket.socket() as connection:
        keep_alive(connection)
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        idle, interval, count = (connection.getsockopt(socket.IPPROTO_TCP, option) for option in options)
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert idle + interval * count == 20
