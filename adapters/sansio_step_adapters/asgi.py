"""A pass-through proxy for gateways, as an ASGI 3 application: bytes unchanged, and a report of each call.

    app = PassThrough("https://api.stepfun.ai", on_end=lambda report: log(report.usage, report.outcome))

Request and response bodies go through piece by piece as they come, in their content coding, with nothing held back.
Beside that, the response is read as a client would read it, and the report tells usage, outcome, deviations and times.
What is wrong with a stream never changes what is forwarded.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import anyio
import msgspec

from sansio_step import (
    ConnectError,
    ConnectionLost,
    Deviation,
    Message,
    Outcome,
    StreamError,
    Timeouts,
    TransportError,
    Usage,
)

from ._client import Pool
from ._config import Auth, Config, make_config
from ._framing import Framing
from ._link import ConnectFunction, Link
from ._reader import ResponseReader

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
_KEYS: Final = frozenset({b"authorization", b"x-api-key"})


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
    that can't be reached is a 502; one that breaks off in the middle is broken off towards the caller too, by the
    `ConnectionLost` that the application then raises. `connect(host, port)` replaces the way to a TCP stream. Idle
    connections are closed at the end of ASGI's lifespan, by `aclose()` or by `async with`.
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
            base_url=upstream, timeouts=timeouts, ssl_context=ssl_context, proxy=proxy, trust_env=trust_env
        )
        keyed = make_config(base_url=upstream, api_key=api_key, auth=auth, trust_env=False) if api_key else None
        self._key_headers = [
            pair for pair in (keyed.request_headers(streaming=True) if keyed else ()) if pair[0] in _KEYS
        ]
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
        observer = _Observer(scope["path"])
        try:
            await self._forward(scope, receive, send, observer)
        except (ConnectError, ConnectionLost) as error:
            observer.failed(error)
            if observer.report.status is not None:
                raise  # the server breaks the response off: the caller must not take it for a whole one
            await _bad_gateway(send, error)
        finally:
            report = observer.ended()
            if self._on_end is not None and scope["method"] == "POST" and scope["path"].endswith("/messages"):
                self._on_end(report)

    async def _forward(self, scope: Scope, receive: ReceiveFunction, send: SendFunction, observer: _Observer) -> None:
        link = await Link.open(self._config, self._connect, self._pool)
        framing = Framing(link.connection.http)
        failure: Exception | None = None
        try:
            if not await self._send_request(scope, receive, link, framing):
                observer.report.disconnected = True
                return
            async with anyio.create_task_group() as tasks:

                async def watch() -> None:
                    while (await receive())["type"] != "http.disconnect":
                        pass
                    observer.report.disconnected = True
                    tasks.cancel_scope.cancel()

                tasks.start_soon(watch)
                try:
                    await _relay(link, framing, send, observer)
                except Exception as error:  # noqa: BLE001, raised again below, without the task group's wrapping
                    failure = error
                tasks.cancel_scope.cancel()
        finally:
            await link.release(keep=framing.reusable)
        if failure is not None:
            raise failure

    async def _send_request(self, scope: Scope, receive: ReceiveFunction, link: Link, framing: Framing) -> bool:
        """Send the request as its body comes in; False where the caller goes away meanwhile."""
        message = await receive()
        if message["type"] != "http.request":
            return False
        query = b"?" + scope["query_string"] if scope.get("query_string") else b""
        path = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
        prefix = self._config.path.removesuffix("/v1/messages").encode("ascii")
        target = (prefix + path.partition(b"?")[0] + query).decode("latin-1")
        headers = self._request_headers(scope["headers"], message)
        try:
            await link.send(framing.request(scope["method"], target, headers, None))
            while True:
                await link.send(framing.data(message.get("body", b"")))
                if not message.get("more_body", False):
                    break
                message = await receive()
                if message["type"] != "http.request":
                    return False
            await link.send(framing.end())
        except ConnectionLost:
            # It may have answered before it hung up; `_relay` finds out.
            pass
        return True

    def _request_headers(self, headers: Iterable[tuple[bytes, bytes]], first: ASGIMessage) -> list[tuple[bytes, bytes]]:
        dropped = _HOP_BY_HOP | {b"host"} | (_KEYS if self._key_headers else frozenset())
        kept = [(name, value) for name, value in headers if name.lower() not in dropped]
        kept += [(b"host", self._config.host_header.encode("ascii")), *self._key_headers]
        if not any(name.lower() == b"content-length" for name, _ in kept):
            if first.get("more_body", False):
                kept.append((b"transfer-encoding", b"chunked"))
            elif first.get("body", b""):
                kept.append((b"content-length", str(len(first["body"])).encode()))
        return kept


async def _relay(link: Link, framing: Framing, send: SendFunction, observer: _Observer) -> None:
    """Pass the response on as it comes. Raises ConnectionLost where it breaks off."""
    started = False
    while not framing.complete:
        try:
            data = await link.receive()
        except ConnectionLost as error:
            body = framing.receive_eof(error)
        else:
            body = framing.receive_data(data) if data is not None else framing.receive_eof()
        if framing.status is not None and not started:
            started = True
            observer.head(framing.status, framing.headers)
            headers = [(name, value) for name, value in framing.raw_headers if name not in _HOP_BY_HOP]
            await send({"type": "http.response.start", "status": framing.status, "headers": headers})
        if body:
            observer.body(body)
            await send({"type": "http.response.body", "body": body, "more_body": True})
        if framing.lost is not None:
            raise framing.lost
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _bad_gateway(send: SendFunction, error: TransportError) -> None:
    document = msgspec.json.encode({"type": "error", "error": {"type": "api_error", "message": str(error)}})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(document)).encode())]
    await send({"type": "http.response.start", "status": 502, "headers": headers})
    await send({"type": "http.response.body", "body": document, "more_body": False})


class _Observer:
    """Reads along."""

    def __init__(self, path: str) -> None:
        self.report = Report(path)
        self._began = anyio.current_time()
        self._reader: ResponseReader | None = None
        self._lost: TransportError | None = None

    def head(self, status: int, headers: dict[str, str]) -> None:
        report = self.report
        report.status, report.head_after = status, self._elapsed()
        report.streamed = headers.get("content-type", "").lower().startswith("text/event-stream")
        self._reader = ResponseReader(status, headers, streaming=report.streamed)

    def body(self, data: bytes) -> None:
        self.report.response_bytes += len(data)
        if self._reader is None or self._reader.finished:
            return
        if self._reader.receive_data(data) and self.report.first_event_after is None:
            self.report.first_event_after = self._elapsed()

    def failed(self, error: TransportError) -> None:
        self._lost = error

    def ended(self) -> Report:
        report, reader = self.report, self._reader
        report.ended_after = self._elapsed()
        if reader is None:
            report.error = self._lost
            return report
        gone = ConnectionLost("the caller went away") if report.disconnected else None
        reader.receive_eof(self._lost or gone)
        report.error = reader.error
        report.outcome, report.deviations = reader.outcome, reader.stream.deviations
        report.message = reader.message
        return report

    def _elapsed(self) -> float:
        return anyio.current_time() - self._began
