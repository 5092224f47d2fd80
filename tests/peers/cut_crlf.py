"""`iter_lines` of requests makes a blank line of a CR LF that the network cuts in two.

A blank line ends an event: whoever reads events from these lines gets the event's name without its data.
"""

from __future__ import annotations

from .readers import requests_lines, show

if __name__ == "__main__":
    pieces = [b"event: ping\r", b"\ndata: {}\r\n\r\n"]
    show(
        "requests",
        pieces,
        requests_lines(pieces),
        right=[b"event: ping", b"data: {}", b""],
        wrong=[b"event: ping", b"", b"data: {}", b""],
    )
