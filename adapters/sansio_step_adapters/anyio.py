"""A client for asyncio and trio, by anyio.

    async with AsyncClient(api_key=...) as client:
        async with client.stream({"model": ..., "max_tokens": 1000, "messages": [...]}) as stream:
            async for event in stream:
                ...
        message = stream.result()

`sansio_step_adapters.sockets.Client` is the same without an event loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from types import TracebackType

from ._extras import missing_extra

try:
    import anyio
    import h11  # noqa: F401, what comes below needs it
except ModuleNotFoundError as error:
    raise missing_extra("anyio", error) from error


from sansio_step import Message, StreamEvent

from ._async_driver import AsyncPool, ByteStream, ConnectFunction, Driver, drain, drop
from ._call import Call
from ._client import BaseClient, BaseStream, text_of
from ._config import Request
from ._options import Options, Unpack, shows_options
from ._reader import Wanted
from ._streams import connect_tcp

__all__ = ["AsyncClient", "AsyncStream", "Options"]


class AsyncClient(BaseClient[ByteStream]):
    """Calls to one Messages endpoint, over connections that are used again.

    The keyword arguments are those of `Options`, and `connect(host, port)`, which replaces the way to a TCP stream:

    `base_url` is given without `/v1`. `api_key` is the key, else STEP_API_KEY; `auth` how it is sent, as a "bearer"
    token or as "x-api-key". `headers` go on top of the client's own. `timeouts`: see `Timeouts`; `max_retries` (2) and
    `retries`: see `RetryPolicy`. `strict` and the sizes are those of `MessageStream`; `max_response_size` bounds the
    decoded bytes of one response. `ssl_context` replaces the system's trust. `proxy` is the URL of an HTTP proxy, ""
    for none; else HTTP(S)_PROXY and NO_PROXY say, unless `trust_env` is false.

    Close it: by `async with`, or by `aclose()`. In another event loop, or in the child of a fork, it makes its
    connections anew. A ValueError or TypeError says which argument is wrong.
    """

    @shows_options(Options)
    def __init__(self, *, connect: ConnectFunction | None = None, **options: Unpack[Options]) -> None:
        super().__init__(AsyncPool(), **options)
        self._connect: ConnectFunction = connect or connect_tcp

    _way_to_close = "use it in an `async with` block, or await aclose()"

    def stream(self, request: Request) -> AsyncStream:
        """A streaming call, made when the result is entered: `async with client.stream(request) as stream`."""
        return AsyncStream(partial(self._begin, request, Wanted.STREAM))

    async def create(self, request: Request) -> Message:
        """A call that is answered with one document. Raises what a stream's `result()` would.

        A server that answers with an event stream all the same has answered: its message is returned.
        """
        return (await self._run(request, Wanted.MESSAGE)).result()

    async def count_tokens(self, request: Request) -> int:
        """How many input tokens a request has, by `/v1/messages/count_tokens`. `max_tokens` may be missing.

        Raises what `create` does; UnexpectedResponse for an answer that is no count.
        """
        return (await self._run(request, Wanted.COUNT)).count()

    async def _run(self, request: Request, wanted: Wanted) -> Call:
        driver = self._begin(request, wanted)
        try:
            await driver.run_until_over()
        finally:
            await driver.aclose()
        return driver.machine

    def _begin(self, request: Request, wanted: Wanted) -> _CallDriver:
        return _CallDriver(self._call(request, wanted, now=anyio.current_time()), self._pool, self._connect)

    async def aclose(self) -> None:
        """Close the idle connections. Streams that are open stay so until they are closed themselves."""
        await drain(self._pool)

    def _close_dropped(self) -> None:
        while (idle := self._pool.drain()) is not None:
            drop(idle, None)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class AsyncStream(BaseStream):
    """One streaming call: an async context manager, and inside it an async iterator of events.

    Entering it returns when the first event has come, be it a ping, and raises if none does: APIError for an error
    status, TransportError otherwise. Iteration gives every event, once; if the stream broke off or failed it raises,
    after the last event, what `result()` does. Leaving the context, or `aclose()`, ends the call if it is still going
    on.
    """

    def __init__(self, begin: Callable[[], _CallDriver]) -> None:
        super().__init__()
        self._begin = begin
        self._driver: _CallDriver | None = None

    async def __aenter__(self) -> AsyncStream:
        if self._made is not None:
            raise ValueError("a stream is entered once; ask the client for another")
        driver = self._driver = self._begin()
        call = self._made = driver.machine
        try:
            await driver.run_until_started()
        except BaseException:
            await driver.aclose()
            raise
        if not call.events:
            await driver.aclose()
            self._end()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the call. What has come is still there to read; doing it twice is fine."""
        if self._driver is not None:
            await self._driver.aclose()

    def __aiter__(self) -> AsyncIterator[StreamEvent]:
        self._begin_iteration()
        return self

    async def __anext__(self) -> StreamEvent:
        call, driver = self._call, self._driver
        while not call.events:
            if call.over or driver is None:
                self._end()
                raise StopAsyncIteration
            await driver.step()
        return call.events.popleft()

    @property
    def text(self) -> AsyncIterator[str]:
        """The pieces of text alone: `async for piece in stream.text`. Takes the events as iteration does."""
        self._begin_iteration()
        return _Text(self)


class _Text:
    def __init__(self, stream: AsyncStream) -> None:
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        while True:
            text = text_of(await self._stream.__anext__())
            if text:
                return text


class _CallDriver(Driver[Call]):
    """Drives one call."""

    async def run_until_started(self) -> None:
        while not self.machine.started:
            await self.step()

    async def run_until_over(self) -> None:
        while not self.machine.over:
            await self.step()

    async def aclose(self) -> None:
        self.machine.abandon()
        await super().aclose()
