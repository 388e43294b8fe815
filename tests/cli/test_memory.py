"""Freed memory is kept for the next tensors: its pages are not asked of the system again."""

import ctypes
import subprocess
import sys

import pytest

TENSORS = """
import resource
import torch
from xreasoner.cli.main import keep_freed_memory
{first}
def step():
    tensors = [torch.ones(2**20) for _ in range(20)]  # 80 MiB, which are 20,480 pages
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(first: str) -> int:
    script = [sys.executable, "-c", TENSORS.format(first=first)]
    return int(subprocess.run(script, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc alone has mallopt")
def test_freed_memory_is_kept() -> None:
    assert page_faults("") > 10_000
    assert page_faults("keep_freed_memory()") < 2_000
