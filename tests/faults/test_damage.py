"""One damaged file of a run: it is made again, or refused in one line. Never wrong weights or answers."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults.runs import DAMAGES, outcome, run, run_until_trained

FILES = {
    "finished": (
        "data/sft/problems.jsonl",
        "data/sft/index.npy",
        "data/sft/made_from.json",
        "evals/asked.json",
        "evals/base/sums-text.jsonl",
        "evals/base/sums-text.json",
        "evals/base/problems/sums-text.jsonl",
        "evals/base/budget-3/sums-text.jsonl",
        "evals/sft/manifest.json",
        "evals/pictures/*",
        "stages/1-sft/manifest.json",
        "stages/1-sft/metrics.jsonl",
    ),
    "stopped": (
        "base/manifest.json",
        "base/model/model.safetensors",
        "stages/1-sft/manifest.json",
        "stages/1-sft/metrics.jsonl",
        "stages/1-sft/data.json",
        "stages/1-sft/best/model.safetensors",
        "stages/1-sft/best/.checksums.json",
        "stages/1-sft/state/tokens/ids.int32",
        "stages/1-sft/state/tokens/spans.npy",
        "stages/1-sft/state/tokens/manifest.json",
        "stages/1-sft/state/held_out_tokens/ids.int32",
        "stages/1-sft/state/step-00000003/*.distcp",
        "stages/1-sft/state/step-00000003/.metadata",
        "stages/1-sft/state/step-00000003/.checksums.json",
        "stages/1-sft/state/step-00000003/metrics.jsonl",
        "stages/1-sft/state/step-00000003/state.json",
    ),
    "unevaluated": (
        "stages/1-sft/checkpoint/model.safetensors",
        "stages/1-sft/checkpoint/tokenizer.json",
        "stages/1-sft/checkpoint/.checksums.json",
    ),
    "continued": (
        "stages/1-sft/model/model.safetensors",
        "stages/1-sft/model/config.json",
        "stages/1-sft/model/.checksums.json",
    ),
}
"""unevaluated: finished, but the answers of the stage are gone. continued: a second stage starts from it."""

REFUSED = ("manifest.json", "best/", "1-sft/model/", "1-sft/metrics.jsonl")
"""What only training can make again, and the manifest of answers, which says whose they are."""
CASES = [(situation, file) for situation, files in FILES.items() for file in files]


@pytest.fixture(scope="module")
def runs(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    run_until_trained(tiny_base, folder / "stopped")
    shutil.copytree(folder / "stopped", folder / "finished")
    run(tiny_base, folder / "finished")
    for situation in ("unevaluated", "continued"):
        shutil.copytree(folder / "finished", folder / situation)
    shutil.rmtree(folder / "unevaluated" / "evals" / "sft")
    return folder


@pytest.mark.parametrize(("situation", "file"), CASES)
def test_one_damaged_file(
    runs: Path, tiny_base: Path, tmp_path: Path, situation: str, file: str, request: pytest.FixtureRequest
) -> None:
    """Each case has one of the four kinds of damage."""
    damage = DAMAGES[CASES.index((situation, file)) % len(DAMAGES)]
    attempt(runs, tiny_base, tmp_path / "out", situation, file, damage)


def attempt(
    runs: Path, model: Path, out: Path, situation: str, file: str, damage: Callable[[Path], None]
) -> str:
    shutil.copytree(runs / situation, out)
    path = next(out.glob(file))
    damage(path)
    more_stages = ("two",) if situation == "continued" else ()
    try:
        run(model, out, *more_stages)
    except ValueError as error:
        assert any(part in file for part in REFUSED), error
        assert "\n" not in str(error) and path.parent.name in str(error)
        assert any(word in str(error) for word in ("--redo", "move its folder away", "remove it"))
        return "refused"
    assert situation != "continued"
    wanted, found = outcome(runs / "finished"), outcome(out)
    if file.endswith("1-sft/metrics.jsonl") and not path.exists():
        del wanted[file]  # removed from a finished stage: its curves are left out
    assert sorted(found) == sorted(wanted)
    assert [name for name in wanted if found[name] != wanted[name]] == []
    return "made again"
