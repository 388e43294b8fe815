"""How the suite runs its checks: each alone, each part within its seconds, one line of result at a time."""

import gc
import json
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch

from xreasoner.models.gpu_speed import BANDWIDTHS, PEAKS, gpu_in
from xreasoner.parallel import World

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Line:
    """One result. `met` is None where there is no aim."""

    name: str
    value: float | None
    unit: str
    aim: str = ""
    met: bool | None = None
    note: str = ""

    def __str__(self) -> str:
        mark = {True: "ok  ", False: "MISS", None: "    "}[self.met]
        value = "" if self.value is None else f"{self.value:,.4g} {self.unit}"
        parts = [f"{mark} {self.name}: {value}", self.aim and f"aim {self.aim}", self.note]
        return "; ".join(part for part in parts if part)


def at_most(name: str, value: float, limit: float, unit: str = "", note: str = "") -> Line:
    return Line(name, value, unit, f"<= {limit:g}", value <= limit, note)


def at_least(name: str, value: float, limit: float, unit: str = "", note: str = "") -> Line:
    return Line(name, value, unit, f">= {limit:g}", value >= limit, note)


def measured(name: str, value: float, unit: str, note: str = "") -> Line:
    return Line(name, value, unit, note=note)


@dataclass(frozen=True)
class Machine:
    """What the suite runs on. A CPU gets nominal speeds: its fractions of them mean nothing."""

    device: torch.device
    name: str
    peak: float
    """bfloat16 operations per second."""
    bandwidth: float
    """Bytes per second."""
    memory: float
    tiny: bool
    """Every model and every length is cut down to what a CPU does in seconds."""

    @property
    def world(self) -> World:
        return World(0, 1, self.device)

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, work: Callable[[], object]) -> float:
        self.synchronize()
        began = time.perf_counter()
        work()
        self.synchronize()
        return time.perf_counter() - began


def read_machine(tiny: bool) -> Machine:
    if not torch.cuda.is_available():
        if not tiny:
            raise ValueError("no CUDA device: on a CPU only --tiny runs")
        return Machine(torch.device("cpu"), "CPU", 1e12, 1e11, 8e9, tiny)
    found = torch.cuda.get_device_properties(0)
    known = gpu_in(found.name)
    if known is None:
        raise ValueError(f"{found.name}: its peak speed is unknown; add it to xreasoner.models.gpu_speed")
    device = torch.device("cuda", 0)
    return Machine(device, found.name, PEAKS[known], BANDWIDTHS[known], found.total_memory, tiny)


@dataclass(frozen=True)
class Check:
    name: str
    run: Callable[[Machine], Iterator[Line]]
    seconds: float = 10.0
    """About what it takes on an H100; it is skipped where its part has less time left."""
    differs_in_size: bool = False
    """And in nothing else from another check of its part: on small models it is left out."""


@dataclass(frozen=True)
class Part:
    name: str
    seconds: float
    checks: Sequence[Check]
    is_speed: bool = True


def run_part(part: Part, machine: Machine, spare: float) -> Iterator[Line]:
    """`spare`: the seconds that earlier parts did not need."""
    deadline = time.monotonic() + part.seconds + spare
    for check in part.checks:
        if machine.tiny and check.differs_in_size:
            continue
        left = deadline - time.monotonic()
        if left < check.seconds and not machine.tiny:
            yield Line(check.name, None, "", note=f"skipped: {left:.0f} s left, it takes {check.seconds:.0f}")
            continue
        for line in run_check(check, machine):
            # A tiny model's speed says nothing; what it computes has to be right all the same.
            says_nothing = machine.tiny and part.is_speed and line.aim != "runs"
            yield replace(line, met=None) if says_nothing else line


def run_check(check: Check, machine: Machine) -> Iterator[Line]:
    """What a check raises is its result: the others still run."""
    try:
        for line in check.run(machine):
            yield replace(line, name=f"{check.name}: {line.name}")
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        yield Line(check.name, None, "", "runs", False, f"{type(error).__name__}: {first[:300]}")
    if machine.device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def write_report(out: Path, machine: Machine, parts: dict[str, list[Line]], seconds: float) -> None:
    report = {
        "machine": machine.name,
        "tiny": machine.tiny,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "seconds": round(seconds, 1),
        "parts": {name: [asdict(line) for line in lines] for name, lines in parts.items()},
    }
    out.write_text(json.dumps(report, indent=2) + "\n")
