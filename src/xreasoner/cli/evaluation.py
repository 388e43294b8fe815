"""The commands that evaluate, grade again, compare, and export answers to other tools."""

from pathlib import Path
from typing import Annotated

import typer

from xreasoner.cli.arguments import Overrides, Plain
from xreasoner.cli.console import console, say

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]


def evaluate(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A folder, a hub id, `miniworld`, or a model name on --server."),
    ],
    overrides: Overrides = None,
    bench: Annotated[
        str | None, typer.Option(help="Benchmarks: gsm8k,mmmu-pro,probe; your own: my_bench.py:make")
    ] = None,
    scorer: Annotated[
        str | None, typer.Option(help="Grades your own benchmarks in place of our grader: my_bench.py:score")
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="Use the evaluation of this recipe.")] = None,
    path_of: Annotated[
        list[str] | None, typer.Option(help="NAME=FOLDER: a local copy of a benchmark.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Only this many items of each benchmark.")] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Samples per item; needs a temperature.")] = None,
    budgets: Annotated[str | None, typer.Option(help="Thinking budgets, as in 256,1024,4096.")] = None,
    without_image: Annotated[
        bool, typer.Option("--without-image", help="Also evaluate with images removed.")
    ] = False,
    asked: Annotated[
        str | None,
        typer.Option(help="Prompts to ask with, as in instructed,plainly: tells form from reasoning."),
    ] = None,
    server: Annotated[str | None, typer.Option(help="URL of an OpenAI-compatible server.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for answers and report.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model in the report.")] = None,
    plain: Plain = False,
) -> None:
    """Evaluate a model on the benchmarks of --bench or of a recipe; answers on disk are reused."""
    from xreasoner.evals.eval_options import EvalOptions, read_budgets, read_paths, recipe_from_options
    from xreasoner.models.resolve import resolve_model, short_name
    from xreasoner.pipeline.run import evaluate_model

    options = EvalOptions(
        benchmarks=[one.strip() for one in (bench or "").split(",") if one.strip()],
        paths=read_paths(path_of or []),
        count=count,
        samples=samples,
        budgets=read_budgets(budgets),
        without_image=without_image,
        asked=[one.strip() for one in (asked or "").split(",") if one.strip()],
        scorer=scorer,
        server=server,
        overrides=overrides or [],
    )
    wanted, called = recipe_from_options(model, options, recipe), name or short_name(model)
    checkpoint = None if wanted.evaluation.engine == "server" else resolve_model(model)
    evaluate_model(checkpoint, called, wanted, out or Path("runs") / f"eval-{called}", console, plain)


def report(
    run: Run,
    references: Annotated[
        str | None,
        typer.Option(help="Stages or runs whose answers without images show which items need no image."),
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="Also print accuracy by these tags: subject,difficulty.")
    ] = None,
) -> None:
    """Print the table of RUN and write its results.json and report.html."""
    from xreasoner.report.table import print_groups, print_table
    from xreasoner.report.write import write_report

    named = [one.strip() for one in (references or "").split(",") if one.strip()]
    results = write_report(run, named)
    print_table(results, console)
    print_groups(results, [one.strip() for one in (by or "").split(",") if one.strip()], console)
    for page in ("report.html", "reader/index.html"):
        say(f"{run / page}")


def view(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run directories; several are shown side by side.")
    ],
    out: Annotated[Path | None, typer.Option(help="The folder to write; by default RUN/reader.")] = None,
    export: Annotated[
        Path | None, typer.Option(help="Write all answers to this .parquet or .csv file instead.")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Write all answers of RUN as a web page that opens from disk, without a server."""
    if export:
        from xreasoner.report.reader.export_answers import export_answers

        say(f"{export}: {export_answers(runs, export):,} answers")
        return
    from xreasoner.report.reader.write_reader import default_folder, write_reader

    written = write_reader(runs, out or default_folder(runs))
    say(f"{written.page}: {written.answers:,} answers to {written.items:,} items; open it in a browser")
    if open_page:
        typer.launch(written.page.resolve().as_uri())


def watch(run: Run) -> None:
    """Show the progress of RUN in another terminal or over ssh; only reads its directory."""
    from xreasoner.track.watch import watch as watch_run

    watch_run(run, console)


def regrade(run: Run) -> None:
    """Grade the answers of RUN again, without a model, and rewrite its report."""
    from xreasoner.evals.regrade import finished, own_scorer
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
    for path in finished(run):
        if scorer := own_scorer(path):
            say(f"{path.relative_to(run)}: graded by {scorer}; to grade it again, evaluate again")
    print_table(write_report(run), console)


def compare(
    before: Annotated[
        str, typer.Argument(metavar="BEFORE", help="A run directory, or RUN:NAME for one of its models.")
    ],
    after: Annotated[
        str,
        typer.Argument(
            metavar="AFTER", help="The same. For several seeds: RUN0:NAME,RUN1:NAME on both sides."
        ),
    ],
) -> None:
    """Compare two models on the same items: differences, intervals, corrected p, sample sizes."""
    from xreasoner.report.compare import compare_runs, print_comparison

    print_comparison(compare_runs(before.split(","), after.split(",")), console)


def to_inspect(
    run: Run,
    out: Annotated[Path | None, typer.Option(help="Folder for the logs; by default RUN/inspect.")] = None,
) -> None:
    """Write the answers of RUN as logs for `inspect view`."""
    from xreasoner.report.inspect_logs import write_logs

    folder = out or run / "inspect"
    for path in write_logs(run, folder):
        say(str(path))
    say(f"To view them: inspect view --log-dir {folder}")


def track(
    run: Run,
    to: Annotated[str, typer.Option(help="trackio, tensorboard, wandb or mlflow.")] = "trackio",
    follow: Annotated[bool, typer.Option("--follow", help="Follow RUN until standard input closes.")] = False,
) -> None:
    """Show RUN in a tracker: its metrics, some answers and its results; nothing is shown twice."""
    from xreasoner.track.follow import input_closes
    from xreasoner.track.follow import track as show_in
    from xreasoner.track.trackers import TRACKERS

    if to not in TRACKERS:
        raise ValueError(f"--to {to}: no such tracker; there are {', '.join(TRACKERS)}")
    if not (run / "recipe.yaml").is_file():
        raise ValueError(f"{run}: not a run directory; it has no recipe.yaml")
    show_in(run, to, input_closes if follow else lambda: True)
