"""What both drivers do at the edges: writes that fail, connections that come too late, closed pools, odd addresses."""

# ruff: noqa: SIM117, a server, a client and a stream read best one a line

from __future__ import annotations

import select
import socket
import threading
import time
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from asgicaller import Caller
from clocks import Jump, run_with_jumps
from conftest import Driver
from faultserver import (
    CHUNKED,
    DOCUMENT,
    EVENTS,
    HALF,
    LAST_CHUNK,
    PING,
    REQUEST,
    WHOLE,
    FaultServer,
    Peer,
    answer,
    chunked,
    head,
    keeps_saying,
)
from streams import OpenStream
from test_clients import swallowing

from sansio_step import APIError, ConnectError, ConnectionLost, DeadlineExceeded, IncompleteStream, Timeouts
from sansio_step_adapters._addresses import readable, wait_ready
from sansio_step_adapters._call import Call
from sansio_step_adapters._config import make_config
from sansio_step_adapters._connection import Connection
from sansio_step_adapters._pool import Idle, Pool
from sansio_step_adapters._reader import Wanted
from sansio_step_adapters._socket_driver import Driver as SocketDriver
from sansio_step_adapters._socket_driver import close_idle
from sansio_step_adapters._streams import SocketStream, connect_tcp
from sansio_step_adapters.anyio import AsyncClient
from sansio_step_adapters.asgi import PassThrough
from sansio_step_adapters.sockets import Client
from sansio_step_adapters.sockets import connect_tcp as connect_socket

ANSWER = answer(DOCUMENT, content_type="application/json")
REFUSAL = answer(b"no", status=413)


def half_closed(driver: Driver) -> Any:
    """A way to connect to which nothing can be written."""
    if driver.name == "sockets":

        def connect(host: str, port: int, seconds: float | None) -> socket.socket:
            sock = connect_socket(host, port, seconds)
            sock.shutdown(socket.SHUT_WR)
            return sock

        return connect

    async def connect_async(host: str, port: int) -> SocketStream:
        stream = await connect_tcp(host, port)
        await stream.send_eof()
        return stream

    return connect_async


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("said", [REFUSAL, b""], ids=["an answer", "nothing"])
def test_a_write_that_fails(driver: Driver, said: bytes, secure: bool) -> None:
    """What the server said before counts for more; if it said nothing, or TLS never stood, the failure is the error."""

    def script(peer: Peer) -> None:
        peer.send(said)
        peer.wait_closed()

    async def main() -> None:
        with FaultServer(script) as server:
            url = server.base_url.replace("http:", "https:") if secure else server.base_url
            arguments: dict[str, Any] = {"connect": half_closed(driver), "max_retries": 0}
            async with driver.client(base_url=url, **arguments) as client:
                wanted = ConnectError if secure else APIError if said else ConnectionLost
                with pytest.raises(wanted, match="413" if wanted is APIError else "Broken pipe|EPIPE"):
                    await client.create(REQUEST)

    driver.run(main)


def test_a_connection_that_comes_too_late(backend: str) -> None:
    """A stream that was closed while it connected closes what its `connect` returns all the same."""

    async def main() -> None:
        connecting, go_on = anyio.Event(), anyio.Event()

        async def connect(host: str, port: int) -> SocketStream:
            connecting.set()
            with anyio.CancelScope(shield=True):
                await go_on.wait()
                return await connect_tcp(host, port)

        with FaultServer(Peer.wait_closed) as server:
            async with AsyncClient(base_url=server.base_url, connect=connect, trust_env=False) as client:
                stream = client.stream(REQUEST)

                async def enter() -> None:
                    with pytest.raises(ConnectionLost, match="closed by the caller"):
                        await stream.__aenter__()

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(enter)
                    await connecting.wait()
                    await stream.aclose()
                    go_on.set()
                assert await anyio.to_thread.run_sync(server.all_gone)

    anyio.run(main, backend=backend)


def test_a_socket_that_comes_too_late() -> None:
    """The same on sockets, where another thread closes the stream."""
    with FaultServer(Peer.wait_closed) as server:

        def connect(host: str, port: int, seconds: float | None) -> socket.socket:
            stream.close()
            return connect_socket(host, port, seconds)

        with Client(base_url=server.base_url, connect=connect, trust_env=False) as client:
            stream = client.stream(REQUEST)
            with pytest.raises(ConnectionLost, match="closed by the caller"):
                stream.__enter__()
            assert server.all_gone()


def test_a_client_that_is_closed_before_its_stream_ends(driver: Driver) -> None:
    """The stream goes on, and its connection, which nobody could use again, is closed at its end."""
    closed = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED) + chunked(HALF))
        assert closed.wait(10)
        peer.send(chunked(WHOLE[len(HALF) :]) + LAST_CHUNK)
        peer.wait_closed()

    async def main() -> None:
        with FaultServer(script) as server:
            client = driver.client(base_url=server.base_url)
            async with client.stream(REQUEST) as stream:
                await client.aclose()
                closed.set()
                assert len([event async for event in stream]) == EVENTS
            assert server.all_gone()

    driver.run(main)


def test_a_flood_while_a_stream_of_the_callers_own_is_written_to(backend: str) -> None:
    """What is read meanwhile is bounded, though the server reads nothing."""
    received = 0

    class Flood(OpenStream):
        async def receive(self, max_bytes: int = 65536) -> bytes:
            nonlocal received
            await anyio.lowlevel.checkpoint()
            received += 65536
            return (head(200, CHUNKED) if received == 65536 else b"") + chunked(b":" + b" " * 65000 + b"\n")

        async def send(self, item: bytes) -> None:
            await anyio.sleep_forever()

        async def aclose(self) -> None:
            pass

    async def connect(host: str, port: int) -> Flood:
        return Flood()

    async def main() -> None:
        limits = Timeouts(total=0.5)
        async with AsyncClient(
            base_url="http://example.org", connect=connect, timeouts=limits, trust_env=False
        ) as client:
            with pytest.raises(DeadlineExceeded):
                await client.create(REQUEST)

    anyio.run(main, backend=backend)
    assert received < 2_000_000


@pytest.mark.parametrize("answers", [True, False])
def test_nothing_is_written_twice_to_a_stream_of_the_callers_own(backend: str, answers: bool) -> None:
    """A write that is stuck while the server speaks goes on as long as it speaks, and is never begun again."""
    writes = 0

    async def main(jump: Jump) -> None:
        class Stuck(OpenStream):
            said = 0

            async def receive(self, max_bytes: int = 65536) -> bytes:
                self.said += 1
                jump(1)
                if self.said > 10 and not answers:
                    jump(3)
                    await anyio.sleep_forever()
                await anyio.lowlevel.checkpoint()
                if self.said > 10:
                    return chunked(WHOLE) + LAST_CHUNK
                return (head(200, CHUNKED) if self.said == 1 else b"") + chunked(b": still here\n\n")

            async def send(self, item: bytes) -> None:
                nonlocal writes
                writes += 1
                await anyio.sleep_forever()

            async def aclose(self) -> None:
                pass

        async def connect(host: str, port: int) -> Stuck:
            return Stuck()

        limits = Timeouts(idle=4, first_event=20, total=20)
        options: dict[str, Any] = {"connect": connect, "timeouts": limits, "trust_env": False}
        async with AsyncClient(base_url="http://example.org", **options) as client:
            if answers:
                async with client.stream(REQUEST) as stream:
                    assert len([event async for event in stream]) == EVENTS
            else:
                with pytest.raises(DeadlineExceeded, match="idle"):
                    await client.create(REQUEST)

    run_with_jumps(main, backend)
    assert writes == 1


# Idle connections.


def test_sockets_close_what_was_idle_for_too_long_at_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an event loop nobody can do it sooner."""
    with FaultServer(keeps_saying(ANSWER, ANSWER)) as server:
        with Client(base_url=server.base_url, trust_env=False) as client:
            client.create(REQUEST)
            real = time.monotonic
            monkeypatch.setattr(time, "monotonic", lambda: real() + 31)
            client.create(REQUEST)
            assert server.connections == 2
            monkeypatch.undo()


def test_streams_of_the_callers_own_are_closed_at_the_next_call() -> None:
    """They may have to wait for that, which a timer can't."""
    testing = pytest.importorskip("trio.testing")
    clock = testing.MockClock()
    made: list[Any] = []

    class Answers(OpenStream):
        closed = False

        async def receive(self, max_bytes: int = 65536) -> bytes:
            await anyio.lowlevel.checkpoint()
            return ANSWER

        async def send(self, item: bytes) -> None:
            await anyio.lowlevel.checkpoint()

        async def aclose(self) -> None:
            await anyio.lowlevel.checkpoint()
            self.closed = True

    async def connect(host: str, port: int) -> Answers:
        made.append(Answers())
        return made[-1]

    async def main() -> None:
        client = AsyncClient(base_url="http://example.org", connect=connect, trust_env=False)
        await client.create(REQUEST)
        clock.jump(31)
        await testing.wait_all_tasks_blocked()
        assert not made[0].closed
        await client.create(REQUEST)
        assert [stream.closed for stream in made] == [True, False]
        with pytest.warns(ResourceWarning, match="unclosed client"):
            del client

    anyio.run(main, backend="trio", backend_options={"clock": clock})


def test_another_processs_connection_is_closed_without_a_word() -> None:
    """Only this end of it: what a child says would be read as its parent's."""
    ours, theirs = socket.socketpair()

    class Speaks(Connection):
        def farewell(self) -> bytes:
            return b"bye"

    connection = Speaks(make_config(base_url="http://example.org", trust_env=False))
    close_idle(Idle(0.0, "parent", connection, ours), "child")
    assert theirs.recv(10) == b""
    theirs.close()
    ours, theirs = socket.socketpair()
    close_idle(Idle(0.0, "here", connection, ours), "here")
    assert theirs.recv(10) == b"bye"
    theirs.close()


# Addresses.


def test_an_address_that_fails_at_once(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next is tried; what the last one failed with is the error."""
    resolve = socket.getaddrinfo
    nowhere = (socket.AF_UNIX, socket.SOCK_STREAM, 0, "", "/nonexistent/socket")

    async def main() -> None:
        with FaultServer(keeps_saying(ANSWER)) as server, swallowing(server.port) as nobody:
            kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
            good, refused, silent = ((*kind, (place, server.port)) for place in ("127.0.0.1", "127.0.0.3", nobody))
            found = [nowhere, good]

            def several(host: Any, port: Any, *more: Any, **named: Any) -> Any:
                return list(found) if host in ("a.example", b"a.example") else resolve(host, port, *more, **named)

            monkeypatch.setattr(socket, "getaddrinfo", several)
            url = f"http://a.example:{server.port}"
            async with driver.client(base_url=url, max_retries=0, timeouts=Timeouts(connect=10)) as client:
                assert (await client.create(REQUEST)).text == "Hello"
            async with driver.client(base_url=url, max_retries=0, timeouts=Timeouts(connect=0.6)) as client:
                found[:] = [nowhere]
                with pytest.raises(ConnectError, match="No such file"):
                    await client.create(REQUEST)
                found[:] = [silent, refused]
                with pytest.raises(DeadlineExceeded, match="connect"):
                    await client.create(REQUEST)
                found[:] = []
                with pytest.raises(ConnectError, match="has no address"):
                    await client.create(REQUEST)

    driver.run(main)


def test_where_there_is_no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has select alone."""
    for _ in range(2):
        ours, theirs = socket.socketpair()
        assert not readable(ours)
        assert wait_ready(ours, 5)
        theirs.send(b"x")
        assert readable(ours)
        ours.close()
        assert readable(ours)
        theirs.close()
        monkeypatch.delattr(select, "poll", raising=False)


# The stream.


def test_a_socket_as_a_byte_stream(backend: str) -> None:
    """Whoever makes one has all that anyio's byte streams have."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        for sock in (ours, theirs):
            sock.setblocking(False)
        one, other = SocketStream(ours), SocketStream(theirs)
        sent = b"x" * 5_000_000
        got = bytearray()

        async def read() -> None:
            with pytest.raises(anyio.EndOfStream):
                while True:
                    got.extend(await other.receive())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await one.send(sent)
            await one.send_eof()
        assert got == sent
        assert one.extra(anyio.abc.SocketAttribute.raw_socket) is ours
        await other.send(b"back")
        assert await one.receive() == b"back"

        async def wait(side: Any) -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await side()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, one.receive)
            await anyio.wait_all_tasks_blocked()
            await one.aclose()
        await one.aclose()
        await other.aclose()
        for call in (one.receive_now, lambda: one.send_now(b"x")):
            with pytest.raises(anyio.ClosedResourceError):
                call()

    anyio.run(main, backend=backend)


def test_a_socket_that_was_not_readable_after_all(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait that ended for nothing is begun again."""
    waits = 0
    real = anyio.wait_readable

    async def wait(sock: Any) -> None:
        nonlocal waits
        waits += 1
        if waits > 1:
            await real(sock)

    async def main() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        stream = SocketStream(ours)
        monkeypatch.setattr(anyio, "wait_readable", wait)
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                theirs.send(b"late")

            tasks.start_soon(send)
            assert await stream.receive() == b"late"
        stream.close()
        theirs.close()

    anyio.run(main, backend=backend)
    assert waits == 2


def test_a_stream_is_closed_while_its_request_is_stuck(driver: Driver) -> None:
    """Another task or thread ends an upload that nobody reads."""
    if driver.name == "sockets":
        large = {**REQUEST, "messages": [{"role": "user", "content": "x" * 20_000_000}]}
        begun = threading.Event()

        def script(peer: Peer) -> None:
            peer.read_head()
            peer.send(head(200, CHUNKED) + chunked(HALF))
            begun.wait(10)
            peer.wait_closed()

        with FaultServer(script) as server, Client(base_url=server.base_url, trust_env=False) as client:
            with client.stream(large) as stream:
                threading.Timer(0.0, lambda: (stream.close(), begun.set())).start()
                with pytest.raises(IncompleteStream):
                    list(stream)
            assert server.all_gone()
        return

    async def main() -> None:
        large = {**REQUEST, "messages": [{"role": "user", "content": "x" * 20_000_000}]}
        left = threading.Event()

        def script(peer: Peer) -> None:
            peer.read_head()
            peer.send(head(200, CHUNKED) + chunked(HALF))
            assert left.wait(10)
            peer.wait_closed()

        with FaultServer(script) as server:
            async with AsyncClient(base_url=server.base_url, trust_env=False) as client:
                async with client.stream(large) as stream, anyio.create_task_group() as tasks:

                    async def close() -> None:
                        await anyio.wait_all_tasks_blocked()
                        await stream.aclose()
                        left.set()

                    tasks.start_soon(close)
                    with pytest.raises(IncompleteStream):
                        [event async for event in stream]
                assert await anyio.to_thread.run_sync(server.all_gone)

    driver.run(main)


def test_a_socket_that_takes_nothing_at_first() -> None:
    """It is waited for, and then written to."""

    class Shy(socket.socket):
        refusals = 3

        def send(self, data: Any, flags: int = 0) -> int:
            if self.refusals:
                self.refusals -= 1
                raise BlockingIOError
            return super().send(data, flags)

    def connect(host: str, port: int, seconds: float | None) -> socket.socket:
        sock = connect_socket(host, port, seconds)
        return Shy(sock.family, sock.type, sock.proto, sock.detach())

    with FaultServer(keeps_saying(ANSWER)) as server:
        with Client(base_url=server.base_url, connect=connect, trust_env=False) as client:
            assert client.create(REQUEST).text == "Hello"


def test_a_write_to_a_stream_of_the_callers_own_that_fails(backend: str) -> None:
    """What was said before counts for more there, too."""

    class Deaf(OpenStream):
        async def receive(self, max_bytes: int = 65536) -> bytes:
            await anyio.sleep(0)
            await anyio.sleep(0)
            return REFUSAL

        async def send(self, item: bytes) -> None:
            raise anyio.BrokenResourceError from BrokenPipeError(32, "Broken pipe")

        async def aclose(self) -> None:
            pass

    async def connect(host: str, port: int) -> Deaf:
        return Deaf()

    async def main() -> None:
        async with AsyncClient(base_url="http://example.org", connect=connect, trust_env=False) as client:
            with pytest.raises(APIError, match="413"):
                await client.create(REQUEST)

    anyio.run(main, backend=backend)


def test_two_threads_give_a_connection_up_at_once() -> None:
    """The one that comes second looks further."""
    pool: Pool[str] = Pool()
    connection = Connection(make_config(base_url="http://example.org", trust_env=False))

    class Elsewhere:
        def __ne__(self, other: object) -> bool:
            pool.take()  # as another thread does just now
            return True

        __hash__ = None  # type: ignore[assignment]

    pool.put(Idle(0.0, Elsewhere(), connection, "first"))
    assert pool.given_up("here", 0.0) is None
    assert len(pool) == 0


class Clogged(OpenStream):
    """Takes no byte, and says what it is told to."""

    def __init__(self, *said: bytes) -> None:
        self._said = list(said)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await anyio.lowlevel.checkpoint()
        if not self._said:
            raise anyio.BrokenResourceError from ConnectionResetError(104, "reset")
        return self._said.pop(0)

    async def send(self, item: bytes) -> None:
        await anyio.sleep_forever()

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize(("said", "status"), [((), 502), ((REFUSAL[:-1], REFUSAL[-1:]), 413)])
def test_what_is_heard_while_a_write_is_stuck(backend: str, said: tuple[bytes, ...], status: int) -> None:
    """A break ends the call, and an answer in pieces arrives, through a client and a gateway alike."""

    async def connect(host: str, port: int) -> Clogged:
        return Clogged(*said)

    async def main() -> None:
        options: dict[str, Any] = {"connect": connect, "trust_env": False}
        async with AsyncClient(base_url="http://example.org", max_retries=0, **options) as client:
            with pytest.raises(APIError if said else ConnectionLost, match="413" if said else "reset"):
                await client.create(REQUEST)
        async with PassThrough("http://example.org", **options) as app:
            caller = Caller(b"{}")
            await caller.call(app)
            assert caller.status == status

    anyio.run(main, backend=backend)


def test_a_socket_that_another_thread_has_closed() -> None:
    """What its methods say then is a failure of the connection, and closing it again does nothing."""

    class Closed(socket.socket):
        def settimeout(self, seconds: float | None) -> None:
            if seconds != 0:
                raise OSError(9, "Bad file descriptor")
            super().settimeout(seconds)

    def connect(host: str, port: int, seconds: float | None) -> socket.socket:
        sock = connect_socket(host, port, seconds)
        return Closed(sock.family, sock.type, sock.proto, sock.detach())

    with FaultServer(Peer.wait_closed) as server:
        with Client(base_url=server.base_url, connect=connect, max_retries=0, trust_env=False) as client:
            with pytest.raises(ConnectionLost, match="Bad file descriptor"):
                client.create(REQUEST)

    config = make_config(base_url="http://example.org", trust_env=False)
    call = Call(config, b"{}", wanted=Wanted.STREAM, now=0, wall_time=lambda: 0.0, jitter=lambda: 0.0)
    driver = SocketDriver(call, Pool(), connect)
    call.connected(0)
    call.abandon()
    driver.step()  # wants the connection closed, which is gone
    driver.step()
    assert call.want(0) is None


@pytest.mark.parametrize("limits", [Timeouts(), Timeouts(first_event=None, idle=None, stall=None, total=None)])
def test_sockets_set_a_timeout_for_many_reads(limits: Timeouts) -> None:
    """Limits move on with each event, and each change of a socket's timeout is a system call."""
    changes: list[float | None] = []

    class Counted(socket.socket):
        def settimeout(self, seconds: float | None) -> None:
            changes.append(seconds)
            super().settimeout(seconds)

    def connect(host: str, port: int, seconds: float | None) -> socket.socket:
        plain = connect_socket(host, port, seconds)
        return Counted(plain.family, plain.type, plain.proto, plain.detach())

    turn = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED))
        for event in pieces:
            peer.send(chunked(event))
            turn.acquire(timeout=20)
        peer.send(LAST_CHUNK)

    pieces = [HALF, *[PING] * 50, WHOLE[len(HALF) :]]
    with FaultServer(script) as server:
        with Client(base_url=server.base_url, trust_env=False, timeouts=limits, connect=connect) as client:
            with client.stream(REQUEST) as stream:
                count = 0
                for _ in stream:
                    count += 1
                    turn.release()
    assert count > 50
    reads = [seconds for seconds in changes if seconds != 0]
    assert 0 < len(reads) < 5, reads
    assert (reads[0] is None) is (limits.total is None)
