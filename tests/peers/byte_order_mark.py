"""Three readers of event streams take a byte order mark for a part of the first line, which they drop.

The standard drops the mark and keeps the line. An event of data alone is lost; one with a name loses that name. The
official SDK's own reader does the same: its message_start is no event that it knows, and there is no message at all.
"""

from __future__ import annotations

from sansio_step import parse

from .readers import BOM, SSE_READERS, official_sdk, show
from .second_message_delta import START

if __name__ == "__main__":
    for package, read in SSE_READERS.items():
        body = BOM + b"data: 1\n\ndata: 2\n\n"
        show(package, [body], read([body]), right=[("message", "1"), ("message", "2")], wrong=[("message", "2")])
        body = BOM + b"event: ping\ndata: {}\n\n"
        show(package, [body], read([body]), right=[("ping", "{}")], wrong=[("message", "{}")])
    body = BOM + b"event: message_start\ndata: " + START + b"\n\n"
    body += b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{}}\n\n'
    body += b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    try:
        came = str(official_sdk([body])["stop_reason"])
    except AssertionError:
        came = "an AssertionError without a word"
    right = parse(body, strict=True).stop_reason
    show("anthropic", [body], came, right=right, wrong="an AssertionError without a word")
