"""The page's tables: accuracies, transfer, thinking budgets, comparisons."""

from collections.abc import Iterable, Sequence
from html import escape

from xreasoner.evals.comparisons import Comparison
from xreasoner.evals.statistics import Difference
from xreasoner.evals.summary import SHARES, Summary
from xreasoner.report.findings import Finding, percent
from xreasoner.report.groups import GroupResult
from xreasoner.report.paper import TransferRow, paper, published_columns, transfer_rows
from xreasoner.report.prompts import PromptGain
from xreasoner.report.results import NeedsImage, Results, StageResult

NOTHING = "<td>–</td>"


def colour_of(one: Finding | StageResult) -> str:
    """The CSS class; plots use the same colours."""
    return "seeing" if one.role == "perception" else {"image": "images", "text": "words"}[one.modality]


def table_of(heads: Iterable[str], lines: Iterable[str], caption: str = "", kind: str = "") -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="scroll"><table{f" class={kind}" if kind else ""}>{title}<thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")


# --- accuracy -------------------------------------------------------------------------------------------


def table(results: Results, role: str, subset: str, title: str) -> str:
    rows = [row for row in results.rows if (row.role, row.subset) == (role, subset)]
    if not rows:
        return ""
    lines = [line(name, rows, results.stages) for name in dict.fromkeys(row.benchmark for row in rows)]
    return table_of(["benchmark", "n", *results.stages], lines, title[0].upper() + title[1:])


def line(name: str, rows: Sequence[StageResult], stages: Sequence[str]) -> str:
    by_stage = {row.stage: row for row in rows if row.benchmark == name}
    first = next(iter(by_stage.values()))
    cells = "".join(f"<td>{cell(by_stage[stage])}</td>" if stage in by_stage else NOTHING for stage in stages)
    label = f'<th scope="row"><i class="dot {colour_of(first)}"></i>{escape(name)}</th>'
    return f'<tr>{label}<td class="n">{counted(first)}</td>{cells}</tr>'


def counted(row: Summary) -> str:
    """The number of items, with a star if some share pictures."""
    if row.clusters == row.n:
        return f"{row.n:,}"
    return f'<span title="{row.clusters:,} independent groups">{row.n:,}*</span>'


def cell(row: Summary) -> str:
    asides = [f"{name} {percent(getattr(row, name))}" for name in SHARES if getattr(row, name)]
    several = [f"majority {100 * row.majority:.1f}"] if row.majority is not None else []
    several += [f"pass@{k} {100 * share:.1f}" for k, share in list(row.pass_at.items())[-1:]]
    tokens = f"{row.mean_think_tokens:,.0f} tokens of thought"
    shown = f"{100 * row.accuracy:.1f}" if row.scored else "–"
    interval = f"<small>{100 * row.low:.0f}–{100 * row.high:.0f}</small>" if row.scored else ""
    return f'<b title="{tokens}">{shown}</b>{interval}{aside(asides)}{aside(several, "several")}'


def aside(notes: Sequence[str], kind: str = "") -> str:
    spans = " ".join(f"<span>{note}</span>" for note in notes)  # a line may break at the space
    return f"<em{f' class={kind}' if kind else ''}>{spans}</em>" if notes else ""


def answer_forms(results: Results) -> str:
    """By which rule the answers were found: a stage may change the form in which a model answers."""
    rows = [row for row in results.rows if row.subset == "all" and row.rules]
    rules = sorted({rule for row in rows for rule in row.rules})
    if not rows:
        return ""
    lines = [
        f'<tr><th scope="row">{escape(row.benchmark)}</th><td>{escape(row.stage)}</td>'
        + "".join(f"<td>{percent(row.rules[rule])}</td>" if rule in row.rules else NOTHING for rule in rules)
        + f"<td>{percent(row.missing)}</td><td>{percent(row.cut)}</td></tr>"
        for row in rows
    ]
    heads = ["benchmark", "stage", *rules, "missing", "cut"]
    return (
        '<details class="fold"><summary>Where the answers were found, and how many were not</summary>'
        f"{table_of(heads, lines, kind='plain')}</details>"
    )


def groups(results: Results) -> str:
    """By subject, difficulty, modality and the like."""
    tables: dict[str, list[str]] = {}
    for benchmark, tag in dict.fromkeys((row.benchmark, row.tag) for row in results.groups):
        rows = [row for row in results.groups if (row.benchmark, row.tag) == (benchmark, tag)]
        lines = [
            group_line(value, rows, results.stages) for value in dict.fromkeys(row.value for row in rows)
        ]
        tables.setdefault(benchmark, []).append(table_of([tag, "n", *results.stages], lines))
    if not tables:
        return ""
    found = "".join(f"<h3>{escape(benchmark)}</h3>{''.join(parts)}" for benchmark, parts in tables.items())
    return f'<details class="fold"><summary>Accuracy by the tags of the items</summary>{found}</details>'


def group_line(value: str | int, rows: Sequence[GroupResult], stages: Sequence[str]) -> str:
    by_stage = {row.stage: row for row in rows if row.value == value}
    cells = "".join(group_cell(by_stage[stage]) if stage in by_stage else NOTHING for stage in stages)
    n = next(iter(by_stage.values())).n
    return f'<tr><th scope="row">{escape(str(value))}</th><td class="n">{n:,}</td>{cells}</tr>'


def group_cell(row: GroupResult) -> str:
    if not row.scored:
        return NOTHING
    return f"<td><b>{100 * row.accuracy:.1f}</b><small>{100 * row.low:.0f}–{100 * row.high:.0f}</small></td>"


# --- transfer -------------------------------------------------------------------------------------------


def transfer(results: Results) -> str:
    """Gains over the base, on all items and on those that need the image, beside the paper's."""
    rows = transfer_rows(results)
    if not rows:
        return ""
    base, *later = results.stages
    published = published_columns(rows)
    heads = ["benchmark", "n", base, *later, *(f"paper: {name}" for name in published)]
    lines = [transfer_line(row, len(published)) for row in rows]
    source = f'<p class="source">{escape(paper().source)}.</p>' if published else ""
    return table_of(heads, lines, f"Gain over {base} in points, on the same items", "transfer") + source


def prompts(results: Results) -> str:
    """A gain that only one prompt shows may be one of form."""
    lines = [prompt_line(gain) for gain in results.prompt_gains]
    if not lines:
        return ""
    heads = ["benchmark", "stage", "with the first prompt", "between the best prompts", "best prompts"]
    return table_of(heads, lines, "Gains over the base of benchmarks that were asked with several prompts")


def prompt_line(gain: PromptGain) -> str:
    old, new = gain.accuracies[gain.best_of_base][0], gain.accuracies[gain.best_of_stage][1]
    changes = "".join(f"<td>{changed(one)}</td>" if one else NOTHING for one in (gain.first, gain.best))
    return (
        f'<tr><th scope="row">{escape(gain.benchmark)}</th><td>{escape(gain.stage)}</td>{changes}'
        f"<td>{escape(gain.base)} {escape(gain.best_of_base)} {percent(old)}, "
        f"{escape(gain.stage)} {escape(gain.best_of_stage)} {percent(new)}</td></tr>"
    )


def transfer_line(row: TransferRow, published: int) -> str:
    changes = "".join(NOTHING if change is None else f"<td>{changed(change)}</td>" for change in row.changes)
    first = row.published[0] if row.published else None
    figures = "".join(paper_cell(value, first) for value in row.published or (None,) * published)
    which = "<small>items that need the image</small>" if row.subset != "all" else ""
    return (
        f'<tr><th scope="row">{escape(row.benchmark)}{which}</th><td class="n">{row.n:,}</td>'
        f"<td>{100 * row.base:.1f}</td>{changes}{figures}</tr>"
    )


def changed(change: Difference) -> str:
    kind = "up" if change.low > 0 else "down" if change.high < 0 else "flat"
    interval = f"{points(change.low)} … {points(change.high)}"
    return f'<b class="{kind}">{points(change.difference)}</b><small>{interval}</small>'


def paper_cell(value: float | None, base: float | None) -> str:
    if value is None:
        return '<td class="paper">–</td>'
    gain = f"<small>{points(value - base)}</small>" if base is not None and value != base else ""
    return f'<td class="paper">{100 * value:.1f}{gain}</td>'


def needs_image(results: Results) -> str:
    """How the result depends on the number of right samples that make an item text-solvable."""
    lines = [
        f'<tr><th scope="row">{escape(row.benchmark)}</th><td>{threshold(row)}</td><td>{row.n:,}</td>'
        + "".join(
            f"<td>{100 * row.accuracy[stage]:.1f}</td>" if stage in row.accuracy else NOTHING
            for stage in results.stages
        )
        + "</tr>"
        for row in results.needs_image
    ]
    if not lines:
        return ""
    heads = ["benchmark", "text-solvable if right without the image", "n left", *results.stages]
    return (
        '<details class="fold"><summary>Items that need the image, at several thresholds</summary>'
        f"{table_of(heads, lines, kind='plain')}</details>"
    )


def threshold(row: NeedsImage) -> str:
    count = "more often than by guessing" if row.least_right is None else f"at least {row.least_right} times"
    by = "a stage compared" if row.judges == "stages" else "a reference"
    return f"{count} in {row.samples} by {by}"


# --- budgets and comparisons ----------------------------------------------------------------------------


def budgets(results: Results) -> str:
    lines = [
        f'<tr><th scope="row">{escape(row.benchmark)}</th><td>{escape(row.stage)}</td>'
        f"<td>{row.think_budget:,}</td><td>{row.mean_think_tokens:,.0f}</td><td>{cell(row)}</td></tr>"
        for row in results.budgets
    ]
    heads = ("benchmark", "stage", "thinking budget", "mean tokens of thought", "accuracy")
    return table_of(heads, lines, "All budgets from one pass with the longest", "plain") if lines else ""


def comparisons(results: Results) -> str:
    """A fold for each benchmark, which says how the last stage compares with the first."""
    if not results.comparisons:
        return ""
    by_name: dict[str, list[Comparison]] = {}
    for one in results.comparisons:
        name = one.benchmark + (" (image needed)" if one.subset != "all" else "")
        by_name.setdefault(name, []).append(one)
    folds = "".join(comparison_fold(name, some, results.stages) for name, some in by_name.items())
    about = "Paired on the same items. p is corrected over all of them."
    return f'<p class="all">{about}</p><div class="folds">{folds}</div>'


def comparison_fold(name: str, some: Sequence[Comparison], stages: Sequence[str]) -> str:
    order = {stage: place for place, stage in enumerate(stages)}
    whole = max(some, key=lambda one: order.get(one.after, 0) - order.get(one.before, 0))
    lines = [
        f'<tr><th scope="row">{escape(one.before)} → {escape(one.after)}</th><td>{one.change.n:,}</td>'
        f"<td>{changed(one.change)}</td><td>{one.change.p:.2g}</td>"
        f"<td>{one.p_corrected:.2g}</td><td>{needed(one.change)}</td></tr>"
        for one in some
    ]
    heads = ("stages", "n", "points [95%]", "p", "p, corrected", "n for 80% power")
    said = f"{escape(whole.before)} → {escape(whole.after)} {changed(whole.change)}"
    return (
        f'<details class="fold compared"><summary><span class="name">{escape(name)}</span><span>{said}</span>'
        f"</summary>{table_of(heads, lines)}</details>"
    )


def needed(change: Difference) -> str:
    """Items needed to detect this difference with 80% power."""
    return "–" if change.needed is None else f"{change.needed:,}" if change.needed < 1e6 else "> 1,000,000"
