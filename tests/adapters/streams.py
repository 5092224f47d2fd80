"""What the tests' own byte streams share."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import anyio.abc


class OpenStream(anyio.abc.ByteStream):
    """A stream of which nobody ends one side alone: HTTP/1.1 has no use for that, and no driver may."""

    async def send_eof(self) -> None:
        raise AssertionError("a driver has ended its side of the connection")


class Hooked:
    """A socket that calls something whenever it is read, before or after that."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.before: Callable[[], object] = bool
        self.after: Callable[[], object] = bool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def recv(self, size: int) -> bytes:
        self.before()
        data = self._sock.recv(size)
        self.after()
        return data
