"""The command line. Whatever is heavy is imported inside its command, so that --help comes at once."""

import sys
from pathlib import Path
from types import TracebackType
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from xreasoner.cli import benchmarks as benchmark_commands
from xreasoner.cli import data as data_commands
from xreasoner.cli import evaluation, serving
from xreasoner.cli.console import console, say

app = typer.Typer(
    help="Teach a vision-language model to reason on text alone, and measure what carries over to images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data = typer.Typer(help="Look at training data.", no_args_is_help=True)
miniworld = typer.Typer(help="The small world the quickstart lives in.", no_args_is_help=True)
app.command()(data_commands.plan)
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
data.command("stats")(data_commands.stats)
data.command("pass-rate")(data_commands.pass_rate)
app.add_typer(data, name="data")
app.add_typer(miniworld, name="miniworld")

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe in YAML.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings on top of it: sft.lr=5e-4")
]


@app.command()
def run(
    recipe: RecipeFile,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="The run directory.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
) -> None:
    """Train, evaluate and report what RECIPE says; what is done already is not done again."""
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
    """Write the language tower of VLM to OUT, as a plain causal language model."""
    from xreasoner.models.surgery import detach as detach_tower

    detach_tower(vlm, out)
    say(f"{out}: the language model of {vlm}")


@app.command()
def graft(vlm: Path, lm: Path, out: Path) -> None:
    """Write to OUT the model VLM with the language tower LM."""
    from xreasoner.models.surgery import graft as graft_tower

    graft_tower(vlm, lm, out)
    say(f"{out}: {vlm} with the language model {lm}")


@app.command()
def schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    from xreasoner.recipe.file import recipe_schema

    sys.stdout.write(recipe_schema())


@data.command("show")
def show_data(
    recipe: RecipeFile,
    overrides: Overrides = None,
    stage: Annotated[str | None, typer.Option(help="By default the first.")] = None,
    count: Annotated[int, typer.Option(help="How many examples.")] = 3,
) -> None:
    """Show what a stage is trained on, token by token, its targets in colour."""
    from xreasoner.chat.template import training_example
    from xreasoner.data.show_tokens import show
    from xreasoner.models.load import load_tokenizer
    from xreasoner.models.resolve import resolve_model
    from xreasoner.pipeline.stages import stage_data
    from xreasoner.recipe.file import read_recipe

    wanted = read_recipe(recipe, overrides or [])
    name = stage or next(iter(wanted.stages), "")
    tokenizer = load_tokenizer(resolve_model(wanted.model))
    ((_, problems),) = stage_data(wanted, [name], say)
    for problem in problems[:count]:
        show(training_example(problem, wanted.instruction, tokenizer), tokenizer, console)


@miniworld.command("base")
def build_base(out: Path, seed: int = 0) -> None:
    """Make the base checkpoint of the mini-world in OUT; takes minutes."""
    from xreasoner.miniworld.base import BaseSettings, build_base

    build_base(BaseSettings(seed=seed), out, say)


def main() -> None:
    """What the user did wrong is one line; what we did wrong keeps its traceback."""
    try:
        app()
    except ValueError as error:
        if not raised_by_us(error.__traceback__):
            raise
        Console(stderr=True).print(Text(str(error), style="red"), soft_wrap=True)
        sys.exit(2)


def raised_by_us(trace: TracebackType | None) -> bool:
    """The innermost frame is ours, so the message was written for the user."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("xreasoner.")
