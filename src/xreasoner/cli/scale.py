"""The commands for more than one GPU: other trainers, and scripts for a cluster's scheduler."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from xreasoner.cli.arguments import Overrides, RecipeFile
from xreasoner.cli.console import say

launch = typer.Typer(help="Write a script that starts a run on a cluster.", no_args_is_help=True)
export = typer.Typer(help="Export a stage for another trainer.", no_args_is_help=True)
import_ = typer.Typer(help="Import a checkpoint from another trainer.", no_args_is_help=True)


def start_all_gpus(gpus: int | None, restarts: int, arguments: Sequence[str]) -> None:
    """With several GPUs, this process becomes torchrun, which calls the same command once for each."""
    from xreasoner.launch.torchrun import become_torchrun, is_started, processes_for

    if not is_started() and (processes := processes_for(gpus)) > 1:
        become_torchrun(processes, restarts, arguments, say)


@launch.command()
def slurm(
    recipe: RecipeFile,
    overrides: Overrides = None,
    nodes: Annotated[int, typer.Option(min=1, help="How many machines.")] = 1,
    gpus: Annotated[int, typer.Option(min=1, help="GPUs per machine.")] = 8,
    hours: Annotated[int, typer.Option(min=1, help="The time limit of the job.")] = 24,
    restarts: Annotated[int, typer.Option(min=0, help="Restarts after a failure, within the job.")] = 3,
    script: Annotated[Path | None, typer.Option(help="The file; by default NAME.sbatch.")] = None,
) -> None:
    """Write a SLURM batch script that runs RECIPE on several machines."""
    from xreasoner.launch.slurm import Job, slurm_script
    from xreasoner.recipe.file import read_recipe

    name = read_recipe(recipe, overrides or []).name
    job = Job(name, nodes, gpus, hours, restarts)
    out = script or Path(f"{name}.sbatch")
    out.write_text(slurm_script(job, ["run", str(recipe), *(overrides or [])], Path.cwd()))
    say(f"{out}: {nodes} x {gpus} GPUs; submit it with: sbatch {out}")


@export.command("verl")
def export_verl(
    recipe: RecipeFile,
    out: Annotated[Path, typer.Option(help="The folder to write; all nodes must see it under this path.")],
    overrides: Overrides = None,
    stage: Annotated[str | None, typer.Option(help="A GRPO stage; may be left out if there is one.")] = None,
    nodes: Annotated[int, typer.Option(min=1, help="Machines of the Ray cluster.")] = 1,
    gpus: Annotated[int, typer.Option(min=1, help="GPUs per machine.")] = 8,
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
    export: Annotated[Path | None, typer.Option(help="The exported folder, if CKPT is elsewhere.")] = None,
) -> None:
    """Merge a checkpoint of verl, graft it into the model, and make it the stage's result."""
    from xreasoner.verl.result import import_result

    folder = import_result(checkpoint, export)
    say(f"{folder}: done; `xreasoner run` with the same recipe evaluates it, then trains the next stage")
