"""Starts the program again with a library that fails its writes and moves its clock."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCES = ("full_disk.c", "clock_jumps.c")
NAME = "faults.so"


def preload() -> None:
    if NAME in os.environ.get("LD_PRELOAD", ""):
        return
    library = Path(tempfile.mkdtemp(prefix="faults-")) / NAME
    sources = [str(Path(__file__).with_name(name)) for name in SOURCES]
    flags = ["-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, "-o", str(library), *sources], check=True)
    os.environ["LD_PRELOAD"] = str(library)
    os.execv(sys.executable, sys.orig_argv)
