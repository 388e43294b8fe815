"""The commands that evaluate: ask, grade again, compare, and hand the answers to other tools."""

from pathlib import Path
from typing import Annotated

import typer

from xreasoner.cli.console import console, say

Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings: evaluation.temperature=0.6")
]
Run = Annotated[Path, typer.Argument(help="A run directory.")]


def evaluate(
    model: Annotated[str, typer.Argument(help="A folder, a hub id, miniworld, or a name at --server.")],
    overrides: Overrides = None,
    bench: Annotated[str | None, typer.Option(help="As in gsm8k,mmmu-pro,probe.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="Take the settings of its evaluation.")] = None,
    path_of: Annotated[list[str] | None, typer.Option(help="name=FOLDER: your copy of one.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="So many items of each.")] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Answers an item; set a temperature.")] = None,
    budgets: Annotated[str | None, typer.Option(help="As in 256,1024,4096, from one pass.")] = None,
    without_image: Annotated[bool, typer.Option("--without-image", help="Ask once more blind.")] = False,
    server: Annotated[str | None, typer.Option(help="An OpenAI-compatible server, to /v1.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where answers and report go.")] = None,
    name: Annotated[str | None, typer.Option(help="What the report calls it.")] = None,
) -> None:
    """Ask any model the benchmarks of --bench or of a recipe; what was answered is not asked again."""
    from xreasoner.evals.eval_options import EvalOptions, read_budgets, read_paths, recipe_from_options
    from xreasoner.models.resolve import resolve_model, short_name
    from xreasoner.pipeline.run import evaluate_model

    wish = EvalOptions(
        benchmarks=[one.strip() for one in (bench or "").split(",") if one.strip()],
        paths=read_paths(path_of or []),
        count=count,
        samples=samples,
        budgets=read_budgets(budgets),
        without_image=without_image,
        server=server,
        overrides=overrides or [],
    )
    wanted, called = recipe_from_options(model, wish, recipe), name or short_name(model)
    checkpoint = None if wanted.evaluation.engine == "server" else resolve_model(model)
    evaluate_model(checkpoint, called, wanted, out or Path("runs") / f"eval-{called}", console)


def report(
    run: Run,
    references: Annotated[
        str | None, typer.Option(help="Stages or other runs: what they solve blind needs no image.")
    ] = None,
) -> None:
    """Print the table of RUN and write its results.json and report.html."""
    from xreasoner.report.table import print_table
    from xreasoner.report.write import write_report

    named = [one.strip() for one in (references or "").split(",") if one.strip()]
    print_table(write_report(run, named), console)
    say(f"{run / 'report.html'}")


def regrade(run: Run) -> None:
    """Grade the answers of RUN once more, without a model, and write its report anew."""
    from xreasoner.evals.regrade import regrade as grade_again
    from xreasoner.report.table import print_table
    from xreasoner.report.write import write_report
    from xreasoner.rewards.grade import Grader

    with Grader() as grader:
        for done in grade_again(run, grader):
            say(f"{done.path.relative_to(run)}: {done.graded:,} graded, {len(done.changed):,} changed")
            for before, after in done.changed[:3]:
                say(
                    f"  {before.problem_id}: {before.score.correct} -> {after.score.correct} "
                    f"({after.score.why})"
                )
    print_table(write_report(run), console)


def compare(
    before: Annotated[str, typer.Argument(help="A run directory, or RUN:NAME for one model in it.")],
    after: Annotated[str, typer.Argument(help="Likewise.")],
) -> None:
    """Two models on the same items: differences, intervals, corrected p, items needed to see them."""
    from xreasoner.report.compare import compare_runs, comparison_table

    console.print(comparison_table(compare_runs(before, after)))


def to_inspect(
    run: Run, out: Annotated[Path | None, typer.Option(help="By default RUN/inspect.")] = None
) -> None:
    """Write the answers of RUN as logs that `inspect view` shows."""
    from xreasoner.report.inspect_logs import write_logs

    folder = out or run / "inspect"
    for path in write_logs(run, folder):
        say(str(path))
    say(f"look at them: inspect view --log-dir {folder}")
