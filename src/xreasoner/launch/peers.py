"""When one rank dies, all others end within seconds and say which one it was.

Every rank holds a connection to the first. The kernel closes it when its process ends, however that happens,
and keep-alive probes find a machine that is gone; no rank has to be in a collective for that. A rank that
fails with an error sends it first, so that the others can name the cause.
"""

import json
import os
import selectors
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from xreasoner.launch.interrupts import Interrupted, pending

Address = tuple[str, int]

SECONDS_FOR_A_CAUSE = 5.0
"""An error may be the consequence of another rank's death, which the first rank learns of a moment later."""
PROBE_AFTER, PROBE_EVERY, PROBES = 5, 5, 3
"""Seconds, seconds, count: a machine that does not answer for 20 seconds is gone."""
KILLED = "its process ended without an error of its own (killed, out of memory, or its machine is gone)"


@dataclass(frozen=True)
class Cause:
    rank: int
    why: str


class PeerServer:
    """Runs in the first rank: keeps the connections, and tells all ranks which one failed first."""

    def __init__(self, size: int) -> None:
        self._listener = socket.create_server(("", 0), backlog=size)
        self.port = int(self._listener.getsockname()[1])
        self._size = size
        self._ranks: dict[socket.socket, int] = {}
        self._heard: dict[socket.socket, bytearray] = {}
        self._finished: set[int] = set()
        self._cause: Cause | None = None
        self._thread = threading.Thread(target=self._serve, name="peers", daemon=True)
        self._thread.start()

    def wait_for_the_others(self) -> None:
        """Until all ranks have finished: they would treat the end of this process as a failure."""
        self._thread.join()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while len(self._finished) < self._size:
                for key, _ in selector.select():
                    if key.fileobj is self._listener:
                        connection, _ = self._listener.accept()
                        keep_alive(connection)
                        self._heard[connection] = bytearray()
                        selector.register(connection, selectors.EVENT_READ)
                    else:
                        assert isinstance(key.fileobj, socket.socket)
                        if not self._read(key.fileobj):
                            selector.unregister(key.fileobj)

    def _read(self, connection: socket.socket) -> bool:
        """False when the connection is closed."""
        data = receive(connection)
        self._heard[connection] += data
        *lines, rest = self._heard[connection].split(b"\n")
        self._heard[connection] = bytearray(rest)
        for line in lines:
            self._handle(connection, json.loads(line))
        if not data:
            rank = self._ranks.get(connection)
            if rank is not None and rank not in self._finished:
                self._tell_all(Cause(rank, KILLED))
        return bool(data)

    def _handle(self, connection: socket.socket, message: dict[str, Any]) -> None:
        match message["say"]:
            case "here":
                self._ranks[connection] = message["rank"]
                if self._cause:
                    send(connection, vars(self._cause))
            case "finished":
                self._finished.add(message["rank"])
            case "failed":
                self._tell_all(Cause(message["rank"], message["why"]))

    def _tell_all(self, cause: Cause) -> None:
        if self._cause is None:
            self._cause = cause
            # This process's rank is told last: it ends the process, which others would take for the cause.
            for connection in sorted(self._ranks, key=lambda each: self._ranks[each], reverse=True):
                send(connection, vars(cause))


@dataclass
class Peers:
    """This rank's connection. `end` is called in a thread when another rank failed."""

    rank: int
    connection: socket.socket
    end: Callable[[Cause], None]
    _told: threading.Event = field(default_factory=threading.Event)
    _finished: bool = False

    def watch(self) -> None:
        self.connection.settimeout(None)
        keep_alive(self.connection)
        send(self.connection, {"say": "here", "rank": self.rank})
        threading.Thread(target=self._listen, name="peer", daemon=True).start()

    def finished(self) -> None:
        self._finished = True
        send(self.connection, {"say": "finished", "rank": self.rank})

    def failed(self, why: str) -> None:
        """Returns if this rank is the cause; ends the process if another rank failed first."""
        # Others may have failed first and caused this error: wait for their connections to close.
        self._told.wait(SECONDS_FOR_A_CAUSE if is_second_hand(why) else 0)
        send(self.connection, {"say": "failed", "rank": self.rank, "why": why})
        self._told.wait(SECONDS_FOR_A_CAUSE)

    def _listen(self) -> None:
        heard = bytearray()
        while b"\n" not in heard:
            data = receive(self.connection)
            if not data:
                break
            heard += data
        if self._finished and not heard:
            return  # the first rank ended after this one
        cause = Cause(**json.loads(heard)) if heard else Cause(0, KILLED)
        if cause.rank != self.rank:
            self.end(cause)
        self._told.set()


def own_address() -> str:
    """At which other machines reach this one: that of the interface toward the rendezvous."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((os.environ["MASTER_ADDR"], 9))  # sends nothing
        return str(probe.getsockname()[0])


def reachable(address: Address) -> Address:
    """A loopback address is that of the machine of the rendezvous, which others know by its name."""
    host, port = address
    return (os.environ["MASTER_ADDR"] if host.startswith("127.") else host), port


def is_second_hand(why: str) -> bool:
    """The errors that a collective raises in a rank whose peer is gone."""
    return why.startswith(("RuntimeError", "Dist"))


def keep_alive(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_AFTER)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_EVERY)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)


def send(connection: socket.socket, message: dict[str, Any]) -> None:
    try:
        connection.sendall(json.dumps(message).encode() + b"\n")
    except OSError:  # the peer is gone; the thread that reads from it says so
        return


def receive(connection: socket.socket) -> bytes:
    """Empty when the connection is closed, in whatever way."""
    try:
        return connection.recv(1 << 16)
    except OSError:
        return b""


def end_process(rank: int) -> Callable[[Cause], NoReturn]:
    def end(cause: Cause) -> NoReturn:
        sys.stdout.flush()
        if stopped := pending():  # it waits for a rank that the same signal ended
            os._exit(128 + stopped)
        sys.stderr.write(f"rank {rank} ends because rank {cause.rank} failed: {cause.why}\n")
        sys.stderr.flush()
        os._exit(1)

    return end


@contextmanager
def ending_together(rank: int, size: int, share: Callable[[Address], Address]) -> Iterator[None]:
    """Work of all ranks that ends everywhere when it ends in one of them by an error or a kill.

    `share` gives every rank the address that the first one calls it with.
    """
    if size == 1:
        yield
        return
    server = PeerServer(size) if rank == 0 else None
    address = reachable(share((own_address(), server.port if server else 0)))
    peers = Peers(rank, socket.create_connection(address, timeout=60), end_process(rank))
    peers.watch()
    try:
        yield
    except Interrupted:  # the launcher sends every rank the signal
        peers.finished()
        raise
    except BaseException as error:
        peers.failed(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
        raise
    peers.finished()
    if server:
        server.wait_for_the_others()
