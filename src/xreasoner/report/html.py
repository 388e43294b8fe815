"""The report as one self-contained page: findings, tables, plots and samples."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from xreasoner.report.budget_curves import budget_plot
from xreasoner.report.cards import Card, choose
from xreasoner.report.curves import training_curves
from xreasoner.report.findings import MARGIN, Finding, accuracy, find, interval, signed, verdict
from xreasoner.report.html_samples import examples
from xreasoner.report.html_tables import (
    answer_forms,
    budgets,
    colour_of,
    comparisons,
    groups,
    needs_image,
    prompts,
    table,
    transfer,
)
from xreasoner.report.plots import by_stage, by_steps, thinking
from xreasoner.report.results import PICTURES, Results
from xreasoner.report.table import SECTIONS

RELOAD = '<meta http-equiv="refresh" content="30">'
"""Reloads the page of a running run, in seconds. Browsers keep the scroll position."""


def page(results: Results, run_dir: Path, answers: int, is_live: bool = False) -> str:
    """`answers` is how many the reader beside it shows."""
    findings = find(results)
    sections = [
        ("Findings", headline(findings, results)),
        ("Accuracy", accuracies(results)),
        ("Transfer", transfer(results) + prompts(results) + needs_image(results)),
        ("By stage", figure(by_stage(findings, results.stages)) + figure(by_steps(results))),
        ("Length of thoughts", figure(thinking(findings, results.stages))),
        ("Thinking budgets", figure(budget_plot(results.budgets, results.stages)) + budgets(results)),
        ("Comparisons", comparisons(results)),
        ("Training", curves(run_dir)),
        ("Examples", examples(cards_of(results), answers, run_dir / "evals" / PICTURES)),
        ("Notes", f'<div class="notes">{asset("notes.html").replace("MARGIN", f"{100 * MARGIN:.0f}")}</div>'),
    ]
    shown = [(title, content) for title, content in sections if content]
    links = "".join(f'<a href="#{anchor(title)}">{title}</a>' for title, _ in shown)
    body = "".join(
        f'<section id="{anchor(title)}"><h2>{title}</h2>{content}</section>' for title, content in shown
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(results.run)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{RELOAD if is_live else ''}<style>{asset('page.css')}</style></head><body>"
        f"{masthead(results, is_live)}<nav>{links}</nav><main>{body}</main>"
        f"<script>{asset('page.js')}</script></body></html>\n"
    )


def asset(name: str) -> str:
    return files("xreasoner.report").joinpath(name).read_text(encoding="utf-8")


def anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def accuracies(results: Results) -> str:
    tables = "".join(table(results, *key, title) for key, title in SECTIONS.items())
    return tables + answer_forms(results) + groups(results)


def masthead(results: Results, is_live: bool) -> str:
    facts = ["the run is in progress; this page reloads itself"] if is_live else []
    facts += [f"recipe {results.recipe}"] if results.recipe else []
    facts += [duration(results.wall_seconds)] if results.wall_seconds else []
    facts += dict.fromkeys(map(conditions, results.conditions.values()))
    facts += [f"{name} {number}" for name, number in results.versions.items()]
    return (
        f'<header><p class="brand">X-Reasoner</p><h1>{escape(results.run)}</h1>'
        f'<p class="path">{" → ".join(map(escape, results.stages))}</p>'
        f'<p class="facts">{" · ".join(map(escape, facts))}</p>'
        '<button id="theme" type="button" aria-label="Light or dark">◐</button></header>'
    )


def conditions(found: Mapping[str, Any]) -> str:
    """With what the answers were generated."""
    named = (found.get("engine"), found.get("dtype"), found.get("device"))
    return ", ".join(str(one) for one in named if one)


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def headline(findings: Sequence[Finding], results: Results) -> str:
    """The first finding as a sentence, then a tile per kind of benchmark."""
    tiles = "".join(tile(one) for one in findings if one.role != "blind")
    lines = "".join(f"<li>{line}</li>" for line in what_changed(findings, results))
    learned = f'<ul class="learned">{lines}</ul>' if lines else ""
    return f'<p class="lead">{lead(findings[0])}</p>{learned}{world(results)}<div class="tiles">{tiles}</div>'


def what_changed(findings: Sequence[Finding], results: Results) -> Iterator[str]:
    """A sentence for each stage: what it gained, what it lost, and what it left as it was."""
    for stage in results.stages:
        found: dict[str, list[str]] = {"gained": [], "lost": [], "no clear change in": []}
        before = ""
        for finding in findings:
            point = next((one for one in finding.points if one.stage == stage and one.change), None)
            if point is None or point.change is None or finding.role == "blind" or finding.subset != "all":
                continue
            change, before = point.change, point.before or ""
            word = "gained" if change.low > 0 else "lost" if change.high < 0 else "no clear change in"
            what = f"{finding.title.lower()} ({finding.domain})"
            size = f" {signed(change.difference)}" if word != "no clear change in" else ""
            found[word].append(f"{escape(what)}<b>{size}</b>")
        parts = [f"{word} {', '.join(some)}" for word, some in found.items() if some]
        if parts:
            yield f"<b>{escape(stage)}</b>, after {escape(before)}: {'; '.join(parts)}"


MINIWORLD = (
    "The mini-world: rows of printed symbols, one word each, in fonts, sizes and colours that were never "
    "trained. No photographs, no natural language, no layouts in two dimensions, no positions but those of "
    "text: it shows the mechanism, not what a real model gains."
)


def world(results: Results) -> str:
    """What a synthetic world contains and what it does not."""
    asked = (answers.problems.values() for one in results.evaluated for answers in one.by_stage.values())
    is_mini = any(kept.problem.source == "miniworld" for some in asked for kept in some)
    return f'<p class="about">{MINIWORLD}</p>' if is_mini else ""


def lead(finding: Finding) -> str:
    path = " → ".join(f"<b>{escape(point.stage)} {accuracy(point)}</b>" for point in finding.points)
    gain = finding.overall
    change = f", that is {signed(gain.difference)} points, {escape(interval(gain))}" if gain else ""
    what = f"{finding.modality.capitalize()} accuracy on {finding.about} ({finding.domain})"
    return f"{escape(what)}: {path}{change}.{since_the_peak(finding)}"


def since_the_peak(finding: Finding) -> str:
    """What later stages lost again: another domain, or too much of one."""
    scored = [point for point in finding.points if point.summary.scored]
    peak = max(scored, key=lambda point: point.summary.accuracy, default=finding.last)
    lost = finding.last.summary.accuracy - peak.summary.accuracy
    if signed(lost) == "0":
        return ""
    return f" It was highest after {escape(peak.stage)}, {accuracy(peak)}; {signed(lost)} points since."


def tile(finding: Finding) -> str:
    path = " → ".join(
        f"<span>{escape(point.stage)} <b>{accuracy(point)}</b></span>" for point in finding.points
    )
    change = finding.overall
    kind = colour_of(finding)
    word = verdict(finding)
    chip = f'<span class="chip {word.split(",")[0]}">{word}</span>' if change else ""
    big = signed(change.difference) if change else accuracy(finding.last)
    unit = "points" if change else ""
    detail = f"<p>{escape(interval(change))}</p>" if change else ""
    since = since_the_peak(finding)
    lost = f'<p class="since">{since.strip()}</p>' if since else ""
    return (
        f'<article class="tile {kind}"><h3>{finding.title} <small>{escape(finding.domain)}</small>{chip}</h3>'
        f'<p class="big">{big} <small>{unit}</small></p><p class="steps">{path}</p>{detail}{lost}'
        f'<p class="about">{escape(finding.about)}, n&nbsp;=&nbsp;{finding.last.summary.n:,}</p></article>'
    )


def figure(svg: str) -> str:
    return f"<figure>{svg}</figure>" if svg else ""


def curves(run_dir: Path) -> str:
    return "".join(
        f"<h3>{escape(stage)}</h3>{figure(svg)}" for stage, svg in training_curves(run_dir).items()
    )


def cards_of(results: Results) -> list[Card]:
    return [card for one in results.evaluated if one.role != "blind" for card in choose(one)]
