"""kill -9 at random moments: a resumed run ends with the bytes of an unbroken one."""

import json
import random
import time
from pathlib import Path

import pytest
from tests.forked import Command

KILLS = 2
"""`python -m benchmarks.faults kills` tries hundreds."""

RECIPE = """
name: killed
model: {base}
instruction: think then answer
stages:
  sft:
    kind: sft
    data: [{{source: miniworld, families: [sums, bars], steps: [1, 2], count: 60}}]
    steps: 16
    lr: 3e-3
    tokens_per_step: 512
    freeze: [embeddings]
    checkpoint_every: 3
  rl:
    kind: grpo
    data: [{{source: miniworld, families: [sums], steps: [1, 1], count: 40}}]
    steps: 4
    lr: 1e-3
    prompts_per_step: 4
    samples_per_prompt: 4
    think_budget: 12
    answer_budget: 6
    skip_zero_spread: false
    held_out: 4
    eval_every: 2
    samples_every: 2
    checkpoint_every: 2
evaluation:
  think_budget: 24
  answer_budget: 6
  samples: 2
  temperature: 1.0
  rows: 8
  benchmarks:
    - {{source: miniworld, families: [sums], steps: [1, 2], count: 8}}
"""


def finish(process: Command) -> None:
    done = process.wait()
    assert done.returncode == 0, done.stderr


def wait_for_work(process: Command, out: Path) -> None:
    """Until this process has the lock."""
    lock = out / "lock"
    while process.poll() is None and not (lock.exists() and lock.read_text().startswith(f"{process.pid} ")):
        time.sleep(0.01)


def outcome(out: Path) -> dict[str, bytes]:
    """Whatever a run leaves behind that must not depend on how often it was killed."""
    folders = ("stages/*/model/*", "stages/*/checkpoint/*", "evals/*/*.jsonl", "evals/*/sums-*.json")
    found = {
        path for pattern in (*folders, "stages/*/samples/*", "base/model/*") for path in out.glob(pattern)
    }
    return {str(path.relative_to(out)): path.read_bytes() for path in found if path.is_file()}


def metrics(out: Path) -> dict[str, list[dict[str, float]]]:
    """By stage, without what a clock or a memory gauge says."""
    return {
        path.parent.name: [untimed(json.loads(line)) for line in path.read_text().splitlines()]
        for path in out.glob("stages/*/metrics.jsonl")
    }


def untimed(line: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in line.items() if "seconds" not in key}


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_as_an_unbroken_one(tiny_base: Path, tmp_path: Path) -> None:
    recipe, unbroken, broken = tmp_path / "killed.yaml", tmp_path / "unbroken", tmp_path / "broken"
    recipe.write_text(RECIPE.format(base=tiny_base))
    process = Command("run", recipe, "--out", unbroken)
    wait_for_work(process, unbroken)
    began = time.monotonic()
    finish(process)
    work_seconds = time.monotonic() - began

    rng, delays = random.Random(), []
    for _ in range(KILLS):
        process = Command("run", recipe, "--out", broken)
        wait_for_work(process, broken)
        delays.append(rng.uniform(0, 0.5 * work_seconds))
        time.sleep(delays[-1])
        process.kill()
        process.wait()
    finish(Command("run", recipe, "--out", broken))

    told = f"killed after {[round(delay, 2) for delay in delays]} of {work_seconds:.1f} seconds"
    wanted, found = outcome(unbroken), outcome(broken)
    assert sum(name.endswith("checkpoint/model.safetensors") for name in wanted) == 2
    assert sum(name.endswith(".jsonl") and name.startswith("evals/") for name in wanted) == 6
    assert sorted(found) == sorted(wanted), told
    assert [name for name in wanted if found[name] != wanted[name]] == [], told
    assert metrics(broken) == metrics(unbroken), told
    assert not list(broken.rglob(".*unfinished*")), told
    assert not (broken / "stale").exists(), told
