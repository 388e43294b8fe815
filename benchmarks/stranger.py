"""The commands of docs/first_run.md as typed and timed: `python -m benchmarks.stranger` writes its table."""

import json
import os
import re
import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "first_run.md"
BEGIN, END = "<!-- made by benchmarks/stranger.py -->\n", "<!-- end -->\n"


def commands(page: str) -> list[str]:
    blocks = re.findall(r"^```bash\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def as_typed(line: str) -> list[str]:
    words = shlex.split(line)
    if words[0] == "python":
        return [sys.executable, str(ROOT / words[1]), *words[2:]]
    assert words[0] == "xreasoner", line
    return [sys.executable, "-m", *words]


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    rows = ["| command | s | CPU s |", "|---|---|---|"]
    with TemporaryDirectory() as place:
        for line in commands(PAGE.read_text()):
            began, used = time.monotonic(), cpu_seconds()
            subprocess.run(as_typed(line), cwd=place, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
            rows.append(f"| `{line}` | {time.monotonic() - began:.0f} | {cpu_seconds() - used:.0f} |")
        results = json.loads((Path(place) / "runs" / "mine" / "results.json").read_text())
    (change,) = results["comparisons"]
    assert change["low"] > 0, "no significant gain"
    before, after = (
        next(row["accuracy"] for row in results["results"] if row["stage"] == stage)
        for stage in ("base", "sft")
    )
    gain = f"{before:.0%} to {after:.0%} of {change['n']} pictures, 95% interval of the gain "
    gain += f"{100 * change['low']:.0f} to {100 * change['high']:.0f} points"
    head, _, rest = PAGE.read_text().partition(BEGIN)
    table = "\n".join(rows)
    PAGE.write_text(f"{head}{BEGIN}\n{table}\n\n{gain}.\n\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
