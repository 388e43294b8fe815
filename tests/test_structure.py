"""The structure of the code: a fixed map, layers that point down, one name for one thing, small files."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import xreasoner

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "xreasoner"
FILES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = ("src", "tests", "benchmarks", "examples", "docs", "recipes")
OURS = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))

TEXTS = sorted(
    path
    for pattern in ("*.py", "*.md", "*.yaml", "*.toml", "Makefile")
    for path in [*ROOT.glob(pattern), *(p for f in FOLDERS for p in (ROOT / f).rglob(pattern))]
)
DOTTED = re.compile(r"\bxreasoner(?:\.\w+)+")

LAYERS: tuple[tuple[str, ...], ...] = (
    ("cli", "__main__"),
    ("verl",),
    ("pipeline",),
    ("train", "evals", "report", "track", "distill", "estimate", "serve"),
    ("rollout", "rewards", "data", "chat", "models", "miniworld"),
    ("disks",),
    ("parallel",),
    ("launch",),
    ("recipe", "storage"),
    ("records", "terminal"),
)
"""From the top down; a part may import its own layer and those below it."""

APART = {
    ("train", "evals"),
    ("evals", "train"),
    ("report", "train"),
    ("train", "report"),
    ("evals", "report"),
}


TYPE_NAME = re.compile(r"[A-Z][a-z]\w*")
SHARED_NAMES = {
    "__init__.py": "a package",
    "engine.py": "the protocol in rollout/, and one implementation in each engine's folder",
    "settings.py": "the typed settings of its folder",
}
"""File names that stand in more than one folder, and what they mean in each."""


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """The modules of this package it imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import hides its layer"
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in MODULES else str(node.module) for name in inside}
    return {name for name in found if name.split(".")[0] == "xreasoner"}


MODULES = {module_of(path) for path in FILES}
PACKAGES = {module_of(path) for path in FILES if path.name == "__init__.py"}
IMPORTS = {module_of(path): imports_of(path) for path in FILES}


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def layer_of(module: str) -> int:
    (layer,) = [number for number, parts in enumerate(LAYERS) if part_of(module) in parts]
    return layer


def edges() -> Iterator[tuple[str, str]]:
    found = ((module, used) for module, names in IMPORTS.items() for used in names)
    # `xreasoner` itself imports what it names, at first use.
    return ((module, used) for module, used in found if part_of(module) and part_of(used))


def test_every_part_has_a_layer() -> None:
    parts = {part_of(module) for module in MODULES} - {""}
    assert parts == {part for layer in LAYERS for part in layer}


def test_the_top_level_holds_folders_and_two_modules() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} == {
        "__init__.py",
        "__main__.py",
        "records.py",
        "parallel.py",
    }


def test_no_two_classes_share_a_name() -> None:
    classes = [
        (node.name, module_of(path))
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    ]
    assert shared(classes) == {}


def test_no_two_named_types_share_a_name() -> None:
    """`Raw = dict[str, Any]` in two modules is two definitions, or two meanings."""
    named = [(name, module_of(path)) for path in FILES for name in named_types(path)]
    assert shared(named) == {}


def named_types(path: Path) -> Iterator[str]:
    """Classes, type aliases and type variables at the top level; T stands for any type."""
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.ClassDef(name=name) | ast.Assign(targets=[ast.Name(id=name)]) if TYPE_NAME.fullmatch(
                name
            ):
                yield name


def test_no_two_files_share_a_name() -> None:
    files = [(path.name, module_of(path)) for path in FILES]
    assert set(shared(files)) == set(SHARED_NAMES)


def shared(named: list[tuple[str, str]]) -> dict[str, list[str]]:
    """The names that stand in several modules, with these."""
    places: dict[str, set[str]] = {}
    for name, module in named:
        places.setdefault(name, set()).add(module)
    return {name: sorted(found) for name, found in places.items() if len(found) > 1}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_that_is_named_exists(path: Path) -> None:
    """An import path in a text, a string or a patch: no old one is left behind."""
    missing = [name for name in DOTTED.findall(path.read_text()) if not is_ours(name)]
    assert missing == []


def is_ours(dotted: str) -> bool:
    """A module, or a name that a module defines."""
    module, _, name = dotted.rpartition(".")
    if module == "xreasoner" and name in xreasoner.__all__:
        return True
    return dotted in MODULES or (module in MODULES and name in names_of(module)) or is_ours_inside(module)


def is_ours_inside(dotted: str) -> bool:
    """The name of a class and of something in it, which is not checked."""
    module, _, name = dotted.rpartition(".")
    return module in MODULES and module not in PACKAGES and name in names_of(module)


def names_of(module: str) -> set[str]:
    """What a module defines or imports at its top level."""
    (path,) = [path for path in FILES if module_of(path) == module]
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.ImportFrom() | ast.Import():
                found |= {alias.asname or alias.name for alias in node.names}
            case ast.Assign() | ast.AnnAssign():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def test_imports_point_down() -> None:
    upward = [edge for edge in edges() if layer_of(edge[0]) > layer_of(edge[1])]
    assert upward == []


def test_training_evaluation_and_report_keep_apart() -> None:
    together = [edge for edge in edges() if (part_of(edge[0]), part_of(edge[1])) in APART]
    assert together == []


def test_there_is_no_import_cycle() -> None:
    # Raises CycleError, which names the cycle.
    order = list(TopologicalSorter(IMPORTS).static_order())
    assert set(order) >= MODULES


LIGHT = sorted(
    module
    for module in MODULES
    if module.startswith("xreasoner.rewards.")
    or module
    in ("xreasoner.records", "xreasoner.chat.think", "xreasoner.pipeline.stages", "xreasoner.cli.main")
    or part_of(module) in ("recipe", "storage")
)


def test_light_modules_import_without_torch() -> None:
    code = f"import sys, {', '.join(module for module in LIGHT if not module.endswith('worker'))}\n"
    code += (
        "print(sorted({'torch', 'transformers', 'datasets', 'math_verify', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_small(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= 400, f"{len(lines)} lines"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 80, f"{node.name} has {length} lines"


SUFFIX = re.compile(r"_?[a-z][a-z0-9_]*_([A-Z0-9]*[A-Z][A-Z0-9]*)")


def suffix_letters(tree: ast.Module) -> set[str]:
    """The letters of `logits_BTV` and of all other names that end with their shape."""
    names = [
        node.id if isinstance(node, ast.Name) else node.arg if isinstance(node, ast.arg) else node.attr
        for node in ast.walk(tree)
        if isinstance(node, (ast.Name, ast.arg, ast.Attribute))
    ]
    suffixes = [found.group(1) for name in names if (found := SUFFIX.fullmatch(name))]
    return {letter for suffix in suffixes for letter in suffix if letter.isalpha()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_with_many_suffixes_explains_them(path: Path) -> None:
    tree = ast.parse(path.read_text())
    letters = suffix_letters(tree)
    if len(letters) > 2:
        _, legend, explained = (ast.get_docstring(tree) or "").partition("Suffixes: ")
        assert legend, f"add 'Suffixes: ...' for {', '.join(sorted(letters))} to the docstring"
        assert letters <= set(re.findall(r"\b([A-Z]) [a-z]", explained))


def test_contributing_lists_the_usual_suffixes() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    listed = set(re.findall(r"\| `([A-Z])` \|", page))
    letters = [suffix_letters(ast.parse(path.read_text())) for path in FILES]
    shared = {letter for one in letters for letter in one if sum(letter in other for other in letters) > 2}
    assert shared <= listed
