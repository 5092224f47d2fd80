"""An inspection in the terminal or in a pipe: facts, blocks, deviations, and a lane of time for each block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final, TextIO

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sansio_step import Outcome, to_dict

from ._inspection import EventSeen, Inspection
from ._lines import one_line
from ._terminal import escaped

__all__ = ["blocks_of", "facts_of", "seconds", "shortened", "show", "usage_of"]

_BARS: Final = " ▁▂▃▄▅▆▇█"
_LABEL: Final = 16
_COLOURS: Final = {"text": "green", "thinking": "magenta", "tool_use": "yellow"}
_MOST_DEVIATIONS: Final = 20
_MOST_BLOCKS: Final = 40
_MOST_COUNTS: Final = 40
_PIPE_WIDTH: Final = 100


def show(seen: Inspection, out: TextIO) -> None:
    """Write it: as wide as the terminal, 100 cells in a pipe."""
    in_terminal = out.isatty()
    # Of a dumb terminal rich takes for granted that it has 80 cells, unless it is told width and height.
    width = os.get_terminal_size(out.fileno()).columns or _PIPE_WIDTH if in_terminal else _PIPE_WIDTH
    console = Console(file=out, highlight=False, width=width, height=25, force_terminal=None if in_terminal else False)
    # At once, and by our own hand: rich ends the program by itself if nobody reads any more.
    with console.capture() as shown:
        _show(seen, console)
    text = shown.get()
    if not in_terminal:  # rich fills the cells of a table, which in a file are blanks at the ends of lines
        text = "".join(f"{line.rstrip(' ')}\n" for line in text.splitlines())
    out.write(text)
    out.flush()


def _show(seen: Inspection, console: Console) -> None:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in facts_of(seen):
        colour = ""
        if name == "outcome":
            colour = "bold green" if seen.outcome is Outcome.COMPLETE else "bold red"
        facts.add_row(name, Text(value, colour))
    console.print(facts)
    if seen.blocks:
        console.print()
        _blocks(seen, console)
    if seen.events:
        console.print()
        _lanes(seen, console)


def facts_of(seen: Inspection) -> list[tuple[str, str]]:
    """What there is to say, by names. Values can have several lines; control characters are escapes."""
    body, message = seen.body, seen.message
    facts = [("file", f"{body.label}, {body.size:,} bytes" + (f" ({', '.join(body.forms)})" if body.forms else ""))]
    if body.status is not None:
        facts.append(("status", str(body.status)))
    facts.append(("outcome", seen.outcome.name))
    if seen.error is not None:
        facts.append(("error", seen.error))
    if message is not None and message.model:
        facts.append(("model", message.model))
    if message is not None and message.stop_reason:
        facts.append(("stop_reason", message.stop_reason))
    if not seen.is_document:
        facts.append(("events", f"{len(seen.events):,}, {seen.pings:,} of them pings"))
    usage = usage_of(seen)
    if usage:
        width = max(len(count) for _, count in usage)
        facts.append(("usage", "\n".join(f"{count:>{width}}  {name}" for name, count in usage)))
    if seen.is_timed:
        facts.append(("first event", seconds(seen.first_event_ns)))
        facts.append(("first content", seconds(seen.first_content_ns)))
        rate = seen.tokens_per_second
        if rate is not None:
            facts.append(("tokens", f"{rate:.1f} a second"))
        gaps = [f"{seconds(gap.ns)} before event {gap.before}" for gap in seen.gaps]
        facts.append(("silences", "\n".join(gaps) or "none that is long"))
    said = []
    for deviation, event in seen.deviations[:_MOST_DEVIATIONS]:
        where = f" (bytes {event.start} to {event.end})" if event is not None else ""
        times = f", {deviation.count} times" if deviation.count > 1 else ""
        said.append(f"{deviation.code} at event {deviation.event_number}{where}{times}: {deviation.detail}")
    more = len(seen.deviations) - len(said)
    if more > 0:
        said.append(f"and {more:,} more: --json has them all")
    if not seen.is_document:
        facts.append(("deviations", "\n".join(said) or "none"))
    return [(name, escaped(shortened(value))) for name, value in facts]


def usage_of(seen: Inspection) -> list[tuple[str, str]]:
    """The counts by their names, those of an object within by `name.name`; in one line each."""
    message = seen.message
    usage = to_dict(message).get("usage") if message is not None else None
    rows = list(_rows("", usage)) if isinstance(usage, dict) else []
    if not seen.usage_is_final:
        rows = [(f"{name} (not final)" if name == "output_tokens" else name, count) for name, count in rows]
    more = len(rows) - _MOST_COUNTS
    return rows[:_MOST_COUNTS] + ([(f"and {more:,} more: --json has them all", "")] if more > 0 else [])


def _rows(path: str, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _rows(f"{path}{name}.", value)
        else:
            shown = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            yield one_line(shortened(f"{path}{name}", 80)), one_line(shortened(shown, 80))


def shortened(text: str, most: int = 4000) -> str:
    """A text that a server can have made as long as it likes."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


def blocks_of(seen: Inspection) -> list[list[str]]:
    """A row for each block, after one of headings: its kind and size, and when (or at which byte) it began and ended."""
    timed = seen.is_timed
    table = [["block", "characters", "deltas", *(["first", "last"] if timed else ["first byte", "last byte"])]]
    for block in seen.blocks[:_MOST_BLOCKS]:
        first, last = block.first, block.last
        when = ["", ""]
        if first is not None and last is not None:
            when = [seconds(first.ns), seconds(last.ns)] if timed else [f"{first.start:,}", f"{last.end - 1:,}"]
        table.append([one_line(f"{block.index} {block.kind}"), f"{block.characters:,}", f"{block.deltas:,}", *when])
    more = len(seen.blocks) - _MOST_BLOCKS
    if more > 0:
        table.append([f"and {more:,} more", "", "", "", ""])
    if seen.is_document:
        table = [row[:2] for row in table]
    return table


def _blocks(seen: Inspection, console: Console) -> None:
    heads, *rows = blocks_of(seen)
    table = Table.grid(padding=(0, 2))
    table.add_column(width=_LABEL, no_wrap=True, overflow="ellipsis")
    for _ in heads[1:]:
        table.add_column(justify="right", no_wrap=True)
    table.add_row(*(Text(head, "dim") for head in heads))
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _lanes(seen: Inspection, console: Console) -> None:
    """A row for each block: what came when, or at which bytes if no times are known."""
    width = max(console.width - _LABEL - 2, 10)
    scale = _Scale(seen, width)
    lanes = Table.grid(padding=(0, 2))
    lanes.add_column(width=_LABEL, no_wrap=True, overflow="ellipsis")
    lanes.add_column(width=width, no_wrap=True)
    for block in seen.blocks[:_MOST_BLOCKS]:
        row = Text(scale.row(block.events), _COLOURS.get(block.kind, "cyan"))
        lanes.add_row(Text(one_line(f"{block.index} {block.kind}")), row)
    others = [event for event in seen.events if event.block is None]
    if others:
        lanes.add_row(Text("other events"), Text(scale.row(others), "dim"))
    end = seconds(scale.end) if seen.is_timed else f"byte {scale.end:,}"
    lanes.add_row(Text("time" if seen.is_timed else "place", "dim"), Text("0" + end.rjust(width - 1), "dim"))
    console.print(lanes)


class _Scale:
    """Where an event stands in a row of so many cells."""

    def __init__(self, seen: Inspection, width: int) -> None:
        self._timed, self._width = seen.is_timed, width
        self.end = max((self._place(event) for event in seen.events), default=0)

    def _place(self, event: EventSeen) -> int:
        return (event.ns or 0) if self._timed else event.start

    def row(self, events: list[EventSeen]) -> str:
        cells = [0] * self._width
        for event in events:
            cells[min(self._place(event) * self._width // max(self.end, 1), self._width - 1)] += 1
        most = max(cells)
        return "".join(_BARS[-(-count * (len(_BARS) - 1) // most)] for count in cells)


def seconds(ns: int | None) -> str:
    """Nanoseconds as people say them."""
    if ns is None:
        return "never"
    return f"{ns / 1e9:.2f} s" if ns >= 1e9 else f"{ns / 1e6:.1f} ms"
