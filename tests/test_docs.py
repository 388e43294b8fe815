"""The documentation names only files, links, commands and folders that exist."""

import ast
import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Literal

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from xreasoner.cli.main import app
from xreasoner.miniworld.problems import make_problems
from xreasoner.models.load import load_tokenizer
from xreasoner.models.resolve import resolve_model
from xreasoner.pipeline.stages import make_plan
from xreasoner.recipe.file import read_recipe

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "xreasoner"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
CODE = [
    path
    for folder in ("src", "tests", "benchmarks", "docs")
    for path in sorted((ROOT / folder).rglob("*.py"))
]

LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)?(#[^)\s]+)?\)")
COMMAND = re.compile(r"\bxreasoner ((?:[a-z][a-z-]* ?)+)")
FILE = re.compile(r"(?<![\w./-])[\w-]+(?:/[\w.-]+)+\.(?:py|md|tsv|yaml|svg|png|html|css|js|jinja)\b")
OURS = ("src", "tests", "benchmarks", "docs", "recipes", "examples")
"""A path that begins with one of these is a file of this repository. So is one that ends in .py,
unless it begins with a capital, as those of MMMU and MathVista do."""


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def commands() -> set[str]:
    found: set[str] = set()

    def collect(command: typer.core.TyperGroup, words: tuple[str, ...]) -> None:
        for name, inner in command.commands.items():
            found.add(" ".join((*words, name)))
            if isinstance(inner, typer.core.TyperGroup):
                collect(inner, (*words, name))

    group = get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    collect(group, ())
    return found


COMMANDS = commands()


def anchors(page: Path) -> set[str]:
    """The anchors GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        place = page.parent / target if target else page
        assert place.exists(), f"no file {target}"
        assert not anchor or anchor[1:] in anchors(place), f"no heading {anchor} in {place.name}"


@pytest.mark.parametrize("page", [*PAGES, *RECIPES], ids=ids)
def test_every_command_exists(page: Path) -> None:
    quoted = "\n".join(re.findall(r"`[^`\n]+`|^```.*?^```", page.read_text(), flags=re.MULTILINE | re.DOTALL))
    for words in COMMAND.findall(quoted if page.suffix == ".md" else page.read_text()):
        first, *others = words.split()
        named = first if first in COMMANDS else ""
        if first in {name.split()[0] for name in COMMANDS if " " in name}:
            named = f"{first} {others[0]}" if others else first
        assert named in COMMANDS, f"xreasoner {words}"


@pytest.mark.parametrize("page", [*PAGES, *RECIPES, *CODE], ids=ids)
def test_every_file_that_is_named_exists(page: Path) -> None:
    missing = [
        named
        for named in FILE.findall(page.read_text())
        if named.startswith(OURS) or (named.endswith(".py") and named[0].islower())
        if not any(place.exists() for place in (ROOT / named, PACKAGE / named, page.parent / named))
    ]
    assert missing == []


def test_the_picture_and_the_list_of_folders_are_up_to_date() -> None:
    made = drawn_by("architecture")
    parts = {
        path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert set(made.PLACES) == parts - {"__init__", "__main__"}
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    assert contributing.count(made.BEGIN) == contributing.count(made.END) == 1
    advice = "run `python docs/architecture.py`"
    assert contributing == made.with_table(contributing), advice
    assert made.OUT.read_text() == made.drawing(), advice


def test_the_picture_leaves_out_only_what_other_arrows_imply() -> None:
    made = drawn_by("architecture")
    chain = {("a", "b"), ("b", "c"), ("a", "c"), ("a", "d"), ("d", "c")}
    assert made.reduced(chain) == chain - {("a", "c")}


def test_the_life_of_a_problem_names_a_file_at_each_step() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    steps = re.findall(r"^\d+\. (.+)$", page, flags=re.MULTILINE)
    assert len(steps) == 15
    assert [step for step in steps if not FILE.search(step)] == []


def drawn_by(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_all_keys_is_up_to_date() -> None:
    made = drawn_by("recipe_keys")
    page = made.PAGE.read_text()
    assert page.count(made.BEGIN) == page.count(made.END) == 1
    assert page == made.with_keys(page), "run `python docs/recipe_keys.py`"


BASH = re.compile(r"^```(?:bash|sh)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


def typed_commands(page: Path) -> list[list[str]]:
    """The arguments of each `xreasoner` line of its code blocks."""
    blocks = [block.replace("\\\n", " ") for block in BASH.findall(page.read_text())]
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    typed = [part for line in lines for part in re.split(r" && | ; | \| ", line.partition(" #")[0])]
    return [shlex.split(one, comments=True)[1:] for one in typed if one.startswith("xreasoner ")]


@pytest.mark.parametrize("page", [page for page in PAGES if typed_commands(page)], ids=ids)
def test_every_command_has_the_arguments_it_needs_and_only_options_that_exist(page: Path) -> None:
    for words in typed_commands(page):
        command, rest = get_command(app), words
        while isinstance(command, typer.core.TyperGroup) and rest and not rest[0].startswith("-"):
            command, rest = command.commands[rest[0]], rest[1:]
        try:
            command.make_context(words[0], list(rest))
        except Exception as error:  # typer has a copy of click of its own, or uses click
            is_help = type(error).__name__ in ("NoArgsIsHelpError", "Exit")
            assert is_help and rest in ([], ["--version"]), f"xreasoner {shlex.join(words)}: {error}"


def test_the_tests_that_the_troubleshooting_page_names_exist() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert len(named) == page.count("`tests/") == 15
    for path, name in named:
        assert f"\ndef {name}(" in (ROOT / path).read_text(), f"{path}::{name}"


def test_the_first_run_begins_as_its_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m benchmarks.stranger` runs all of it."""
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^```bash\n(.*?)^```", (ROOT / "docs" / "first_run.md").read_text(), re.M | re.S)
    first, init = lines[0].split(), shlex.split(lines[1].splitlines()[0])
    assert first[:2] == ["python", "examples/own_questions.py"]
    subprocess.run([sys.executable, str(ROOT / first[1]), *first[2:]], check=True)
    assert CliRunner().invoke(app, init[1:]).exit_code == 0
    plan = make_plan(read_recipe(tmp_path / "mine.yaml"))
    (stage,), (benchmark,) = plan.stages, plan.benchmarks
    assert (stage.name, len(stage.problems)) == ("sft", 200)
    assert (len(benchmark.problems), benchmark.modality) == (200, "image")
    assert stage.problems[0].reasoning.startswith("24 -8 -1 +8 so 24 -8 = 16 ;")


@pytest.mark.parametrize("view", ["text", "image"])
def test_the_mini_worlds_prompt_is_as_the_data_page_shows_it(view: Literal["text", "image"]) -> None:
    page = (ROOT / "docs" / "data.md").read_text()
    problem = make_problems("sums", view, (2, 2), 20, "test", 0)[0]
    question = "".join(part for part in problem.question if isinstance(part, str))
    assert question.endswith("work out")
    assert "user       [ 39 -8 -4 ] work out\n" in page and "system     think then answer\n" in page
    words = {
        word
        for line in page.split("```\nsystem")[1].split("```")[0].splitlines()
        for word in line.split()[1:]
    }
    tokenizer = load_tokenizer(resolve_model("miniworld"))
    assert words - {*tokenizer.get_vocab(), "[", "]"} == set()
    assert f"one of its {len(tokenizer)}:" in page


def test_what_the_grpo_loop_names_in_its_ten_points_exists() -> None:
    about = ast.get_docstring(ast.parse((PACKAGE / "train" / "grpo.py").read_text())) or ""
    points = [line for line in about.splitlines() if line.startswith("- ")]
    places = [re.findall(r"\((\w+)\.(\w+)\)", point) for point in points]
    assert len(points) == 10 and all(places)
    for module, name in (place for found in places for place in found):
        code = (PACKAGE / "train" / f"{module}.py").read_text()
        assert re.search(rf"^(?:def|class) {name}\b", code, re.MULTILINE), f"{module}.{name}"
