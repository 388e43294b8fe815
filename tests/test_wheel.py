"""The package as it is installed: recipes and mini-world inside, and usable outside of a checkout."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the contents of the wheel."""
    made, site = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(made)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = made.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    return site


def test_the_dockerfile_copies_what_the_wheel_is_built_from() -> None:
    """CI has no Docker: the file was linted with hadolint, its install tried without the extras."""
    text = (ROOT / "Dockerfile").read_text()
    copied = {word for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE) for word in line.split()}
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == allowed
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    sources = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert {*sources, "pyproject.toml"} == copied
    (extras,) = re.findall(r"^ARG EXTRAS=(\S+)$", text, re.MULTILINE)
    assert set(extras.split(",")) <= set(project["project"]["optional-dependencies"])


@pytest.mark.slow
def test_the_quickstart_runs_by_its_name_outside_of_a_checkout(installed: Path, tmp_path: Path) -> None:
    small = [f"stages.{stage}=null" for stage in ("rl", "med-sft", "med-rl")]
    sft = ["sft.data=[{source: miniworld, families: [sums], steps: [2, 4], count: 50}]", "sft.steps=2"]
    asked = "{source: miniworld, families: [sums], steps: [2, 2], views: [image], count: 2}"
    test = f"evaluation.benchmarks=[{asked}]"
    command = [sys.executable, "-m", "xreasoner", "run", "quickstart", *small, *sft, test]
    environment = os.environ | {"PYTHONPATH": str(installed), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert str(ROOT / "src") not in done.stdout + done.stderr
    assert (tmp_path / "runs" / "quickstart" / "report.html").is_file()
    assert (
        tmp_path / "runs" / "quickstart" / "stages" / "1-sft" / "checkpoint" / "model.safetensors"
    ).is_file()


def test_every_recipe_is_in_the_wheel(installed: Path) -> None:
    written = {path.relative_to(ROOT / "recipes") for path in (ROOT / "recipes").rglob("*.yaml")}
    assert {
        path.relative_to(installed / "xreasoner/recipes") for path in installed.rglob("*.yaml")
    } == written
    assert len(written) >= 6
