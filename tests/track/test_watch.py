"""A run seen from its folder: what the view says, at every size, and when the run is killed."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from xreasoner.storage.run_folder import is_in_use, locked
from xreasoner.track.live_view import LiveView, live_view, sparkline
from xreasoner.track.progress import ProgressReader, RunProgress
from xreasoner.track.watch import watch

RECIPE = """
name: small
model: miniworld
stages: {sft: {kind: sft}, rl: {kind: grpo}}
evaluation: {benchmarks: [{source: miniworld}], after: [sft, rl]}
"""
SFT = {"loss": 1.5, "lr": 1e-3, "tokens": 1000, "seconds": 2.0}
GRPO = {
    "reward": 0.25,
    "correct": 0.25,
    "think_tokens": 30.0,
    "answer_length": 40.0,
    "forced": 0.5,
    "skipped": 0.125,
    "loss": 0.0,
    "lr": 1e-4,
    "tokens": 600,
    "rollout_seconds": 2.0,
    "update_seconds": 1.0,
}


def add(path: Path, *rows: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(f"{json.dumps(row)}\n" for row in rows)


def answer(correct: bool) -> dict[str, object]:
    return {
        "problem_id": "p",
        "score": {"correct": correct},
        "forced": not correct,
        "text": "<think> so </think>",
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "log").write_text("2026-01-01 00:00:00 sft: done in 4 s\n")
    add(folder / "stages" / "1-sft" / "metrics.jsonl", *({"step": one, **SFT} for one in (1, 2)))
    add(folder / "stages" / "1-sft" / "metrics.jsonl", {"step": 2, "held_out_loss": 9.0})
    (folder / "stages" / "1-sft" / "manifest.json").write_text('{"state": "done"}')
    add(folder / "lengths" / "stages" / "rl.json", {"steps": 10})
    add(folder / "evals" / "sft" / "sums.jsonl", answer(True), answer(False))
    (folder / "evals" / "sft" / "sums.json").write_text("{}")
    add(folder / "stages" / "2-rl" / "metrics.jsonl", *({"step": one, **GRPO} for one in (1, 2, 3, 4)))
    rollout = {"question": "1+1", "text": "<think> easy </think> 2", "correct": True}
    add(folder / "stages" / "2-rl" / "samples" / "step-000004.jsonl", rollout)
    return folder


def test_the_parts_of_a_run_and_how_far_they_are(run: Path) -> None:
    with locked(run):
        progress = ProgressReader(run).read()
    found = [(part.name, part.kind, part.state, part.done, part.total) for part in progress.parts]
    assert found == [
        ("sft", "sft", "done", 2, None),
        ("sft", "evaluation", "done", 2, None),
        ("rl", "grpo", "running", 4, 10),
        ("rl", "evaluation", "waiting", 0, None),
    ]
    assert progress.parts[1].numbers == {"right": 0.5, "forced": 0.5}
    assert progress.parts[2].seconds_left == 6 * 3.0
    assert progress.curve == (0.25,) * 4
    assert progress.thought is not None
    assert (progress.thought.where, progress.thought.verdict) == ("rl, step 4", "right")
    assert progress.is_live and progress.resident is not None and progress.resident > 1e7


def test_lines_that_come_later_are_added_and_files_written_anew_are_read_again(run: Path) -> None:
    reader, path = ProgressReader(run), run / "stages" / "2-rl" / "metrics.jsonl"
    assert reader.read().parts[2].done == 4
    add(path, {"step": 5, **GRPO})
    with path.open("a") as file:
        file.write('{"step": 6, "rew')  # still being written
    assert reader.read().parts[2].done == 5
    again = path.with_name("again")
    add(again, {"step": 1, **GRPO})
    again.replace(path)  # a resumed stage drops the steps after its state
    assert reader.read().parts[2].done == 1
    assert reader.read().curve == (0.25,)


def test_a_killed_run_is_not_shown_as_running(run: Path) -> None:
    assert not is_in_use(run), "it was never started"
    code = "from xreasoner.storage.run_folder import locked; from pathlib import Path; import os\n"
    code += f"with locked(Path({str(run)!r})): print('locked', flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"locked\n"
    assert is_in_use(run)
    process.kill()
    process.wait()
    assert not is_in_use(run)
    assert {part.state for part in ProgressReader(run).read().parts} == {"done", "waiting"}


def drawn(progress: RunProgress, width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(LiveView(progress), height=height)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("width", "height"), [(120, 40), (80, 24), (50, 16), (30, 10)])
def test_the_view_fits_every_size(run: Path, width: int, height: int) -> None:
    with locked(run):
        lines = drawn(ProgressReader(run).read(), width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    text = " ".join(lines)
    assert "4/10" in text and "reward" in text
    if width >= 80:
        for said in (
            "18 s left",
            "forced 0.5",
            "answer 40",
            "tokens/s 200",
            "memory",
            "<think> easy </think> 2",
            "done in",
        ):
            assert said in text


def test_the_curve_has_the_least_and_the_most() -> None:
    assert sparkline([0, 1, 2, 7], 10) == "▁▂▃█"
    assert sparkline([0, 0, 1, 1], 2) == "▁█"
    assert sparkline([3, 3], 2) == "▁▁"


def test_a_terminal_is_filled_and_gets_back_what_was_said(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    with pytest.raises(ZeroDivisionError), live_view(run, console, plain=False) as inside:
        inside.print("a line for later")
        raise ZeroDivisionError
    written = console.file.getvalue()  # type: ignore[attr-defined]
    enter, leave = written.index("\x1b[?1049h"), written.index("\x1b[?1049l")
    assert enter < written.index("small: miniworld") < leave < written.index("a line for later")


def test_what_other_ranks_print_goes_to_the_log_and_not_into_the_view(
    run: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    with live_view(run, console, plain=False, rank=3) as inside:
        inside.print("shown nowhere")
        print("half a", end=" ")
        print("line")
        print("to stderr", file=sys.stderr)
    assert console.file.getvalue() == "" and capfd.readouterr() == ("", "")  # type: ignore[attr-defined]
    said = [line[len("2026-01-01 00:00:00 ") :] for line in (run / "log").read_text().splitlines()]
    assert said[-2:] == ["rank 3: half a line", "rank 3: to stderr"]
    with live_view(run, console, plain=True, rank=3) as inside:
        assert inside is console


def test_in_a_file_it_is_lines(run: Path) -> None:
    console = Console(file=io.StringIO(), width=60)
    with live_view(run, console, plain=False) as inside:
        assert inside is console
    watch(run, console)
    assert "\x1b" not in console.file.getvalue()  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"not a run directory; it has no recipe\.yaml"):
        watch(run / "stages", console)
