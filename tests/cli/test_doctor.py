"""What `doctor` finds on the machine that runs the tests, against what the machine says itself."""

import importlib.metadata
import platform
import re
import tomllib
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from xreasoner.cli import doctor
from xreasoner.cli.main import app


def test_it_shows_versions_and_the_command_for_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version

    def without_vllm(name: str) -> str:
        if name == "vllm":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor, "version", without_vllm)
    done = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "120"})
    assert done.exit_code == 0
    lines = done.output.splitlines()

    def line(name: str) -> str:
        return next(one for one in lines if re.search(rf"^. +{re.escape(name)} ", one))

    assert platform.python_version() in line("python")
    assert torch.__version__ in line("torch")
    assert importlib.metadata.version("transformers") in line("transformers")
    assert line("vllm").startswith("!") and "not installed: faster rollouts" in line("vllm")
    assert "pip install 'xreasoner[vllm]'" in done.output
    assert line("peft").startswith("✓")


def test_every_extra_that_it_names_is_one_of_the_package() -> None:
    named = {match for _, command in doctor.EXTRAS.values() for match in re.findall(r"\[(\w+)\]", command)}
    project = Path(__file__).parent.parent.parent / "pyproject.toml"
    assert named <= tomllib.loads(project.read_text())["project"]["optional-dependencies"].keys()


def test_a_small_disk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 10e9

    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: Usage)
    disk = next(one for one in doctor.machine() if one.what == "disk")
    assert disk.found.startswith("10 GB free") and disk.remedy
