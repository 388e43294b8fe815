"""The command line. Commands import heavy modules inside their functions, so that --help is fast."""

import sys
from pathlib import Path
from types import TracebackType
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from xreasoner.cli import benchmarks as benchmark_commands
from xreasoner.cli import data as data_commands
from xreasoner.cli import evaluation, scale, serving
from xreasoner.cli.arguments import Overrides, RecipeFile
from xreasoner.cli.console import console, say

app = typer.Typer(
    help="Teach a vision-language model to reason on text alone, and measure what carries over to images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data = typer.Typer(help="Inspect and prepare training data.", no_args_is_help=True)
miniworld = typer.Typer(help="The miniature world of the quickstart.", no_args_is_help=True)
app.command()(data_commands.estimate)
app.command()(data_commands.distill)
app.command("eval")(evaluation.evaluate)
app.command()(evaluation.report)
app.command()(evaluation.regrade)
app.command()(evaluation.compare)
app.command("to-inspect")(evaluation.to_inspect)
app.command()(serving.serve)
app.command()(serving.chat)
app.command()(benchmark_commands.benchmarks)
app.command()(benchmark_commands.judge)
data.command("show")(data_commands.show)
data.command("stats")(data_commands.stats)
data.command("pass-rate")(data_commands.pass_rate)
app.add_typer(scale.export, name="export")
app.add_typer(scale.import_, name="import")
app.add_typer(data, name="data")
app.add_typer(miniworld, name="miniworld")


@app.command()
def run(
    recipe: RecipeFile,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="The run directory.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what the run would do.")] = False,
) -> None:
    """Train and evaluate the stages of RECIPE and write the report; an interrupted run resumes."""
    from xreasoner.pipeline.stages import make_plan, print_plan
    from xreasoner.recipe.file import read_recipe

    wanted = read_recipe(recipe, [*(overrides or []), *([f"out={out}"] if out else [])])
    if dry_run:
        print_plan(make_plan(wanted, say), console)
        return
    from xreasoner.pipeline.run import run_recipe

    run_recipe(wanted, console)


@app.command()
def detach(vlm: Path, out: Path) -> None:
    """Write the language model of VLM to OUT as a plain causal language model."""
    from xreasoner.models.surgery import detach as detach_tower

    detach_tower(vlm, out)
    say(f"{out}: the language model of {vlm}")


@app.command()
def graft(vlm: Path, lm: Path, out: Path) -> None:
    """Write VLM with its language model replaced by LM to OUT."""
    from xreasoner.models.surgery import graft as graft_tower

    graft_tower(vlm, lm, out)
    say(f"{out}: {vlm} with the language model {lm}")


@app.command()
def schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    from xreasoner.recipe.file import recipe_schema

    sys.stdout.write(recipe_schema())


@miniworld.command("base")
def build_base(out: Path, seed: int = 0) -> None:
    """Train the base checkpoint of the mini-world and write it to OUT; takes minutes."""
    from xreasoner.miniworld.base import BaseSettings, build_base

    build_base(BaseSettings(seed=seed), out, say)


def main() -> None:
    """An error the user can fix is printed as one line; a bug keeps its traceback."""
    try:
        app()
    except ValueError as error:
        if not raised_by_us(error.__traceback__):
            raise
        Console(stderr=True).print(Text(str(error), style="red"), soft_wrap=True)
        sys.exit(2)


def raised_by_us(trace: TracebackType | None) -> bool:
    """Whether the innermost frame is ours: only then was the message written for the user."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("xreasoner.")
