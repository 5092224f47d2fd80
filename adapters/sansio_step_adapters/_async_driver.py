"""Does on anyio what a transfer wants: waits, reads, writes, closes. It decides nothing."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, MutableMapping
from functools import partial
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

import anyio
import anyio.abc
import anyio.lowlevel

from ._addresses import readable
from ._pool import Idle, Pool
from ._streams import LoopStream, SocketStream, asyncio_loop
from ._transfer import Transfer
from ._wants import Close, Connect, Give, Keep, Proceed, Receive, Send, Sleep, Want

ByteStream: TypeAlias = anyio.abc.ByteStream
ConnectFunction: TypeAlias = Callable[[str, int], Awaitable[ByteStream]]
GiveFunction: TypeAlias = Callable[[MutableMapping[str, Any]], Coroutine[Any, Any, None]]
Machine = TypeVar("Machine", bound=Transfer)

_BROKEN: Final = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError)
# What is read at most while one `Send` waits for a stream that can't say how far it has got.
_MOST_MEANWHILE: Final = 1024 * 1024
# How long TLS's last word may take on a stream that can't take it at once.
_FAREWELL_SECONDS: Final = 1.0


class AsyncPool(Pool[ByteStream]):
    """A pool that closes what has been idle for too long when its time is over, not at the next call."""

    def __init__(self) -> None:
        super().__init__()
        self._watched: object = None  # the home in which a timer runs

    def put(self, idle: Idle[ByteStream]) -> bool:
        """Keep a connection, or say that it has to be closed."""
        kept = super().put(idle)
        if isinstance(idle.transport, SocketStream):  # which alone can be closed without waiting
            self._watch(idle.home)
        return kept

    def _watch(self, home: object) -> None:
        end = self.next_end()
        if end is not None and self._watched != home:
            self._watched = home
            _later(end, partial(self._look, home))

    def _look(self, home: object, now: float) -> None:
        self._watched = None
        while (idle := self.given_up(home, now)) is not None:
            drop(idle, home)
        self._watch(home)


class Driver(Generic[Machine]):
    """Drives one transfer. `give` takes what a gateway's transfer has for its caller."""

    def __init__(
        self,
        machine: Machine,
        pool: Pool[ByteStream],
        connect: ConnectFunction,
        give: GiveFunction | None = None,
    ) -> None:
        self.machine = machine
        self._pool, self._connect, self._give = pool, connect, give
        self._transport: ByteStream | None = None
        # What the present step waits in, so that another task can end the wait.
        self._waiting: anyio.CancelScope | LoopStream | None = None
        self._scope: anyio.CancelScope | None = None  # around the steps of `run`
        self._doing: Want | None = None
        loop = asyncio_loop()
        self._clock: Callable[[], float] = anyio.current_time if loop is None else loop.time

    async def run(self, heard: Callable[[], object]) -> None:
        """Step after step until it is over; `heard` is called after each. What has a caller to give to is run so.

        One scope stands around many steps, since it has to be there before what a caller does: that can open scopes of
        its own, which must end within it. One for each message would cost more than the message does.
        """
        machine = self.machine
        while not machine.over:
            with anyio.CancelScope() as scope:
                self._scope = scope
                while not (machine.over or scope.cancel_called):
                    await self.step()
                    heard()
            self._waiting = None
            if scope.cancelled_caught:
                machine.waited(self._clock())

    async def step(self) -> None:
        """One thing, and what follows from it without waiting. A cancelled step can be repeated, and loses nothing."""
        machine, transport = self.machine, self._transport
        want = self._doing = machine.want(self._clock())
        if isinstance(want, Receive) and isinstance(transport, LoopStream):
            self._waiting = transport
            try:
                if not transport.holds:
                    await transport.wait_until(want.until)
                data = transport.take()
            except _BROKEN as error:
                machine.failed(root(error), self._clock())
            else:
                self._report(data)
            self._waiting = None
        elif isinstance(want, Give):
            await self._hand_over(want)
        elif want is None:
            return
        elif isinstance(want, (Keep, Close)):
            await self._release(want)
            return
        elif isinstance(want, Proceed):
            await anyio.lowlevel.checkpoint()
            machine.proceeded(self._clock())
        else:
            with anyio.CancelScope(deadline=_deadline(want.until)) as scope:
                self._waiting = scope
                await self._do(want)
            self._waiting = None
            if scope.cancelled_caught:
                machine.waited(self._clock())
        if machine.over:
            await self._settle()

    def wake(self) -> None:
        """End a step that waits for the peer or the time, since there is something new to do. Any other step goes on."""
        if self._waiting is not None and isinstance(self._doing, (Receive, Sleep)):
            self._waiting.cancel()

    def interrupt(self) -> None:
        """End the present step, whatever it waits for."""
        if self._waiting is not None:
            self._waiting.cancel()

    async def aclose(self) -> None:
        """End the present step, and give back what is held. Tell the machine first why."""
        self.interrupt()
        await self._settle()

    async def _do(self, want: Connect | Send | Receive | Sleep) -> None:
        transport = self._transport
        if isinstance(want, Connect):
            await self._open(want)
        elif transport is None or isinstance(want, Sleep):
            await anyio.sleep_forever()  # the scope ends it
        elif isinstance(want, Receive):
            await self._receive(transport)
        elif isinstance(transport, SocketStream):
            await self._send_now(transport, want.data)
        else:
            await self._send_all(transport, want.data)

    async def _receive(self, stream: ByteStream) -> None:
        try:
            data = await stream.receive()
        except anyio.EndOfStream:
            self._report(b"")
        except _BROKEN as error:
            self.machine.failed(root(error), self._clock())
        else:
            self._report(data)

    def _report(self, data: bytes | None) -> None:
        """Tell the machine what was read: bytes, empty at the end; None if nothing has come in time."""
        machine, now = self.machine, self._clock()
        if data:
            machine.received(data, now)
        elif data is None:
            machine.waited(now)
        else:
            machine.ended(now)

    async def _send_now(self, stream: SocketStream, data: bytes) -> None:
        """Write what goes and read what is there; wait only if neither is possible."""
        machine = self.machine
        await anyio.lowlevel.checkpoint()
        while True:
            try:
                count = stream.send_now(data)
            except _BROKEN as error:
                machine.send_failed(root(error), self._clock())
                return
            if count:
                machine.sent(count, self._clock())
            try:
                came = stream.receive_now()
            except _BROKEN as error:
                machine.failed(root(error), self._clock())
                return
            if came is not None:
                self._report(came)
            if count or came is not None:
                return
            await stream.wait_ready()

    async def _send_all(self, stream: ByteStream, data: bytes) -> None:
        """The same on a stream that can't say how much it has taken: give it all, and listen meanwhile."""
        machine, whole = self.machine, False
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._listen, stream, tasks.cancel_scope)
                try:
                    await stream.send(data)
                except _BROKEN as error:
                    machine.send_failed(root(error), self._clock())
                else:
                    machine.sent(len(data), self._clock())
                    await anyio.lowlevel.checkpoint()  # so that what is there is heard, however fast the writing goes
                whole = True
                tasks.cancel_scope.cancel()
        finally:
            if not whole:
                machine.send_cut()

    async def _listen(self, stream: ByteStream, sending: anyio.CancelScope) -> None:
        machine, room = self.machine, _MOST_MEANWHILE
        while room > 0:
            try:
                data = await stream.receive()
            except anyio.EndOfStream:
                machine.ended(self._clock())
                room = 0
            except _BROKEN as error:
                machine.failed(root(error), self._clock())
                room = 0
            else:
                machine.received(data, self._clock())
                room -= len(data)
            if not machine.at_work:
                sending.cancel()
                return
            waiting = self._waiting
            assert isinstance(waiting, anyio.CancelScope), "a write waits in one"
            want = machine.want(self._clock())
            while isinstance(want, Give):
                waiting.deadline = math.inf  # the caller has its own limit
                await self._hand_over(want)
                self._waiting = waiting
                want = machine.want(self._clock())
            if isinstance(want, Send):
                waiting.deadline = _deadline(want.until)

    async def _hand_over(self, want: Give) -> None:
        """Give it to the caller. Servers take nearly all at once: only one that waits needs a limit."""
        scope = self._scope
        assert self._give is not None
        assert scope is not None, "what has a caller to give to is run"
        giving = self._give(want.message)
        try:
            waits_for = giving.send(None)
        except StopIteration:
            pass
        else:
            self._waiting, scope.deadline = scope, _deadline(self.machine.stuck(self._clock()))
            await _rest_of(giving, waits_for)
            self._waiting, scope.deadline = None, math.inf
        self.machine.given(self._clock())

    async def _open(self, want: Connect) -> None:
        machine, pool, home = self.machine, self._pool, here()
        while (old := pool.given_up(home, self._clock())) is not None:
            await close_idle(old, home)
        while not want.fresh and (idle := pool.take()) is not None:
            raw = idle.transport.extra(anyio.abc.SocketAttribute.raw_socket, None)  # noqa: S610, anyio's extra
            if raw is None or not readable(raw):
                self._transport = idle.transport
                machine.reuse(idle.connection, self._clock())
                return
            await close_idle(idle, home)
        try:
            self._transport = await self._connect(want.host, want.port)
        except _BROKEN as error:
            machine.failed(root(error), self._clock())
        else:
            machine.connected(self._clock())

    async def _settle(self) -> None:
        """After the end: give the connection back or close it. Nothing here waits for the peer."""
        while isinstance(want := self.machine.want(self._clock()), (Keep, Close)):
            await self._release(want)
        if self._transport is not None and self.machine.connection is None:
            # Made for a call that had been closed meanwhile.
            await self._release(Close())

    async def _release(self, want: Keep | Close) -> None:
        machine, transport = self.machine, self._transport
        connection, self._transport = machine.connection, None
        machine.released()
        assert transport is not None
        if isinstance(want, Close):
            await close(transport, want.farewell)
            return
        assert connection is not None
        idle = Idle(self._clock(), here(), connection, transport)
        rests = not isinstance(transport, LoopStream) or transport.rest()
        if not rests or not self._pool.put(idle):
            await close(transport, connection.farewell())


def _deadline(until: float | None) -> float:
    return math.inf if until is None else until


@types.coroutine
def _rest_of(coroutine: Coroutine[Any, Any, None], waits_for: Any) -> Generator[Any, Any, None]:
    """What is left of a coroutine after its first step, which has ended in a wait."""
    while True:
        try:
            answer = yield waits_for
        except BaseException as error:  # noqa: BLE001, it is the coroutine's, as `await` would have it
            step = partial(coroutine.throw, error)
        else:
            step = partial(coroutine.send, answer)
        try:
            waits_for = step()
        except StopIteration:
            return


def here() -> object:
    """The event loop and the process that run this, in which its sockets can be used."""
    return os.getpid(), anyio.lowlevel.current_token().native_token


async def drain(pool: Pool[ByteStream]) -> None:
    """Close what is idle, for good."""
    home = here()
    while (idle := pool.drain()) is not None:
        await close_idle(idle, home)


async def close_idle(idle: Idle[ByteStream], home: object) -> None:
    """Close an idle connection; one of another home without a word, since there it may be in use."""
    if isinstance(idle.transport, SocketStream):
        drop(idle, home)
    elif idle.home == home:
        await close(idle.transport, idle.connection.farewell())


def drop(idle: Idle[ByteStream], home: object) -> None:
    """Close an idle socket; this needs no event loop."""
    if isinstance(idle.transport, SocketStream):
        if idle.home == home:
            _say(idle.transport, idle.connection.farewell())
        idle.transport.close()


async def close(transport: ByteStream, farewell: bytes) -> None:
    """Close a stream, in a cancelled task too, after what TLS says at its end."""
    try:
        if farewell and isinstance(transport, SocketStream):
            _say(transport, farewell)
        elif farewell:
            with anyio.move_on_after(_FAREWELL_SECONDS, shield=True), contextlib.suppress(*_BROKEN):
                await transport.send(farewell)
    finally:
        with anyio.CancelScope(shield=True):
            await transport.aclose()


def _say(stream: SocketStream, farewell: bytes) -> None:
    if farewell:
        with contextlib.suppress(*_BROKEN):
            stream.send_now(farewell)


def root(error: BaseException) -> BaseException:
    """The system's own error under anyio's, whose words say more."""
    own = isinstance(error, (anyio.BrokenResourceError, anyio.ClosedResourceError))
    if error.__cause__ is not None and (own or (isinstance(error, OSError) and error.errno is None)):
        error = error.__cause__
    # A name with several addresses: one error for each, in a group (of the backport's in Python 3.10).
    several: tuple[BaseException, ...] = getattr(error, "exceptions", ())
    return several[-1] if several else error


class _Trio(Protocol):
    def spawn_system_task(self, function: Callable[[], Awaitable[None]]) -> object: ...


def _later(at: float, function: Callable[[float], None]) -> None:
    """Call a function with the time when it is `at`, if the event loop still runs then."""
    loop = asyncio_loop()
    if loop is not None:
        loop.call_at(at, lambda: function(loop.time()))
        return

    async def wait() -> None:
        await anyio.sleep_until(at)
        function(anyio.current_time())

    trio: _Trio = sys.modules["trio"].lowlevel
    trio.spawn_system_task(wait)
