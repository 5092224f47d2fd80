"""An inspection as one page: lanes of time, each event under the pointer, the message beside them.

The page has no script and loads nothing, and says so in its policy; all that a server said is escaped as text.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import groupby, islice
from typing import Final

import msgspec

from sansio_step import to_dict

from ._inspect_view import blocks_of, facts_of, seconds, shortened, usage_of
from ._inspection import EventSeen, Inspection
from ._terminal import escaped

__all__ = ["page"]

_LANE: Final = 26  # pixels
_LEFT: Final = 120
_RIGHT: Final = 10
# A short capture has room, a long one is scrolled.
_WIDTHS: Final = (600, 6000)  # pixels
_MARK: Final = 3  # pixels an event, the gap after it included
# A browser opens a page of so many without a wait. Of more, those that lie at one place are one mark.
_MOST_MARKS: Final = 20_000
_MOST_LANES: Final = 100
_MOST_SHOWN: Final = 200  # characters of a mark's events
_FEW_SHOWN: Final = 60  # the same where marks are many
_MOST_OF_MESSAGE: Final = 500_000
_STYLE: Final = """
:root { color-scheme: light dark; --line: #8886; --text: #1a7f37; --thinking: #8250df; --tool: #9a6700; --other: #0969da; --gap: #d1242f; }
@media (prefers-color-scheme: dark) { :root { --text: #3fb950; --thinking: #bc8cff; --tool: #d29922; --other: #58a6ff; --gap: #ff7b72; } }
body { font: 14px/1.5 system-ui, sans-serif; margin: 1.5rem; }
h1 { font-size: 1.3rem; overflow-wrap: anywhere; } h2 { font-size: 1.05rem; }
main { display: grid; grid-template-columns: minmax(var(--lanes), 3fr) minmax(0, 2fr); gap: 2rem; }
@media (max-width: 70rem) { main { grid-template-columns: minmax(0, 1fr); } }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; } dt { opacity: .7; }
dd, pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; } pre { font: 12px/1.5 ui-monospace, monospace; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } th { font-weight: normal; opacity: .7; }
th, td { padding: .1rem 1.2rem .1rem 0; text-align: right; } th:first-child, td:first-child { text-align: left; }
.usage td:first-child { text-align: right; padding-right: .7rem; } .usage td { text-align: left; }
.lanes { overflow-x: auto; } svg { display: block; } svg text { font-size: 12px; fill: currentColor; }
rect.text { fill: var(--text); } rect.thinking { fill: var(--thinking); } rect.tool_use { fill: var(--tool); } rect.other { fill: var(--other); }
rect:hover { stroke: currentColor; stroke-width: 2; } rect.gap { fill: var(--gap); opacity: .15; } line { stroke: var(--line); }
"""


def page(seen: Inspection) -> str:
    """The page."""
    title = _text(f"{seen.body.label} - sansio-step inspect")
    message = msgspec.json.format(msgspec.json.encode(to_dict(seen.message)), indent=2).decode() if seen.message else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Beside the message is room for all of a short picture: what is beyond a scroll bar is taken for what isn't there.
        f"<title>{title}</title><style>:root {{ --lanes: {_LEFT + _WIDTHS[0] + _RIGHT}px; }}{_STYLE}</style></head>\n<body><h1>{_text(seen.body.label)}</h1>\n"
        f"<main><section>{_facts(seen)}{_blocks(seen)}{_time(seen)}</section>\n"
        f"<section><h2>Message</h2><pre>{_text(shortened(message, _MOST_OF_MESSAGE))}</pre></section></main></body></html>\n"
    )


def _facts(seen: Inspection) -> str:
    facts = "".join(
        f"<dt>{_text(name)}</dt><dd>{_usage(seen) if name == 'usage' else _text(value)}</dd>"
        for name, value in facts_of(seen)
    )
    return f"<dl>{facts}</dl>"


def _usage(seen: Inspection) -> str:
    rows = "".join(f"<tr><td>{_text(count)}</td><td>{_text(name)}</td></tr>" for name, count in usage_of(seen))
    return f'<table class="usage">{rows}</table>'


def _blocks(seen: Inspection) -> str:
    if not seen.blocks:
        return ""
    heads, *rows = blocks_of(seen)
    head = "".join(f"<th>{_text(cell)}</th>" for cell in heads)
    body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<h2>Blocks</h2><table><tr>{head}</tr>{body}</table>"


def _time(seen: Inspection) -> str:
    if not seen.events:
        return ""
    return (
        f'<h2>{"Time" if seen.is_timed else "Place in the body"}</h2><div class="lanes">{"".join(_picture(seen))}</div>'
    )


def _picture(seen: Inspection) -> Iterator[str]:
    lanes = [(f"{block.index} {block.kind}", block.kind, block.events) for block in seen.blocks[:_MOST_LANES]]
    more = seen.blocks[_MOST_LANES:]
    if more:
        theirs = sorted(event for block in more for event in block.events)  # by number, which is the order in time
        lanes.append((f"{len(more):,} more blocks", "other", theirs))
    others = [event for event in seen.events if event.block is None]
    lanes += [("other events", "other", others)] if others else []
    timed = seen.is_timed
    end = max(_place(event, timed=timed) for event in seen.events) or 1
    least, most = _WIDTHS
    width = min(max(least, len(seen.events) * _MARK), most)
    height = _LANE * (len(lanes) + 1)
    yield f'<svg width="{_LEFT + width + _RIGHT}" height="{height}" role="img" aria-label="events by block">'
    for gap in seen.gaps:
        stop = seen.events[gap.before].ns or 0
        left, right = (_LEFT + place * width / end for place in (stop - gap.ns, stop))
        yield f'<rect class="gap" x="{left:.1f}" y="0" width="{right - left:.1f}" height="{height - _LANE}">'
        yield f"<title>a silence of {seconds(gap.ns)}, before event {gap.before}</title></rect>"
    crowded = len(seen.events) > _MOST_MARKS
    places = min(width // _MARK, _MOST_MARKS // len(lanes)) if crowded else None
    for row, (name, kind, events) in enumerate(lanes):
        top = row * _LANE
        style = kind if kind in ("text", "thinking", "tool_use") else "other"
        yield f'<text x="0" y="{top + 17}">{_text(name[:20])}</text>'
        yield f'<line x1="{_LEFT}" x2="{_LEFT + width}" y1="{top + 13}" y2="{top + 13}"/>'
        for place, marked in _marks([(_place(event, timed=timed) / end, event) for event in events], places):
            left = _LEFT + place * width
            yield f'<rect class="{style}" x="{left:.1f}" y="{top + 4}" width="2" height="18"><title>'
            yield f"{_text(_said(marked, _FEW_SHOWN if crowded else _MOST_SHOWN))}</title></rect>"
    said = seconds(end) if timed else f"byte {end:,}"
    yield f'<text x="{_LEFT}" y="{height - 8}">0</text>'
    yield f'<text x="{_LEFT + width}" y="{height - 8}" text-anchor="end">{said}</text></svg>'


def _marks(events: list[tuple[float, EventSeen]], places: int | None) -> Iterator[tuple[float, list[EventSeen]]]:
    """Where the events of a lane are to be marked, as parts of the whole: each, or together those at one of so many places."""
    if places is None:
        yield from ((part, [event]) for part, event in events)
    else:
        for place, some in groupby(events, key=lambda each: int(each[0] * places)):
            yield place / places, [event for _, event in some]


def _place(event: EventSeen, *, timed: bool) -> int:
    return (event.ns or 0) if timed else event.start


def _said(events: list[EventSeen], most: int) -> str:
    """What a mark says: an event, or how many there are at its place; and how their text begins."""
    first, last = events[0], events[-1]
    when = f", {seconds(first.ns)}" if first.ns is not None else ""
    where = f"bytes {first.start} to {last.end}"
    text = "".join(event.text for event in islice(events, most))
    text = text if len(text) <= most else text[:most] + "..."
    if len(events) > 1:
        return f"{len(events)} events, {first.number} to {last.number}{when}, {where}\n{text}"
    return f"event {first.number}: {first.kind}{when}, {where}\n{text}"


def _text(text: str) -> str:
    """Text of anybody's as text of the page."""
    shown = escaped(text, tabs=True).encode("utf-8", "backslashreplace").decode()
    return escape(shown)
