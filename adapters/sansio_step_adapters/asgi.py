"""A pass-through proxy for gateways, as an ASGI 3 application: bytes unchanged, and a report of each call.

    app = PassThrough("https://api.stepfun.ai", on_end=lambda report: log(report.usage, report.outcome))

Request and response bodies go through piece by piece as they come, in their content coding, with nothing held back.
After each piece has gone on, it is read as a client would read it, and the report tells usage, outcome, deviations and
times. What is wrong with a stream never changes what is forwarded.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Final, TypeAlias

from ._extras import missing_extra

try:
    import anyio
    import h11  # noqa: F401, what comes below needs it
except ModuleNotFoundError as error:
    raise missing_extra("anyio", error) from error

from sansio_step import ConnectionLost, DeadlineExceeded, Timeouts, TransportError

from ._async_driver import AsyncPool, ConnectFunction, Driver, drain
from ._config import Config, make_config
from ._forward import ASGIMessage, Forward, Outgoing
from ._head import KEYS, BadRequest, Headers, end_to_end, is_messages, readable_only, target_of
from ._options import Unpack, UpstreamOptions, check_names, shows_options
from ._report import Observer, Report
from ._secrets import Mask, secrets_in
from ._streams import connect_tcp

__all__ = ["PassThrough", "Report"]

Scope: TypeAlias = ASGIMessage
ReceiveFunction: TypeAlias = Callable[[], Awaitable[ASGIMessage]]
SendFunction: TypeAlias = Callable[[ASGIMessage], Awaitable[None]]
ReportFunction: TypeAlias = Callable[[Report], "Awaitable[None] | None"]

# What would cut other people's calls is off: they may be long, and pause for as long as they like between two pings.
_TIMEOUTS: Final = Timeouts(idle=300.0, stall=None, caller=60.0, total=None)
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_logger: Final = logging.getLogger(__name__)


class PassThrough:
    """Forwards every HTTP request to `upstream`, and calls `on_end(report)` after each call of the Messages API.

    Those are POSTs to a path that ends in `/messages`, and to those of Vertex (`:rawPredict`, `:streamRawPredict`) and
    Bedrock (`/model/ID/invoke`, `invoke-with-response-stream`), unless `is_messages(path)` says which. Their answers
    are read along, so the upstream is offered only those of the caller's content codings that can be undone here: gzip
    and deflate, with the extra `codings` br and zstd. `on_request(report)` is called after every request, of whatever
    kind. Both may be async; what they raise goes to the log of this module's name, and never to the caller.

    `api_key` with `auth` replaces the caller's own key; without it the caller's headers go on as they are. A target
    that is no path is a 400. An upstream that can't be reached is a 502, one that is silent for too long a 504; one
    that breaks off in the middle is broken off towards the caller too, by the `ConnectionLost` or `DeadlineExceeded`
    that the application then raises. With `error_event` such a stream ends with an `event: error` instead, and with
    `keep_alive` a comment goes into each silence of so many seconds. Both are done between two events only, and only in
    event streams without a content coding or a length.

    `timeouts` are the clients', but for `after_stop`: what the upstream leaves open is the caller's to end. Unless they
    are given, `stall` and `total` are off, `idle` is 300 and `caller` 60 seconds. `caller` bounds each wait for the
    caller, for more of its request or to take the answer; that time counts for no limit but `total`. `first_event` runs
    from the head of a response that is a stream, since nothing else says that one is to come. `ssl_context`, `proxy`,
    `trust_env` and `connect(host, port)` are those of the clients.

    Idle connections are closed after 30 seconds; all of them at the end of ASGI's lifespan, by `aclose()` or by `async
    with`.
    """

    @shows_options(UpstreamOptions)
    def __init__(
        self,
        upstream: str,
        *,
        on_end: ReportFunction | None = None,
        on_request: ReportFunction | None = None,
        is_messages: Callable[[str], bool] = is_messages,
        error_event: bool = False,
        keep_alive: float | None = None,
        connect: ConnectFunction | None = None,
        **options: Unpack[UpstreamOptions],
    ) -> None:
        check_names(options, UpstreamOptions)
        if keep_alive is not None and not keep_alive > 0:
            raise ValueError(f"keep_alive: {keep_alive!r} is not a positive number of seconds")
        key, auth = options.pop("api_key", None), options.pop("auth", "bearer")
        # The environment may name a proxy; a key it must not add to what a caller sends.
        self._config: Config = make_config(
            base_url=upstream, url_name="upstream", default_timeouts=_TIMEOUTS, **options
        )
        # What replaces the caller's key. It is kept as a Secret: nothing that looks at this object shows it.
        self._keyed = make_config(base_url=upstream, api_key=key, auth=auth, trust_env=False) if key else None
        self._on_end, self._on_request, self._is_messages = on_end, on_request, is_messages
        self._error_event, self._keep_alive = error_event, keep_alive
        self._connect: ConnectFunction = connect or connect_tcp
        self._pool = AsyncPool()

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
        await drain(self._pool)

    async def _lifespan(self, receive: ReceiveFunction, send: SendFunction) -> None:
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Scope, receive: ReceiveFunction, send: SendFunction) -> None:
        now = anyio.current_time()
        path, method = scope["path"], scope["method"]
        reads = method == "POST" and self._is_messages(path)
        callers = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() in KEYS]
        own = self._keyed.secrets if self._keyed is not None else []
        mask = Mask([*self._config.secrets, *own, *(part for value in callers for part in secrets_in(value))])
        observer = Observer(Report(path, method, scope), mask, read=reads, now=now)
        refusal = None
        try:
            request = self._outgoing(scope, reads)
        except BadRequest as error:
            refusal, request = str(error), Outgoing(method, "/", [])
        forward = Forward(
            self._config, request, observer, now=now, error_event=self._error_event, keep_alive=self._keep_alive
        )
        if refusal is not None:
            forward.refuse(refusal)
        try:
            await _Relay(forward, receive, send, self._pool, self._connect).run()
        finally:
            report = observer.ended(anyio.current_time())
            if observer.lost is not None:
                _logger.warning("%s %s: %s", method, ascii(path), observer.lost)
            for hook in (self._on_end if reads and refusal is None else None, self._on_request):
                if hook is not None:
                    await _tell(hook, report)
        if forward.error is not None:
            # The server breaks the response off: the caller must not take it for a whole one.
            raise _broken_off(forward.error) from None

    def _outgoing(self, scope: Scope, reads: bool) -> Outgoing:
        prefix = self._config.path.removesuffix("/v1/messages").encode("ascii")
        target = (prefix + target_of(scope)).decode("latin-1")
        headers = end_to_end(scope["headers"])
        lengths = [value for name, value in headers if name.lower() == b"content-length"]
        if any(_LENGTH.fullmatch(value) is None or value != lengths[0] for value in lengths):
            raise BadRequest("no valid Content-Length")
        declared = int(lengths[0]) if lengths else None
        return Outgoing(scope["method"], target, self._request_headers(headers, reads), declared)

    def _request_headers(self, headers: Iterable[tuple[bytes, bytes]], reads: bool) -> Headers:
        own = self._keyed.request_headers(streaming=True) if self._keyed is not None else []
        dropped = {b"host"} | (KEYS if own else frozenset())
        kept = [(name, value) for name, value in headers if name.lower() not in dropped]
        kept += [(b"host", self._config.host_header.encode("ascii")), *(pair for pair in own if pair[0] in KEYS)]
        return readable_only(kept) if reads else kept


class _Relay:
    """Drives one call: two tasks, of which one receives from the caller and the other does all else."""

    def __init__(
        self,
        forward: Forward,
        receive: ReceiveFunction,
        send: SendFunction,
        pool: AsyncPool,
        connect: ConnectFunction,
    ) -> None:
        self._forward, self._receive, self._send = forward, receive, send
        self._driver = Driver(forward, pool, connect, self._give)
        self._room: anyio.Event | None = None  # what a caller that has to wait before it sends more waits for
        # What the server's own functions raised. It is kept here, so that no task group wraps it.
        self._failure: Exception | None = None

    async def run(self) -> None:
        forward, driver = self._forward, self._driver
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._take_in)
                try:
                    await driver.run(self._make_room)
                except Exception as error:  # noqa: BLE001, raised below
                    self._failure = error
                tasks.cancel_scope.cancel()
        finally:
            forward.abandon()
            await driver.aclose()
        if self._failure is not None:
            raise self._failure

    async def _take_in(self) -> None:
        """The request's body as it comes, then the news that the caller has gone, which can come at any time."""
        forward, driver = self._forward, self._driver
        try:
            while (message := await self._receive())["type"] == "http.request":
                if forward.over or forward.fed:
                    continue
                forward.feed(message.get("body", b""), anyio.current_time(), more=message.get("more_body", False))
                driver.wake()
                while forward.full and not forward.fed:
                    self._room = anyio.Event()
                    await self._room.wait()
                self._room = None
        except OSError:
            pass  # as some servers say that it has gone
        except Exception as error:  # noqa: BLE001, raised by `run`
            self._failure = error
        if forward.caller_left():
            driver.interrupt()

    def _make_room(self) -> None:
        if self._room is not None and not self._forward.full:
            self._room.set()

    async def _give(self, message: ASGIMessage) -> None:
        try:
            await self._send(message)
        except OSError:  # which ASGI has for a caller that is gone
            self._forward.caller_left()


async def _tell(hook: ReportFunction, report: Report) -> None:
    # A call that the server has cancelled costs money too.
    with anyio.CancelScope(shield=True):
        try:
            told = hook(report)
            if inspect.isawaitable(told):
                await told
        except Exception:
            _logger.exception("%r raised", hook)


class _Untraced:
    """An error without a traceback: servers log 35 lines of one, and it says nothing of the upstream that broke."""

    @property
    def __traceback__(self) -> None:
        return None

    @__traceback__.setter
    def __traceback__(self, traceback: TracebackType | None) -> None:
        pass


class _Lost(_Untraced, ConnectionLost):  # type: ignore[misc]
    pass


class _Late(_Untraced, DeadlineExceeded):  # type: ignore[misc]
    pass


def _broken_off(error: TransportError) -> TransportError:
    if isinstance(error, DeadlineExceeded):
        return _Late(error.name, error.seconds)
    return _Lost(error.reason)
