"""The tiny form of benchmarks/real_eyes.py: its parts fit, and alignment goes on where it ended."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

from xreasoner.models.resolve import MINIWORLD
from xreasoner.models.surgery import detach

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "real_eyes.py"
QUESTIONS = ["work out 39 -8", "how many red"]


@pytest.fixture(scope="module")
def real_eyes() -> ModuleType:
    spec = importlib.util.spec_from_file_location("real_eyes", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["real_eyes"] = module
    spec.loader.exec_module(module)
    return module


def test_an_alignment_that_ended_goes_on_where_it_was(real_eyes: ModuleType, tmp_path: Path) -> None:
    plan, said = real_eyes.plan_of(tiny=True, steps=0), list[str]()
    detach(MINIWORLD, tmp_path / "language-model")
    for name in ("whole", "ended"):
        real_eyes.behind_new_eyes(tmp_path / "language-model", tmp_path / name, plan)
    real_eyes.align(tmp_path / "whole", QUESTIONS, plan, "cpu", said.append)

    def end(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        real_eyes.align(tmp_path / "ended", QUESTIONS, plan, "cpu", end)
    assert torch.load(tmp_path / "ended.state", weights_only=True)["step"] == 2
    real_eyes.align(tmp_path / "ended", QUESTIONS, plan, "cpu", said.append)
    assert [line.partition(":")[0] for line in said] == ["aligned 2 of 4", "aligned 4 of 4", "aligned 4 of 4"]
    assert said[1] == said[2]
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "ended"))
    assert all(torch.equal(one[name], other[name]) for name in one)

    detach(tmp_path / "whole", tmp_path / "text")
    own, given = (load_file(tmp_path / name / "model.safetensors") for name in ("text", "language-model"))
    assert own.keys() == given.keys() and all(torch.equal(own[name], given[name]) for name in own)


@pytest.mark.slow
def test_it_is_trained_on_text_and_asked_with_text_and_pictures(
    real_eyes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["real_eyes.py", str(tmp_path), "--tiny"])
    real_eyes.main()
    results = json.loads((tmp_path / "run" / "results.json").read_text())["results"]
    assert list(dict.fromkeys(row["stage"] for row in results)) == ["base", "sft", "rl"]
    assert {(row["stage"], row["benchmark"], row["modality"], row["n"]) for row in results} == {
        (stage, f"test-{view}", view, 2) for stage in ("base", "sft", "rl") for view in ("text", "image")
    }
