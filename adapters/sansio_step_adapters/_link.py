"""An anyio byte stream with a `Connection` on it: what carries HTTP for those who don't drive a `Call`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import anyio
import anyio.abc

from sansio_step import ConnectionLost

from ._call import connect_error
from ._client import Pool, readable
from ._config import Config
from ._connection import Connection

ByteStream: TypeAlias = anyio.abc.ByteStream
ConnectFunction: TypeAlias = Callable[[str, int], Awaitable[ByteStream]]

BROKEN = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError)


class Link:
    """A connection that is ready for HTTP: one of the pool's, or a new one."""

    def __init__(self, pool: Pool[ByteStream], connection: Connection, transport: ByteStream) -> None:
        self._pool, self._transport = pool, transport
        self.connection = connection

    @classmethod
    async def open(
        cls, config: Config, connect: ConnectFunction, pool: Pool[ByteStream], *, fresh: bool = False
    ) -> Link:
        """Raises ConnectError. With `fresh` none of the pool's will do."""
        if not fresh and (found := await take(pool)) is not None:
            found[0].next_exchange()
            return cls(pool, *found)
        first = config.first
        transport: ByteStream | None = None
        try:
            transport = await connect(first.host, first.port)
            link = cls(pool, Connection(config), transport)
            await link._make_ready()
            return link
        except BaseException as error:
            if transport is not None:
                await close(transport)
            if isinstance(error, BROKEN):
                raise connect_error(config, root(error)) from root(error)
            raise

    @staticmethod
    async def drain(pool: Pool[ByteStream]) -> None:
        """Close what is idle, for good."""
        while (transport := pool.drain()) is not None:
            await close(transport)

    async def send(self, data: bytes) -> None:
        """Write bytes of HTTP. Raises ConnectionLost."""
        self.connection.send(data)
        await self._flush()

    async def receive(self) -> bytes | None:
        """Some bytes of HTTP, None at the end. Raises ConnectionLost."""
        try:
            while not self.connection.ended:
                data = self.connection.receive_data(await self._transport.receive())
                await self._flush()
                if data:
                    return data
        except anyio.EndOfStream:
            pass
        except BROKEN as error:
            raise ConnectionLost(f"the connection broke: {root(error)}") from root(error)
        try:
            self.connection.receive_eof()
        except OSError as error:
            raise ConnectionLost(str(error)) from error
        return None

    async def release(self, *, keep: bool) -> None:
        """Give the connection back, or close it."""
        keep = keep and not self.connection.ended
        if not (keep and self._pool.put(self.connection, self._transport, anyio.current_time())):
            await close(self._transport)

    async def _flush(self) -> None:
        try:
            while data := self.connection.outgoing():
                await self._transport.send(data)
        except BROKEN as error:
            raise ConnectionLost(f"the connection broke: {root(error)}") from root(error)

    async def _make_ready(self) -> None:
        while True:
            if data := self.connection.outgoing():
                await self._transport.send(data)
            if self.connection.ready:
                return
            try:
                self.connection.receive_data(await self._transport.receive())
            except anyio.EndOfStream:
                self.connection.receive_eof()


async def take(pool: Pool[ByteStream]) -> tuple[Connection, ByteStream] | None:
    """An idle connection that still seems alive; those that don't are closed."""
    while (old := pool.expired(anyio.current_time())) is not None:
        await close(old)
    while (found := pool.take()) is not None:
        raw = found[1].extra(anyio.abc.SocketAttribute.raw_socket, None)  # noqa: S610, anyio's extra
        if raw is None or not readable(raw):
            return found
        await close(found[1])
    return None


async def close(transport: ByteStream) -> None:
    """Close a stream, in a cancelled task too: nothing here waits, since TLS has no part in the transport."""
    with anyio.CancelScope(shield=True):
        await transport.aclose()


def root(error: BaseException) -> BaseException:
    """The system's own error under anyio's, whose words say more."""
    own = isinstance(error, (anyio.BrokenResourceError, anyio.ClosedResourceError))
    if error.__cause__ is not None and (own or (isinstance(error, OSError) and error.errno is None)):
        error = error.__cause__
    # A name with several addresses: one error for each, in a group (of the backport's in Python 3.10).
    several: tuple[BaseException, ...] = getattr(error, "exceptions", ())
    return several[-1] if several else error
