"""A client on plain blocking sockets, without an event loop.

    with Client(api_key=...) as client:
        with client.stream({"model": ..., "max_tokens": 1000, "messages": [...]}) as stream:
            for event in stream:
                ...
        message = stream.result()

`sansio_step_adapters.anyio.AsyncClient` is the same for asyncio and trio.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType

from sansio_step import Message, StreamEvent

from ._call import Call
from ._client import BaseClient, BaseStream, text_of
from ._config import Request
from ._options import Options, Unpack, shows_options
from ._pool import Pool
from ._reader import Wanted
from ._socket_driver import ConnectFunction, Driver, connect_tcp, drain

__all__ = ["Client", "Options", "Stream"]


class Client(BaseClient[socket.socket]):
    """Calls to one Messages endpoint, over connections that are used again.

    The keyword arguments are those of `AsyncClient` (see `Options`); `connect(host, port, seconds)` replaces the way to
    a connected socket. A client can be used by several threads, each stream by one at a time. Close it: by `with`, or
    by `close()`. In the child of a fork it makes its connections anew.
    """

    @shows_options(Options)
    def __init__(self, *, connect: ConnectFunction | None = None, **options: Unpack[Options]) -> None:
        super().__init__(Pool(), **options)
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
        return driver.machine

    def _begin(self, request: Request, wanted: Wanted) -> _CallDriver:
        return _CallDriver(self._call(request, wanted, now=time.monotonic()), self._pool, self._connect)

    def close(self) -> None:
        """Close the idle connections. Streams that are open stay so until they are closed themselves."""
        self._close_dropped()

    def _close_dropped(self) -> None:
        drain(self._pool)

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
    after the last event, what `result()` does. Leaving the context, or `close()`, ends the call if it is still going
    on.
    """

    def __init__(self, begin: Callable[[], _CallDriver]) -> None:
        super().__init__()
        self._begin = begin
        self._driver: _CallDriver | None = None

    def __enter__(self) -> Stream:
        if self._made is not None:
            raise ValueError("a stream is entered once; ask the client for another")
        driver = self._driver = self._begin()
        call = self._made = driver.machine
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


class _CallDriver(Driver[Call]):
    """Drives one call."""

    def run_until_started(self) -> None:
        while not self.machine.started:
            self.step()

    def run_until_over(self) -> None:
        while not self.machine.over:
            self.step()

    def close(self) -> None:
        self.machine.abandon()
        super().close()
