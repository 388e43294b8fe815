"""`kill -9` of one rank at random moments: how soon all others end, and does the resumed run end the same?

python benchmarks/kill_ranks.py --kills 20 --ranks 3
"""

import argparse
import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from xreasoner.launch.torchrun import OWN_STORE, torchrun_line
from xreasoner.miniworld.model import Size, new_base, save_base

RECIPE = """
name: killed
model: {base}
instruction: think then answer
stages:
  sft:
    kind: sft
    data: [{{source: miniworld, families: [sums, bars], steps: [1, 2], count: 60}}]
    steps: 40
    lr: 3e-3
    tokens_per_step: 1024
    freeze: [embeddings]
    checkpoint_every: 4
  rl:
    kind: grpo
    data: [{{source: miniworld, families: [sums], steps: [1, 1], count: 40}}]
    steps: 12
    lr: 1e-3
    prompts_per_step: 6
    samples_per_prompt: 4
    think_budget: 24
    answer_budget: 6
    skip_zero_spread: false
    checkpoint_every: 2
evaluation:
  think_budget: 24
  answer_budget: 6
  rows: 8
  benchmarks:
    - {{source: miniworld, families: [sums], steps: [1, 2], count: 12}}
"""
NAMED_BY_PEERS = re.compile(r"rank \d+ ends because rank (\d+) failed: ")
NAMED_BY_TORCHRUN = re.compile(r"Root Cause.*?rank +: (\d+)", re.DOTALL)


@dataclass(frozen=True)
class Kill:
    rank: int
    after: float
    """Seconds since the rank began its work."""
    ended: float
    """Seconds until the last of the other ranks was gone."""
    all_ended: float
    """Seconds until torchrun was gone too."""
    by_peers: set[str]
    """The ranks that the others named as the cause, before torchrun ended them."""
    by_torchrun: set[str]


def make_recipe(folder: Path) -> Path:
    size = Size(
        hidden=32,
        layers=2,
        heads=2,
        kv_heads=1,
        mlp=64,
        vision_hidden=32,
        vision_layers=1,
        rope_sections=(0, 1, 7),
    )
    save_base(new_base(0, size)[0], folder / "base")
    (folder / "killed.yaml").write_text(RECIPE.format(base=folder / "base"))
    return folder / "killed.yaml"


def start(recipe: Path, out: Path, ranks: int, restarts: int = 0) -> subprocess.Popen[str]:
    line = torchrun_line(ranks, restarts, ["run", str(recipe), f"out={out}"])
    environment = os.environ | {"OMP_NUM_THREADS": "1", OWN_STORE: "1"}
    log = out.with_suffix(".log").open("a")
    return subprocess.Popen(line, stdout=log, stderr=log, text=True, env=environment)


def rank_processes(torchrun: int, ranks: int) -> list[int]:
    """By rank, once all have begun: torchrun's children carry their rank in the environment."""
    found: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            environment = (folder / "environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):  # ended meanwhile
            continue
        rank = re.search(rb"(?:^|\0)RANK=(\d+)", environment)
        if int(parent) == torchrun and rank:
            found[int(rank[1])] = int(folder.name)
    return [found[rank] for rank in sorted(found)] if len(found) == ranks else []


def wait_for_work(process: subprocess.Popen[str], out: Path, ranks: int) -> list[int]:
    """Until the first rank has locked the run directory: then the imports are over."""
    while process.poll() is None:
        pids, lock = rank_processes(process.pid, ranks), out / "lock"
        if pids and lock.exists() and lock.read_text().startswith(f"{pids[0]} "):
            return pids
        time.sleep(0.1)
    raise RuntimeError(f"the run ended before it began: see {out.with_suffix('.log')}")


def kill_one(recipe: Path, out: Path, ranks: int, victim: int, after: float) -> Kill | None:
    """None where the run was finished before the kill."""
    log = out.with_suffix(".log")
    said = log.stat().st_size if log.exists() else 0
    process = start(recipe, out, ranks)
    pids = wait_for_work(process, out, ranks)
    time.sleep(after)
    if not is_alive(pids[victim]):
        process.wait()
        return None
    os.kill(pids[victim], signal.SIGKILL)
    killed = time.monotonic()
    while any(is_alive(pid) for rank, pid in enumerate(pids) if rank != victim):
        time.sleep(0.02)
    ended = time.monotonic() - killed
    process.wait(timeout=300)
    all_ended = time.monotonic() - killed
    text = log.read_text()[said:]
    named = set(NAMED_BY_PEERS.findall(text)), set(NAMED_BY_TORCHRUN.findall(text))
    return Kill(victim, after, ended, all_ended, *named)


def is_alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def run_to_the_end(recipe: Path, out: Path, ranks: int) -> float:
    process = start(recipe, out, ranks)
    wait_for_work(process, out, ranks)
    began = time.monotonic()
    if process.wait():
        raise RuntimeError(f"the run failed: see {out.with_suffix('.log')}")
    return time.monotonic() - began


def weights(out: Path) -> dict[str, str]:
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in sorted(out.glob("stages/*/*/model.safetensors"))
    }


def table_line(number: int, kill: Kill) -> str:
    named = [",".join(sorted(ranks)) or "-" for ranks in (kill.by_peers, kill.by_torchrun)]
    times = f"{kill.after:.1f} | {kill.ended:.1f} | {kill.all_ended:.1f}"
    return f"| {number} | {kill.rank} | {times} | {named[0]} | {named[1]} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--ranks", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = make_recipe(folder)
        whole = run_to_the_end(recipe, folder / "unbroken", settings.ranks)
        say(f"unbroken: {whole:.1f} s of work on {settings.ranks} ranks\n")
        say("| kill | rank | after, s | others gone, s | torchrun gone, s | peers name | torchrun names |")
        say("|---|---|---|---|---|---|---|")
        rng, done, runs = random.Random(settings.seed), 0, 1
        while done < settings.kills:
            # Short against the whole run: several kills fall into one run, each time a little later.
            after, victim = rng.uniform(0, whole / 3), rng.randrange(settings.ranks)
            kill = kill_one(recipe, folder / f"broken-{runs}", settings.ranks, victim, after)
            if kill is None:  # it reached its end
                runs += 1
                continue
            done += 1
            say(table_line(done, kill))
        run_to_the_end(recipe, folder / f"broken-{runs}", settings.ranks)
        wanted = weights(folder / "unbroken")
        same = [weights(folder / f"broken-{number}") == wanted for number in range(1, runs + 1)]
        say(f"\n{sum(same)} of {len(same)} killed and resumed runs have the unbroken run's weights")
        sys.exit(not all(same))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
