"""Draws the folders and their imports, and lists them in CONTRIBUTING.md: `python docs/architecture.py`.

Arrows come from the imports and texts from the docstrings; only the positions are chosen here. An arrow
that others imply is left out: cli imports data directly, but also through pipeline.
"""

import ast
import textwrap
from html import escape
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "xreasoner"
OUT = ROOT / "docs" / "architecture.svg"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- made by docs/architecture.py -->\n", "<!-- end -->\n"

Edges = set[tuple[str, str]]

COLUMN, ROW, GAP = 184, 96, 12
PLACES: dict[str, tuple[int, float, float]] = {
    "cli": (0, 0, 5),
    "verl": (1, 2, 4),
    "pipeline": (2, 2, 4),
    "estimate": (3, 0, 1),
    "train": (3, 1, 2),
    "report": (3, 2, 3),
    "track": (3, 3, 4),
    "serve": (3, 4, 5),
    "distill": (4, 0.5, 1.5),
    "evals": (4, 2, 4),
    "data": (5, 0, 4),
    "miniworld": (6, 0, 4),
    "rewards": (7, 0, 2),
    "rollout": (7, 2, 5),
    "chat": (9, 0, 3.2),
    "models": (8, 2, 5),
    "disks": (9, 3.3, 5),
    "recipe": (10, 2.4, 3.27),
    "storage": (10, 3.27, 4.13),
    "parallel": (10, 4.13, 5),
    "launch": (11, 3.27, 5),
    "terminal": (11, 2.1, 3.27),
    "records": (11, 0, 2.1),
}
"""The row of each part, and the columns that it spans."""
BLUE, GREEN, SAND, GREY = "#e8eefc", "#e6f4ec", "#fdf1e0", "#eeeeee"
COLOURS = (BLUE, BLUE, BLUE, GREEN, GREEN, SAND, SAND, SAND, SAND, SAND, GREY, GREY)
"""Of each row, by layer."""
EDGE, INK, PALE = "#5b6472", "#1d2430", "#4b5563"


class Box(NamedTuple):
    left: float
    right: float
    top: float
    bottom: float


def part_of(module: str) -> str:
    return module.split(".")[1] if module.startswith("xreasoner.") else ""


def imports(package: Path) -> Edges:
    """Which part imports which, from every import statement."""
    found: Edges = set()
    for path in package.rglob("*.py"):
        part = path.relative_to(package).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                found.add((part, part_of(node.module or "")))
    return {(one, other) for one, other in found if one != other and {one, other} <= PLACES.keys()}


def reduced(edges: Edges) -> Edges:
    """Without the arrows that a longer path implies."""

    def reachable(start: str, without: tuple[str, str]) -> set[str]:
        seen: set[str] = set()
        todo = [start]
        while todo:
            here = todo.pop()
            new = {there for one, there in edges - {without} if one == here} - seen
            seen |= new
            todo += new
        return seen

    return {(one, other) for one, other in edges if other not in reachable(one, (one, other))}


def described(part: Path) -> str:
    """The docstring's first line."""
    path = part / "__init__.py" if part.is_dir() else part.with_suffix(".py")
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]


def box_of(part: str) -> Box:
    row, left, right = PLACES[part]
    return Box(GAP + left * COLUMN + 6, GAP + right * COLUMN - 6, GAP + row * ROW, GAP + row * ROW + 66)


def draw_box(package: Path, part: str) -> str:
    box, colour = box_of(part), COLOURS[PLACES[part][0]]
    middle, name = (
        (box.left + box.right) / 2,
        f"{part}.py" if (package / f"{part}.py").exists() else f"{part}/",
    )
    lines = textwrap.wrap(described(package / part).rstrip("."), int((box.right - box.left - 8) / 6.0))
    assert len(lines) <= 2, f"the docstring of {part} is too long for its box"
    top = box.top + (26 if len(lines) > 1 else 30)
    texts = [f'<text x="{middle:.0f}" y="{top:.0f}" class="name">{name}</text>']
    texts += [
        f'<text x="{middle:.0f}" y="{top + 16 + 13 * number:.0f}" class="what">{escape(line)}</text>'
        for number, line in enumerate(lines)
    ]
    shape = (
        f'<rect x="{box.left:.0f}" y="{box.top:.0f}" width="{box.right - box.left:.0f}" height="66" rx="8" '
        f'fill="{colour}" stroke="{EDGE}" stroke-opacity="0.35"/>'
    )
    return "\n".join([shape, *texts])


def draw_arrow(one: str, other: str) -> str:
    """Straight down where the two overlap, else from corner to corner."""
    assert PLACES[one][0] < PLACES[other][0], f"{one} imports {other}: move it to a higher row in PLACES"
    upper, lower = box_of(one), box_of(other)
    left, right = max(upper.left, lower.left), min(upper.right, lower.right)
    start = end = (left + right) / 2
    if left > right:
        start, end = (upper.right, lower.left) if upper.right < lower.left else (upper.left, lower.right)
    return f'<path d="M{start:.0f},{upper.bottom:.0f} L{end:.0f},{lower.top - 2:.0f}" class="arrow"/>'


def drawing(package: Path = PACKAGE) -> str:
    width, height = 2 * GAP + 5 * COLUMN, 2 * GAP + 11 * ROW + 66
    arrows = [draw_arrow(one, other) for one, other in sorted(reduced(imports(package)))]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" aria-label="The folders of xreasoner and what they import">',
            "<style>text{font-family:system-ui,'Segoe UI',Helvetica,Arial,sans-serif;text-anchor:middle}"
            f".name{{font-size:15px;font-weight:600;fill:{INK}}}.what{{font-size:11.5px;fill:{PALE}}}"
            f".arrow{{stroke:{EDGE};stroke-width:1.4;fill:none;marker-end:url(#head)}}</style>",
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{EDGE}"/></marker></defs>',
            f'<rect width="{width}" height="{height}" rx="12" fill="#ffffff"/>',
            *arrows,
            *(draw_box(package, part) for part in PLACES),
            "</svg>\n",
        ]
    )


def folder_table(package: Path = PACKAGE) -> str:
    """Every folder, those inside others after them, and the two modules at the top."""
    rows = ["| where | what |", "|---|---|"]
    for part in PLACES:
        name = f"{part}.py" if (package / f"{part}.py").exists() else f"{part}/"
        rows.append(f"| [`{name}`](src/xreasoner/{name}) | {described(package / part)} |")
        for inner in sorted(path.parent for path in (package / part).glob("*/__init__.py")):
            name = inner.relative_to(package).as_posix() + "/"
            rows.append(f"| [`{name}`](src/xreasoner/{name}) | {described(inner)} |")
    return "\n".join(rows) + "\n"


def with_table(page: str) -> str:
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + folder_table() + END + after


if __name__ == "__main__":
    OUT.write_text(drawing())
    CONTRIBUTING.write_text(with_table(CONTRIBUTING.read_text()))
