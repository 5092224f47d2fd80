"""The picture in the README: what a stream costs with each reader, from the figures of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .comparison import UNCHUNKED, Figure
from .targets import CORE, FLOOR

WORKLOAD = "text"
CHUNKING = "64 KiB"
PANELS = {
    "frames": "bytes to server-sent events",
    "events": "bytes to typed events",
    "message": "bytes to the final message",
}

INK = "#1f2328"
FAINT = "#6e7781"
GRID = "#d8dee4"
OWN = "#0969da"
OTHER = "#afb8c1"
YARDSTICK = "#9a6700"


def draw(figures: Sequence[Figure], path: Path, caption: str) -> None:
    """Horizontal bars on a log scale, one panel a stage, the floor as a line through all of them."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    panels = {stage: _bars(figures, stage) for stage in PANELS}
    panels = {stage: bars for stage, bars in panels.items() if bars}
    floor = _one(figures, FLOOR, UNCHUNKED)
    style = {
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
        height = 0.30 * sum(rows) + 0.62 * len(rows) + 1.25
        canvas = Canvas(figsize=(9, height), facecolor="white")
        axes = canvas.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=rows)[:, 0]
        canvas.subplots_adjust(
            left=0.315,
            right=0.93,
            top=1 - 0.95 / height,
            bottom=0.72 / height,
            hspace=0.62 / (height / len(rows)) * 1.5,
        )
        slowest = max(bar.microseconds_an_event for bars in panels.values() for bar in bars)
        for axis, (stage, bars) in zip(axes, panels.items(), strict=True):
            _draw_panel(axis, PANELS[stage], bars, floor)
            axis.set_xlim(floor.microseconds_an_event / 2.2, slowest * 3)
        _label_floor(axes[0], floor)
        axes[-1].set_xlabel("microseconds an event, log scale (shorter is faster)", labelpad=8)
        canvas.text(0.02, 1 - 0.30 / height, "Reading a Messages stream", fontsize=14, fontweight="bold", va="center")
        canvas.text(0.02, 0.17 / height, caption, fontsize=8, color=FAINT, va="center")
        FigureCanvasSVG(canvas).print_svg(path, metadata={"Date": None, "Title": "Reading a Messages stream"})


def _bars(figures: Sequence[Figure], stage: str) -> list[Figure]:
    """The figures of a stage, the library's first, then the others from fast to slow."""
    chosen = [
        figure
        for figure in figures
        if figure.workload == WORKLOAD and figure.stage == stage and figure.chunking == CHUNKING
    ]
    return sorted(chosen, key=lambda figure: (figure.subject != CORE[stage], figure.seconds))


def _one(figures: Sequence[Figure], subject: str, chunking: str) -> Figure:
    return next(
        figure
        for figure in figures
        if (figure.subject, figure.workload, figure.chunking) == (subject, WORKLOAD, chunking)
    )


def _draw_panel(axis: Any, title: str, bars: Sequence[Figure], floor: Figure) -> None:
    own, *_ = bars
    values = [bar.microseconds_an_event for bar in bars]
    colours = [OWN if bar is own else OTHER for bar in bars]
    axis.barh(range(len(bars)), values, color=colours, height=0.66, zorder=2)
    axis.axvline(floor.microseconds_an_event, color=YARDSTICK, linewidth=1.2, linestyle=(0, (4, 2)), zorder=3)
    for row, (bar, value) in enumerate(zip(bars, values, strict=True)):
        times = (
            ""
            if bar is own
            else f"   {bar.seconds / own.seconds:,.1f} times"
            if value < 10 * values[0]
            else (f"   {bar.seconds / own.seconds:,.0f} times")
        )
        axis.text(
            value * 1.07,
            row,
            f"{value:.2f}" if value < 10 else f"{value:.0f}",
            va="center",
            fontsize=9,
            color=INK,
            fontweight="bold" if bar is own else "normal",
        )
        axis.text(value * (1.55 if value < 10 else 1.42), row, times, va="center", fontsize=9, color=FAINT)
    axis.set_xscale("log")
    axis.set_yticks(range(len(bars)), [bar.subject for bar in bars])
    axis.get_yticklabels()[0].set_fontweight("bold")
    axis.invert_yaxis()
    axis.set_title(title, loc="left", fontsize=10, color=FAINT, pad=6)
    axis.grid(axis="x", which="major", color=GRID, linewidth=0.8, zorder=0)
    axis.tick_params(axis="both", which="both", length=0)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    for side in ("top", "right", "bottom", "left"):
        axis.spines[side].set_visible(False)


def _label_floor(axis: Any, floor: Figure) -> None:
    axis.annotate(
        f"msgspec alone, on payloads already cut out: {floor.microseconds_an_event:.2f}",
        xy=(floor.microseconds_an_event, 1),
        xycoords=("data", "axes fraction"),
        xytext=(6, 8),
        textcoords="offset points",
        color=YARDSTICK,
        fontsize=8.5,
    )
