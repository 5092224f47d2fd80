"""TCP on anyio: a plain socket as a byte stream, and the way to one.

anyio's own stream on asyncio is a transport. It closes the socket at the first write that fails, and what the server
said before it hung up is lost. It can't be closed once its event loop is. A plain socket has neither fault.

On asyncio anyio registers a socket with the event loop for each wait, and a time limit takes a cancel scope. Together
they cost more than reading a live event. `LoopStream` stays registered while it is read from, and has one timer.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import anyio
import anyio.abc
import anyio.lowlevel

from ._addresses import ATTEMPT_DELAY, Address, interleaved


class SocketStream(anyio.abc.ByteStream):
    """A connected socket. Unlike other byte streams, it can also read and write what goes without waiting."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Some bytes; raises EndOfStream at the end. A cancelled call has taken nothing."""
        while True:
            self._check_open()
            await anyio.wait_readable(self._sock)
            data = self.receive_now(max_bytes)
            if data is not None:
                if not data:
                    raise anyio.EndOfStream
                return data

    async def send(self, item: bytes) -> None:
        """Write all of it."""
        await anyio.lowlevel.checkpoint()
        rest = memoryview(item)
        while rest := rest[self.send_now(rest) :]:
            await anyio.wait_writable(self._sock)

    def receive_now(self, max_bytes: int = 65536) -> bytes | None:
        """What is there, None if nothing is; empty at the end."""
        self._check_open()
        try:
            return self._sock.recv(max_bytes)
        except (BlockingIOError, InterruptedError):
            return None

    def send_now(self, data: bytes | memoryview) -> int:
        """Write what goes without waiting; tell how much that is."""
        self._check_open()
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

    async def wait_ready(self) -> None:
        """Wait until something can be read or written."""
        async with anyio.create_task_group() as tasks:

            async def wait(side: Callable[[socket.socket], Any]) -> None:
                # Another task that closes the socket wakes both.
                with contextlib.suppress(anyio.ClosedResourceError):
                    await side(self._sock)
                tasks.cancel_scope.cancel()

            tasks.start_soon(wait, anyio.wait_readable)
            tasks.start_soon(wait, anyio.wait_writable)

    async def send_eof(self) -> None:
        """Say that nothing more will be sent."""
        self._sock.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        """Close it, and wake whoever waits for it."""
        if self._sock.fileno() >= 0:
            anyio.notify_closing(self._sock)
        self.close()

    def close(self) -> None:
        """Close one that nobody waits for, in whatever loop or process: another process's copy stays as it is."""
        self._sock.close()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The socket, as `anyio.abc.SocketAttribute.raw_socket`."""
        return {anyio.abc.SocketAttribute.raw_socket: lambda: self._sock}

    def _check_open(self) -> None:
        if self._sock.fileno() < 0:
            raise anyio.ClosedResourceError


class LoopStream(SocketStream):
    """The same on an asyncio loop that watches sockets, with a time limit on each wait.

    Bytes that come in the moment in which their wait is ended are kept, and are read next. No byte is taken from the
    socket unless somebody waits for it, so that a slow reader holds the peer back.
    """

    def __init__(self, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(sock)
        self._loop = loop
        self._watched = False
        self._waiter: asyncio.Future[None] | None = None
        # What came last, until it is taken: bytes, empty at the end, or what broke the connection.
        self._came: bytes | OSError | None = None
        self._until: float | None = None
        # Limits move on with every byte, and this timer stays: when it rings it looks at the time that counts then.
        self._timer: asyncio.TimerHandle | None = None

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Some bytes; raises EndOfStream at the end. A cancelled call has taken nothing."""
        self._check_open()
        while self._came is None:
            await self.wait_until(None)
            self._check_open()
        data = self.receive_now(max_bytes)
        if not data:
            raise anyio.EndOfStream
        return data

    @property
    def holds(self) -> bool:
        """Whether something is there for `take`."""
        return self._came is not None

    def wait_until(self, until: float | None) -> asyncio.Future[None]:
        """Wait until something is there, until that time of the loop's, or until `cancel`. To be awaited at once.

        What comes is left to `take`, so that a task that is cancelled in the moment in which it comes has lost nothing.
        """
        if self._waiter is not None and not self._waiter.done():
            raise anyio.BusyResourceError("reading from")
        if not self._watched:
            self._check_open()
            self._loop.add_reader(self._sock, self._read)
            self._watched = True
        self._until = until
        if until is not None and (self._timer is None or until < self._timer.when()):
            self._set_timer(until)
        self._waiter = self._loop.create_future()
        return self._waiter

    def take(self) -> bytes | None:
        """What is there: bytes, empty at the end; None if nothing is. Raises what broke the connection."""
        came, self._came = self._came, None
        if came is None:
            self._check_open()
        elif isinstance(came, OSError):
            raise came
        return came

    def receive_now(self, max_bytes: int = 65536) -> bytes | None:
        """What is there, None if nothing is; empty at the end."""
        came = self._came
        if came is None:
            return super().receive_now(max_bytes)
        self._check_open()
        if isinstance(came, OSError):
            self._came = None
            raise came
        if came:
            self._came = came[max_bytes:] or None
        return came[:max_bytes]

    def cancel(self) -> None:
        """End a wait, if there is one."""
        if self._waiter is not None and not self._waiter.done() and not self._loop.is_closed():
            self._waiter.set_result(None)

    def rest(self) -> bool:
        """Let the loop forget the socket until it is read again; say whether nothing is there to be read."""
        if self._watched:
            self._watched = False
            self._loop.remove_reader(self._sock)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return self._came is None

    async def wait_ready(self) -> None:
        """Wait until something can be read or written."""
        if self.rest():
            await super().wait_ready()

    async def aclose(self) -> None:
        """Close it, and wake whoever waits for it."""
        if self._sock.fileno() >= 0:
            self.rest()
        self.cancel()
        await super().aclose()

    def _read(self) -> None:
        """The socket can be read."""
        if self._waiter is None or self._waiter.done():
            self._watched = False
            self._loop.remove_reader(self._sock)
            return
        try:
            self._came = self._sock.recv(65536)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._came = error
        self._waiter.set_result(None)

    def _set_timer(self, until: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(until, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done() or self._until is None:
            return
        if self._loop.time() < self._until:
            self._set_timer(self._until)
        else:
            self.cancel()


class _Trio(Protocol):
    def in_trio_run(self) -> bool: ...


def asyncio_loop() -> asyncio.AbstractEventLoop | None:
    """The loop in which this runs, None if that is trio's, be it as a guest in a loop of asyncio's."""
    trio: _Trio | None = getattr(sys.modules.get("trio"), "lowlevel", None)
    return None if trio is not None and trio.in_trio_run() else asyncio.get_running_loop()


def _stream(sock: socket.socket) -> SocketStream:
    loop = asyncio_loop()
    # Windows' default loop can't watch sockets, for which anyio has a thread.
    if loop is None or isinstance(loop, getattr(asyncio, "ProactorEventLoop", ())):
        return SocketStream(sock)
    return LoopStream(sock, loop)


async def connect_tcp(host: str, port: int) -> SocketStream:
    """Connect to the first of a name's addresses that answers, each tried beside those before it after a short delay.

    Raises the OSError of the last that failed.
    """
    addresses = interleaved(await _resolve(host, port))
    winners: list[SocketStream] = []
    last: OSError = OSError(errno.EADDRNOTAVAIL, f"{host} has no address")

    async def attempt(address: Address, failed: anyio.Event) -> None:
        nonlocal last
        try:
            stream = await _connect(address)
        except OSError as error:
            last = error
            failed.set()
            return
        winners.append(stream)
        tasks.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as tasks:
            for address in addresses:
                failed = anyio.Event()
                tasks.start_soon(attempt, address, failed)
                with anyio.move_on_after(ATTEMPT_DELAY):
                    await failed.wait()
    except BaseException:
        _close_all(winners)
        raise
    if not winners:
        raise last
    _close_all(winners[1:])  # two can answer at once
    return winners[0]


def _close_all(streams: list[SocketStream]) -> None:
    for stream in streams:
        stream.close()


async def _resolve(host: str, port: int) -> list[Any]:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # An address needs no resolver, and so no thread.
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)


async def _connect(address: Address) -> SocketStream:
    family, kind, protocol, _, place = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError, InterruptedError):
            sock.connect(place)
        await anyio.wait_writable(sock)
        failure = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure:
            raise OSError(failure, os.strerror(failure))
        # A request goes out in one piece, and waiting to fill a packet would only hold its end back.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return _stream(sock)
