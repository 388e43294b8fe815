"""The documented lines for several machines, on two network namespaces: a run, a kill, a cut cable."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from benchmarks.kill_ranks import make_recipe, rank_processes, run_to_the_end, weights
from tests.launch.two_machines import NODES, can_make_machines, cut_the_cable, start_on, two_machines

pytestmark = pytest.mark.skipif(not can_make_machines(), reason="needs root and network namespaces")


@pytest.fixture
def machines() -> Iterator[None]:
    with two_machines():
        yield


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = make_recipe(tmp_path)
    text = path.read_text().partition("evaluation:")[0]
    path.write_text(text.replace("steps: 40", "steps: 24").replace("steps: 12\n", "steps: 2\n"))
    return path


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
def test_a_killed_rank_ends_the_other_machine_and_the_run_resumes(machines: None, recipe: Path) -> None:
    out = recipe.parent / "two"
    running = [start_on(node, recipe, out) for node in NODES]
    wait_for(recipe, "sft 6/", running)
    (pid,) = rank_processes(running[1].pid, 1)
    assert end_of(recipe, running, lambda: subprocess.run(["kill", "-9", str(pid)], check=True)) < 30
    assert "failed: its process ended without an error" in log_of(recipe, "node-a")
    for process in running:
        process.send_signal(signal.SIGKILL)
        process.wait()
    running = [start_on(node, recipe, out) for node in NODES]
    assert [process.wait(timeout=600) for process in running] == [0, 0], said(recipe)
    run_to_the_end(recipe, recipe.parent / "one", ranks=2)
    assert weights(out) == weights(recipe.parent / "one"), "two machines or one: the same two ranks"


@pytest.mark.slow
def test_folders_that_are_not_shared_are_refused_on_both_machines(machines: None, recipe: Path) -> None:
    running = [start_on(node, recipe, recipe.parent / node) for node in NODES]
    assert all(process.wait(timeout=600) != 0 for process in running)
    for node in NODES:
        lines = log_of(recipe, node).splitlines()
        # A rank says so itself, or that it ends because the other one said so.
        assert sum("ranks 1 do not see the first rank's files here" in line for line in lines) == 1
    assert not list(recipe.parent.glob("node-*/stages")), "nothing was trained"


@pytest.mark.slow
def test_a_machine_that_vanishes_is_noticed(machines: None, recipe: Path) -> None:
    recipe.write_text(recipe.read_text().replace("steps: 24", "steps: 600"))
    running = [start_on(node, recipe, recipe.parent / "cut") for node in NODES]
    wait_for(recipe, "/600", running)
    assert end_of(recipe, running, cut_the_cable) < 30
    for process in running:
        process.send_signal(signal.SIGKILL)
        process.wait()
