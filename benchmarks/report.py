"""Figures as tables in the terminal."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import distributions
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from .comparison import UNCHUNKED, Figure, Verdict
from .targets import CORE, DETOUR, FLOOR, IMPORT_SECONDS
from .workloads import CHUNKINGS, Workload

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .arguments import Figure as Reading
    from .arguments import Point as Size
    from .detours import Detour
    from .growth import Point
    from .guard import Check
    from .live import Figure as LiveFigure
    from .memory import Peak
    from .startup import StartUp

STAGES = ("frames", "events", "message")
PACKAGES = (
    "msgspec",
    "anthropic",
    "httpx-sse",
    "launchdarkly-eventsource",
    "sseclient-py",
    "pydantic-ai",
    "jsonriver",
    "jiter",
    "partial-json-parser",
    "ijson",
)


def machine() -> dict[str, str]:
    """What the figures were measured with."""
    found = {"python": f"{platform.python_implementation()} {platform.python_version()}", "system": _system()}
    installed = {distribution.metadata["Name"]: distribution.version for distribution in distributions()}
    return found | {package: installed[package] for package in PACKAGES if package in installed}


def _system() -> str:
    return f"{platform.system()} {platform.machine()}"


def console() -> Console:
    # Tables keep their width in a pipe or a log, where rich would assume 80 columns.
    return Console(width=None if sys.stdout.isatty() else 132, highlight=False)


def comparison(out: Console, workload: Workload, figures: Sequence[Figure]) -> None:
    """A table for each stage, with a row for each chunking and subject: the time, the rate and both ratios."""
    out.print(f"\n[bold]{workload.name}[/]: {workload.about}")
    out.print(f"{workload.event_count:,} events, {workload.size:,} bytes")
    yardsticks = [figure for figure in figures if figure.chunking == UNCHUNKED]
    for stage in STAGES:
        chosen = [figure for figure in figures if figure.stage == stage and figure.chunking != UNCHUNKED]
        chunkings = [name for name in CHUNKINGS if any(figure.chunking == name for figure in chosen)]
        table = Table(title=stage, title_justify="left", title_style="bold")
        table.add_column("subject")
        table.add_column("chunks")
        for heading in ("µs an event", "MB/s", "times the floor", "times sansio-step"):
            table.add_column(heading, justify="right")
        for chunking in chunkings:
            group = sorted(
                (figure for figure in chosen if figure.chunking == chunking),
                key=lambda figure: (figure.subject != CORE[stage], figure.seconds),
            )
            own = next((figure for figure in group if figure.subject == CORE[stage]), None)
            for figure in group:
                _add(table, figure, own, style="bold" if figure is own else None)
            table.add_section()
        if stage == "events":
            for figure in yardsticks:
                _add(table, figure, None, style="yellow" if figure.subject == FLOOR else None)
        out.print(table)


def _add(table: Table, figure: Figure, own: Figure | None, style: str | None) -> None:
    table.add_row(
        figure.subject,
        figure.chunking,
        f"{figure.microseconds_an_event:.3f}",
        f"{figure.megabytes_a_second:,.1f}",
        f"{figure.ratio:.2f}",
        "" if own is None else f"{figure.seconds / own.seconds:.2f}",
        style=style,
    )


def verdicts(out: Console, found: Sequence[Verdict]) -> None:
    """The table of targets, with what was measured."""
    table = Table(title="targets", title_justify="left", title_style="bold")
    for heading in ("workload", "stage", "chunks", "against"):
        table.add_column(heading)
    for heading in ("measured", "target"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for verdict in found:
        table.add_row(
            verdict.figure.workload,
            verdict.figure.stage,
            verdict.figure.chunking,
            verdict.against,
            f"{verdict.value:.2f}",
            f"{'at most' if verdict.at_most else 'at least'} {verdict.target:g}",
            _mark(verdict.met),
        )
    out.print(table)
    out.print(f"{sum(verdict.met for verdict in found)} of {len(found)} targets met")


def growth(out: Console, points: Iterable[Point]) -> None:
    table = Table(title="growth of the time per byte", title_justify="left", title_style="bold")
    for heading in ("input", "subject", "size"):
        table.add_column(heading)
    for heading in ("ns a byte", "growth", "msgspec's", "at most"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for point in points:
        table.add_row(
            point.curve,
            point.subject,
            point.size,
            f"{point.nanoseconds_a_byte:.3f}",
            f"{point.growth:.2f}",
            f"{point.reference:.2f}",
            f"{point.target:.2f}",
            _mark(point.met),
        )
    out.print(table)


def memory(out: Console, peaks: Iterable[Peak]) -> None:
    table = Table(title="peak memory, on top of the input", title_justify="left", title_style="bold")
    for heading in ("subject", "input"):
        table.add_column(heading)
    for heading in ("peak, KiB", "at most, KiB"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for peak in peaks:
        table.add_row(
            peak.subject, peak.input, f"{peak.peak / 1024:,.0f}", f"{peak.allowed / 1024:,.0f}", _mark(peak.met)
        )
    out.print(table)


def detours(out: Console, found: Sequence[Detour]) -> None:
    """A row for each shape, a column for each stage and chunking."""
    columns = list(dict.fromkeys((detour.stage, detour.chunking) for detour in found))
    table = Table(title=f"off the beaten path: times the common shape, at most {DETOUR:g}", title_justify="left")
    table.title_style = "bold"
    table.add_column("shape")
    for stage, chunking in columns:
        table.add_column(f"{stage}, {chunking}", justify="right")
    for shape in dict.fromkeys(detour.shape for detour in found):
        ratios = {(detour.stage, detour.chunking): detour for detour in found if detour.shape == shape}
        table.add_row(shape, *(f"{ratios[column].ratio:.2f} {_mark(ratios[column].met)}" for column in columns))
    out.print(table)


def arguments(out: Console, figures: Iterable[Reading], points: Iterable[Size]) -> None:
    """A table of readers on each text, and one of sizes."""
    table = Table(title="tool arguments in pieces of 64 characters, looked at after each", title_justify="left")
    table.title_style = "bold"
    for heading in ("text", "subject"):
        table.add_column(heading)
    for heading in ("µs a piece", "times sansio-step", "at least"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for figure in figures:
        table.add_row(
            figure.text,
            figure.subject,
            f"{figure.microseconds_a_piece:.2f}",
            f"{figure.times_own:.2f}",
            "" if figure.target is None else f"{figure.target:g}",
            "" if figure.target is None else _mark(figure.met),
        )
    out.print(table)
    table = Table(title="the same at growing sizes", title_justify="left", title_style="bold")
    for heading in ("text", "subject"):
        table.add_column(heading)
    for heading in ("KiB", "µs a piece", "growth", "times join and decode"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for point in points:
        table.add_row(
            point.text,
            point.subject,
            f"{point.size // 1024:,}",
            f"{point.microseconds_a_piece:.2f}",
            f"{point.growth:.2f}",
            f"{point.of_msgspec:.1f}",
            _mark(point.met),
        )
    out.print(table)


def startup(out: Console, found: StartUp) -> None:
    unwanted = f", and imports {', '.join(found.unwanted)}" if found.unwanted else ""
    out.print(
        f"\n[bold]start-up[/]: import sansio_step adds {found.seconds * 1e3:.1f} ms to import msgspec "
        f"(at most {IMPORT_SECONDS * 1e3:g}){unwanted} {_mark(found.met)}"
    )


def guard(out: Console, checks: Iterable[Check]) -> None:
    table = Table(title="guard", title_justify="left", title_style="bold")
    table.add_column("ratio")
    for heading in ("measured", "target", "fails above"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for check in checks:
        table.add_row(
            check.name, f"{check.value:.2f}", f"{check.target:g}", f"{check.allowed:.2f}", _mark(check.passed)
        )
    out.print(table)


def live(out: Console, figures: Iterable[LiveFigure]) -> None:
    """What a live event takes of each client and gateway."""
    table = Table(title="live: CPU time an event", title_justify="left", title_style="bold")
    table.add_column("")
    for heading in ("live µs", "of aiohttp", "target", "back to back µs", "of aiohttp", "instructions", "added lag µs"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for figure in figures:
        cells = []
        for kind, microseconds in figure.microseconds.items():
            ratio = figure.ratios.get(kind)
            cells += [f"{microseconds:.1f}", "" if ratio is None else f"{ratio:.2f}"]
        cells.insert(2, "" if figure.target is None else f"{figure.target:g}")
        cells += [
            "" if figure.instructions is None else f"{figure.instructions:,.0f}",
            "" if figure.lag is None else f"{figure.lag * 1e6:.0f}",
            "" if figure.passed is None else _mark(figure.passed),
        ]
        table.add_row(figure.name, *cells)
    out.print(table)


def _mark(met: bool) -> str:
    return "[green]ok[/]" if met else "[bold red]no[/]"
