"""A server that plays back captures as the answers to POST /v1/messages: for demos, tests and benchmarks.

    async with serve(capture, chunk_size=7, pace=0.01) as server:
        async with AsyncClient(base_url=server.base_url) as client:
            ...

A capture is the body of a streaming response, such as `curl -N` saves.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Final

import anyio
import anyio.abc
import h11
import msgspec

from sansio_step import StreamError, parse, to_json

__all__ = ["ReplayServer", "serve"]

_EVENT_END: Final = re.compile(rb"(?:\r\n|\n|\r)(?:\r\n|\n|\r)")
_MOST_REQUEST: Final = 64 * 1024 * 1024


def serve(
    captures: bytes | Sequence[bytes],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    chunk_size: int | None = None,
    pace: float = 0.0,
) -> ReplayServer:
    """A server for `async with`, at its `base_url` while inside. Port 0 is any free one.

    Several captures are served in turn, again and again. Each goes out in pieces of `chunk_size` bytes, or one event a
    piece, with `pace` seconds between them. A request without `stream` gets the capture's message as one document.
    """
    whole = [bytes(captures)] if isinstance(captures, (bytes, bytearray, memoryview)) else list(captures)
    if not whole:
        raise ValueError("captures: there is none")
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size: {chunk_size} is less than 1")
    return ReplayServer(whole, host=host, port=port, chunk_size=chunk_size, pace=pace)


def pieces(capture: bytes, chunk_size: int | None) -> Iterator[bytes]:
    """A capture cut to size, or behind each event."""
    if chunk_size is not None:
        cuts = [*range(0, len(capture), chunk_size), len(capture)]
    else:
        cuts = sorted({0, *(end.end() for end in _EVENT_END.finditer(capture)), len(capture)})
    for start, end in itertools.pairwise(cuts):
        yield capture[start:end]


class ReplayServer:
    """A running server; made by `serve`. `calls` counts the requests that it answered with a capture."""

    def __init__(self, captures: list[bytes], *, host: str, port: int, chunk_size: int | None, pace: float) -> None:
        self._captures = captures
        self._host, self._port = host, port
        self._chunk_size, self._pace = chunk_size, pace
        self._listener: anyio.abc.Listener[anyio.abc.SocketStream] | None = None
        self._tasks: anyio.abc.TaskGroup | None = None
        self.calls = 0

    @property
    def base_url(self) -> str:
        """What a client's `base_url` has to be."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    @property
    def port(self) -> int:
        """The port that it listens at."""
        if self._listener is None:
            raise ValueError("the server does not run")
        return self._listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610, anyio's extra

    async def __aenter__(self) -> ReplayServer:
        self._listener = await anyio.create_tcp_listener(local_host=self._host, local_port=self._port)
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._listener.serve, self._serve_connection)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        tasks, listener = self._tasks, self._listener
        assert tasks is not None
        assert listener is not None
        tasks.cancel_scope.cancel()
        if not isinstance(error, anyio.get_cancelled_exc_class()):
            # A task group would wrap what the block raised in a group, and it is none of the server's.
            kind = error = traceback = None
        try:
            await tasks.__aexit__(kind, error, traceback)
        finally:
            with anyio.CancelScope(shield=True):
                await listener.aclose()

    async def _serve_connection(self, transport: anyio.abc.SocketStream) -> None:
        try:
            connection = h11.Connection(h11.SERVER)
            # However a client leaves (h11's LocalProtocolError: it wanted no further call), the server goes on.
            with contextlib.suppress(OSError, anyio.BrokenResourceError, anyio.EndOfStream, h11.ProtocolError):
                while True:
                    await self._answer(connection, transport)
                    connection.start_next_cycle()
        finally:
            with anyio.CancelScope(shield=True):
                await transport.aclose()

    async def _answer(self, connection: h11.Connection, transport: anyio.abc.SocketStream) -> None:
        request, body = await _read_request(connection, transport)
        target = bytes(request.target).partition(b"?")[0]
        if request.method != b"POST" or not target.endswith(b"/v1/messages"):
            problem = _error("not_found_error", "only POST /v1/messages is here")
            await _send_document(connection, transport, 404, problem)
            return
        try:
            wish = msgspec.json.decode(body)
            streaming = isinstance(wish, dict) and wish.get("stream") is True
        except msgspec.DecodeError:
            problem = _error("invalid_request_error", "the request is no JSON")
            await _send_document(connection, transport, 400, problem)
            return
        capture = self._captures[self.calls % len(self._captures)]
        self.calls += 1
        if streaming:
            await self._send_stream(connection, transport, capture)
            return
        try:
            status, document = 200, to_json(parse(capture))
        except StreamError as error:
            status, document = 500, _error("api_error", str(error))
        await _send_document(connection, transport, status, document)

    async def _send_stream(self, connection: h11.Connection, transport: anyio.abc.SocketStream, capture: bytes) -> None:
        headers = [("content-type", "text/event-stream"), ("cache-control", "no-store")]
        out = connection.send(h11.Response(status_code=200, headers=headers))
        for piece in pieces(capture, self._chunk_size):
            await transport.send(out + connection.send(h11.Data(data=piece)))
            out = b""
            if self._pace:
                await anyio.sleep(self._pace)
        await transport.send(out + connection.send(h11.EndOfMessage()))


async def _read_request(connection: h11.Connection, transport: anyio.abc.SocketStream) -> tuple[h11.Request, bytes]:
    request: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if connection.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                await transport.send(connection.send(go_on))
            connection.receive_data(await transport.receive())
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > _MOST_REQUEST:
                raise anyio.EndOfStream
        elif isinstance(event, h11.EndOfMessage) and request is not None:
            return request, bytes(body)
        else:
            raise anyio.EndOfStream


async def _send_document(
    connection: h11.Connection, transport: anyio.abc.SocketStream, status: int, document: bytes
) -> None:
    headers = [("content-type", "application/json"), ("content-length", str(len(document)))]
    out = connection.send(h11.Response(status_code=status, headers=headers))
    out += connection.send(h11.Data(data=document)) + connection.send(h11.EndOfMessage())
    await transport.send(out)


def _error(type: str, message: str) -> bytes:
    return msgspec.json.encode({"type": "error", "error": {"type": type, "message": message}})
