"""The documented lines for several machines, on two network namespaces: a kill, a cut cable."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from benchmarks.kill_ranks import make_recipe, rank_processes, weights
from rich.console import Console
from tests.launch.two_machines import NODES, can_make_machines, cut_the_cable, start_on, two_machines
from tests.train.processes import run_on_ranks

from xreasoner.pipeline.run import run_recipe
from xreasoner.recipe.file import read_recipe

EVALUATION = """evaluation:
  think_budget: 24
  answer_budget: 6
  benchmarks: [{source: miniworld, families: [sums], steps: [1, 2], count: 12}]
"""

pytestmark = pytest.mark.skipif(not can_make_machines(), reason="needs root and network namespaces")


@pytest.fixture
def machines() -> Iterator[None]:
    with two_machines():
        yield


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return short_recipe(tmp_path)


def short_recipe(folder: Path) -> Path:
    path = make_recipe(folder)
    text = path.read_text().partition("evaluation:")[0] + EVALUATION
    path.write_text(text.replace("steps: 40", "steps: 24").replace("steps: 12\n", "steps: 2\n"))
    return path


@pytest.fixture
def on_one_machine(tmp_path: Path) -> Path:
    folder = tmp_path / "whole"
    folder.mkdir()
    run_on_ranks(run_recipe_file, 2, short_recipe(folder), folder / "run")
    return folder / "run"


def run_recipe_file(recipe: Path, out: Path) -> None:
    run_recipe(read_recipe(recipe, [f"out={out}"]), Console(quiet=True))


def wait_for(recipe: Path, words: str, running: list[subprocess.Popen[bytes]]) -> None:
    while not any(words in log_of(recipe, node) for node in NODES):
        assert all(process.poll() is None for process in running), said(recipe)
        time.sleep(0.1)


def log_of(recipe: Path, node: str) -> str:
    return (recipe.parent / f"{node}.log").read_text()


def said(recipe: Path) -> str:
    return "\n".join(log_of(recipe, node) for node in NODES)


def end_of(recipe: Path, running: list[subprocess.Popen[bytes]], harm: Callable[[], None]) -> float:
    """Seconds from the harm to the end of the rank on the other machine."""
    (pid,) = rank_processes(running[0].pid, 1)
    harm()
    began = time.monotonic()
    while (Path("/proc") / str(pid)).exists():
        assert time.monotonic() < began + 60, said(recipe)
        time.sleep(0.05)
    return time.monotonic() - began


@pytest.mark.slow
def test_without_a_shared_disk_a_killed_run_resumes_to_the_same_files(
    machines: None, recipe: Path, on_one_machine: Path
) -> None:
    """The evaluation too, of which each answers its share."""
    out, disks = recipe.parent / "run", {node: recipe.parent / node for node in NODES}
    running = [start_on(node, recipe, out, disks[node]) for node in NODES]
    wait_for(recipe, "sft 10/", running)
    (pid,) = rank_processes(running[1].pid, 1)
    assert end_of(recipe, running, lambda: subprocess.run(["kill", "-9", str(pid)], check=True)) < 30
    assert "failed: its process ended without an error" in log_of(recipe, "node-a")
    for process in running:
        process.send_signal(signal.SIGKILL)
        process.wait()
    here, there = disks["node-a"], disks["node-b"]
    saved = sorted(path.name for path in (here / "stages" / "1-sft" / "state").glob("step-*/__1_*"))
    assert saved, "the first machine has what the other one's rank saved"
    running = [start_on(node, recipe, out, disks[node]) for node in NODES]
    assert [process.wait(timeout=600) for process in running] == [0, 0], said(recipe)
    assert "sft 24/24" in log_of(recipe, "node-a").partition("sft 10/")[2]
    assert weights(here) == weights(on_one_machine), "two machines or one: the same two ranks"
    for answers in sorted(on_one_machine.glob("evals/*/*.jsonl")):
        assert (here / answers.relative_to(on_one_machine)).read_bytes() == answers.read_bytes()
    assert not out.exists() or not list(out.iterdir()), "nothing was written where both could see it"
    assert not list(there.glob("stages/*/state")), "copies that are not needed any more are deleted"
    assert not (there / "recipe.yaml").exists(), "the run is on the first machine"


@pytest.mark.slow
def test_a_machine_that_vanishes_is_noticed(machines: None, recipe: Path) -> None:
    recipe.write_text(recipe.read_text().replace("steps: 24", "steps: 600"))
    running = [start_on(node, recipe, recipe.parent / "cut") for node in NODES]
    wait_for(recipe, "/600", running)
    assert end_of(recipe, running, cut_the_cable) < 30
    for process in running:
        process.send_signal(signal.SIGKILL)
        process.wait()
