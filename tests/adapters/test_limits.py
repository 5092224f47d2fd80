"""Limits that always run: on uploads that are refused, silence, callers, event loops, forks and the ends of
connections.
"""

# ruff: noqa: SIM117, a server, a client and a stream read best one a line

from __future__ import annotations

import contextlib
import gc
import os
import socket
import ssl
import threading
import warnings
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
    REQUEST,
    WHOLE,
    FaultServer,
    Peer,
    answer,
    chunked,
    head,
    keeps_saying,
    refuses_early,
    says,
    sends_1xx,
    tunnels,
)

from sansio_step import APIError, ConnectionLost, DeadlineExceeded, Timeouts
from sansio_step_adapters.anyio import AsyncClient
from sansio_step_adapters.asgi import PassThrough
from sansio_step_adapters.sockets import Client

LARGE = {**REQUEST, "messages": [{"role": "user", "content": "x" * 20_000_000}]}
ANSWER = answer(DOCUMENT, content_type="application/json")
# What would end a test that hangs; none of them is to pass.
FAR = {"connect": 20.0, "first_event": 20.0, "idle": 20.0, "stall": 20.0, "caller": 20.0, "total": 20.0}


def limits(**near: float) -> Timeouts:
    return Timeouts(**{**FAR, **near})


async def call(client: Any, what: str) -> Any:
    if what == "stream":
        async with client.stream(REQUEST) as stream:
            return [event async for event in stream]
    return await (client.create(REQUEST) if what == "create" else client.count_tokens(REQUEST))


# An upload that is refused before it is through.


@pytest.mark.parametrize("status", [413, 401, 429])
@pytest.mark.parametrize("then", ["hangs up", "stops reading", "reads on"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_an_early_refusal_arrives(
    driver: Driver, status: int, then: str, secure: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """The answer to a request of which the server has read a little is the call's, whatever the server does then."""
    tls = server_tls if secure else None

    async def main() -> None:
        with FaultServer(refuses_early(status, then), tls=tls) as server:
            arguments: dict[str, Any] = {"max_retries": 0, "timeouts": limits(), "ssl_context": client_tls}
            async with driver.client(base_url=server.base_url, **arguments) as client:
                with pytest.raises(APIError) as caught:
                    await client.create(LARGE)
                assert caught.value.status == status
                assert "idle=0" in repr(client)
            assert server.connections == 1

    driver.run(main)


def test_a_stream_that_begins_before_its_request_is_through(driver: Driver) -> None:
    """A server may answer while it reads on: the answer is read, and the rest of the request sent, at once."""
    sizes: list[int] = []

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(head(200, CHUNKED) + chunked(HALF))
        sizes.append(peer.read_rest())
        peer.send(chunked(WHOLE[len(HALF) :]) + LAST_CHUNK)

    async def main() -> None:
        with FaultServer(script) as server:
            async with driver.client(base_url=server.base_url, timeouts=limits()) as client:
                async with client.stream(LARGE) as stream:
                    assert len([event async for event in stream]) == EVENTS
                assert "idle=1" in repr(client)

    driver.run(main)
    assert sizes[0] > 20_000_000


def test_a_server_that_hangs_up_without_an_answer(driver: Driver) -> None:
    """An upload that breaks off with nothing said is a ConnectionLost."""

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.reset()

    async def main() -> None:
        with FaultServer(script) as server:
            async with driver.client(base_url=server.base_url, max_retries=0) as client:
                with pytest.raises(ConnectionLost):
                    await client.create(LARGE)

    driver.run(main)


class Plain(anyio.abc.ByteStream):
    """A stream of the caller's own `connect`: it can neither say how far a write has got, nor end one in the middle."""

    def __init__(self, inner: anyio.abc.SocketStream) -> None:
        self._inner = inner

    async def receive(self, max_bytes: int = 65536) -> bytes:
        return await self._inner.receive(max_bytes)

    async def send(self, item: bytes) -> None:
        await self._inner.send(item)

    async def send_eof(self) -> None:
        await self._inner.send_eof()

    async def aclose(self) -> None:
        await self._inner.aclose()


async def connect_plain(host: str, port: int) -> Plain:
    return Plain(await anyio.connect_tcp(host, port))


@pytest.mark.parametrize("then", ["stops reading", "reads on"])
def test_an_early_refusal_through_a_stream_of_the_callers_own(backend: str, then: str) -> None:
    """It is listened to while it is written to, whatever kind of stream it is."""

    async def main() -> None:
        with FaultServer(refuses_early(413, then), keeps_saying(ANSWER, ANSWER)) as server:
            arguments: dict[str, Any] = {"connect": connect_plain, "timeouts": limits(), "trust_env": False}
            async with AsyncClient(base_url=server.base_url, **arguments) as client:
                with pytest.raises(APIError, match="413"):
                    await client.create(LARGE)
                for _ in range(2):
                    assert (await client.create(REQUEST)).text == "Hello"
            assert server.connections == 2

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("how", ["ends", "resets"])
def test_a_stream_of_the_callers_own_that_breaks(backend: str, how: str) -> None:
    """What goes wrong while it is written to ends the call as on a socket."""

    def script(peer: Peer) -> None:
        peer.read_head()
        if how == "resets":
            peer.reset()
        else:
            peer.sock.shutdown(socket.SHUT_WR)
            peer.wait_closed()

    async def main() -> None:
        with FaultServer(script) as server:
            arguments: dict[str, Any] = {"connect": connect_plain, "timeouts": limits(), "trust_env": False}
            async with AsyncClient(base_url=server.base_url, max_retries=0, **arguments) as client:
                with pytest.raises(ConnectionLost):
                    await client.create(LARGE)

    anyio.run(main, backend=backend)


# Silence.


@pytest.mark.parametrize("what", ["stream", "create", "count"])
@pytest.mark.parametrize("script", [Peer.wait_closed, sends_1xx], ids=["silence", "1xx for ever"])
def test_idle_runs_from_the_connection_on(driver: Driver, what: str, script: Any) -> None:
    """A server that never begins to answer is ended by `idle`, whatever is asked of it and however busy it looks."""

    async def main() -> None:
        with FaultServer(script) as server:
            async with driver.client(base_url=server.base_url, timeouts=limits(idle=0.2)) as client:
                with pytest.raises(DeadlineExceeded) as caught:
                    await call(client, what)
                assert (caught.value.name, caught.value.seconds) == ("idle", 0.2)
            assert server.connections == 1

    driver.run(main)


def test_an_upload_that_nobody_reads_is_idle(driver: Driver) -> None:
    """Once no byte of a request goes out any more, that is silence as well."""

    async def main() -> None:
        with FaultServer(lambda peer: peer.wait_client_gone()) as server:
            async with driver.client(base_url=server.base_url, timeouts=limits(idle=0.3)) as client:
                with pytest.raises(DeadlineExceeded, match="idle"):
                    await client.create(LARGE)

    driver.run(main)


@pytest.mark.parametrize("script", [Peer.wait_closed, sends_1xx], ids=["silence", "1xx for ever"])
def test_a_silent_upstream_is_a_504(backend: str, script: Any) -> None:
    """In a gateway too, `idle` runs from the connection on."""
    reports: list[Any] = []

    async def main() -> None:
        with FaultServer(script) as server:
            async with PassThrough(server.base_url, timeouts=limits(idle=0.2), on_end=reports.append) as app:
                caller = Caller(b"{}")
                await caller.call(app)
                assert caller.status == 504
                assert caller.error["type"] == "timeout_error"

    anyio.run(main, backend=backend)
    assert reports[0].error.name == "idle"


# A gateway's caller.


def half_then_waits(peer: Peer) -> None:
    peer.read_head()
    peer.send(head(200, CHUNKED) + chunked(HALF))
    peer.wait_closed()


@pytest.mark.parametrize("name", ["caller", "total"])
def test_a_caller_that_stops_in_its_body(backend: str, name: str) -> None:
    """It is told so, and the upstream's connection is not held for it."""
    reports: list[Any] = []

    async def main() -> None:
        with FaultServer(Peer.wait_closed) as server:
            async with PassThrough(server.base_url, timeouts=limits(**{name: 0.2}), on_end=reports.append) as app:
                caller = Caller(b"{", stops="asking", length=100)
                await caller.call(app)
                assert caller.status == 408
                assert caller.error["type"] == "timeout_error"
                assert caller.headers[b"connection"] == b"close"
                assert await anyio.to_thread.run_sync(server.all_gone)
            assert server.connections == 1

    anyio.run(main, backend=backend)
    assert reports[0].error.name == name
    assert not reports[0].disconnected


def test_a_caller_that_stops_in_its_body_over_http2(backend: str) -> None:
    """There a connection carries other calls, and a header that would close it is an error."""

    async def main() -> None:
        with FaultServer(Peer.wait_closed) as server:
            async with PassThrough(server.base_url, timeouts=limits(caller=0.1)) as app:
                caller = Caller(b"{", stops="asking", length=100, http_version="2")
                await caller.call(app)
                assert caller.status == 408
                assert b"connection" not in caller.headers

    anyio.run(main, backend=backend)


def test_a_caller_that_never_begins(backend: str) -> None:
    """Until the first piece of its request is there, no connection is made for it."""

    async def main() -> None:
        with FaultServer(Peer.wait_closed) as server:
            async with PassThrough(server.base_url, timeouts=limits(caller=0.2, connect=0.1)) as app:
                caller = Caller(stops="asking", length=100)
                await caller.call(app)
                assert caller.status == 408
            assert server.connections == 0

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("name", ["caller", "total"])
@pytest.mark.parametrize("whole", [False, True], ids=["in the middle", "at the end"])
def test_a_caller_that_does_not_read(backend: str, name: str, whole: bool) -> None:
    """A response that nobody takes ends, and holds no connection: many such callers would hold as many."""
    reports: list[Any] = []
    script = says(answer()) if whole else half_then_waits

    async def main() -> None:
        with FaultServer(script) as server:
            async with PassThrough(server.base_url, timeouts=limits(**{name: 0.2}), on_end=reports.append) as app:
                caller = Caller(b"{}", stops="reading")
                with pytest.raises(DeadlineExceeded, match=name):
                    await caller.call(app)
                assert not caller.whole
                assert await anyio.to_thread.run_sync(server.all_gone)

    anyio.run(main, backend=backend)
    assert reports[0].error is not None


def test_a_caller_that_does_not_even_take_an_error(backend: str) -> None:
    """The gateway's own answer is offered for as long as `caller` says."""

    async def main() -> None:
        async with PassThrough("http://127.0.0.1:1", timeouts=limits(caller=0.2)) as app:
            caller = Caller(b"{}", stops="reading")
            with pytest.raises(DeadlineExceeded, match="caller"):
                await caller.call(app)
            assert caller.status == 502

    anyio.run(main, backend=backend)


WHERE = {
    "while it asks": ("asking", Peer.wait_closed, (b"{",)),
    "while it is not read": ("", Peer.wait_closed, (b"x" * 20_000_000,)),
    "while its answer is awaited": ("", Peer.wait_closed, (b"{}",)),
    "while it reads": ("", half_then_waits, (b"{}",)),
    "while it does not read": ("reading", half_then_waits, (b"{}",)),
}


@pytest.mark.parametrize("where", WHERE)
def test_a_caller_that_leaves(backend: str, where: str) -> None:
    """It is noticed wherever the call is, and the upstream's connection closed at once."""
    stops, script, pieces = WHERE[where]
    reports: list[Any] = []
    begun, left = threading.Event(), threading.Event()

    def noticed(peer: Peer) -> None:
        begun.set()
        # An end comes after what was sent before it, so that it is seen only by reading.
        if where == "while it is not read":
            assert left.wait(10)
        script(peer)

    async def main() -> None:
        with FaultServer(noticed) as server:
            async with PassThrough(server.base_url, timeouts=limits(), on_end=reports.append) as app:
                caller = Caller(*pieces, stops=stops, length=None if stops == "asking" else sum(map(len, pieces)))
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(caller.call, app)
                    assert await anyio.to_thread.run_sync(begun.wait, 10)
                    if stops:
                        await caller.reached.wait()
                    caller.left.set()
                left.set()
                assert await anyio.to_thread.run_sync(server.all_gone)

    anyio.run(main, backend=backend)
    assert reports[0].disconnected


def test_a_caller_that_leaves_while_the_gateway_connects(backend: str) -> None:
    """A connection that is on its way is given up."""
    reports: list[Any] = []

    async def main() -> None:
        connecting = anyio.Event()

        async def connect(host: str, port: int) -> Any:
            connecting.set()
            await anyio.sleep_forever()

        async with PassThrough("http://example.org", connect=connect, on_end=reports.append) as app:
            caller = Caller(b"{}")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(caller.call, app)
                await connecting.wait()
                caller.left.set()

    anyio.run(main, backend=backend)
    assert reports[0].disconnected


@pytest.mark.parametrize("status", [413, 401, 429])
@pytest.mark.parametrize("then", ["hangs up", "stops reading", "reads on"])
@pytest.mark.parametrize("pieces", [1, 300])
def test_a_gateway_passes_an_early_refusal_on(backend: str, status: int, then: str, pieces: int) -> None:
    """The caller gets the upstream's answer to an upload that was refused, in one piece or as it comes."""
    reports: list[Any] = []

    async def main() -> None:
        with FaultServer(refuses_early(status, then)) as server:
            async with PassThrough(server.base_url, timeouts=limits(), on_end=reports.append) as app:
                caller = Caller(*[b"x" * (20_000_000 // pieces)] * pieces)
                await caller.call(app)
                assert caller.status == status
                assert caller.error["type"] == "some_error"
                assert caller.whole

    anyio.run(main, backend=backend)
    assert isinstance(reports[0].error, APIError)
    assert not reports[0].disconnected


def test_a_caller_waits_for_an_upstream_that_reads_slowly(backend: str) -> None:
    """Of a large body no more is taken in than the upstream takes out, but for a bound."""
    go_on = threading.Event()
    sizes: list[int] = []

    def script(peer: Peer) -> None:
        peer.read_head()
        assert go_on.wait(10)
        sizes.append(peer.read_rest())
        peer.send(answer())

    async def main() -> None:
        with FaultServer(script) as server:
            async with PassThrough(server.base_url, timeouts=limits()) as app:
                caller = Caller(*[b"x" * 100_000] * 200)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(caller.call, app)
                    before = -1
                    while before != (before := caller.waiting):
                        for _ in range(200):
                            await anyio.lowlevel.checkpoint()
                    assert 0 < before < 200, "all of it is in memory"
                    go_on.set()
                assert caller.body == WHOLE

    anyio.run(main, backend=backend)
    assert sizes[0] > 20_000_000


# Event loops and processes.


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_a_client_in_a_second_event_loop(
    backend: str, secure: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """It makes its connections anew there, and those of the first loop are closed."""
    with FaultServer(keeps_saying(*[ANSWER] * 9), tls=server_tls if secure else None) as server:
        client = AsyncClient(base_url=server.base_url, ssl_context=client_tls, trust_env=False)

        async def main() -> None:
            for _ in range(2):
                assert (await client.create(REQUEST)).text == "Hello"

        for number in range(1, 4):
            anyio.run(main, backend=backend)
            assert server.connections == number
        anyio.run(client.aclose, backend=backend)
        assert server.all_gone()


def test_a_gateway_in_a_second_event_loop(backend: str) -> None:
    """The same in a gateway."""
    with FaultServer(keeps_saying(*[answer()] * 9)) as server:
        app = PassThrough(server.base_url, trust_env=False)

        async def main() -> None:
            for _ in range(2):
                caller = Caller(b"{}")
                await caller.call(app)
                assert caller.body == WHOLE

        for number in range(1, 4):
            anyio.run(main, backend=backend)
            assert server.connections == number
        anyio.run(app.aclose, backend=backend)
        assert server.all_gone()


def test_streams_of_the_callers_own_in_a_second_event_loop(backend: str) -> None:
    """What can't be closed there is let go, and not used."""
    with FaultServer(keeps_saying(*[ANSWER] * 9)) as server:
        client = AsyncClient(base_url=server.base_url, connect=connect_plain, trust_env=False)

        async def main() -> None:
            assert (await client.create(REQUEST)).text == "Hello"

        async def last() -> None:
            await main()
            await client.aclose()

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # asyncio's, about the first
            anyio.run(main, backend=backend)
            anyio.run(last, backend=backend)
            gc.collect()
        assert server.connections == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("kind", ["asyncio", "trio", "sockets"])
def test_a_child_does_not_share_its_parents_connections(
    kind: str, secure: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """The child of a fork makes its own, and closing them, or the client, leaves the parent's as it was."""
    if kind == "trio":
        pytest.importorskip("trio")
    with FaultServer(keeps_saying(*[ANSWER] * 9), tls=server_tls if secure else None) as server:
        arguments: dict[str, Any] = {"ssl_context": client_tls, "trust_env": False}
        driver = Driver(kind)

        async def main() -> None:
            client = driver.client(base_url=server.base_url, **arguments)
            assert (await client.create(REQUEST)).text == "Hello"
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore", DeprecationWarning
                )  # that there are threads, as of a server's there are
                child = os.fork()
            if not child:
                status = 1
                with contextlib.suppress(BaseException):
                    if kind == "sockets":
                        text = client._client.create(REQUEST).text
                        client._client.close()
                    else:
                        text = in_a_new_loop(client, kind)
                    status = 0 if text == "Hello" else 2
                os._exit(status)
            _, ended = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(ended) == 0
            assert server.connections == 2
            assert (await client.create(REQUEST)).text == "Hello"
            await client.aclose()

        driver.run(main)
        assert server.connections == 2, "the parent's own is still of use"


def in_a_new_loop(client: Any, backend: str) -> str:
    """A call in an event loop of its own, in the thread of another one: for a child, whose copy of that will never run."""
    found: list[str] = []

    async def main() -> None:
        found.append((await client.create(REQUEST)).text)
        await client.aclose()

    thread = threading.Thread(target=anyio.run, args=(main,), kwargs={"backend": backend})
    thread.start()
    thread.join(20)
    return found[0]


@pytest.mark.parametrize("made", ["client", "gateway"])
def test_idle_connections_are_closed_when_their_time_is_over(backend: str, made: str) -> None:
    """Nobody has to call for that; those that are younger stay."""

    async def main(jump: Jump) -> None:
        with FaultServer(keeps_saying(answer())) as server:
            async with contextlib.AsyncExitStack() as stack:
                if made == "client":
                    client = await stack.enter_async_context(AsyncClient(base_url=server.base_url, trust_env=False))
                    await call(client, "stream")
                else:
                    app = await stack.enter_async_context(PassThrough(server.base_url))
                    await Caller(b"{}").call(app)
                jump(29)
                await anyio.sleep(0)
                assert not server.some_gone()
                jump(2)
                assert await anyio.to_thread.run_sync(server.all_gone)

    run_with_jumps(main, backend)


# The end of TLS.


@pytest.mark.parametrize("when", ["idle", "left early", "refused"])
def test_tls_is_told_of_our_end(
    driver: Driver, when: str, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """A server can tell that we closed from a cut: close_notify comes before the end."""
    ends: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.sock.suppress_ragged_eofs = False  # type: ignore[attr-defined]
        peer.read_request()
        if when == "left early":
            peer.send(head(200, CHUNKED) + chunked(HALF))
        else:
            peer.send(answer() if when == "idle" else answer(b"no", "connection: close", status=403))
        ends.append(peer.sock.recv(100))

    async def main() -> None:
        with FaultServer(script, tls=server_tls) as server:
            async with driver.client(base_url=server.base_url, ssl_context=client_tls) as client:
                stream = client.stream(REQUEST)
                with contextlib.suppress(APIError):
                    async with stream:
                        async for _ in stream:
                            if when == "left early":
                                break
            assert server.all_gone()

    driver.run(main)
    assert ends == [b""]


def test_tls_within_tls_is_told_too(driver: Driver, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """Through a proxy that is itself spoken to over TLS, the server within hears of the end, and so does the proxy."""
    ends: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.sock.suppress_ragged_eofs = False  # type: ignore[attr-defined]
        peer.read_request()
        peer.send(answer())
        ends.append(peer.sock.recv(100))

    async def main() -> None:
        with FaultServer(script, tls=server_tls) as server, FaultServer(tunnels(server, []), tls=server_tls) as proxy:
            url = f"https://127.0.0.1:{proxy.port}"
            async with driver.client(base_url=server.base_url, ssl_context=client_tls, proxy=url) as client:
                async with client.stream(REQUEST) as stream:
                    assert [event async for event in stream]
            assert server.all_gone()

    driver.run(main)
    assert ends == [b""]


def test_tls_is_told_through_a_stream_of_the_callers_own(
    backend: str, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """The same over whatever carries the bytes."""
    ends: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.sock.suppress_ragged_eofs = False  # type: ignore[attr-defined]
        peer.read_request()
        peer.send(answer())
        ends.append(peer.sock.recv(100))

    async def main() -> None:
        with FaultServer(script, tls=server_tls) as server:
            arguments: dict[str, Any] = {"connect": connect_plain, "ssl_context": client_tls, "trust_env": False}
            async with AsyncClient(base_url=server.base_url, **arguments) as client:
                async with client.stream(REQUEST) as stream:
                    assert [event async for event in stream]
            assert await anyio.to_thread.run_sync(server.all_gone)

    anyio.run(main, backend=backend)
    assert ends == [b""]


def test_nobody_waits_for_a_server_to_hear_of_our_end() -> None:
    """A client closes at once though its server reads nothing."""
    with FaultServer(lambda peer: peer.wait_client_gone()) as server:
        client = Client(base_url=server.base_url, timeouts=limits(idle=0.2), trust_env=False)
        with client, pytest.raises(DeadlineExceeded):
            client.create(LARGE)
