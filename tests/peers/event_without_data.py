"""httpx-sse dispatches an event where there is none: after an id, at every blank line without data before it.

The id stays for all later events, as the standard has it, and the reader takes that for a field of the next one. A
keep-alive comment with its blank line becomes an event of empty data.
"""

from __future__ import annotations

from .readers import httpx_sse, show

if __name__ == "__main__":
    body = b"id: 7\ndata: 1\n\n: keep-alive\n\ndata: 2\n\n"
    right = [("message", "1"), ("message", "2")]
    show(
        "httpx-sse", [body], httpx_sse([body]), right=right, wrong=[("message", "1"), ("message", ""), ("message", "2")]
    )
