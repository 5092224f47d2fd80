"""Cancelled at every single await, a client leaves no socket open, no warning, and nothing that hangs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import random
import socket
import ssl
import threading
import types
import warnings
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest
from faultserver import (
    CHUNKED,
    DOCUMENT,
    HALF,
    LAST_CHUNK,
    REQUEST,
    WHOLE,
    FaultServer,
    Peer,
    answer,
    chunked,
    delta,
    head,
)
from streams import Hooked, OpenStream

from sansio_step import (
    APIError,
    ConnectionLost,
    IncompleteStream,
    RetryPolicy,
    StreamError,
    decode_event,
    iter_events,
)
from sansio_step_adapters._streams import LoopStream
from sansio_step_adapters.anyio import AsyncClient
from sansio_step_adapters.asgi import PassThrough
from sansio_step_adapters.sockets import Client


class Cancellation:
    """Runs a coroutine, and calls `cancel` when it waits for the n-th time."""

    def __init__(self, number: int, cancel: Callable[[], object]) -> None:
        self._number, self._cancel = number, cancel
        self.reached = False

    @types.coroutine
    def run(self, coroutine: Coroutine[Any, Any, object]) -> Generator[Any, Any, None]:
        waits = 0
        result: Any = None
        error: BaseException | None = None
        while True:
            try:
                trap = coroutine.throw(error) if error is not None else coroutine.send(result)
            except StopIteration:
                return
            waits += 1
            if waits == self._number:
                self.reached = True
                self._cancel()
            result, error = None, None
            try:
                result = yield trap
            except BaseException as caught:  # noqa: BLE001
                error = caught


def script(peer: Peer) -> None:
    """Answer whatever comes, in several packets, and wait for the client to go."""
    while True:
        _, body = peer.read_request()
        if json.loads(body).get("stream"):
            peer.send(head(200, CHUNKED) + chunked(HALF))
            peer.send(chunked(WHOLE[len(HALF) :]) + LAST_CHUNK)
        else:
            peer.send(answer(DOCUMENT, content_type="application/json"))


def refuses_first(peer: Peer) -> None:
    peer.read_request()
    peer.send(answer(b"", "retry-after-ms: 1", status=529))
    script(peer)


def client_of(url: str, tls: ssl.SSLContext | None, **arguments: Any) -> AsyncClient:
    retries = RetryPolicy(first_delay=0.0)
    return AsyncClient(base_url=url, retries=retries, trust_env=False, ssl_context=tls, **arguments)


async def read(client: AsyncClient) -> None:
    async with client.stream(REQUEST) as stream:
        async for _ in stream:
            pass


async def leave_early(client: AsyncClient) -> None:
    async with client.stream(REQUEST) as stream:
        async for _ in stream:
            break


async def create(client: AsyncClient) -> None:
    await client.create(REQUEST)


def proxy_of(url: str, tls: ssl.SSLContext | None, **arguments: Any) -> PassThrough:
    return PassThrough(url, trust_env=False, ssl_context=tls, **arguments)


async def forward(app: PassThrough) -> None:
    """One call through the proxy, by a caller who waits to the end."""
    body = json.dumps({**REQUEST, "stream": True}).encode()
    incoming: list[Any] = [{"type": "http.request", "body": body[:9], "more_body": True}]
    incoming.append({"type": "http.request", "body": body[9:], "more_body": False})

    async def receive() -> Any:
        await anyio.lowlevel.checkpoint()
        if not incoming:
            await anyio.sleep_forever()
        return incoming.pop(0)

    async def send(message: Any) -> None:
        await anyio.lowlevel.checkpoint()

    headers = [(b"content-length", str(len(body)).encode())]
    await app({"type": "http", "method": "POST", "path": "/v1/messages", "headers": headers}, receive, send)


@pytest.fixture(params=["plain", "TLS"])
def contexts(request: pytest.FixtureRequest) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    if request.param == "plain":
        return None, None
    return request.getfixturevalue("server_tls"), request.getfixturevalue("client_tls")


@pytest.mark.parametrize(
    ("made", "before", "call", "first"),
    [
        (client_of, None, read, refuses_first),
        (client_of, None, create, script),
        (client_of, create, leave_early, script),
        (client_of, create, AsyncClient.aclose, script),
        (proxy_of, None, forward, refuses_first),
        (proxy_of, forward, forward, script),
        (proxy_of, forward, PassThrough.aclose, script),
    ],
    ids=["retried", "document", "left early", "closing", "proxy refused", "proxy", "proxy closing"],
)
@pytest.mark.parametrize(("backend", "how"), [("asyncio", "scope"), ("asyncio", "task"), ("trio", "scope")])
def test_cancelled_at_each_await(
    backend: str, how: str, contexts: Any, made: Any, before: Any, call: Any, first: Any
) -> None:
    """By anyio's scope, and by asyncio's own `task.cancel()`, which no shield holds off.

    `before` is a call that leaves an idle connection, which the one that is cancelled uses or closes.
    """
    if backend == "trio":
        pytest.importorskip("trio")
    server_tls, client_tls = contexts
    number, reached = 0, True

    async def main() -> None:
        nonlocal reached
        cancelled: tuple[type[BaseException], ...] = ()
        with FaultServer(first, script, tls=server_tls) as server:
            with anyio.CancelScope() as scope:
                cancel: Callable[[], object] = scope.cancel
                if how == "task":
                    task = asyncio.current_task()
                    assert task is not None
                    cancel, cancelled = task.cancel, (asyncio.CancelledError,)
                cancellation = Cancellation(number, cancel)
                with contextlib.suppress(*cancelled):
                    async with made(server.base_url, client_tls) as caller:
                        if before is not None:
                            await before(caller)
                        await cancellation.run(call(caller))
            reached = cancellation.reached
            assert await anyio.to_thread.run_sync(server.all_gone), "a socket is still open"

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        while reached:
            number += 1
            anyio.run(main, backend=backend)
            gc.collect()
    # To close a plain socket nobody has to wait.
    assert (number > 1) is (call not in (AsyncClient.aclose, PassThrough.aclose))


@pytest.mark.parametrize(("made", "call"), [(client_of, read), (proxy_of, forward)], ids=["client", "proxy"])
def test_closing_is_finished_in_a_cancelled_task(backend: str, made: Any, call: Any) -> None:
    """A transport that has to wait while it closes is closed all the same."""

    class Silent(OpenStream):
        closed = False

        async def receive(self, max_bytes: int = 65536) -> bytes:
            cancel[0]()
            await anyio.sleep_forever()
            raise AssertionError("never cancelled")

        async def send(self, item: bytes) -> None:
            await anyio.lowlevel.checkpoint()

        async def aclose(self) -> None:
            await anyio.lowlevel.checkpoint()
            self.closed = True

    silent = Silent()
    cancel: list[Callable[[], object]] = []

    async def connect(host: str, port: int) -> Silent:
        await anyio.lowlevel.checkpoint()
        return silent

    async def main() -> None:
        with anyio.CancelScope() as scope:
            cancel.append(scope.cancel)
            async with made("http://example.org", None, connect=connect) as caller:
                await call(caller)
        assert scope.cancelled_caught
        assert silent.closed

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("leave", ["aclose", "exception"])
def test_leaving_while_it_reads(backend: str, leave: str) -> None:
    """A stream closed by another task, or left by an exception, ends the reader and closes the connection."""

    def half(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED) + chunked(HALF))
        peer.wait_closed()

    async def main() -> None:
        with FaultServer(half) as server:
            async with AsyncClient(base_url=server.base_url, trust_env=False) as client:
                if leave == "exception":
                    with pytest.raises(ZeroDivisionError):
                        async with client.stream(REQUEST) as stream:
                            async for _ in stream:
                                raise ZeroDivisionError
                else:
                    async with client.stream(REQUEST) as stream, anyio.create_task_group() as tasks:
                        seen = 0
                        with pytest.raises(IncompleteStream):
                            async for _ in stream:
                                seen += 1
                                if seen == 5:
                                    tasks.start_soon(stream.aclose)
                assert await anyio.to_thread.run_sync(server.all_gone)

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("during", ["connect", "retry"])
def test_closed_by_another_task_before_the_first_event(backend: str, during: str) -> None:
    """A task that waits to connect, or for its next attempt, is woken as well."""
    gone = threading.Event()

    def later(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer(b"", "retry-after: 50", "connection: close", status=429))
        peer.wait_closed()  # the client has read the answer, and waits
        gone.set()

    async def main() -> None:
        connecting = anyio.Event()

        async def connect(host: str, port: int) -> anyio.abc.ByteStream:
            connecting.set()
            await anyio.sleep_forever()
            raise AssertionError("never cancelled")

        async def enter() -> None:
            # Before a retry it is the failure that was to be tried again.
            with pytest.raises(ConnectionLost if during == "connect" else APIError, match="closed by|429"):
                await stream.__aenter__()

        with FaultServer(later) as server:
            arguments: dict[str, Any] = {"connect": connect} if during == "connect" else {}
            async with AsyncClient(base_url=server.base_url, trust_env=False, **arguments) as client:
                stream = client.stream(REQUEST)
                with anyio.fail_after(10):
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(enter)
                        if during == "connect":
                            await connecting.wait()
                        else:
                            assert await anyio.to_thread.run_sync(gone.wait, 10)
                        await stream.aclose()

    anyio.run(main, backend=backend)


def test_a_deadline_of_the_callers_own(backend: str) -> None:
    """A read that the caller gave up on can be repeated: nothing of the stream is lost."""
    go_on = threading.Event()

    def pauses(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED) + chunked(HALF))
        assert go_on.wait(10)
        peer.send(chunked(WHOLE[len(HALF) :]) + LAST_CHUNK)

    async def main() -> None:
        with FaultServer(pauses) as server:
            async with AsyncClient(base_url=server.base_url, trust_env=False) as client:
                async with client.stream(REQUEST) as stream:
                    for _ in range(5):
                        await stream.__anext__()
                    for _ in range(3):
                        with anyio.move_on_after(0.01) as scope:
                            await stream.__anext__()
                        assert scope.cancelled_caught
                    go_on.set()
                    assert [event.type async for event in stream][-1] == "message_stop"
                assert stream.result().text == "Hello"

    anyio.run(main, backend=backend)


def test_a_wait_that_ends_in_the_moment_in_which_its_bytes_are_read() -> None:
    """They are kept for the next wait, be they the last that come."""
    own, peer = socket.socketpair()
    own.setblocking(False)
    sock: Any = Hooked(own)

    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def connect(host: str, port: int) -> LoopStream:
            return LoopStream(sock, loop)

        peer.sendall(head(200, CHUNKED) + chunked(HALF))
        async with AsyncClient(base_url="http://example.org", connect=connect, trust_env=False) as client:
            async with client.stream(REQUEST) as stream:
                for _ in range(5):
                    await anext(stream)
                reading = asyncio.ensure_future(stream.__anext__())
                await asyncio.sleep(0)
                sock.after = partial(loop.call_soon, reading.cancel)
                peer.sendall(chunked(delta("!")))
                with pytest.raises(asyncio.CancelledError):
                    await reading
                sock.after = bool
                event = await anext(stream)
                assert event == decode_event(delta("!").partition(b"data: ")[2])

    with own, peer:
        asyncio.run(main())


def test_each_event_comes_once_whatever_ends_the_waits_for_it(backend: str, contexts: Any) -> None:
    """The stream goes on after a wait that was cut short, in the middle of a chunk or of a record of TLS, too."""
    server_tls, client_tls = contexts
    draw = random.Random(15)
    whole = chunked(WHOLE, 7) + LAST_CHUNK
    turn = threading.Semaphore(len(whole) // 22)  # half of it comes at once, the rest in step with the cuts

    def slowly(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED))
        for start in range(0, len(whole), 11):
            assert turn.acquire(timeout=20)
            peer.send(whole[start : start + 11])

    async def main() -> None:
        events, cut = [], 0
        with FaultServer(slowly, tls=server_tls) as server:
            async with client_of(server.base_url, client_tls) as client:
                async with client.stream(REQUEST) as stream:
                    while True:
                        with anyio.move_on_after(draw.choice((0, 0, 0.0001, 0.001))) as scope:
                            try:
                                events.append(await anext(stream))
                            except StopAsyncIteration:
                                break
                        if scope.cancelled_caught:
                            cut += 1
                            turn.release()
                assert events == list(iter_events([WHOLE]))
                assert cut > 10
                assert stream.result().text == "Hello"
        assert await anyio.to_thread.run_sync(server.all_gone)

    anyio.run(main, backend=backend)


def test_closed_by_another_thread() -> None:
    """On sockets, `close` from another thread wakes the reader, and the connection is gone."""
    reading = threading.Event()
    errors: list[BaseException] = []

    def half(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED) + chunked(HALF))
        peer.wait_closed()

    with FaultServer(half) as server, Client(base_url=server.base_url, trust_env=False) as client:
        stream = client.stream(REQUEST)

        def reader() -> None:
            try:
                with stream:
                    for number, _ in enumerate(stream, 1):
                        if number == 5:
                            reading.set()
            except StreamError as error:
                errors.append(error)

        thread = threading.Thread(target=reader)
        thread.start()
        assert reading.wait(10)
        stream.close()
        thread.join(10)
        assert not thread.is_alive()
        assert server.all_gone()
    assert [type(error) for error in errors] == [IncompleteStream]


def test_closed_by_another_thread_before_a_retry() -> None:
    """A thread that waits for the next attempt is woken as well."""
    waiting = threading.Event()
    errors: list[BaseException] = []

    def later(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer(b"", "retry-after: 50", "connection: close", status=429))
        peer.wait_closed()  # the client has read the answer, and waits
        waiting.set()

    with FaultServer(later) as server, Client(base_url=server.base_url, trust_env=False) as client:
        stream = client.stream(REQUEST)

        def reader() -> None:
            try:
                stream.__enter__()
            except StreamError as error:
                errors.append(error)

        thread = threading.Thread(target=reader)
        thread.start()
        assert waiting.wait(10)
        stream.close()
        thread.join(10)
        assert not thread.is_alive()
    assert len(errors) == 1


def test_an_interrupt_closes_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is raised in the middle of a blocking call, the socket doesn't outlive it."""
    with FaultServer(script) as server, Client(base_url=server.base_url, trust_env=False) as client:

        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("sansio_step_adapters._call.Call.received", interrupted)
        with pytest.raises(KeyboardInterrupt):
            client.create(REQUEST)
        with pytest.raises(KeyboardInterrupt):
            client.stream(REQUEST).__enter__()
        assert server.all_gone()
