"""The commands for published benchmarks, and for a judge model that looks for missing answers."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from xreasoner.cli.console import console, say
from xreasoner.terminal.fitted_table import FittedTable

MOST_BROKEN = 10
"""Broken items that are named; all are counted."""


def benchmarks(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A benchmark; by default all are listed.")
    ] = None,
    path: Annotated[Path | None, typer.Option(help="A local copy; by default the hub.")] = None,
    limit: Annotated[
        int | None, typer.Option(help="Read only this many items, evenly spaced.", min=1)
    ] = None,
) -> None:
    """List the published benchmarks, or read NAME and print its first question."""
    if name is None:
        console.print(FittedTable(listing()))
        return
    from xreasoner.chat.template import problem_prompt
    from xreasoner.evals.benchmarks import BENCHMARKS, load_benchmark
    from xreasoner.evals.recipe_benchmarks import BENCHMARKS_OF
    from xreasoner.recipe.benchmark_entries import ProbeBenchmark
    from xreasoner.records import Picture

    if name == "probe":
        (benchmark,) = BENCHMARKS_OF[name](ProbeBenchmark(source="probe"), 0)
        published = ", generated"
    else:
        benchmark = load_benchmark(name, path, limit, any_size=True)
        published = f", published: {size:,}" if (size := BENCHMARKS[name].size) else ""
    say(f"{name}: {len(benchmark.problems):,} items, {benchmark.modality}, {benchmark.domain}{published}")
    say(f"chance level {100 * benchmark.chance:.1f}%")
    if benchmark.broken:
        say(f"{len(benchmark.broken):,} items are broken and count as unscored:")
    for item in benchmark.broken[:MOST_BROKEN]:
        say(f"  {item.id}: {item.why}")
    first = benchmark.problems[0]
    parts = [part for message in problem_prompt(first, None).messages for part in message.parts]
    asked = "".join("[image]" if isinstance(part, Picture) else part for part in parts)
    say(f"\n{first.id}, key {first.answer}:\n{asked}")


def judge(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    server: Annotated[str, typer.Option(help="URL of an OpenAI-compatible server.")],
    model: Annotated[str, typer.Option(help="Name of the judge on the server.")],
) -> None:
    """Let a model extract the answers that the rules did not find in RUN; the rules still grade them."""
    from xreasoner.evals.missing_answers import judge_run
    from xreasoner.recipe.settings import ServerSettings
    from xreasoner.report.write import write_report
    from xreasoner.rewards.grade import Grader
    from xreasoner.rollout.server_engine.engine import ServerEngine

    engine = ServerEngine(ServerSettings(url=server, model=model, exit_by="limit"))
    with Grader() as grader:
        for done in judge_run(run, engine, model, grader):
            where = done.path.relative_to(run)
            say(f"{where}: {done.graded:,} missing answers, {len(done.changed):,} of them found")
    write_report(run)


def listing() -> Table:
    from xreasoner.evals.benchmarks import BENCHMARKS

    table = Table("name", "title", "modality", "domain", "items", "source", box=None)
    for name, one in BENCHMARKS.items():
        size = f"{one.size:,}" if one.size else ""
        table.add_row(name, one.title, one.modality, one.domain, size, one.hub or f"{one.source} (--path)")
    table.add_row("probe", "Perception probe", "image", "perception", "300", "generated")
    return table
