"""A client for asyncio and trio, by anyio.

    async with AsyncClient(api_key=...) as client:
        async with client.stream({"model": ..., "max_tokens": 1000, "messages": [...]}) as stream:
            async for event in stream:
                ...
        message = stream.result()

`sansio_step_adapters.sockets.Client` is the same without an event loop.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from types import TracebackType

from ._extras import missing_extra

try:
    import anyio
    import anyio.lowlevel
except ModuleNotFoundError as error:
    raise missing_extra("anyio", error) from error


from sansio_step import Message, RetryPolicy, StreamEvent, Timeouts

from ._call import Call, Close, Connect, Keep, Proceed, Receive, Send
from ._client import BaseClient, BaseStream, Pool, text_of
from ._config import BASE_URL, Auth, Request
from ._link import BROKEN, ByteStream, ConnectFunction, Link, close, root, take
from ._reader import MAX_EVENT_SIZE, MAX_MESSAGE_SIZE, MAX_RESPONSE_SIZE, Wanted

__all__ = ["AsyncClient", "AsyncStream"]


class AsyncClient(BaseClient[ByteStream]):
    """Calls to one Messages endpoint, over connections that are used again.

    `base_url` is given without `/v1`. `api_key` is the key, else STEP_API_KEY; `auth` how it is sent, as a "bearer"
    token or as "x-api-key". `headers` go on top of the client's own. `timeouts`: see `Timeouts`; `max_retries` (2) and
    `retries`: see `RetryPolicy`. `strict` and the sizes are those of `MessageStream`; `max_response_size` bounds the
    decoded bytes of one response. `ssl_context` replaces the system's trust. `proxy` is the URL of an HTTP proxy, ""
    for none; else HTTP(S)_PROXY and NO_PROXY say, unless `trust_env` is false. `connect(host, port)` replaces the way
    to a TCP stream.

    Use it in one event loop, and close it: by `async with`, or by `aclose()`.
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
        self._connect: ConnectFunction = connect or anyio.connect_tcp

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
        return driver.call

    def _begin(self, request: Request, wanted: Wanted) -> _Driver:
        return _Driver(self._call(request, wanted, now=anyio.current_time()), self._pool, self._connect)

    async def aclose(self) -> None:
        """Close the idle connections. Streams that are open stay so until they are closed themselves."""
        await Link.drain(self._pool)

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
    after the last event, what `result()` does. Leaving the context, or `aclose()`, ends the call if it is still going on.
    """

    def __init__(self, begin: Callable[[], _Driver]) -> None:
        super().__init__()
        self._begin = begin
        self._driver: _Driver | None = None

    async def __aenter__(self) -> AsyncStream:
        if self._made is not None:
            raise ValueError("a stream is entered once; ask the client for another")
        driver = self._driver = self._begin()
        call = self._made = driver.call
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


class _Driver:
    """Does what a call wants: waits, reads, writes, closes."""

    def __init__(self, call: Call, pool: Pool[ByteStream], connect: ConnectFunction) -> None:
        self.call = call
        self._pool, self._connect = pool, connect
        self._transport: ByteStream | None = None
        # What the present step waits in, so that a task which closes the stream can end the wait of another.
        self._waiting: anyio.CancelScope | None = None

    async def run_until_started(self) -> None:
        while not self.call.started:
            await self.step()

    async def run_until_over(self) -> None:
        while not self.call.over:
            await self.step()

    async def step(self) -> None:
        """One thing, and what follows from it without waiting. A cancelled step that read can be repeated."""
        call, transport = self.call, self._transport
        want = call.want(anyio.current_time())
        if isinstance(want, (Keep, Close)):
            await self._release(keep=isinstance(want, Keep))
            return
        if want is None:
            return
        if isinstance(want, Proceed):
            await anyio.lowlevel.checkpoint()
            call.proceeded(anyio.current_time())
            if call.over:
                await self._settle()
            return
        until = math.inf if want.until is None else want.until
        with anyio.CancelScope(deadline=until) as scope:
            self._waiting = scope
            try:
                if isinstance(want, Connect):
                    await self._open(want)
                elif transport is None:
                    await anyio.sleep_until(until)
                elif isinstance(want, Receive):
                    data = await transport.receive()
                    call.received(data, anyio.current_time())
                elif isinstance(want, Send):
                    await transport.send(want.data)
                    call.sent(anyio.current_time())
            except anyio.EndOfStream:
                call.ended(anyio.current_time())
            except BROKEN as error:
                call.failed(root(error), anyio.current_time())
        self._waiting = None
        if scope.cancelled_caught:
            call.waited(anyio.current_time())
        if call.over:
            await self._settle()

    async def aclose(self) -> None:
        self.call.abandon()
        if self._waiting is not None:
            self._waiting.cancel()
        await self._settle()

    async def _settle(self) -> None:
        """Behind the end: give the connection back or close it. Nothing here waits for anybody."""
        while isinstance(want := self.call.want(anyio.current_time()), (Keep, Close)):
            await self._release(keep=isinstance(want, Keep))
        if self._transport is not None:
            # Made for a call that had been closed meanwhile.
            await self._release(keep=False)

    async def _open(self, want: Connect) -> None:
        call, pool = self.call, self._pool
        if not want.fresh and (found := await take(pool)) is not None:
            connection, self._transport = found
            call.reuse(connection, anyio.current_time())
            return
        self._transport = await self._connect(want.host, want.port)
        call.connected(anyio.current_time())

    async def _release(self, *, keep: bool) -> None:
        call, transport = self.call, self._transport
        connection, self._transport = call.connection, None
        call.released()
        if transport is not None and not (
            keep and connection is not None and self._pool.put(connection, transport, anyio.current_time())
        ):
            await close(transport)
