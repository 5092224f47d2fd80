"""A server that plays back captures as the answers to POST /v1/messages: for demos, tests and benchmarks.

    async with serve(capture, chunk_size=7, pace=0.01) as server:
        async with AsyncClient(base_url=server.base_url) as client:
            ...

A capture is the body of a streaming response, such as `curl -N` saves.

A request that `MessageRequest` refuses is a 400 with its words, and so is one that is no JSON or no HTTP. A body of
more than 64 MiB is a 413, a method other than POST a 405, another path a 404; HEAD gets the same without a body. POST
/v1/messages/count_tokens counts one token for each four bytes of the request's JSON text, at least one.

Nothing that a client sends ends the server or another client's connection. A fault of the server's own is a 500, and
goes to the log of this module's name.
"""

from __future__ import annotations

import inspect
import itertools
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from ._extras import missing_extra

try:
    import anyio
    import anyio.abc
    import h11
except ModuleNotFoundError as error:
    raise missing_extra("anyio", error) from error

import msgspec
from anyio.streams.stapled import MultiListener

from sansio_step import MessageRequest, StreamError, parse, to_json

__all__ = ["ReplayServer", "serve"]

_EVENT_END: Final = re.compile(rb"(?:\r\n|\n|\r)(?:\r\n|\n|\r)")
_MOST_REQUEST: Final = 64 * 1024 * 1024
_MESSAGES: Final = b"/v1/messages"
_COUNT_TOKENS: Final = b"/v1/messages/count_tokens"
_ERROR_TYPES: Final = {404: "not_found_error", 413: "request_too_large"}

_PARAMETERS: Final = [
    parameter
    for parameter in inspect.signature(MessageRequest).parameters.values()
    if parameter.kind is parameter.KEYWORD_ONLY
]
_NEEDED: Final = [parameter.name for parameter in _PARAMETERS if parameter.default is parameter.empty]
# The wire has no fields of these two names: one stands in `output_config`, the other is all that is not listed.
_LISTED: Final = {parameter.name for parameter in _PARAMETERS} - {"effort", "extra"}
_EFFORTS: Final = ("low", "medium", "high")  # others, which other vendors have, are for `extra` to take

# What is raised when a client leaves, however it does.
_CLIENT_LEFT: Final = (OSError, anyio.BrokenResourceError, anyio.EndOfStream)
_HANG_UP_SECONDS: Final = 1.0
_ACCEPT_AGAIN_SECONDS: Final = 0.1

_logger: Final = logging.getLogger(__name__)


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

    A ValueError tells that there is no capture, or that `chunk_size` is less than 1.
    """
    whole = [bytes(captures)] if isinstance(captures, (bytes, bytearray, memoryview)) else list(captures)
    if not whole:
        raise ValueError("captures: there is none")
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size: {chunk_size} is less than 1")
    return ReplayServer(whole, host=host, port=port, chunk_size=chunk_size, pace=pace)


def pieces(capture: bytes, chunk_size: int | None) -> Iterator[bytes]:
    """A capture cut to size, or after each event."""
    if chunk_size is not None:
        cuts = [*range(0, len(capture), chunk_size), len(capture)]
    else:
        cuts = sorted({0, *(end.end() for end in _EVENT_END.finditer(capture)), len(capture)})
    for start, end in itertools.pairwise(cuts):
        yield capture[start:end]


def request_from_wire(fields: Mapping[str, Any]) -> MessageRequest:
    """The request that the wire's JSON object stands for; a ValueError or TypeError says why it stands for none.

    `output_config.effort` is `effort`. Fields that are no arguments of MessageRequest are its `extra`.
    """
    for name in _NEEDED:
        if name not in fields:
            raise ValueError(f"{name}: it is missing")
    arguments = {name: value for name, value in fields.items() if name in _LISTED}
    extra = {name: value for name, value in fields.items() if name not in _LISTED}
    match extra.get("output_config"):
        case {"effort": str(effort), **others} if effort in _EFFORTS and not others:
            del extra["output_config"]
            arguments["effort"] = effort
    return MessageRequest(**arguments, extra=extra or None)


@dataclass(frozen=True)
class _Answer:
    """A response to send, whose pieces go out `pace` seconds apart."""

    status: int
    headers: list[tuple[str, str]]
    pieces: Iterable[bytes]
    pace: float = 0.0


class ReplayServer:
    """A running server; made by `serve`. `calls` counts the requests that it answered with a capture."""

    def __init__(self, captures: list[bytes], *, host: str, port: int, chunk_size: int | None, pace: float) -> None:
        self._captures = captures
        self._host, self._port = host, port
        self._chunk_size, self._pace = chunk_size, pace
        self._listener: MultiListener[anyio.abc.SocketStream] | None = None
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
        for listener in self._listener.listeners:
            self._tasks.start_soon(self._accept, listener, self._tasks)
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

    async def _accept(self, listener: anyio.abc.Listener[anyio.abc.SocketStream], tasks: anyio.abc.TaskGroup) -> None:
        while True:
            try:
                await listener.serve(self._serve_connection, tasks)
            except (OSError, anyio.BrokenResourceError) as error:  # noqa: PERF203, it waits for a client each time
                # The client is gone already, or there are too many open files. Neither is a reason to take no other.
                _logger.warning("a connection could not be taken: %s", error)
                await anyio.sleep(_ACCEPT_AGAIN_SECONDS)

    async def _serve_connection(self, transport: anyio.abc.SocketStream) -> None:
        try:
            await self._converse(_Connection(transport))
        except _CLIENT_LEFT:
            pass
        except Exception:
            # An exception that got out would reach the task group, which ends the server with all connections.
            _logger.exception("a connection ended by a fault of the replay server")
        finally:
            with anyio.CancelScope(shield=True):
                await transport.aclose()

    async def _converse(self, connection: _Connection) -> None:
        more = True
        while more:
            try:
                request, body = await connection.read_request()
                answer = self._answer(request, body)
            except h11.RemoteProtocolError as error:
                answer = _problem(error.error_status_hint, str(error))
            except _CLIENT_LEFT:
                raise
            except Exception:
                # The client is told that it is no fault of its own; whose it is, the log tells.
                _logger.exception("a request met a fault of the replay server")
                answer = _problem(500, "the replay server failed; its log says how")
            more = await connection.send(answer)
        await connection.hang_up()

    def _answer(self, request: h11.Request, body: bytes) -> _Answer:
        path = request.target.partition(b"?")[0]
        if not path.endswith((_MESSAGES, _COUNT_TOKENS)):
            return _problem(404, "only POST /v1/messages and POST /v1/messages/count_tokens are here")
        if request.method != b"POST":
            return _problem(405, "only POST is answered here", ("allow", "POST"))
        counting = path.endswith(_COUNT_TOKENS)
        try:
            fields = json.loads(body.decode())
            if not isinstance(fields, dict):
                return _problem(400, "the request is no JSON object")
            wish = request_from_wire({"max_tokens": 1, **fields} if counting else fields)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            return _problem(400, f"the request is no JSON: {error}")
        except (ValueError, TypeError) as error:
            return _problem(400, str(error))
        except RecursionError:
            return _problem(400, "the request is nested too deep")
        if counting:
            return _document(200, msgspec.json.encode({"input_tokens": max(1, len(body) // 4)}))
        capture = self._captures[self.calls % len(self._captures)]
        self.calls += 1
        if wish.stream:
            headers = [("content-type", "text/event-stream"), ("cache-control", "no-store")]
            return _Answer(200, headers, pieces(capture, self._chunk_size), self._pace)
        try:
            return _document(200, to_json(parse(capture)))
        except StreamError as error:
            return _problem(500, str(error))


class _Connection:
    """HTTP on one connection. A client that leaves is one of `_CLIENT_LEFT`, no HTTP an h11.RemoteProtocolError."""

    def __init__(self, transport: anyio.abc.SocketStream) -> None:
        self._transport = transport
        self._http = h11.Connection(h11.SERVER)
        self._method = b""

    async def read_request(self) -> tuple[h11.Request, bytes]:
        """The next request with its body."""
        self._method = b""
        request = await self._next_event()
        assert isinstance(request, h11.Request)
        self._method = request.method
        # Where the length is given, what is too large need not be sent at all.
        size = sum(int(value) for name, value in request.headers if name == b"content-length")
        body = bytearray()
        while size <= _MOST_REQUEST:
            event = await self._next_event()
            if isinstance(event, h11.EndOfMessage):
                return request, bytes(body)
            assert isinstance(event, h11.Data)
            body += event.data
            size = len(body)
        raise h11.RemoteProtocolError(f"the request is larger than {_MOST_REQUEST} bytes", error_status_hint=413)

    async def _next_event(self) -> h11.Event:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[])
                    await self._transport.send(self._http.send(go_on))
                self._http.receive_data(await self._transport.receive())
        except ValueError as error:  # from h11 before 0.15, for a length of thousands of digits
            raise h11.RemoteProtocolError("bad Content-Length") from error
        assert isinstance(event, h11.Event)
        return event

    async def send(self, answer: _Answer) -> bool:
        """Send an answer, and tell whether the connection takes another request."""
        headers = list(answer.headers)
        if self._http.their_state in (h11.SEND_BODY, h11.ERROR):
            # Where a request was not read to its end, no other can begin.
            headers.append(("connection", "close"))
        out = self._http.send(h11.Response(status_code=answer.status, headers=headers))
        if self._method != b"HEAD":
            for piece in answer.pieces:
                await self._transport.send(out + self._http.send(h11.Data(data=piece)))
                out = b""
                if answer.pace:
                    await anyio.sleep(answer.pace)
        await self._transport.send(out + self._http.send(h11.EndOfMessage()))
        more = self._http.our_state is h11.DONE and self._http.their_state is h11.DONE
        if more:
            self._http.start_next_cycle()
        return more

    async def hang_up(self) -> None:
        """End the connection so that the client can read the last answer: a close with data unread would reset it."""
        await self._transport.send_eof()
        with anyio.move_on_after(_HANG_UP_SECONDS):
            while True:
                await self._transport.receive()


def _document(status: int, document: bytes, *headers: tuple[str, str]) -> _Answer:
    framing = [("content-type", "application/json"), ("content-length", str(len(document)))]
    return _Answer(status, [*framing, *headers], [document])


def _problem(status: int, message: str, *headers: tuple[str, str]) -> _Answer:
    kind = _ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    # Parts of the request, such as its keys, can stand in a message.
    line = "".join(char if char.isprintable() else " " for char in message)
    return _document(status, msgspec.json.encode({"type": "error", "error": {"type": kind, "message": line}}), *headers)
