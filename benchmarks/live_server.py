"""The server of the live benchmark, in a process of its own, on asyncio alone so that it takes little of the machine.

A request names what it wants as its model: `live:EVENTS:SECONDS`, one event a write at that interval, or
`burst:EVENTS`, all of them in one write. Each event is a chunk of its own, as servers flush them.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import time
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
# The number of events of a stream that are not deltas.
AROUND = 5
_MODEL = re.compile(rb'"model": ?"([^"]+)"')


def event(name: str, **data: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), json.dumps({"type": name, **data}).encode())


BEGIN = (
    event(
        "message_start",
        message={
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 10, "output_tokens": 1},
        },
    ),
    event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
)
END = (
    event("content_block_stop", index=0),
    event(
        "message_delta",
        delta={"stop_reason": "end_turn", "stop_sequence": None},
        usage={"input_tokens": 10, "output_tokens": 9},
    ),
    event("message_stop"),
)


def delta() -> bytes:
    """One delta, which says when it was written."""
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": f"{time.monotonic():.6f} "})


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def plan_of(request: bytes) -> tuple[int, float]:
    """How many events a request asks for, and the seconds between two (0 for all at once)."""
    found = _MODEL.search(request)
    assert found is not None, "a request of this benchmark has its model near its start"
    _, events, *interval = found[1].decode().split(":")
    return int(events), float(interval[0]) if interval else 0.0


class Upstream(asyncio.Protocol):
    """One connection, for one request after the other."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._request = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self._request += data
        _, border, body = self._request.partition(b"\r\n\r\n")
        if not border or not body.endswith((b"}", b"0\r\n\r\n")):
            return
        events, interval = plan_of(body)
        self._request = b""
        deltas = events - AROUND
        if not interval:
            pieces = [*BEGIN, *(delta() for _ in range(deltas)), *END]
            self._transport.write(HEAD + b"".join(map(chunk, pieces)) + b"0\r\n\r\n")
            return
        self._transport.write(HEAD + b"".join(map(chunk, BEGIN)))
        # Real streams don't keep step: each begins at a time of its own within the first interval.
        self._next(deltas, self._loop.time() + interval * random.random(), interval)

    def _next(self, left: int, at: float, interval: float) -> None:
        if self._transport.is_closing():
            return
        if left:
            self._loop.call_at(at, self._write, left, at, interval)
        else:
            self._transport.write(b"".join(map(chunk, END)) + b"0\r\n\r\n")

    def _write(self, left: int, at: float, interval: float) -> None:
        self._transport.write(chunk(delta()))
        self._next(left - 1, at + interval, interval)


async def serve() -> None:
    """Answer until the process is killed; the port is printed first."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
