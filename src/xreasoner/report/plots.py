"""The report's plots: accuracy by stage and difficulty, length of thoughts."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from xreasoner.evals.samples import Answers, pooled
from xreasoner.evals.summary import summarise
from xreasoner.records import Problem
from xreasoner.report.figures import (
    IMAGES,
    SEEING,
    WORDS,
    as_percent,
    draw,
    error_line,
    legend_below,
    stage_colour,
)
from xreasoner.report.findings import Finding
from xreasoner.report.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {("skill", "image"): IMAGES, ("skill", "text"): WORDS, ("perception", "image"): SEEING}


def by_stage(findings: Sequence[Finding], stages: Sequence[str]) -> str:
    """One panel per domain: images, text and the perception probe, with 95% intervals."""
    shown = [one for one in findings if (one.role, one.modality) in COLOURS and one.subset == "all"]
    domains = list(dict.fromkeys(one.domain for one in shown))
    if not domains:
        return ""

    def paint(axes: list["Axes"]) -> None:
        for panel, domain in zip(axes, domains, strict=True):
            for one in (one for one in shown if one.domain == domain):
                _stage_line(panel, one, stages)
            panel.set_title(domain.capitalize())
            as_percent(panel)
            _stage_ticks(panel, stages)
            panel.set_xlim(-0.3, len(stages) - 0.7)

        legend_below(axes)

    return draw("by-stage", len(domains), paint, height=3.5)


def _stage_line(panel: "Axes", one: Finding, stages: Sequence[str]) -> None:
    colour = COLOURS[one.role, one.modality]
    label = (
        "perception probe" if one.role == "perception" else {"image": "images", "text": "text"}[one.modality]
    )
    places = [stages.index(point.stage) for point in one.points]
    dashed = "--" if one.role == "perception" else "-"
    error_line(panel, places, [point.summary for point in one.points], colour, label, dashed)


def _stage_ticks(panel: "Axes", stages: Sequence[str]) -> None:
    crowded = len(stages) > 4 or max(map(len, stages)) > 12
    panel.set_xticks(range(len(stages)), stages, fontsize=9 if crowded else 11)


def by_steps(results: Results) -> str:
    """Accuracy by number of reasoning steps, one line per stage; panels for images and text."""
    panels = {
        (one.domain, one.modality): None
        for one in results.evaluated
        if one.role == "skill" and not one.is_repeated
    }
    drawn = {
        key: _answers_by_steps(results, *key)
        for key in sorted(panels, key=lambda key: (key[0] != "general", key))
    }
    drawn = {key: lines for key, lines in drawn.items() if any(len(steps) > 1 for steps in lines.values())}
    if not drawn:
        return ""

    def paint(axes: list["Axes"]) -> None:
        for panel, ((domain, modality), lines) in zip(axes, drawn.items(), strict=True):
            for stage, steps in lines.items():
                number = results.stages.index(stage)
                points = [summarise(answers) for answers in steps.values()]
                spread = 0.06 * (number - (len(results.stages) - 1) / 2)  # so that intervals do not overlap
                error_line(panel, [step + spread for step in steps], points, stage_colour(number), stage)
            panel.set_title(f"{domain.capitalize()}, {'images' if modality == 'image' else 'text'}")
            panel.set_xticks(sorted({step for steps in lines.values() for step in steps}))
            panel.set_xlabel("steps of reasoning")
            as_percent(panel)
        legend_below(axes)

    return draw("by-steps", len(drawn), paint)


def _answers_by_steps(results: Results, domain: str, modality: str) -> dict[str, dict[int, Answers]]:
    """The answers to all benchmarks of a kind by stage, then by number of steps."""
    wanted = ("skill", domain, modality)
    first = [one for one in results.evaluated if not one.is_repeated]
    kind = [one for one in first if (one.role, one.domain, one.modality) == wanted]
    found: dict[str, dict[int, Answers]] = {}
    for stage in results.stages:
        answers = pooled(one.by_stage[stage].renamed(one.name) for one in kind if stage in one.by_stage)
        tags = (kept.problem.tags.get("steps") for kept in answers.problems.values())
        if steps := sorted({number for number in tags if isinstance(number, int)}):
            found[stage] = {number: answers.where(partial(_takes, number)) for number in steps}
    return found


def _takes(steps: int, problem: Problem) -> bool:
    return problem.tags.get("steps") == steps


def thinking(findings: Sequence[Finding], stages: Sequence[str]) -> str:
    """Mean length of thoughts and share of forced exits."""
    shown = [one for one in findings if one.role == "skill" and one.subset == "all"]
    if not shown:
        return ""

    def paint(axes: list["Axes"]) -> None:
        for number, one in enumerate(shown):
            places = [stages.index(point.stage) for point in one.points]
            style = "-" if one.domain == "general" else ":"
            colour, label = COLOURS[one.role, one.modality], f"{one.modality}, {one.domain}"
            lengths = [point.summary.mean_think_tokens for point in one.points]
            axes[0].plot(places, lengths, color=colour, label=label, linestyle=style, marker="o")
            width = 0.8 / len(shown)
            left = [place - 0.4 + (number + 0.5) * width for place in places]
            forced = [100 * point.summary.forced for point in one.points]
            axes[1].bar(
                left, forced, width * 0.9, color=colour, alpha=1.0 if one.domain == "general" else 0.55
            )
        axes[0].set_title("Mean tokens of thought")
        longest = max(point.summary.mean_think_tokens for one in shown for point in one.points)
        axes[0].set_ylim(0, 1.15 * max(1.0, longest))
        axes[1].set_title("Forced exits, %")
        axes[1].set_ylim(
            0, max(5.0, *(100 * point.summary.forced for one in shown for point in one.points)) * 1.1
        )
        for panel in axes:
            _stage_ticks(panel, stages)
        legend_below(axes)

    return draw("thinking", 2, paint)
