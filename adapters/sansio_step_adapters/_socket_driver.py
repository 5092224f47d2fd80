"""Does on blocking sockets what a transfer wants: waits, reads, writes, closes. It decides nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeAlias, TypeVar

from ._addresses import ATTEMPT_DELAY, Address, interleaved, readable, wait_ready
from ._pool import Idle, Pool
from ._transfer import Transfer
from ._wants import Close, Connect, Keep, Proceed, Receive, Send, Sleep

ConnectFunction: TypeAlias = Callable[[str, int, "float | None"], socket.socket]
Machine = TypeVar("Machine", bound=Transfer)

# A socket of the caller's own `connect` can be one of `ssl`, which says in its own way that it has to wait.
_NOT_NOW: Final = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

# With so many seconds left a read waits to the end of them.
_EXACT: Final = 0.1


class Driver(Generic[Machine]):
    """Drives one transfer."""

    def __init__(self, machine: Machine, pool: Pool[socket.socket], connect: ConnectFunction) -> None:
        self.machine = machine
        self._pool, self._connect = pool, connect
        self._transport: socket.socket | None = None
        # Wakes a thread that waits for the next attempt.
        self._closed = threading.Event()

    def step(self) -> None:
        """One thing, and what follows from it without waiting."""
        machine, transport = self.machine, self._transport
        now = time.monotonic()
        want = machine.want(now)
        if want is None:
            return
        if isinstance(want, (Keep, Close)):
            self._release(want)
            return
        if isinstance(want, Proceed):
            machine.proceeded(now)
        else:
            assert isinstance(want, (Connect, Send, Receive, Sleep)), "sockets have no gateway"
            # A timeout of 0 would make the socket non-blocking.
            left = None if want.until is None else max(want.until - now, 0.001)
            if isinstance(want, Connect):
                self._open(want, left)
            elif transport is None or isinstance(want, Sleep):
                self._closed.wait(left)
                machine.waited(time.monotonic())
            elif isinstance(want, Send):
                self._send(transport, want.data, left)
            else:
                self._receive(transport, left)
        if machine.over:
            self._settle()

    def close(self) -> None:
        """Wake a thread that sleeps, and give back what is held. Tell the machine first why."""
        self._closed.set()
        self._settle()

    def _send(self, transport: socket.socket, data: bytes, left: float | None) -> None:
        """Write what goes and read what is there; wait only if neither is possible."""
        machine = self.machine
        try:
            transport.settimeout(0)
            count = transport.send(data)
        except _NOT_NOW:
            count = 0
        except OSError as error:
            machine.send_failed(error, time.monotonic())
            return
        if count:
            machine.sent(count, time.monotonic())
        elif not wait_ready(transport, left):
            machine.waited(time.monotonic())
            return
        with contextlib.suppress(*_NOT_NOW):
            self._read(transport)

    def _receive(self, transport: socket.socket, left: float | None) -> None:
        machine = self.machine
        try:
            _wait_at_most(transport, left)
        except OSError as error:
            machine.failed(error, time.monotonic())
            return
        try:
            self._read(transport)
        except TimeoutError:
            machine.waited(time.monotonic())

    def _read(self, transport: socket.socket) -> None:
        """Read and report. If there is nothing yet, the error that says so is raised."""
        machine = self.machine
        try:
            data = transport.recv(65536)
        except _NOT_NOW:
            raise
        except OSError as error:
            # The socket's own timeout has no errno; ETIMEDOUT, the network's, is a failure.
            if isinstance(error, TimeoutError) and error.errno is None:
                raise
            machine.failed(error, time.monotonic())
        else:
            if data:
                machine.received(data, time.monotonic())
            else:
                machine.ended(time.monotonic())

    def _open(self, want: Connect, left: float | None) -> None:
        machine, pool, home = self.machine, self._pool, here()
        while (old := pool.given_up(home, time.monotonic())) is not None:
            close_idle(old, home)
        while not want.fresh and (idle := pool.take()) is not None:
            if not readable(idle.transport):
                self._transport = idle.transport
                machine.reuse(idle.connection, time.monotonic())
                return
            close_idle(idle, home)
        try:
            self._transport = self._connect(want.host, want.port, left)
        except OSError as error:
            if isinstance(error, TimeoutError) and error.errno is None:
                machine.waited(time.monotonic())
            else:
                machine.failed(error, time.monotonic())
        else:
            machine.connected(time.monotonic())

    def _settle(self) -> None:
        """After the end: give the connection back or close it. Nothing here waits for the peer."""
        while isinstance(want := self.machine.want(time.monotonic()), (Keep, Close)):
            self._release(want)
        if self._transport is not None and self.machine.connection is None:
            # Made for a call that had been closed meanwhile.
            self._release(Close())

    def _release(self, want: Keep | Close) -> None:
        machine, transport = self.machine, self._transport
        connection, self._transport = machine.connection, None
        machine.released()
        if transport is None:
            return  # another thread was quicker
        if isinstance(want, Close):
            _say(transport, want.farewell)
            # Wakes a thread that reads from it; close() alone would leave it waiting.
            with contextlib.suppress(OSError):
                transport.shutdown(socket.SHUT_RDWR)
            transport.close()
            return
        assert connection is not None
        idle = Idle(time.monotonic(), here(), connection, transport)
        if not self._pool.put(idle):
            close_idle(idle, idle.home)


def _wait_at_most(transport: socket.socket, left: float | None) -> None:
    """Let a read wait no longer than that. It may wait for less: it is then asked for again.

    Each change is a system call, and limits move on with each event. Half of what is left holds for many of them.
    """
    most = transport.gettimeout()
    if left is None:
        if most is not None:
            transport.settimeout(None)
    elif most is None or not 0 < most <= left:
        transport.settimeout(left / 2 if left > _EXACT else left)


def here() -> object:
    """The process that runs this. After a fork, sockets that the parent made are still the parent's."""
    return os.getpid()


def drain(pool: Pool[socket.socket]) -> None:
    """Close what is idle, for good."""
    while (idle := pool.drain()) is not None:
        close_idle(idle, here())


def close_idle(idle: Idle[socket.socket], home: object) -> None:
    """Close an idle connection; a child's copy of its parent's without a word, since there it may be in use."""
    if idle.home == home:
        _say(idle.transport, idle.connection.farewell())
    idle.transport.close()


def _say(transport: socket.socket, farewell: bytes) -> None:
    """Write what TLS says at its end, if that goes without waiting."""
    if farewell:
        with contextlib.suppress(OSError):
            transport.settimeout(0)
            transport.send(farewell)


def connect_tcp(host: str, port: int, seconds: float | None) -> socket.socket:
    """Connect to the first of a name's addresses that answers, each tried beside those before it after a short delay.

    All within `seconds`, but for the name's resolution, which can't be cut short. Raises the OSError of the last that
    failed, a TimeoutError if none has answered in time.
    """
    ends = None if seconds is None else time.monotonic() + seconds
    waiting = interleaved(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))[::-1]
    last: OSError = OSError(errno.EADDRNOTAVAIL, f"{host} has no address")
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or selector.get_map():
                if waiting:
                    try:
                        selector.register(_begin(waiting.pop()), selectors.EVENT_WRITE)
                    except OSError as error:
                        last = error
                        continue
                now = time.monotonic()
                delays = [ATTEMPT_DELAY] if waiting else []
                if ends is not None:
                    delays.append(ends - now)
                for key, _ in selector.select(max(min(delays), 0) if delays else None):
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    selector.unregister(sock)
                    failure = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if not failure:
                        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        return sock
                    last = OSError(failure, os.strerror(failure))
                    sock.close()
                if ends is not None and time.monotonic() >= ends:
                    raise TimeoutError("timed out")
            raise last
        finally:
            for key in list(selector.get_map().values()):
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.close()


def _begin(address: Address) -> socket.socket:
    family, kind, protocol, _, place = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError, InterruptedError):
            sock.connect(place)
    except BaseException:
        sock.close()
        raise
    return sock
