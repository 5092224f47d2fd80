"""Three readers of event streams take a byte order mark for a part of the first line, which they drop.

The standard drops the mark and keeps the line. An event of data alone is lost; one with a name loses that name.
"""

from __future__ import annotations

from .readers import BOM, SSE_READERS, show

if __name__ == "__main__":
    for package, read in SSE_READERS.items():
        body = BOM + b"data: 1\n\ndata: 2\n\n"
        show(package, [body], read([body]), right=[("message", "1"), ("message", "2")], wrong=[("message", "2")])
        body = BOM + b"event: ping\ndata: {}\n\n"
        show(package, [body], read([body]), right=[("ping", "{}")], wrong=[("message", "{}")])
