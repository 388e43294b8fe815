"""The arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

RecipeFile = Annotated[
    Path,
    typer.Argument(
        metavar="RECIPE", help="A recipe in YAML, or the name of a shipped one: quickstart, x-reasoner-7b."
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings that replace those of the file: sft.lr=5e-4"),
]
Plain = Annotated[
    bool, typer.Option("--plain", help="Print lines instead of filling the terminal with a view of the run.")
]
