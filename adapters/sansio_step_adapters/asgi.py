"""A pass-through proxy for gateways, as an ASGI 3 application: bytes unchanged, and a report of each call.

    app = PassThrough("https://api.stepfun.ai", on_end=lambda report: log(report.usage, report.outcome))

Request and response bodies go through piece by piece as they come, in their content coding, with nothing held back.
Beside that, the response is read as a client would read it, and the report tells usage, outcome, deviations and times.
What is wrong with a stream never changes what is forwarded.
"""

from __future__ import annotations

import contextlib
import math
import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from ._extras import missing_extra

try:
    import anyio
    import anyio.lowlevel
except ModuleNotFoundError as error:
    raise missing_extra("anyio", error) from error

import msgspec

from sansio_step import (
    ConnectError,
    ConnectionLost,
    DeadlineExceeded,
    Deadlines,
    Deviation,
    Message,
    Outcome,
    StreamError,
    StreamEvent,
    Timeouts,
    TransportError,
    Usage,
)

from ._client import Pool
from ._config import KEY_HEADERS, Auth, Config, make_config
from ._framing import Framing
from ._link import ConnectFunction, Link
from ._reader import ResponseReader, Wanted
from ._secrets import Mask, secrets_in

__all__ = ["PassThrough", "Report"]

Scope: TypeAlias = MutableMapping[str, Any]
ASGIMessage: TypeAlias = MutableMapping[str, Any]
ReceiveFunction: TypeAlias = Callable[[], Awaitable[ASGIMessage]]
SendFunction: TypeAlias = Callable[[ASGIMessage], Awaitable[None]]

# RFC 9110 7.6.1: what concerns one connection and is no business of the next.
_HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_KEYS: Final = frozenset(name.encode("ascii") for name in KEY_HEADERS)

# What is kept of a request while it goes through, to be sent once more where an idle connection turns out to be dead.
# Nearly all requests are smaller; those with images in them are not worth their memory.
_MOST_KEPT: Final = 1024 * 1024


@dataclass
class Report:
    """What one call came to. Times are seconds since the request came in; None where it didn't get so far."""

    path: str
    status: int | None = None
    # Whether the answer was an event stream; a document's message is read as well.
    streamed: bool = False
    message: Message | None = field(default=None, repr=False)
    outcome: Outcome | None = None
    deviations: list[Deviation] = field(default_factory=list)
    # What is wrong with the answer, or what broke under it.
    error: StreamError | None = None
    # Whether the caller went away before the end.
    disconnected: bool = False
    # Whether `usage` is what the call cost: an output count came with the stop_reason or after it. Of a message that broke
    # off it is a placeholder, or a running count.
    usage_is_final: bool = False
    response_bytes: int = 0
    head_after: float | None = None
    first_event_after: float | None = None
    ended_after: float | None = None

    @property
    def usage(self) -> Usage | None:
        """The tokens that the message tells, as far as it came."""
        return self.message.usage if self.message is not None else None


class PassThrough:
    """Forwards every HTTP request to `upstream`, and calls `on_end(report)` behind each call of the Messages API.

    `api_key` with `auth` replaces the caller's own key; without it the caller's headers go on as they are. An upstream
    that can't be reached is a 502, one that is silent for too long a 504; one that breaks off in the middle is broken
    off towards the caller too, by the `ConnectionLost` or `DeadlineExceeded` that the application then raises.

    `timeouts` are the clients', but for `after_stop`: what the upstream leaves open is the caller's to end.
    `first_event` runs from the head of a response that is a stream, since nothing else says that one is to come. The
    time that the caller takes to read counts for `total` only. `connect(host, port)` replaces the way to a TCP stream.
    Idle connections are closed at the end of ASGI's lifespan, by `aclose()` or by `async with`.
    """

    def __init__(
        self,
        upstream: str,
        *,
        on_end: Callable[[Report], None] | None = None,
        api_key: str | None = None,
        auth: Auth = "bearer",
        timeouts: Timeouts | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        trust_env: bool = True,
        connect: ConnectFunction | None = None,
    ) -> None:
        # The environment may name a proxy; a key it must not add to what a caller sends.
        self._config: Config = make_config(
            base_url=upstream,
            timeouts=timeouts,
            ssl_context=ssl_context,
            proxy=proxy,
            trust_env=trust_env,
            url_name="upstream",
        )
        # What replaces the caller's key. It is kept as a Secret: nothing that looks at this object shows it.
        self._keyed = make_config(base_url=upstream, api_key=api_key, auth=auth, trust_env=False) if api_key else None
        self._on_end = on_end
        self._connect: ConnectFunction = connect or anyio.connect_tcp
        self._pool: Pool[Any] = Pool()

    async def __call__(self, scope: Scope, receive: ReceiveFunction, send: SendFunction) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            raise ValueError(f"the proxy serves HTTP, not {scope['type']!r}")

    async def __aenter__(self) -> PassThrough:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the idle connections to the upstream."""
        await Link.drain(self._pool)

    async def _lifespan(self, receive: ReceiveFunction, send: SendFunction) -> None:
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Scope, receive: ReceiveFunction, send: SendFunction) -> None:
        callers = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() in _KEYS]
        own = self._keyed.secrets if self._keyed is not None else []
        secrets = [*self._config.secrets, *own, *(part for value in callers for part in secrets_in(value))]
        observer = _Observer(scope["path"], Mask(secrets))
        try:
            await self._forward(scope, _Incoming(receive), send, observer)
        except (ConnectError, ConnectionLost, DeadlineExceeded) as error:
            observer.failed(error)  # hides secrets in it, too, before it goes anywhere
            if observer.report.status is not None:
                raise  # the server breaks the response off: the caller must not take it for a whole one
            await _no_answer(send, error)
        finally:
            report = observer.ended()
            if self._on_end is not None and scope["method"] == "POST" and scope["path"].endswith("/messages"):
                self._on_end(report)

    async def _forward(self, scope: Scope, incoming: _Incoming, send: SendFunction, observer: _Observer) -> None:
        limits = _Limits(self._config.timeouts)
        link, framing = await self._connected(limits, fresh=False)
        failure = await self._exchange(scope, incoming, send, observer, limits, link, framing)
        stale = link.connection.reused and not framing.begun and isinstance(failure, ConnectionLost)
        if stale and incoming.rewind():
            # The upstream had given the idle connection up: nothing was read there, and a fresh one is not stale.
            link, framing = await self._connected(limits, fresh=True)
            failure = await self._exchange(scope, incoming, send, observer, limits, link, framing)
        if failure is not None:
            raise failure

    async def _connected(self, limits: _Limits, *, fresh: bool) -> tuple[Link, Framing]:
        limits.connecting()
        with limits.enforced():
            link = await Link.open(self._config, self._connect, self._pool, fresh=fresh)
        limits.connected()
        return link, Framing(link.connection.http)

    async def _exchange(
        self,
        scope: Scope,
        incoming: _Incoming,
        send: SendFunction,
        observer: _Observer,
        limits: _Limits,
        link: Link,
        framing: Framing,
    ) -> Exception | None:
        """One request and its response. Returns what went wrong, so that no task group wraps it."""
        failure: Exception | None = None
        try:
            if not await self._send_request(scope, incoming, link, framing, limits):
                observer.report.disconnected = True
                return None
            async with anyio.create_task_group() as tasks:

                async def watch() -> None:
                    while (await incoming.receive())["type"] != "http.disconnect":
                        pass
                    # Behind the end of the response servers say the same, though nobody left too early.
                    if not observer.forwarded:
                        observer.report.disconnected = True
                        tasks.cancel_scope.cancel()

                tasks.start_soon(watch)
                try:
                    await _relay(link, framing, send, observer, limits)
                except Exception as error:  # noqa: BLE001, returned
                    failure = error
                tasks.cancel_scope.cancel()
        finally:
            await link.release(keep=framing.reusable)
        return failure

    async def _send_request(
        self, scope: Scope, incoming: _Incoming, link: Link, framing: Framing, limits: _Limits
    ) -> bool:
        """Send the request as its body comes in; False where the caller goes away meanwhile."""
        message = await incoming.receive()
        if message["type"] != "http.request":
            return False
        query = b"?" + scope["query_string"] if scope.get("query_string") else b""
        prefix = self._config.path.removesuffix("/v1/messages").encode("ascii")
        target = (prefix + _path(scope) + query).decode("latin-1")
        headers = self._request_headers(scope["headers"], message)
        try:
            with limits.enforced():
                await link.send(framing.request(scope["method"], target, headers, None))
            while True:
                with limits.enforced():
                    await link.send(framing.data(message.get("body", b"")))
                if not message.get("more_body", False):
                    break
                message = await incoming.receive()
                if message["type"] != "http.request":
                    return False
            with limits.enforced():
                await link.send(framing.end())
        except ConnectionLost:
            # It may have answered before it hung up; `_relay` finds out.
            pass
        return True

    def _request_headers(self, headers: Iterable[tuple[bytes, bytes]], first: ASGIMessage) -> list[tuple[bytes, bytes]]:
        own = self._keyed.request_headers(streaming=True) if self._keyed is not None else []
        dropped = {b"host"} | (_KEYS if own else frozenset())
        kept = [(name, value) for name, value in _end_to_end(headers) if name.lower() not in dropped]
        kept += [(b"host", self._config.host_header.encode("ascii")), *(pair for pair in own if pair[0] in _KEYS)]
        if not any(name.lower() == b"content-length" for name, _ in kept):
            if first.get("more_body", False):
                kept.append((b"transfer-encoding", b"chunked"))
            elif first.get("body", b""):
                kept.append((b"content-length", str(len(first["body"])).encode()))
        return kept


class _Incoming:
    """What the server receives from the caller; from the start again after `rewind`, where it is still there."""

    def __init__(self, receive: ReceiveFunction) -> None:
        self._receive = receive
        self._kept: list[ASGIMessage] | None = []
        self._size = 0
        self._next = 0

    def rewind(self) -> bool:
        self._next = 0
        return self._kept is not None

    async def receive(self) -> ASGIMessage:
        if self._kept is not None and self._next < len(self._kept):
            message = self._kept[self._next]
        else:
            message = await self._receive()
            self._size += len(message.get("body", b""))
            if self._size > _MOST_KEPT:
                self._kept = None
            elif self._kept is not None:
                self._kept.append(message)
        self._next += 1
        return message


class _Limits:
    """The time limits of one call, on the clock of the event loop."""

    def __init__(self, timeouts: Timeouts) -> None:
        # A response that the upstream leaves open after its message is the caller's to end.
        timeouts = msgspec.structs.replace(timeouts, after_stop=None)
        self._deadlines = Deadlines(timeouts, anyio.current_time())

    @contextlib.contextmanager
    def enforced(self) -> Iterator[None]:
        """Raises DeadlineExceeded where a limit ends before the block does."""
        ends = self._deadlines.next_deadline()
        until = math.inf if ends is None else ends[0]
        with anyio.CancelScope(deadline=until) as scope:
            yield
        if scope.cancelled_caught:
            self._deadlines.check(max(until, anyio.current_time()))

    def connecting(self) -> None:
        self._deadlines.connecting(anyio.current_time())

    def connected(self) -> None:
        self._deadlines.connected(anyio.current_time(), streaming=False)

    def stream_begins(self) -> None:
        self._deadlines.connected(anyio.current_time(), streaming=True)

    def received(self, events: list[StreamEvent] | None) -> None:
        """Bytes came, and these events in them; None where nobody reads along any more, so that silence is all."""
        now = anyio.current_time()
        if events is None:
            self._deadlines.paused()
        else:
            self._deadlines.events_received(events, now)
        self._deadlines.bytes_received(now)

    @contextlib.contextmanager
    def callers_time(self) -> Iterator[None]:
        """A block that waits for the caller, which is no silence of the upstream's."""
        began = anyio.current_time()
        yield
        self._deadlines.away(anyio.current_time() - began)


async def _relay(link: Link, framing: Framing, send: SendFunction, observer: _Observer, limits: _Limits) -> None:
    """Pass the response on as it comes. Raises ConnectionLost where it breaks off, DeadlineExceeded where it stops."""
    started = False
    while not framing.complete:
        try:
            with limits.enforced():
                data = await link.receive()
        except ConnectionLost as error:
            body = framing.receive_eof(error)
        else:
            body = framing.receive_data(data) if data is not None else framing.receive_eof()
        if framing.status is not None and not started:
            started = True
            observer.head(framing.status, framing.headers)
            if observer.report.streamed:
                limits.stream_begins()
            headers = _end_to_end(framing.raw_headers)
            with limits.callers_time():
                await send({"type": "http.response.start", "status": framing.status, "headers": headers})
        if body:
            with limits.callers_time():
                await send({"type": "http.response.body", "body": body, "more_body": True})
        limits.received(observer.body(body))
        while observer.pending:
            # Compressed bytes can hold a thousand times as many: other calls get their turn between.
            with limits.enforced():
                await anyio.lowlevel.checkpoint()
            limits.received(observer.body(b""))
        if framing.lost is not None:
            raise framing.lost
    observer.forwarded = True
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _no_answer(send: SendFunction, error: TransportError) -> None:
    late = isinstance(error, DeadlineExceeded)
    problem = {"type": "timeout_error" if late else "api_error", "message": str(error)}
    document = msgspec.json.encode({"type": "error", "error": problem})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(document)).encode())]
    await send({"type": "http.response.start", "status": 504 if late else 502, "headers": headers})
    await send({"type": "http.response.body", "body": document, "more_body": False})


def _path(scope: Scope) -> bytes:
    """The path below the application's own place: a router that mounts it leaves its prefix in (as `root_path`)."""
    path: bytes = (scope.get("raw_path") or quote(scope["path"]).encode("ascii")).partition(b"?")[0]
    mount = quote(scope.get("root_path", "")).encode("ascii").rstrip(b"/")
    return path.removeprefix(mount) if path.startswith(mount + b"/") else path


def _end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers that are not about one connection, be it by their own `Connection`."""
    headers = list(headers)
    named = {
        token.strip().lower() for name, value in headers if name.lower() == b"connection" for token in value.split(b",")
    }
    return [(name, value) for name, value in headers if name.lower() not in _HOP_BY_HOP | named]


class _Observer:
    """Reads along."""

    def __init__(self, path: str, mask: Mask) -> None:
        self.report = Report(path)
        self._mask = mask
        self._began = anyio.current_time()
        self._reader: ResponseReader | None = None
        self._lost: TransportError | None = None
        # Whether all that came has gone on to the caller, but for the end.
        self.forwarded = False

    def head(self, status: int, headers: dict[str, str]) -> None:
        report = self.report
        report.status, report.head_after = status, self._elapsed()
        # Until the body shows it. Not every server that streams says so, and some say so of a document.
        report.streamed = headers.get("content-type", "").lower().startswith("text/event-stream")
        self._reader = ResponseReader(status, headers, wanted=Wanted.ANY, mask=self._mask)

    def body(self, data: bytes) -> list[StreamEvent] | None:
        """The events in these bytes, or in the first of them; None after the end of what can be read."""
        self.report.response_bytes += len(data)
        if self._reader is None:
            return []
        if self._reader.finished:
            return None
        events = self._reader.receive_data(data)
        if events and self.report.first_event_after is None:
            self.report.first_event_after = self._elapsed()
        return events

    @property
    def pending(self) -> bool:
        """Whether the bytes that came last hold more, to be had by `body(b"")`."""
        return self._reader is not None and self._reader.pending

    def failed(self, error: TransportError) -> None:
        self._lost = self._mask.error(error)

    def ended(self) -> Report:
        report, reader = self.report, self._reader
        report.ended_after = self._elapsed()
        if reader is None:
            report.error = self._lost
            return report
        report.streamed = reader.is_stream or (report.streamed and report.response_bytes == 0)
        gone = ConnectionLost("the caller went away") if report.disconnected else None
        reader.receive_eof(self._lost or gone)
        report.error = reader.error
        report.outcome, report.deviations = reader.outcome, reader.deviations
        report.message, report.usage_is_final = reader.message, reader.usage_is_final
        return report

    def _elapsed(self) -> float:
        return anyio.current_time() - self._began
