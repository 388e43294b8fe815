"""GPUs by name: `--gpus 8xH100-80` or `2x8xH100-80`, with their number, memory and speed."""

import re
from dataclasses import dataclass
from difflib import get_close_matches

from xreasoner.models.gpu_speed import BANDWIDTHS, PEAKS


@dataclass(frozen=True)
class Gpus:
    count: int
    name: str
    memory: float
    """Bytes per GPU."""

    @property
    def peak(self) -> float:
        return PEAKS[self.name]

    @property
    def bandwidth(self) -> float:
        return BANDWIDTHS[self.name]

    def __str__(self) -> str:
        return f"{self.count}x{self.name}-{self.memory / 1e9:.0f}"


def read_gpus(text: str) -> Gpus:
    """`8xH100-80` is eight GPUs with 80 GB each, `2x8xH100-80` two machines with eight."""
    form = r"(?:(\d{1,5})x)?(?:(\d{1,5})x)?([A-Z]*\d+[A-Z]?)-(\d{1,5})(?:GB)?"
    match = re.fullmatch(form, text.strip(), re.IGNORECASE)
    if not match:
        raise ValueError(f"--gpus {text}: expected the form 8xH100-80: number, name, gigabytes of each")
    name = known_name(match.group(3).upper(), text)
    count = int(match.group(1) or 1) * int(match.group(2) or 1)
    if count < 1 or int(match.group(4)) < 1:
        raise ValueError(f"--gpus {text}: at least one GPU is needed, of at least 1 GB")
    return Gpus(count, name, int(match.group(4)) * 1e9)


def known_name(name: str, text: str) -> str:
    """`4090` is an RTX4090."""
    if name in PEAKS:
        return name
    if f"RTX{name}" in PEAKS:
        return f"RTX{name}"
    numbers = {known.removeprefix("RTX"): known for known in PEAKS}
    close = get_close_matches(name.removeprefix("RTX"), numbers, n=1, cutoff=0.6)
    hint = f"did you mean {numbers[close[0]]}?" if close else f"known: {', '.join(PEAKS)}"
    raise ValueError(f"--gpus {text}: unknown GPU {name}; {hint}")
