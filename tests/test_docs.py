"""The documentation names only files, links, commands and folders that exist."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import typer
from typer.main import get_command

from xreasoner.cli.main import app

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


def architecture() -> ModuleType:
    spec = importlib.util.spec_from_file_location("architecture", ROOT / "docs" / "architecture.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_and_the_list_of_folders_are_up_to_date() -> None:
    made = architecture()
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
    made = architecture()
    chain = {("a", "b"), ("b", "c"), ("a", "c"), ("a", "d"), ("d", "c")}
    assert made.reduced(chain) == chain - {("a", "c")}


def test_the_life_of_a_problem_names_a_file_at_each_step() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    steps = re.findall(r"^\d+\. (.+)$", page, flags=re.MULTILINE)
    assert len(steps) == 15
    assert [step for step in steps if not FILE.search(step)] == []
