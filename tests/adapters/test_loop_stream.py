"""A socket that an asyncio loop watches: whatever ends a wait, no byte is lost, doubled or taken for nobody."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import socket
import struct
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from clocks import jumps_of
from streams import Hooked

from sansio_step_adapters._streams import LoopStream, SocketStream, connect_tcp


@pytest.fixture
def pair(no_leaks: None) -> Any:
    """A connected socket that doesn't block, and its peer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        own = socket.create_connection(server.getsockname())
        peer, _ = server.accept()
    own.setblocking(False)
    with own, peer:
        yield own, peer


def run(pair: Any, main: Callable[[LoopStream, socket.socket], Coroutine[Any, Any, None]]) -> None:
    async def begin() -> None:
        stream = LoopStream(pair[0], asyncio.get_running_loop())
        await main(stream, pair[1])
        await stream.aclose()

    asyncio.run(begin())


async def waiting(*reads: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
    """Tasks that are in the middle of these."""
    tasks = [asyncio.ensure_future(read) for read in reads]
    await asyncio.sleep(0)
    return tasks


async def receive_until(stream: LoopStream, until: float | None, max_bytes: int = 65536) -> bytes | None:
    """As a driver reads; None if nothing has come by then."""
    if not stream.holds:
        await stream.wait_until(until)
    data = stream.take() if max_bytes >= 65536 or not stream.holds else stream.receive_now(max_bytes)
    if data == b"":
        raise anyio.EndOfStream
    return data


@pytest.mark.parametrize("how", ["task", "cancel"])
@pytest.mark.parametrize("when", ["before they are read", "after they are read"])
def test_a_wait_that_ends_in_the_moment_in_which_bytes_come(pair: Any, how: str, when: str) -> None:
    async def main() -> None:
        sock: Any = Hooked(pair[0])
        stream = LoopStream(sock, asyncio.get_running_loop())
        (task,) = await waiting(receive_until(stream, None))
        end = task.cancel if how == "task" else stream.cancel
        if when == "before they are read":
            end()
        else:
            # The wait is over by then, and the task that waits has not heard of it.
            sock.after = partial(asyncio.get_running_loop().call_soon, end)
        pair[1].sendall(b"first")
        taken = b""
        with contextlib.suppress(asyncio.CancelledError):
            taken = await task or b""
        assert taken == (b"first" if when == "after they are read" and how == "cancel" else b"")
        sock.before = sock.after = bool
        pair[1].sendall(b"second")
        while len(taken) < len(b"firstsecond"):
            taken += await stream.receive()
        assert taken == b"firstsecond"
        await stream.aclose()

    asyncio.run(main())


def test_nothing_is_lost_or_doubled_whatever_ends_the_waits(pair: Any) -> None:
    """Random bytes at random moments, while waits are ended by time, by `cancel` and by their task\'s end."""
    draw = random.Random(15)
    sent, came = bytearray(), bytearray()
    sizes = (0, 1, 5, 100, 5000)

    async def main(stream: LoopStream, peer: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        ends = {"came": 0, "time": 0, "cancel": 0, "task": 0}
        for _ in range(2000):
            until = draw.choice((None, None, loop.time(), loop.time() + 0.0005))
            (task,) = await waiting(receive_until(stream, until, draw.choice((1, 7, 65536))))
            steps = [draw.choice(("send", "turn", "cancel", "task", "rest")) for _ in range(draw.randrange(4))]
            for step in [*steps, "cancel"]:
                if step == "send":
                    data = draw.randbytes(draw.choice(sizes))
                    sent.extend(data)
                    peer.sendall(data)
                elif step == "turn":
                    await asyncio.sleep(0)
                elif step == "cancel":
                    stream.cancel()
                elif step == "task":
                    task.cancel()
                elif task.done():
                    stream.rest()
            try:
                data = await task
            except asyncio.CancelledError:
                ends["task"] += 1
            else:
                ends["came" if data else "cancel"] += 1
                came.extend(data or b"")
        assert min(ends["came"], ends["cancel"], ends["task"]) > 50, ends
        peer.shutdown(socket.SHUT_WR)
        with pytest.raises(anyio.EndOfStream):
            while True:
                came.extend(await stream.receive())

    run(pair, main)
    assert came == sent


def test_time_is_looked_at_when_the_timer_rings(pair: Any) -> None:
    """A limit that has moved on meanwhile doesn't end a wait before its time; one that comes sooner does."""

    async def main(stream: LoopStream, peer: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        jump = jumps_of(loop)
        soon = loop.time() + 0.01
        (task,) = await waiting(receive_until(stream, soon))
        peer.sendall(b"x")
        assert await task == b"x"
        later = soon + 0.02
        assert await receive_until(stream, later) is None
        assert loop.time() >= later
        (task,) = await waiting(receive_until(stream, loop.time() + 3600))
        peer.sendall(b"y")
        assert await task == b"y"
        assert await asyncio.wait_for(receive_until(stream, loop.time()), 60) is None
        # A timer that rings when nobody waits does nothing.
        assert await receive_until(stream, loop.time() + 0.001) is None
        (task,) = await waiting(receive_until(stream, loop.time() + 0.001))
        peer.sendall(b"z")
        assert await task == b"z"
        jump(1)
        for _ in range(3):  # the timer rings in one of these turns
            await asyncio.sleep(0)
        (task,) = await waiting(stream.receive())
        peer.sendall(b"!")
        assert await task == b"!"

    run(pair, main)


def test_nothing_is_read_for_nobody(pair: Any) -> None:
    async def main(stream: LoopStream, peer: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        (task,) = await waiting(stream.receive())
        peer.sendall(b"x")
        assert await task == b"x"
        peer.sendall(b"for whom?")
        for _ in range(3):
            await asyncio.sleep(0)
        assert not loop.remove_reader(pair[0]), "the loop still watches it"
        assert stream.rest()
        assert await stream.receive() == b"for whom?"
        # One that rests is forgotten by the loop at once.
        assert stream.rest()
        assert not loop.remove_reader(pair[0])

    run(pair, main)


def test_ends_and_breaks(pair: Any) -> None:
    async def main(stream: LoopStream, peer: socket.socket) -> None:
        (task,) = await waiting(stream.receive(2))
        stream.cancel()  # which a plain read knows nothing of
        await waiting()
        peer.sendall(b"four")
        assert await task == b"fo"
        assert stream.receive_now(1) == b"u"
        assert await stream.receive() == b"r"
        assert stream.receive_now() is None
        (task,) = await waiting(stream.receive())
        (second,) = await waiting(stream.receive())
        with pytest.raises(anyio.BusyResourceError):
            await second
        peer.shutdown(socket.SHUT_WR)
        for reading in (task, stream.receive(), receive_until(stream, 0.0)):
            with pytest.raises(anyio.EndOfStream):
                await reading
        assert stream.receive_now() == b""
        await stream.wait_ready()

    run(pair, main)


def test_a_connection_that_is_reset(pair: Any) -> None:
    async def main(stream: LoopStream, peer: socket.socket) -> None:
        (task,) = await waiting(stream.receive())
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        with pytest.raises(ConnectionResetError):
            await task

    run(pair, main)


def test_closed_while_it_is_read(pair: Any) -> None:
    async def main(stream: LoopStream, peer: socket.socket) -> None:
        (task,) = await waiting(receive_until(stream, asyncio.get_running_loop().time() + 3600))
        await stream.aclose()
        with pytest.raises(anyio.ClosedResourceError):
            await task
        with pytest.raises(anyio.ClosedResourceError):
            await stream.receive()
        with pytest.raises(anyio.ClosedResourceError):
            stream.wait_until(None)

    run(pair, main)


def test_closed_when_its_loop_is_no_more(pair: Any) -> None:
    loop = asyncio.new_event_loop()
    stream = LoopStream(pair[0], loop)

    async def begin() -> None:
        await waiting(receive_until(stream, loop.time() + 3600))

    loop.run_until_complete(begin())
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    asyncio.run(stream.aclose())
    gc.collect()
    assert pair[0].fileno() < 0


def test_a_socket_that_was_not_readable_after_all(pair: Any) -> None:
    tries = []

    def refuse() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise BlockingIOError

    async def main() -> None:
        sock: Any = Hooked(pair[0])
        sock.before = refuse
        stream = LoopStream(sock, asyncio.get_running_loop())
        pair[1].sendall(b"x")
        assert await stream.receive() == b"x"
        assert len(tries) == 3
        await stream.aclose()

    asyncio.run(main())


def test_each_backend_has_its_stream(backend: str) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            stream = await connect_tcp(*server.getsockname())
            assert type(stream) is (LoopStream if backend == "asyncio" else SocketStream)
            await stream.aclose()

    anyio.run(main, backend=backend)


def test_a_loop_that_cant_watch_sockets_leaves_it_to_anyio(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, whose default loop is of this name."""

    class ProactorEventLoop(asyncio.SelectorEventLoop):
        pass

    monkeypatch.setattr(asyncio, "ProactorEventLoop", ProactorEventLoop, raising=False)

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            stream = await connect_tcp(*server.getsockname())
            assert type(stream) is SocketStream
            await stream.aclose()

    loop = ProactorEventLoop()
    loop.run_until_complete(main())
    loop.close()
