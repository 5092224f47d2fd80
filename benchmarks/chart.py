"""The picture in the README: what a stream costs with each reader, from the figures of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .comparison import UNCHUNKED, Figure
from .targets import CORE, FLOOR, NODE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WORKLOAD = "text"
CHUNKING = "64 KiB"
# By stage and workload. The stage `consume` stands in the panels of its peers.
PANELS = {
    ("frames", WORKLOAD): "bytes to server-sent events",
    ("events", WORKLOAD): "bytes to typed events",
    ("message", WORKLOAD): "bytes to the final message",
    ("message", "short"): "bytes to the final message, streams of 1 to 150 deltas",
}

SHORT = {NODE: "eventsource-parser (Node)", CORE["consume"]: "sansio-step consume"}
TIMES = "\N{MULTIPLICATION SIGN}"

INK = "#1f2328"
FAINT = "#6e7781"
GRID = "#d8dee4"
OWN = "#0969da"
OTHER = "#afb8c1"
YARDSTICK = "#9a6700"


def draw(figures: Sequence[Figure], path: Path, caption: str) -> None:
    """Draw horizontal bars on a log scale, one panel for each stage, with the floor as a line through all of them."""
    # Imported here because only this part of a run needs it.
    from matplotlib import rc_context  # noqa: PLC0415
    from matplotlib.figure import Figure as Canvas  # noqa: PLC0415

    panels = {panel: _bars(figures, *panel) for panel in PANELS}
    panels = {panel: bars for panel, bars in panels.items() if bars}
    floor = _one(figures, FLOOR, UNCHUNKED)
    style: Any = {
        "svg.fonttype": "path",  # the same letters on every machine
        "svg.hashsalt": "sansio-step",  # and the same ids, so that a redrawn chart differs only where figures do
        "font.family": "sans-serif",
        "font.size": 10,
        "text.color": INK,
        "axes.edgecolor": GRID,
        "axes.labelcolor": FAINT,
        "xtick.color": FAINT,
        "ytick.color": INK,
    }
    with rc_context(style):
        rows = [len(bars) for bars in panels.values()]
        # In inches: a bar, the space above a panel for its title, the header, the footer.
        bar, gap, header, footer = 0.29, 0.50, 0.62, 0.85
        height = bar * sum(rows) + gap * len(rows) + header + footer
        canvas = Canvas(figsize=(9, height), facecolor="white")
        slowest = max(figure.microseconds_an_event for bars in panels.values() for figure in bars)
        top = height - header
        for panel, bars in panels.items():
            top -= gap + bar * len(bars)
            axis = canvas.add_axes((0.275, top / height, 0.695, bar * len(bars) / height))
            axis.set_xlim(floor.microseconds_an_event / 2, slowest * 4)
            _draw_panel(axis, PANELS[panel], bars, floor, is_last=panel == list(panels)[-1])
        canvas.text(0.02, 1 - 0.30 / height, "Reading a Messages stream", fontsize=14, fontweight="bold", va="center")
        canvas.text(
            0.02,
            1 - 0.62 / height,
            f"microseconds an event, log scale, shorter is faster; {TIMES}: how many times as long as sansio-step",
            fontsize=9.5,
            color=FAINT,
            va="center",
        )
        canvas.text(0.02, 0.20 / height, caption, fontsize=8, color=FAINT, va="center")
        canvas.savefig(path, format="svg", metadata={"Date": None, "Title": "Reading a Messages stream"})


def _bars(figures: Sequence[Figure], stage: str, workload: str) -> list[Figure]:
    """The figures of a stage: the library's first, then the others from fast to slow."""
    stages = (stage, "consume") if stage == "message" else (stage,)
    chosen = [
        figure
        for figure in figures
        if figure.workload == workload and figure.stage in stages and figure.chunking == CHUNKING
    ]
    return sorted(chosen, key=lambda figure: (figure.subject != CORE[stage], figure.seconds))


def _one(figures: Sequence[Figure], subject: str, chunking: str) -> Figure:
    return next(
        figure
        for figure in figures
        if (figure.subject, figure.workload, figure.chunking) == (subject, WORKLOAD, chunking)
    )


def _draw_panel(axis: Any, title: str, bars: Sequence[Figure], floor: Figure, *, is_last: bool) -> None:
    own, *_ = bars
    axis.set_xscale("log")
    axis.barh(
        range(len(bars)),
        [bar.microseconds_an_event for bar in bars],
        color=[OWN if bar.subject in CORE.values() else OTHER for bar in bars],
        height=0.7,
        zorder=2,
    )
    for row, bar in enumerate(bars):
        value, ratio = bar.microseconds_an_event, bar.seconds / own.seconds
        _beside(axis, value, row, 5, f"{value:#.3g}".rstrip("."), INK, "bold" if bar is own else "normal")
        if bar is not own:
            _beside(
                axis, value, row, 38, f"{ratio:.1f}{TIMES}" if ratio < 10 else f"{ratio:.0f}{TIMES}", FAINT, "normal"
            )
    axis.axvline(floor.microseconds_an_event, color=YARDSTICK, linewidth=1.1, linestyle=(0, (4, 2)), zorder=3)
    axis.set_yticks(range(len(bars)), [SHORT.get(bar.subject, bar.subject) for bar in bars])
    for label, bar in zip(axis.get_yticklabels(), bars, strict=True):
        label.set_fontweight("bold" if bar.subject in CORE.values() else "normal")
    axis.set_ylim(len(bars) - 0.5, -0.5)
    axis.set_title(title, loc="left", fontsize=10, color=INK, pad=7)
    axis.grid(axis="x", which="major", color=GRID, linewidth=0.8, zorder=0)
    axis.tick_params(axis="both", which="both", length=0, labelbottom=is_last)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.xaxis.set_minor_formatter(lambda *_: "")
    for side in ("top", "right", "bottom", "left"):
        axis.spines[side].set_visible(False)
    if is_last:
        axis.annotate(
            f"floor: msgspec alone, on payloads already cut out, {floor.microseconds_an_event:#.3g}",
            xy=(floor.microseconds_an_event, 0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -30),
            textcoords="offset points",
            color=YARDSTICK,
            fontsize=8.5,
            ha="left",
        )


def _beside(axis: Any, value: float, row: int, offset: int, text: str, colour: str, weight: str) -> None:
    """Text to the right of a bar."""
    axis.annotate(
        text,
        xy=(value, row),
        xytext=(offset, 0),
        textcoords="offset points",
        va="center_baseline",
        fontsize=9,
        color=colour,
        fontweight=weight,
    )
