"""The command line. Commands import heavy modules inside their functions, so that --help is fast."""

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from xreasoner import __version__
from xreasoner.cli import benchmarks as benchmark_commands
from xreasoner.cli import data as data_commands
from xreasoner.cli import evaluation, scale, serving
from xreasoner.cli.arguments import Overrides, Plain, RecipeFile
from xreasoner.cli.console import console, say
from xreasoner.cli.doctor import doctor
from xreasoner.cli.failures import in_one_line
from xreasoner.cli.init import init
from xreasoner.launch.interrupts import Interrupted, raise_on_signals
from xreasoner.miniworld.pictures.worlds import LEVELS, QUICKSTART, level_named

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
data = typer.Typer(help="Inspect and prepare training data.", no_args_is_help=True)
miniworld = typer.Typer(help="The miniature world of the quickstart.", no_args_is_help=True)

Vlm = Annotated[Path, typer.Argument(metavar="VLM", help="The folder of a vision-language model.")]
LanguageModel = Annotated[
    Path, typer.Argument(metavar="LM", help="A language model that was detached from it and trained.")
]
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""The parameters of glibc's mallopt."""
NewFolder = Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")]


def print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"xreasoner {__version__}\n")
        raise typer.Exit


@app.callback()
def xreasoner(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Teach a vision-language model to reason on text alone, and measure what carries over to images."""


def run(
    recipe: RecipeFile,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="The run directory.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what the run would do.")] = False,
    redo: Annotated[
        list[str] | None, typer.Option(help="Set this stage and those after it aside and train again.")
    ] = None,
    gpus: Annotated[int | None, typer.Option(min=1, help="GPUs of this machine; by default all.")] = None,
    track: Annotated[
        list[str] | None, typer.Option(help="Show the run in trackio, tensorboard, wandb or mlflow.")
    ] = None,
    restarts: Annotated[
        int, typer.Option(min=0, help="With several GPUs: number of restarts after a failure.")
    ] = 0,
    plain: Plain = False,
) -> None:
    """Train and evaluate the stages of RECIPE and write the report; an interrupted run resumes."""
    from xreasoner.data.hub import REVISIONS, pinned_in
    from xreasoner.pipeline.stages import make_plan, print_plan
    from xreasoner.recipe.file import read_recipe

    settings = [*(overrides or []), *([f"out={out}"] if out else [])]
    settings += [f"track=[{', '.join(track)}]"] if track else []
    wanted = read_recipe(recipe, settings)
    if dry_run:
        with TemporaryDirectory(prefix="xreasoner-") as scratch:
            pins = Path(scratch) / REVISIONS
            if (wanted.run_dir / REVISIONS).is_file():
                pins.parent.mkdir()
                pins.write_bytes((wanted.run_dir / REVISIONS).read_bytes())
            with pinned_in(Path(scratch)):
                print_plan(make_plan(wanted, say, redo or [], Path(scratch)), console)
        return
    if redo and restarts:
        raise ValueError("--redo: a restart would set the stage aside again; leave out --restarts")
    again = [word for stage in redo or [] for word in ("--redo", stage)] + ["--plain"] * plain
    scale.start_all_gpus(gpus, restarts, ["run", str(recipe), *settings, *again])
    from xreasoner.pipeline.run import run_recipe

    run_recipe(wanted, console, redo or [], plain)


def detach(vlm: Vlm, out: NewFolder) -> None:
    """Write the language model of VLM to OUT as a plain causal language model."""
    from xreasoner.models.surgery import detach as detach_tower

    detach_tower(vlm, out)
    say(f"{out}: the language model of {vlm}")


def graft(vlm: Vlm, lm: LanguageModel, out: NewFolder) -> None:
    """Write VLM with its language model replaced by LM to OUT."""
    from xreasoner.models.surgery import graft as graft_tower

    graft_tower(vlm, lm, out)
    say(f"{out}: {vlm} with the language model {lm}")


def schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    from xreasoner.recipe.file import recipe_schema

    sys.stdout.write(recipe_schema())


def build_base(
    out: NewFolder,
    seed: int = 0,
    level: Annotated[
        int, typer.Option(help="The world, from 0 (tied) to 7 (free). By default the quickstart's.")
    ] = LEVELS.index(QUICKSTART),
    parts: Annotated[
        Path | None,
        typer.Option(help="Keep language model and tower here, and use them if they exist."),
    ] = None,
) -> None:
    """Train a base checkpoint of the mini-world and write it to OUT; takes about an hour of one core."""
    from xreasoner.miniworld.base.make import build_base as make
    from xreasoner.miniworld.base.settings import BaseSettings

    make(BaseSettings(seed=seed), level_named(level), out, say, parts)


COMMANDS: dict[str, dict[str, Callable[..., None] | typer.Typer]] = {
    "Train": {
        "run": run,
        "init": init,
        "estimate": data_commands.estimate,
        "data": data,
        "distill": data_commands.distill,
        "launch": scale.launch,
        "export": scale.export,
        "import": scale.import_,
    },
    "Evaluate": {
        "eval": evaluation.evaluate,
        "benchmarks": benchmark_commands.benchmarks,
        "report": evaluation.report,
        "view": evaluation.view,
        "watch": evaluation.watch,
        "compare": evaluation.compare,
        "regrade": evaluation.regrade,
        "judge": benchmark_commands.judge,
        "to-inspect": evaluation.to_inspect,
        "track": evaluation.track,
    },
    "Use a model": {
        "chat": serving.chat,
        "serve": serving.serve,
        "detach": detach,
        "graft": graft,
        "push": serving.push,
    },
    "Other": {
        "doctor": doctor,
        "schema": schema,
        "miniworld": miniworld,
    },
}
"""All commands and groups of commands, by the headings of `xreasoner --help`."""


def register() -> None:
    data.command("show")(data_commands.show)
    data.command("stats")(data_commands.stats)
    data.command("pass-rate")(data_commands.pass_rate)
    data.command("budgets")(data_commands.budgets)
    miniworld.command("base")(build_base)
    for heading, commands in COMMANDS.items():
        for name, command in commands.items():
            if isinstance(command, typer.Typer):
                app.add_typer(command, name=name, rich_help_panel=heading)
            else:
                app.command(name, rich_help_panel=heading)(command)


register()


def keep_freed_memory() -> None:
    """Let glibc keep up to 256 MiB that tensors have freed, for the next ones.

    By default it gives them back to the system, and each step of training on a CPU had thousands of page
    faults: 6% of the quickstart's time. Setting one of the two values fixes the other, which glibc adapts
    otherwise.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, 32 * 2**20)
        libc.mallopt(M_TRIM_THRESHOLD, 256 * 2**20)


def main() -> None:
    """What the user or the machine got wrong is printed as one line; a bug keeps its traceback."""
    # Before torch is loaded. Threads that spin while they wait for each other are slow beside other work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_freed_memory()
    raise_on_signals()
    try:
        app()
    except Interrupted as stop:
        complain(f"Stopped by {stop.by.name}: {stop.saved}; run the same command again to continue")
        sys.exit(128 + stop.by)
    except Exception as error:
        line = in_one_line(error)
        if line is None:
            raise
        complain(line)
        sys.exit(2)


def complain(line: str) -> None:
    Console(stderr=True).print(Text(line, style="red"), soft_wrap=True)
