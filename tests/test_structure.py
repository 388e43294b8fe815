"""The shape of the code: layers point down, no cycles, light modules stay light, all files stay small."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "xreasoner"
FILES = sorted(PACKAGE.rglob("*.py"))
OURS = [path for folder in ("src", "tests", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]

LAYERS: tuple[tuple[str, ...], ...] = (
    ("cli", "__main__"),
    ("pipeline",),
    ("train", "evals", "report", "distill", "estimate", "serve"),
    ("rollout", "rewards", "data", "chat", "models", "miniworld"),
    ("parallel",),
    ("recipe", "storage"),
    ("records",),
)
"""From the top down; a part may import its own layer and those below it."""

APART = {
    ("train", "evals"),
    ("evals", "train"),
    ("report", "train"),
    ("train", "report"),
    ("evals", "report"),
}


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
IMPORTS = {module_of(path): imports_of(path) for path in FILES}


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def layer_of(module: str) -> int:
    (layer,) = [number for number, parts in enumerate(LAYERS) if part_of(module) in parts]
    return layer


def edges() -> Iterator[tuple[str, str]]:
    return ((module, used) for module, names in IMPORTS.items() for used in names if part_of(used))


def test_every_part_has_a_layer() -> None:
    parts = {part_of(module) for module in MODULES} - {""}
    assert parts == {part for layer in LAYERS for part in layer}


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
    or part_of(module) in ("recipe", "recipe_file", "recipe_errors", "run")
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
