"""TERM and INT at any point of a stage: the state is saved, and a resumed run ends as an unbroken one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults.runs import outcome, run, run_until_trained
from tests.forked import Command

from xreasoner.launch import interrupts
from xreasoner.launch.interrupts import Interrupted, raise_on_signals
from xreasoner.storage.files import UNFINISHED
from xreasoner.storage.state_folders import saved_step
from xreasoner.train import best, optim, sft, training_states


@pytest.fixture(scope="module")
def unbroken(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("unbroken") / "out"
    run(tiny_base, out, checkpoint_every=100)
    return outcome(out)


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch):
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.setattr(interrupts, "_pending", None)
    raise_on_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


PLACES = {
    # where the signal comes: the module, the function, its call, the step whose state is saved
    "in the gradient": (sft, "accumulate", 3, 2),
    "between two steps": (sft, "set_lr", 3, 2),
    "before the optimizer's step": (optim.nn.utils, "get_total_norm", 3, 3),
    "while held-out data are measured": (sft, "mean_loss", 2, 2),
    "when they are measured": (sft, "keep_best", 2, 2),
    "while the result is written": (best, "folder_written_atomically", 1, 4),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_stage_that_gets_a_signal(
    place: str, tiny_base: Path, tmp_path: Path, unbroken: dict[str, bytes], signals: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    module, name, call, step = PLACES[place]
    real, calls = getattr(module, name), iter(range(1, 100))

    def kills(*arguments, **named):
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments, **named)

    with monkeypatch.context() as patched, pytest.raises(Interrupted) as stop:
        patched.setattr(module, name, kills)
        run(tiny_base, tmp_path, checkpoint_every=100)
    assert stop.value.saved == f"the training state of step {step} is saved"
    assert saved_step(tmp_path / "stages" / "1-sft" / "state") == step
    assert not list(tmp_path.rglob(f"*{UNFINISHED}*"))
    monkeypatch.setattr(interrupts, "_pending", None)
    run(tiny_base, tmp_path, checkpoint_every=100)
    found = outcome(tmp_path)
    assert [key for key in unbroken if found[key] != unbroken[key]] == []


def test_a_signal_while_a_state_is_loaded(
    tiny_base: Path, tmp_path: Path, signals: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_until_trained(tiny_base, tmp_path)
    read = training_states.FileSystemReader.read_metadata

    def kills(self, *arguments, **named):
        os.kill(os.getpid(), signal.SIGTERM)
        return read(self, *arguments, **named)

    monkeypatch.setattr(training_states.FileSystemReader, "read_metadata", kills)
    with pytest.raises(Interrupted):
        run(tiny_base, tmp_path)


RECIPE = """
name: stopped
model: {base}
stages:
  sft:
    kind: sft
    data: [{{source: miniworld, families: [sums], steps: [1, 2], count: 60}}]
    steps: 100000
    tokens_per_step: 512
    checkpoint_every: 100000
evaluation: {{benchmarks: [], after: []}}
"""
TOGETHER = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def wait_for_training(poll: Callable[[], int | None], out: Path) -> None:
    metrics = out / "stages" / "1-sft" / "metrics.jsonl"
    while poll() is None and not (metrics.exists() and metrics.read_bytes().count(b"\n") > 2):
        time.sleep(0.1)


def stopping_line(number: signal.Signals, out: Path) -> str:
    assert not list(out.rglob(f"*{UNFINISHED}*"))
    step = saved_step(out / "stages" / "1-sft" / "state")
    assert step >= 3
    return f"Stopped by {number.name}: the training state of step {step} is saved"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_process_says_in_one_line_how_to_resume(
    number: signal.Signals, code: int, tiny_base: Path, tmp_path: Path
) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(base=tiny_base))
    process = Command("run", tmp_path / "recipe.yaml", "--out", tmp_path / "out")
    wait_for_training(process.poll, tmp_path / "out")
    os.kill(process.pid, number)
    done = process.wait(timeout=60)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(stopping_line(number, tmp_path / "out"))
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_so_do_ranks(tiny_base: Path, tmp_path: Path) -> None:
    """torchrun has its own exit code, and its own lines about the signal."""
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(base=tiny_base))
    out = tmp_path / "out"
    command = [*TOGETHER, "-m", "xreasoner", "run", str(tmp_path / "recipe.yaml"), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    wait_for_training(process.poll, out)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1, said
    line = stopping_line(signal.SIGTERM, out)
    assert any(one.startswith(line) for one in said.splitlines())
