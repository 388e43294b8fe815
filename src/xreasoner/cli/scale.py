"""The commands for more than one GPU: other trainers, and scripts for a cluster's scheduler."""

from pathlib import Path
from typing import Annotated

import typer

from xreasoner.cli.arguments import Overrides, RecipeFile
from xreasoner.cli.console import say

export = typer.Typer(help="Export a stage for another trainer.", no_args_is_help=True)
import_ = typer.Typer(help="Import a checkpoint from another trainer.", no_args_is_help=True)


@export.command("verl")
def export_verl(
    recipe: RecipeFile,
    out: Annotated[Path, typer.Option(help="The folder to write; all nodes must see it under this path.")],
    overrides: Overrides = None,
    stage: Annotated[str | None, typer.Option(help="A GRPO stage; may be left out if there is one.")] = None,
    nodes: Annotated[int, typer.Option(min=1, help="Machines of the Ray cluster.")] = 1,
    gpus: Annotated[int, typer.Option(min=1, help="GPUs of each.")] = 8,
) -> None:
    """Write a GRPO stage of RECIPE for verl on Ray: text model, parquet files, settings, start script."""
    from xreasoner.recipe.file import read_recipe
    from xreasoner.verl.export import VERL, export_stage
    from xreasoner.verl.trainer_settings import Machines

    done = export_stage(read_recipe(recipe, overrides or []), stage, out, Machines(nodes, gpus), say)
    say(f"{out}: {done.problems:,} problems to train on, {done.held_out:,} held out, for verl {VERL}")
    say("Where verl differs from `xreasoner run`:")
    for line in done.differences:
        say(f"  {line}")
    say(f"Train it with: bash {out / 'train.sh'}\nThen: xreasoner import verl {out}")


@import_.command("verl")
def import_verl(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CKPT", help="The exported folder (its latest step), or one step of it.")
    ],
    export: Annotated[
        Path | None, typer.Option(help="The exported folder, where CKPT lies elsewhere.")
    ] = None,
) -> None:
    """Merge a checkpoint of verl, graft it into the model, and make it the stage's result."""
    from xreasoner.verl.result import import_result

    folder = import_result(checkpoint, export)
    say(f"{folder}: done; `xreasoner run` with the same recipe evaluates it, then trains the next stage")
