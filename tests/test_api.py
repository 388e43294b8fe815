"""The names of `import xreasoner`: light to import, typed, and enough to train and evaluate."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from tests.evals.scripted import ScriptedEngine

import xreasoner
from xreasoner import _PLACES, Problem, __all__
from xreasoner import __file__ as init

PROBLEMS = [Problem("a", ("3 +4",), "7", "number"), Problem("b", ("1 +1",), "2", "number")]
PACKAGE = Path(init).parent


def test_importing_it_imports_neither_torch_nor_transformers() -> None:
    heavy = "{'torch', 'transformers'} & set(sys.modules)"
    code = f"import sys, xreasoner; xreasoner.Problem; print({heavy} or 'light')"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "light\n"


def test_every_name_is_that_of_its_module() -> None:
    named = {name: place for place, names in _PLACES.items() for name in names}
    assert sorted(named) == sorted(__all__)
    for name, place in named.items():
        assert getattr(xreasoner, name) is getattr(import_module(place), name)
    with pytest.raises(AttributeError, match="'xreasoner' has no attribute 'trained'"):
        _ = getattr(xreasoner, "trained")  # noqa: B009
    assert (PACKAGE / "py.typed").is_file()


def test_a_recipe_runs_and_its_model_is_evaluated(tmp_path: Path) -> None:
    recipe = tmp_path / "small.yaml"
    recipe.write_text(
        "name: small\nmodel: miniworld\nstages:\n  sft:\n    kind: sft\n    steps: 1\n    data:\n"
        "      - {source: miniworld, families: [sums], steps: [2, 2], count: 8}\n"
    )
    run_dir = xreasoner.run(recipe, f"out={tmp_path / 'run'}", "sft.lr=1e-4", quiet=True)
    sampling = xreasoner.Sampling(think_budget=4, answer_budget=4)
    result = xreasoner.evaluate(
        run_dir / "stages" / "1-sft" / "checkpoint", PROBLEMS, tmp_path / "answers", sampling=sampling
    )
    assert (result.n, result.benchmark, result.modality) == (2, "benchmark", "text")


def test_any_engine_can_be_evaluated(tmp_path: Path) -> None:
    engine = ScriptedEngine(lambda problem, sample: f"<answer>{'7' if problem == 'a' else '3'}</answer>")
    result = xreasoner.evaluate(engine, PROBLEMS, tmp_path, name="sums")
    assert (result.accuracy, result.missing) == (0.5, 0.0)
    xreasoner.evaluate(engine, PROBLEMS, tmp_path, name="sums")
    assert sorted(engine.asked) == ["a", "b"], "answers on disk are used again"


def test_overrides_belong_to_a_file() -> None:
    recipe = xreasoner.Recipe(name="x", model="miniworld")
    with pytest.raises(ValueError, match="overrides are for a recipe's file"):
        xreasoner.run(recipe, "seed=1")


@pytest.mark.slow
def test_the_code_of_the_docs_runs(tmp_path: Path) -> None:
    page = (PACKAGE.parent.parent / "docs" / "python.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"\d+% \[\d+%, \d+%\], \d+% forced", done.stdout.splitlines()[-1])
    assert (tmp_path / "runs" / "quickstart" / "mine" / "benchmark.jsonl").is_file()
