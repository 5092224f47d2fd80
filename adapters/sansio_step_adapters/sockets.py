"""A client on plain blocking sockets, without an event loop.

    with Client(api_key=...) as client:
        with client.stream({"model": ..., "max_tokens": 1000, "messages": [...]}) as stream:
            for event in stream:
                ...
        message = stream.result()

`sansio_step_adapters.anyio.AsyncClient` is the same for asyncio and trio.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import TracebackType
from typing import TypeAlias

from sansio_step import Message, RetryPolicy, StreamEvent, Timeouts

from ._call import Call, Close, Connect, Keep, Proceed, Receive, Send
from ._client import BaseClient, BaseStream, Pool, readable, text_of
from ._config import BASE_URL, Auth, Request
from ._reader import MAX_EVENT_SIZE, MAX_MESSAGE_SIZE, MAX_RESPONSE_SIZE, Wanted

__all__ = ["Client", "Stream"]

ConnectFunction: TypeAlias = Callable[[str, int, "float | None"], socket.socket]


class Client(BaseClient[socket.socket]):
    """Calls to one Messages endpoint, over connections that are used again.

    The arguments are those of `AsyncClient`; `connect(host, port, seconds)` replaces the way to a connected socket.
    A client can be used by several threads, each stream by one at a time. Close it: by `with`, or by `close()`.
    """

    def __init__(
        self,
        *,
        base_url: str = BASE_URL,
        api_key: str | None = None,
        auth: Auth = "bearer",
        headers: Mapping[str, str] | None = None,
        timeouts: Timeouts | None = None,
        max_retries: int | None = None,
        retries: RetryPolicy | None = None,
        strict: bool = False,
        max_event_size: int = MAX_EVENT_SIZE,
        max_message_size: int = MAX_MESSAGE_SIZE,
        max_response_size: int = MAX_RESPONSE_SIZE,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        trust_env: bool = True,
        connect: ConnectFunction | None = None,
    ) -> None:
        super().__init__(
            base_url=base_url,
            api_key=api_key,
            auth=auth,
            headers=headers,
            timeouts=timeouts,
            max_retries=max_retries,
            retries=retries,
            strict=strict,
            max_event_size=max_event_size,
            max_message_size=max_message_size,
            max_response_size=max_response_size,
            ssl_context=ssl_context,
            proxy=proxy,
            trust_env=trust_env,
        )
        self._connect: ConnectFunction = connect or connect_tcp

    def stream(self, request: Request) -> Stream:
        """A streaming call, made when the result is entered: `with client.stream(request) as stream`."""
        return Stream(partial(self._begin, request, Wanted.STREAM))

    def create(self, request: Request) -> Message:
        """A call that is answered with one document. Raises what a stream's `result()` would.

        A server that answers with an event stream all the same has answered: its message is returned.
        """
        return (self._run(request, Wanted.MESSAGE)).result()

    def count_tokens(self, request: Request) -> int:
        """How many input tokens a request has, by `/v1/messages/count_tokens`. `max_tokens` may be missing.

        Raises what `create` does; UnexpectedResponse for an answer that is no count.
        """
        return (self._run(request, Wanted.COUNT)).count()

    def _run(self, request: Request, wanted: Wanted) -> Call:
        driver = self._begin(request, wanted)
        try:
            driver.run_until_over()
        finally:
            driver.close()
        return driver.call

    def _begin(self, request: Request, wanted: Wanted) -> _Driver:
        return _Driver(self._call(request, wanted, now=time.monotonic()), self._pool, self._connect)

    def close(self) -> None:
        """Close the idle connections. Streams that are open stay so until they are closed themselves."""
        self._close_dropped()

    def _close_dropped(self) -> None:
        while (transport := self._pool.drain()) is not None:
            transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Stream(BaseStream):
    """One streaming call: a context manager, and inside it an iterator of events.

    Entering it returns when the first event has come, be it a ping, and raises if none does: APIError for an error
    status, TransportError otherwise. Iteration gives every event, once; if the stream broke off or failed it raises,
    after the last event, what `result()` does. Leaving the context, or `close()`, ends the call if it is still going on.
    """

    def __init__(self, begin: Callable[[], _Driver]) -> None:
        super().__init__()
        self._begin = begin
        self._driver: _Driver | None = None

    def __enter__(self) -> Stream:
        if self._made is not None:
            raise ValueError("a stream is entered once; ask the client for another")
        driver = self._driver = self._begin()
        call = self._made = driver.call
        try:
            driver.run_until_started()
        except BaseException:
            driver.close()
            raise
        if not call.events:
            driver.close()
            self._end()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the call. What has come is still there to read; doing it twice is fine."""
        if self._driver is not None:
            self._driver.close()

    def __iter__(self) -> Iterator[StreamEvent]:
        self._begin_iteration()
        return self

    def __next__(self) -> StreamEvent:
        call, driver = self._call, self._driver
        while not call.events:
            if call.over or driver is None:
                self._end()
                raise StopIteration
            driver.step()
        return call.events.popleft()

    @property
    def text(self) -> Iterator[str]:
        """The pieces of text alone: `for piece in stream.text`. Takes the events as iteration does."""
        self._begin_iteration()
        return filter(None, map(text_of, self))


class _Driver:
    """Does what a call wants: waits, reads, writes, closes."""

    def __init__(self, call: Call, pool: Pool[socket.socket], connect: ConnectFunction) -> None:
        self.call = call
        self._pool, self._connect = pool, connect
        self._transport: socket.socket | None = None
        # Wakes a thread that waits for the next attempt.
        self._closed = threading.Event()

    def run_until_started(self) -> None:
        while not self.call.started:
            self.step()

    def run_until_over(self) -> None:
        while not self.call.over:
            self.step()

    def step(self) -> None:
        """One thing, and what follows from it without waiting."""
        call, transport = self.call, self._transport
        now = time.monotonic()
        want = call.want(now)
        if isinstance(want, (Keep, Close)):
            self._release(keep=isinstance(want, Keep))
            return
        if want is None:
            return
        if isinstance(want, Proceed):
            call.proceeded(now)
            if call.over:
                self._settle()
            return
        # A timeout of 0 would make the socket non-blocking.
        left = None if want.until is None else max(want.until - now, 0.001)
        try:
            if isinstance(want, Connect):
                self._open(want, left)
            elif transport is None:
                self._closed.wait(left)
                call.waited(time.monotonic())
            elif isinstance(want, Send):
                transport.settimeout(left)
                transport.sendall(want.data)
                call.sent(time.monotonic())
            elif isinstance(want, Receive):
                transport.settimeout(left)
                data = transport.recv(65536)
                if data:
                    call.received(data, time.monotonic())
                else:
                    call.ended(time.monotonic())
        except TimeoutError as error:
            # The socket's own timeout has no errno; ETIMEDOUT, the network's, is a failure.
            if error.errno is None:
                call.waited(time.monotonic())
            else:
                call.failed(error, time.monotonic())
        except OSError as error:
            call.failed(error, time.monotonic())
        if call.over:
            self._settle()

    def close(self) -> None:
        self.call.abandon()
        self._closed.set()
        self._settle()

    def _settle(self) -> None:
        """Behind the end: give the connection back or close it. Nothing here waits for anybody."""
        while isinstance(want := self.call.want(time.monotonic()), (Keep, Close)):
            self._release(keep=isinstance(want, Keep))
        if self._transport is not None:
            # Made for a call that had been closed meanwhile.
            self._release(keep=False)

    def _open(self, want: Connect, left: float | None) -> None:
        call, pool = self.call, self._pool
        while (old := pool.expired(time.monotonic())) is not None:
            old.close()
        while not want.fresh and (found := pool.take()) is not None:
            connection, transport = found
            if readable(transport):
                transport.close()
                continue
            self._transport = transport
            call.reuse(connection, time.monotonic())
            return
        self._transport = self._connect(want.host, want.port, left)
        call.connected(time.monotonic())

    def _release(self, *, keep: bool) -> None:
        call, transport = self.call, self._transport
        connection, self._transport = call.connection, None
        call.released()
        if transport is not None and not (
            keep and connection is not None and self._pool.put(connection, transport, time.monotonic())
        ):
            # Wakes a thread that reads from it; close() alone would leave it waiting.
            with contextlib.suppress(OSError):
                transport.shutdown(socket.SHUT_RDWR)
            transport.close()


def connect_tcp(host: str, port: int, seconds: float | None) -> socket.socket:
    """Connect to the first of a name's addresses that answers, all within `seconds`.

    `socket.create_connection` would give each address the whole time, so that one which swallows packets takes it all:
    here each gets an equal share of what is left.
    """
    ends = None if seconds is None else time.monotonic() + seconds
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    last: OSError = OSError(f"{host} has no address")
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            if ends is not None:
                sock.settimeout(max((ends - time.monotonic()) / (len(addresses) - number), 0.001))
            sock.connect(address)
            # A request goes out in one piece, and waiting to fill a packet would only hold its end back.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            last = error
            sock.close()
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise last
