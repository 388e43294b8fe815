"""The results in a terminal: a row per benchmark, a column per stage."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xreasoner.evals.statistics import Difference
from xreasoner.evals.summary import SHARES, Summary
from xreasoner.report.findings import find, percent, prompt_sentence, sentence
from xreasoner.report.groups import GroupResult
from xreasoner.report.paper import published_columns, transfer_rows
from xreasoner.report.results import Results, StageResult
from xreasoner.terminal.fitted_table import FittedTable

SECTIONS = {
    ("skill", "all"): "accuracy, % [95% interval]",
    ("skill", "image-needed"): "items that need the image, %",
    ("perception", "all"): "perception probe, %",
    ("blind", "all"): "image problems without their images, %",
}


def print_table(results: Results, console: Console) -> None:
    console.print()
    for (role, subset), title in SECTIONS.items():
        rows = [row for row in results.rows if (row.role, row.subset) == (role, subset)]
        if rows:
            console.print(FittedTable(section(title, rows, results.stages)))
            console.print()
    if transfer := transfer_table(results):
        console.print(FittedTable(transfer))
        console.print()
    for row in results.needs_image:
        if row.least_right is None:
            console.print(f"{row.benchmark}: {row.n:,} items need the image", highlight=False)
    for finding in find(results):
        console.print(Text(sentence(finding)), soft_wrap=True, highlight=False)
    for gain in results.prompt_gains:
        console.print(Text(prompt_sentence(gain)), soft_wrap=True, highlight=False)
    console.print()


def section(title: str, rows: Sequence[StageResult], stages: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=SIMPLE_HEAD)
    table.add_column("benchmark", overflow="fold")
    table.add_column("n", justify="right")
    for stage in stages:
        table.add_column(stage, justify="right")
    for name in dict.fromkeys(row.benchmark for row in rows):
        by_stage = {row.stage: row for row in rows if row.benchmark == name}
        first = next(iter(by_stage.values()))
        cells = [cell(by_stage[stage]) if stage in by_stage else Text("–", style="dim") for stage in stages]
        table.add_row(Text(name), Text(f"{first.n:,}", style="dim"), *cells)
    return table


def cell(row: StageResult) -> Text:
    text = Text(f"{100 * row.accuracy:.1f}" if row.scored else "–", style="bold")
    if row.scored:
        text.append(f" [{100 * row.low:.0f}, {100 * row.high:.0f}]", style="not bold dim")
    for name in SHARES:
        share = getattr(row, name)
        if share:
            text.append(f"\n{name} {percent(share)}", style="not bold yellow")
    if forms := answer_forms(row):
        text.append(f"\nfound by {forms}", style="not bold dim")
    if row.majority is not None:
        best, share = max(row.pass_at.items())
        text.append(
            f"\nmajority {100 * row.majority:.1f}, pass@{best} {100 * share:.1f}", style="not bold dim"
        )
    return text


def answer_forms(row: Summary) -> str:
    """By which rules the answers were found; empty if nearly all were found by one."""
    if max(row.rules.values(), default=1.0) >= 0.99 * sum(row.rules.values()):
        return ""
    most_first = sorted(row.rules.items(), key=lambda rule: -rule[1])
    return ", ".join(f"{rule} {percent(share)}" for rule, share in most_first)


def transfer_table(results: Results) -> Table | None:
    """Gains over the base beside the paper's, if it has any of these benchmarks."""
    rows = transfer_rows(results)
    published = published_columns(rows)
    if not published:
        return None
    base, *later = results.stages
    table = Table(title=f"gain over {base} in points [95%], and the paper's accuracies (7B)", box=SIMPLE_HEAD)
    table.title_justify, table.title_style, table.header_style = "left", "bold", "bold"
    table.add_column("benchmark", overflow="fold")
    for head in (base, *later, *(f"paper: {name}" for name in published)):
        table.add_column(head, justify="right")
    for row in rows:
        figures = row.published or (None,) * len(published)
        table.add_row(
            row.benchmark + (" (image needed)" if row.subset != "all" else ""),
            f"{100 * row.base:.1f}",
            *(Text("–") if change is None else gained(change) for change in row.changes),
            *(Text("–" if value is None else f"{100 * value:.1f}", style="dim") for value in figures),
        )
    return table


def gained(change: Difference) -> Text:
    text = Text(f"{100 * change.difference:+.1f}", style="bold")
    return text.append(f" [{100 * change.low:+.0f}, {100 * change.high:+.0f}]", style="not bold dim")


def print_groups(results: Results, tags: Sequence[str], console: Console) -> None:
    """Accuracy by the values of these tags, a table per benchmark and tag."""
    known = sorted({row.tag for row in results.groups})
    unknown = [tag for tag in tags if tag not in known]
    if unknown:
        raise ValueError(f"no benchmark of this run has the tag {unknown[0]!r}; there are {', '.join(known)}")
    for benchmark, tag in dict.fromkeys((row.benchmark, row.tag) for row in results.groups):
        rows = [row for row in results.groups if (row.benchmark, row.tag) == (benchmark, tag)]
        if tag in tags:
            console.print(FittedTable(group_table(f"{benchmark} by {tag}", rows, results.stages)))


def group_table(title: str, rows: Sequence[GroupResult], stages: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=SIMPLE_HEAD)
    table.add_column("", overflow="fold")
    for head in ("n", *stages):
        table.add_column(head, justify="right")
    for value in dict.fromkeys(row.value for row in rows):
        by_stage = {row.stage: row for row in rows if row.value == value}
        cells = [group_cell(by_stage[stage]) if stage in by_stage else "–" for stage in stages]
        table.add_row(str(value), f"{next(iter(by_stage.values())).n:,}", *cells)
    return table


def group_cell(row: GroupResult) -> str:
    if not row.scored:
        return "–"
    return f"{100 * row.accuracy:.1f} \\[{100 * row.low:.0f}, {100 * row.high:.0f}]"
