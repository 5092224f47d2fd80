"""An inspection as one page: lanes of time, each event under the pointer, the message beside them.

The page has no script and loads nothing, and says so in its policy; all that a server said is escaped as text.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final

import msgspec

from sansio_step import to_dict

from ._inspect_view import facts_of, seconds
from ._inspection import EventSeen, Inspection
from ._terminal import escaped

__all__ = ["page"]

_LANE: Final = 26
_LEFT: Final = 150
_MOST_SHOWN: Final = 200
_STYLE: Final = """
:root { color-scheme: light dark; --line: #8886; --text: #1a7f37; --thinking: #8250df; --tool: #9a6700; --other: #0969da; --gap: #d1242f; }
@media (prefers-color-scheme: dark) { :root { --text: #3fb950; --thinking: #bc8cff; --tool: #d29922; --other: #58a6ff; --gap: #ff7b72; } }
body { font: 14px/1.5 system-ui, sans-serif; margin: 1.5rem; }
main { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 2rem; }
@media (max-width: 60rem) { main { grid-template-columns: minmax(0, 1fr); } }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; } dt { opacity: .7; }
dd, pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.lanes { overflow-x: auto; } svg { display: block; } svg text { font-size: 12px; fill: currentColor; }
rect.text { fill: var(--text); } rect.thinking { fill: var(--thinking); } rect.tool_use { fill: var(--tool); } rect.other { fill: var(--other); }
rect:hover { stroke: currentColor; stroke-width: 2; } rect.gap { fill: var(--gap); opacity: .15; } line { stroke: var(--line); }
"""


def page(seen: Inspection) -> str:
    """The page."""
    title = _text(f"{seen.body.label} - sansio-step inspect")
    facts = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in facts_of(seen))
    message = msgspec.json.format(msgspec.json.encode(to_dict(seen.message)), indent=2).decode() if seen.message else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body><h1>{_text(seen.body.label)}</h1>\n"
        f"<main><section><dl>{facts}</dl><h2>{'Time' if seen.is_timed else 'Place in the body'}</h2>"
        f'<div class="lanes">{"".join(_picture(seen))}</div></section>\n'
        f"<section><h2>Message</h2><pre>{_text(message)}</pre></section></main></body></html>\n"
    )


def _picture(seen: Inspection) -> Iterator[str]:
    lanes = [(f"{block.index} {block.kind}", block.kind, block.events) for block in seen.blocks]
    others = [event for event in seen.events if event.block is None]
    lanes += [("other events", "other", others)] if others else []
    timed = seen.is_timed
    end = max((_place(event, timed=timed) for event in seen.events), default=0) or 1
    width = min(max(700, len(seen.events) * 3), 20_000)
    height = _LANE * (len(lanes) + 1)
    yield f'<svg width="{_LEFT + width + 10}" height="{height}" role="img" aria-label="events by block">'
    for gap in seen.gaps:
        stop = seen.events[gap.before].ns or 0
        left, right = (_LEFT + place * width / end for place in (stop - gap.ns, stop))
        yield f'<rect class="gap" x="{left:.1f}" y="0" width="{right - left:.1f}" height="{height - _LANE}">'
        yield f"<title>a silence of {seconds(gap.ns)}, before event {gap.before}</title></rect>"
    for row, (name, kind, events) in enumerate(lanes):
        top = row * _LANE
        style = kind if kind in ("text", "thinking", "tool_use") else "other"
        yield f'<text x="0" y="{top + 17}">{_text(name[:20])}</text>'
        yield f'<line x1="{_LEFT}" x2="{_LEFT + width}" y1="{top + 13}" y2="{top + 13}"/>'
        for event in events:
            left = _LEFT + _place(event, timed=timed) * width / end
            yield f'<rect class="{style}" x="{left:.1f}" y="{top + 4}" width="2" height="18"><title>'
            yield f"{_text(_said(event))}</title></rect>"
    said = seconds(end) if timed else f"byte {end:,}"
    yield f'<text x="{_LEFT}" y="{height - 8}">0</text>'
    yield f'<text x="{_LEFT + width}" y="{height - 8}" text-anchor="end">{said}</text></svg>'


def _place(event: EventSeen, *, timed: bool) -> int:
    return (event.ns or 0) if timed else event.start


def _said(event: EventSeen) -> str:
    when = f", {seconds(event.ns)}" if event.ns is not None else ""
    text = event.text if len(event.text) <= _MOST_SHOWN else event.text[:_MOST_SHOWN] + "..."
    return f"event {event.number}: {event.kind}{when}, bytes {event.start} to {event.end}\n{text}"


def _text(text: str) -> str:
    """Text of anybody's as text of the page."""
    shown = escaped(text, tabs=True).encode("utf-8", "backslashreplace").decode()
    return escape(shown)
