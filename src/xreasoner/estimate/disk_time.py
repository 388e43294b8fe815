"""What is read when a stage starts and written while it trains, in bytes and seconds.

Seconds follow from two assumed rates, which depend on the machine: measure yours, and scale them.
"""

import math
from dataclasses import dataclass

from xreasoner.estimate.memory import FLOAT32, TrainingSetup

ON_MACHINE = 8
"""Assumed GPUs of a machine."""
DISK = 2e9
"""Bytes per second that a machine reads or writes."""
TO_HOST = 10e9
"""Bytes per second from one GPU to the memory of its machine."""


@dataclass(frozen=True)
class DiskTime:
    read: float
    """Bytes that each machine reads at the start."""
    state: float
    """Bytes of one training state. Up to three are on disk: two that are kept, and one that is written."""
    pause: float
    """Seconds that training waits for a state."""
    write: float
    """Seconds until all of it is on disk."""
    checkpoint: float
    """Bytes of the model at the end, which the first process writes."""

    @property
    def load(self) -> float:
        """Seconds."""
        return self.read / DISK


def disk_time(t: TrainingSetup, saved: int, in_background: bool) -> DiskTime:
    """`saved`: bytes of a number in a checkpoint."""
    checkpoint = float(saved * t.shape.parameters)
    machines = math.ceil(t.gpus / ON_MACHINE)
    state = 3.0 * FLOAT32 * t.trainable
    write = state / machines / DISK
    return DiskTime(
        # A rank reads its own rows, and of a base in 4 bits all; what another process of the machine has read
        # is in memory.
        read=checkpoint if t.in_4_bits else checkpoint / machines,
        state=state,
        pause=state / t.gpus / TO_HOST if in_background else write,
        write=write,
        checkpoint=checkpoint,
    )
