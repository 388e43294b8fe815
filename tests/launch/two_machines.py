"""Two network namespaces with host names and addresses of their own, joined by a cable: two machines."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TAG = os.getpid()
"""Of names that are known outside the namespaces: tests may run side by side."""
NODES = {"node-a": "10.77.0.1", "node-b": "10.77.0.2"}
LINE = (
    "torchrun --nnodes 2 --nproc-per-node 1 --rdzv-backend c10d --rdzv-endpoint node-a:29500 "
    "--rdzv-id my-run --max-restarts 0 -m xreasoner run"
)
"""As docs/scale.md has it, with other numbers."""


def can_make_machines() -> bool:
    """Root, `ip` and `unshare`; some containers have all three and still refuse."""
    if os.geteuid() or not (shutil.which("ip") and shutil.which("unshare")):
        return False
    done = subprocess.run(["ip", "netns", "add", f"probe-{TAG}"], capture_output=True)
    subprocess.run(["ip", "netns", "del", f"probe-{TAG}"], capture_output=True)
    return done.returncode == 0


@contextmanager
def two_machines() -> Iterator[None]:
    hosts = "127.0.0.1 localhost\n" + "".join(f"{address} {name}\n" for name, address in NODES.items())
    for name in NODES:
        folder = Path("/etc/netns") / namespace(name)  # `ip netns exec` puts its files into /etc
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts").write_text(hosts)
        (folder / "resolv.conf").write_text("options timeout:1 attempts:1\n")
        ip("netns", "add", namespace(name))
    ip("link", "add", cable("node-a"), "type", "veth", "peer", "name", cable("node-b"))
    for name, address in NODES.items():
        ip("link", "set", cable(name), "netns", namespace(name))
        ip("-n", namespace(name), "addr", "add", f"{address}/24", "dev", cable(name))
        for device in (cable(name), "lo"):
            ip("-n", namespace(name), "link", "set", device, "up")
    try:
        yield
    finally:
        for name in NODES:
            ip("netns", "del", namespace(name))
            shutil.rmtree(Path("/etc/netns") / namespace(name))


def cut_the_cable() -> None:
    """No connection is closed by it, and no packet says that anything happened."""
    ip("-n", namespace("node-b"), "link", "set", cable("node-b"), "down")


def namespace(node: str) -> str:
    return f"{node}-{TAG}"


def cable(node: str) -> str:
    return f"{node[-1]}{TAG}"


def start_on(node: str, recipe: Path, out: Path, disk: Path | None = None) -> subprocess.Popen[bytes]:
    """`disk`: what this machine alone has at `out`."""
    words = LINE.replace("torchrun", f"{sys.executable} -m torch.distributed.run")
    inside = f"hostname {node} && exec {words} {recipe} out={out}"
    if disk:
        disk.mkdir(exist_ok=True)
        out.mkdir(exist_ok=True)
        inside = f"mount --bind {disk} {out} && {inside}"
    log = (recipe.parent / f"{node}.log").open("w")
    return subprocess.Popen(
        ["ip", "netns", "exec", namespace(node), "unshare", "--uts", "--mount", "sh", "-c", inside],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=log,
        stderr=log,
    )


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
