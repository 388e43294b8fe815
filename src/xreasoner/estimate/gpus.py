"""What `--gpus 8xH100-80` means: how many, of what memory and speed."""

import re
from dataclasses import dataclass

PEAKS: dict[str, float] = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "A6000": 155e12,
    "RTX5090": 210e12,
    "RTX4090": 165e12,
    "RTX3090": 71e12,
    "L4": 121e12,
    "T4": 65e12,
}
"""Dense bfloat16 (T4: float16) multiply-adds with float32 sums, operations a second, by the makers."""
BANDWIDTHS: dict[str, float] = {
    "B200": 8.0e12,
    "H200": 4.8e12,
    "H100": 3.35e12,
    "A100": 2.0e12,
    "L40S": 0.86e12,
    "A6000": 0.77e12,
    "RTX5090": 1.79e12,
    "RTX4090": 1.01e12,
    "RTX3090": 0.94e12,
    "L4": 0.3e12,
    "T4": 0.32e12,
}
"""Bytes a second from the card's own memory: what generating is bound by."""


@dataclass(frozen=True)
class Gpus:
    count: int
    name: str
    memory: float
    """Bytes on each."""

    @property
    def peak(self) -> float:
        return PEAKS[self.name]

    @property
    def bandwidth(self) -> float:
        return BANDWIDTHS[self.name]

    def __str__(self) -> str:
        return f"{self.count}x{self.name}-{self.memory / 1e9:.0f}"


def read_gpus(text: str) -> Gpus:
    """`8xH100-80`: eight cards with 80 GB each."""
    match = re.fullmatch(r"(?:(\d+)x)?([A-Za-z0-9]+)-(\d+)(?:GB)?", text.strip(), re.IGNORECASE)
    if not match:
        raise ValueError(f"--gpus {text}: it has the form 8xH100-80, cards and gigabytes on each")
    name = match.group(2).upper()
    if name not in PEAKS:
        raise ValueError(f"--gpus {text}: the card {name} is not known; known are {', '.join(PEAKS)}")
    count = int(match.group(1) or 1)
    if count < 1:
        raise ValueError(f"--gpus {text}: at least one card is needed")
    return Gpus(count, name, int(match.group(3)) * 1e9)
