"""One process for each GPU of this machine, started by torchrun."""

import os
import sys
from collections.abc import Callable, Sequence

import torch

OWN_STORE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
"""torchrun's setting for a new store at each restart. In the one it shares between them, ranks find the
addresses of those that are gone, and cannot connect (torch 2.13)."""


def is_started() -> bool:
    """torchrun, or anything else that sets its variables, started this process."""
    return "RANK" in os.environ


def processes_for(gpus: int | None) -> int:
    """All GPUs of this machine by default. Without a GPU, that many processes on the CPU."""
    here = torch.cuda.device_count()
    if gpus is None:
        return max(1, here)
    if here and gpus > here:
        raise ValueError(f"--gpus {gpus}: this machine has {here}")
    return gpus


def torchrun_line(processes: int, restarts: int, arguments: Sequence[str]) -> list[str]:
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={processes}",
        f"--max-restarts={restarts}",
        "-m",
        "xreasoner",
        *arguments,
    ]


def become_torchrun(
    processes: int, restarts: int, arguments: Sequence[str], say: Callable[[str], None]
) -> None:
    """Replaces this process: signals and the exit code are torchrun's."""
    where = "GPUs" if torch.cuda.is_available() else "CPU processes"
    say(f"{processes} {where}: starting torchrun with one process for each; --gpus 1 uses a single one")
    os.environ[OWN_STORE] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    sys.stdout.flush()
    line = torchrun_line(processes, restarts, arguments)
    os.execv(line[0], line)
