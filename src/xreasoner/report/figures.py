"""Matplotlib figures as inline SVG in the page's colours, light or dark."""

import io
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from xreasoner.evals.summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Matplotlib needs real colours; each of these is replaced by a CSS variable of the page.
TEXT, MUTED, GRID = "#0a0001", "#0a0002", "#0a0003"
IMAGES, WORDS, SEEING = "#0a0004", "#0a0005", "#0a0006"
STAGES = tuple(f"#0a00{number}" for number in range(10, 18))
VARIABLES = {
    TEXT: "--text", MUTED: "--muted", GRID: "--line",
    IMAGES: "--images", WORDS: "--words", SEEING: "--seeing",
    **{colour: f"--stage-{number}" for number, colour in enumerate(STAGES)},
}  # fmt: skip

SETTINGS: Any = {
    "svg.fonttype": "none",  # keep text as text: selectable, in the page's font
    "font.size": 11.0,
    "text.color": TEXT,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": TEXT,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.grid.axis": "y",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "ytick.major.size": 0,
    "figure.facecolor": "none",
    "legend.frameon": False,
    "lines.linewidth": 2.2,
    "lines.markersize": 6,
    "lines.solid_capstyle": "round",
}


def stage_colour(number: int) -> str:
    return STAGES[number % len(STAGES)]


def draw(
    name: str, panels: int, paint: Callable[[list["Axes"]], None], columns: int = 2, height: float = 2.9
) -> str:
    """An SVG of `panels` axes that `paint` draws. `name` keeps element ids unique on the page."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    columns = min(columns, panels)
    rows = -(-panels // columns)
    with mpl.rc_context({**SETTINGS, "svg.hashsalt": name}):
        figure = Figure(figsize=(5.2 * columns, height * rows), layout="constrained")
        figure.get_layout_engine().set(h_pad=0.09, w_pad=0.09)  # type: ignore[union-attr, call-arg]
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for spare in axes[panels:]:
            spare.remove()
        paint(axes[:panels])
        return themed(to_svg(figure))


def to_svg(figure: "Figure") -> str:
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None})
    return written.getvalue()


def themed(svg: str) -> str:
    """The bare `<svg>` element at full width, with the page's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1 role="img"', svg, count=1)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    # Matplotlib names a font in each text's style; use the page's.
    svg = re.sub(r"font: ((?:bold |\d+ )?[\d.]+px) [^;\"]*", r"font: \1 var(--font)", svg)
    return re.sub(r"font-family: [^;\"]*", "font-family: var(--font)", svg)


def error_line(
    panel: "Axes",
    places: Sequence[float],
    points: Sequence[Summary],
    colour: str,
    label: str,
    style: str = "-",
) -> None:
    accuracy = [100 * point.accuracy for point in points]
    below = [100 * max(0.0, point.accuracy - point.low) for point in points]
    above = [100 * max(0.0, point.high - point.accuracy) for point in points]
    marks: dict[str, Any] = {"marker": "o", "capsize": 3, "elinewidth": 1.4}
    panel.errorbar(places, accuracy, yerr=(below, above), color=colour, label=label, linestyle=style, **marks)


def legend_below(axes: Sequence["Axes"]) -> None:
    """One legend for the whole figure, one entry per name."""
    found = [pair for panel in axes for pair in zip(*panel.get_legend_handles_labels(), strict=True)]
    lines = {str(label): handle for handle, label in reversed(found)}
    names = list(dict.fromkeys(str(label) for _, label in found))
    axes[0].figure.legend(
        [lines[name] for name in names], names, loc="outside lower center", ncols=8, fontsize=10
    )


def as_percent(panel: "Axes") -> None:
    panel.set_ylim(0, 103)
    panel.set_yticks((0, 25, 50, 75, 100), ("0", "25", "50", "75", "100%"))
