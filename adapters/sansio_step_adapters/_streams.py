"""TCP on anyio: a plain socket as a byte stream, and the way to one.

anyio's own stream on asyncio is a transport. It closes the socket at the first write that fails, and what the server
said before it hung up is lost. It can't be closed once its event loop is. A plain socket has neither fault.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

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
    return SocketStream(sock)
