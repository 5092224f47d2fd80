"""What goes wrong on the wire, by a server on a raw socket that does it: one suite over all drivers."""

# ruff: noqa: SIM117, a server, a client and a stream read best one a line

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from conftest import Driver
from faultserver import (
    CHUNKED,
    DOCUMENT,
    EVENTS,
    HALF,
    LAST_CHUNK,
    OVERLOADED,
    PING,
    REQUEST,
    START,
    WHOLE,
    FaultServer,
    Peer,
    answer,
    chunked,
    head,
    keeps_saying,
    says,
    tunnels,
)

from sansio_step import (
    APIError,
    ConnectError,
    ConnectionLost,
    DeadlineExceeded,
    IncompleteStream,
    LimitExceeded,
    Outcome,
    RetryPolicy,
    StreamError,
    Timeouts,
    TransportError,
    UnexpectedResponse,
)
from sansio_step_adapters.anyio import AsyncClient
from sansio_step_adapters.sockets import Client

UNKNOWN = b'event: x_heartbeat\ndata: {"type": "x_heartbeat"}\n\n'
AT_ONCE = RetryPolicy(first_delay=0.0)


async def read(client: Any) -> tuple[Any, list[Any]]:
    """A stream read to its end, without raising what its end raises."""
    stream = client.stream(REQUEST)
    events: list[Any] = []
    async with stream:
        try:
            async for event in stream:
                events.append(event)  # noqa: PERF401, they count though it raises
        except StreamError:
            pass
    return stream, events


def test_one_byte_at_a_time(driver: Driver) -> None:
    """A response in packets of one byte is a response."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.drip(head(200, CHUNKED) + chunked(WHOLE, 20) + LAST_CHUNK)

    async def main() -> None:
        with FaultServer(script) as server:
            async with driver.client(base_url=server.base_url) as client:
                stream, events = await read(client)
                assert len(events) == EVENTS
                assert stream.result().text == "Hello"

    driver.run(main)


PLACES = {
    "in the head": (head(200, CHUNKED)[:30], None, None),
    "after the head": (head(200, CHUNKED), None, None),
    "in a chunk's size": (head(200, CHUNKED) + chunked(HALF) + b"1", 5, Outcome.TRUNCATED),
    "in a chunk": (head(200, CHUNKED) + chunked(HALF + START)[:-40], 5, Outcome.TRUNCATED),
    "between chunks": (head(200, CHUNKED) + chunked(HALF), 5, Outcome.TRUNCATED),
    "before the last chunk": (head(200, CHUNKED) + chunked(WHOLE), EVENTS, Outcome.COMPLETE),
    "in the last chunk": (head(200, CHUNKED) + chunked(WHOLE) + b"0\r\n", EVENTS, Outcome.COMPLETE),
    "in a body with a length": (head(200, "content-length: 9999") + HALF, 5, Outcome.TRUNCATED),
}


@pytest.mark.parametrize("how", ["reset", "end"])
@pytest.mark.parametrize("place", PLACES)
def test_a_break_at_every_kind_of_place(driver: Driver, place: str, how: str) -> None:
    """Reset or ended too early: before an event a ConnectionLost, later the outcome with the loss as its cause."""
    data, count, outcome = PLACES[place]
    read_all = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(data)
        if how == "reset":
            # On some systems a reset takes with it what the client has not read yet.
            if count is not None:
                assert read_all.wait(10)
            peer.reset()

    async def main() -> None:
        with FaultServer(script) as server:
            async with driver.client(base_url=server.base_url, max_retries=0) as client:
                stream = client.stream(REQUEST)
                if count is None:
                    with pytest.raises(ConnectionLost):
                        await stream.__aenter__()
                    return
                async with stream:
                    events, error = [], None
                    try:
                        async for event in stream:
                            events.append(event)
                            if len(events) == count:
                                read_all.set()
                    except IncompleteStream as caught:
                        error = caught
                assert len(events) == count
                assert stream.outcome is outcome
                assert isinstance(stream.transport_error, ConnectionLost)
                assert "idle=0" in repr(client)
                if outcome is Outcome.COMPLETE:
                    assert error is None
                    assert stream.result().text == "Hello"
                else:
                    assert error is not None
                    assert error.__cause__ is stream.transport_error
                    assert error.partial.text == "Hello"
                    with pytest.raises(IncompleteStream):
                        stream.result()

    driver.run(main)


@pytest.mark.parametrize(
    ("response", "type", "words"),
    [
        (answer(b"<html>", content_type="text/html"), UnexpectedResponse, "HTML"),
        (answer(DOCUMENT, content_type="application/json"), UnexpectedResponse, "whole message"),
        (answer(b"", "location: /elsewhere", status=302), UnexpectedResponse, "/elsewhere"),
        (answer(b""), UnexpectedResponse, "an empty body"),
        (answer(b"denied", status=403), APIError, "403 error: denied"),
        (head(500) + b"x" * 200_000, APIError, "500"),
        (head(401, "content-length: 50") + b'{"error"', APIError, "401"),
        (b"HTTP/1.1 200 OK\r\n" + b"x-bomb: yes\r\n" * 50_000, ConnectionLost, "no valid HTTP"),
        (b"\x16\x03\x01 this is not HTTP\r\n\r\n", ConnectionLost, "no valid HTTP"),
        (answer(b"x", "content-encoding: compress"), UnexpectedResponse, "'compress' is not supported"),
        (answer(b"x", "content-encoding: gzip, gzip"), UnexpectedResponse, "2 content codings one on the other"),
        (head(200, "content-length: 5", "content-length: 6") + WHOLE, ConnectionLost, "no valid HTTP"),
    ],
    ids=[
        "HTML",
        "JSON",
        "redirect",
        "empty",
        "403",
        "500",
        "401 cut",
        "header bomb",
        "no HTTP",
        "coding",
        "two codings",
        "lengths",
    ],
)
def test_answers_that_are_none(driver: Driver, response: bytes, type: type[StreamError], words: str) -> None:
    """What is no event stream is a typed error on entering, which says what came."""

    async def main() -> None:
        with FaultServer(says(response)) as server:
            async with driver.client(base_url=server.base_url, max_retries=0) as client:
                with pytest.raises(type) as caught:
                    await client.stream(REQUEST).__aenter__()
                assert words in str(caught.value)
                if words == "whole message":
                    assert caught.value.partial.text == "Hello"

    driver.run(main)


@pytest.mark.parametrize(
    ("name", "first", "again"),
    [
        ("first_event", b"", b""),
        ("first_event", head(200, CHUNKED)[:20], b""),
        ("first_event", head(200, CHUNKED), chunked(b": still here\n\n")),
        ("idle", head(200, CHUNKED) + chunked(HALF), b""),
        ("stall", head(200, CHUNKED) + chunked(HALF), chunked(PING)),
        ("stall", head(200, CHUNKED) + chunked(HALF), chunked(b": ping\n")),
        ("total", head(200, CHUNKED) + chunked(HALF), chunked(HALF[-90:])),
    ],
    ids=["silence", "slow headers", "comments only", "idle", "pings for ever", "comments for ever", "total"],
)
def test_deadlines(driver: Driver, name: str, first: bytes, again: bytes) -> None:
    """Each limit has its own name, and what came before it passed is kept."""
    gone = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(first)
        while again and not gone.wait(0.005):
            peer.send(again)
        peer.wait_closed()

    async def main() -> None:
        limits = {"connect": 20.0, "first_event": 20.0, "idle": 20.0, "stall": 20.0, "total": 20.0, name: 0.15}
        with FaultServer(script) as server:
            async with driver.client(base_url=server.base_url, timeouts=Timeouts(**limits)) as client:
                stream = client.stream(REQUEST)
                with pytest.raises(DeadlineExceeded) as caught:
                    async with stream:
                        async for _ in stream:
                            pass
                gone.set()
                assert (caught.value.name, caught.value.seconds) == (name, 0.15)
                assert isinstance(caught.value, TransportError)
                assert server.connections == 1
                if name != "first_event":
                    assert caught.value.partial.text.startswith("Hello")
                    assert stream.outcome is Outcome.TRUNCATED

    driver.run(main)


def test_a_slow_caller_is_no_idle_server(driver: Driver) -> None:
    """The time that a caller takes over its events doesn't count as the server's silence."""
    entered = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED) + chunked(HALF))
        assert entered.wait(10)
        peer.send(chunked(WHOLE[len(HALF) :]) + LAST_CHUNK)

    def falls_silent(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED))
        peer.wait_closed()

    async def main() -> None:
        limits = Timeouts(idle=0.7, stall=0.7)
        with FaultServer(script) as server, FaultServer(falls_silent) as silent:
            other = Client(base_url=silent.base_url, timeouts=limits, trust_env=False)
            async with driver.client(base_url=server.base_url, timeouts=limits) as client:
                async with client.stream(REQUEST) as stream:
                    entered.set()
                    # The caller blocks for as long as another call, with the same limits, takes to run into one.
                    with other, pytest.raises(DeadlineExceeded, match="idle"):
                        other.create(REQUEST)
                    assert len([event async for event in stream]) == EVENTS

    driver.run(main)


def test_connect_deadline_and_its_retries(driver: Driver) -> None:
    """A server that accepts and never speaks TLS runs into the connect limit, on each attempt."""

    def script(peer: Peer) -> None:
        peer.wait_closed()

    async def main() -> None:
        with FaultServer(script) as server:
            url = server.base_url.replace("http:", "https:")
            limits = Timeouts(connect=0.1)
            async with driver.client(base_url=url, timeouts=limits, max_retries=1, retries=AT_ONCE) as client:
                with pytest.raises(DeadlineExceeded) as caught:
                    await client.create(REQUEST)
            assert caught.value.name == "connect"
            assert server.connections == 2

    driver.run(main)


def refusal(status: int, *headers: str) -> bytes:
    body = json.dumps({"type": "error", "error": {"type": "some_error", "message": "later"}}).encode()
    return answer(body, *headers, status=status, content_type="application/json")


@pytest.mark.parametrize(
    "first",
    [
        says(refusal(429, "retry-after-ms: 1")),
        says(refusal(529, "retry-after: 0.001")),
        says(refusal(503)),
        says(refusal(408)),
        says(refusal(400, "x-should-retry: true")),
        says(answer(OVERLOADED)),
        says(),
        says(head(200, CHUNKED) + chunked(b": nothing yet\n\n")),
        Peer.reset,
    ],
    ids=["429", "529", "503", "408", "400 by word", "error event", "end", "end before an event", "reset"],
)
@pytest.mark.parametrize("streaming", [True, False])
def test_retried(driver: Driver, first: Any, streaming: bool) -> None:
    """What failed before the first event is tried again, twice at most, and the caller sees only what came of it."""
    document = answer(DOCUMENT, content_type="application/json")

    async def main() -> None:
        with FaultServer(first, first, says(answer() if streaming else document)) as server:
            async with driver.client(base_url=server.base_url, retries=AT_ONCE) as client:
                if streaming:
                    stream, events = await read(client)
                    assert len(events) == EVENTS
                    assert stream.result().text == "Hello"
                    assert stream.status == 200
                else:
                    assert (await client.create(REQUEST)).text == "Hello"
            assert server.connections == 3

    driver.run(main)


@pytest.mark.parametrize(
    ("first", "type"),
    [
        (says(refusal(400)), APIError),
        (says(refusal(429, "x-should-retry: false")), APIError),
        (says(refusal(429, "retry-after: 3600")), APIError),
        (says(answer(b"<html>", content_type="text/html")), UnexpectedResponse),
        (says(answer(b"x", "content-encoding: compress")), UnexpectedResponse),
    ],
    ids=["400", "429 by word", "429 in an hour", "HTML", "coding"],
)
def test_not_retried(driver: Driver, first: Any, type: type[StreamError]) -> None:
    """What would come again, or later than anyone waits, fails at once."""

    async def main() -> None:
        with FaultServer(first, says(answer())) as server:
            async with driver.client(base_url=server.base_url, retries=AT_ONCE) as client:
                with pytest.raises(type):
                    await client.stream(REQUEST).__aenter__()
            assert server.connections == 1

    driver.run(main)


@pytest.mark.parametrize(
    "body", [START, PING + START, START + OVERLOADED, UNKNOWN], ids=["start", "ping, start", "error after", "unknown"]
)
def test_never_after_the_first_event(driver: Driver, body: bytes) -> None:
    """Once an event other than a ping is given, what breaks after it is the caller's to see."""

    async def main() -> None:
        with FaultServer(says(head(200, CHUNKED) + chunked(body)), says(answer())) as server:
            async with driver.client(base_url=server.base_url, retries=AT_ONCE) as client:
                stream, events = await read(client)
                assert events
                with pytest.raises((IncompleteStream, APIError)):
                    stream.result()
            assert server.connections == 1

    driver.run(main)


EMPTY = {
    "nothing": answer(b""),
    "nothing, chunked": head(200, CHUNKED) + LAST_CHUNK,
    "comments": answer(b": hello\n\n: still here\n\n"),
    "comments, compressed": answer(gzip.compress(b": hello\n\n"), "content-encoding: gzip"),
}


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("first", EMPTY)
def test_an_empty_answer_is_retried(driver: Driver, first: str, streaming: bool) -> None:
    """A 200 that ends properly without an event is tried again, as one that breaks is, and as often."""
    document = answer(DOCUMENT, content_type="application/json")

    async def main() -> None:
        with FaultServer(says(EMPTY[first]), says(answer() if streaming else document)) as server:
            async with driver.client(base_url=server.base_url, retries=AT_ONCE) as client:
                if streaming:
                    _, events = await read(client)
                    assert len(events) == EVENTS
                else:
                    assert (await client.create(REQUEST)).text == "Hello"
            assert server.connections == 2
        with FaultServer(says(EMPTY[first])) as server:
            async with driver.client(base_url=server.base_url, retries=AT_ONCE) as client:
                with pytest.raises(UnexpectedResponse):
                    await client.stream(REQUEST).__aenter__()
            assert server.connections == 3

    driver.run(main)


@pytest.mark.parametrize(
    "after", [OVERLOADED, b"", b": nothing\n\n", PING], ids=["error event", "nothing", "comments", "pings"]
)
@pytest.mark.parametrize("ends", [True, False], ids=["ends", "breaks"])
def test_retried_after_pings(driver: Driver, after: bytes, ends: bool) -> None:
    """Pings are given when they come, and what fails after nothing else is tried again; they stay given."""
    entered = threading.Event()

    def first(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED) + chunked(PING))
        assert entered.wait(10)
        peer.send((chunked(after) if after else b"") + (LAST_CHUNK if ends else b""))

    async def main() -> None:
        with FaultServer(first, says(answer())) as server:
            async with driver.client(base_url=server.base_url, retries=AT_ONCE) as client:
                async with client.stream(REQUEST) as stream:
                    entered.set()
                    types = [event.type async for event in stream]
                assert "error" not in types
                pings = 2 if after == PING else 1
                assert types[: pings + 1] == ["ping"] * pings + ["message_start"]
                assert len(types) == pings + EVENTS
                assert stream.result().text == "Hello"
                assert stream.outcome is Outcome.COMPLETE
                assert stream.transport_error is None
            assert server.connections == 2

    driver.run(main)


def test_a_refusal_on_the_second_attempt(driver: Driver) -> None:
    """After the first attempt's pings the loop raises what the last attempt came to."""

    async def main() -> None:
        with FaultServer(says(answer(PING + OVERLOADED)), says(refusal(429))) as server:
            async with driver.client(base_url=server.base_url, retries=AT_ONCE, max_retries=1) as client:
                async with client.stream(REQUEST) as stream:
                    types = []
                    with pytest.raises(APIError, match="429"):
                        async for event in stream:
                            types.append(event.type)
                assert types == ["ping"]
                assert stream.status == 429
                assert stream.outcome is Outcome.FAILED
            assert server.connections == 2

    driver.run(main)


def test_a_response_that_is_left_open(driver: Driver) -> None:
    """The loop ends `after_stop` after message_stop, without an error, though pings come; the connection is closed."""
    gone = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED) + chunked(WHOLE))
        while not gone.wait(0.005):
            peer.send(chunked(PING))
        peer.wait_closed()

    async def main() -> None:
        with FaultServer(script) as server:
            limits = Timeouts(after_stop=0.15, idle=20, stall=20, total=20)
            async with driver.client(base_url=server.base_url, timeouts=limits) as client:
                stream, events = await read(client)
                assert events[EVENTS - 1].type == "message_stop"
                assert {event.type for event in events[EVENTS:]} <= {"ping"}
                assert stream.result().text == "Hello"
                assert stream.outcome is Outcome.COMPLETE
                assert isinstance(stream.transport_error, DeadlineExceeded)
                assert (stream.transport_error.name, stream.transport_error.seconds) == ("after_stop", 0.15)
                assert "idle=0" in repr(client)
                assert (await client.create(REQUEST)).text == "Hello"
            gone.set()
            assert server.connections == 2

    driver.run(main)


def test_the_retries_end(driver: Driver) -> None:
    """After two retries the last failure stands, also if it is a stream that begins with an error event."""

    async def main() -> None:
        with FaultServer(says(refusal(529))) as server:
            async with driver.client(base_url=server.base_url, retries=AT_ONCE) as client:
                with pytest.raises(APIError, match="529"):
                    await client.create(REQUEST)
            assert server.connections == 3
        with FaultServer(says(answer(OVERLOADED))) as server:
            async with driver.client(base_url=server.base_url, retries=AT_ONCE, max_retries=1) as client:
                async with client.stream(REQUEST) as stream:
                    assert (await stream.__aiter__().__anext__()).type == "error"
                    with pytest.raises(APIError, match="overloaded_error: busy"):
                        await stream.__aiter__().__anext__()
            assert server.connections == 2

    driver.run(main)


def test_waiting_for_a_retry_is_bounded_by_total(driver: Driver) -> None:
    """If the time that is left would pass in waiting, the failure comes now."""

    async def main() -> None:
        with FaultServer(says(refusal(429, "retry-after: 30"))) as server:
            async with driver.client(base_url=server.base_url, timeouts=Timeouts(total=10)) as client:
                with pytest.raises(APIError, match="429"):
                    await client.create(REQUEST)
            assert server.connections == 1

    driver.run(main)


def test_a_stale_connection_is_replaced_once(driver: Driver) -> None:
    """An idle connection that the server gave up is replaced without counting as a retry, once."""
    at_second = threading.Event()

    def gives_up(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer())
        # The end comes only with the second request, so that no look at the idle socket can see it.
        peer.read_request()
        at_second.set()

    async def main() -> None:
        with FaultServer(gives_up, says(answer()), says()) as server:
            async with driver.client(base_url=server.base_url, max_retries=0) as client:
                for _ in range(2):
                    _, events = await read(client)
                    assert len(events) == EVENTS
                assert at_second.wait(10)
                assert server.connections == 2
        with FaultServer(gives_up, says()) as server:
            async with driver.client(base_url=server.base_url, max_retries=0) as client:
                await read(client)
                with pytest.raises(ConnectionLost):
                    await client.create(REQUEST)
                assert server.connections == 2

    driver.run(main)


def test_an_answered_request_on_a_reused_connection_is_not_sent_twice(driver: Driver) -> None:
    """Once a byte of an answer came, the connection was not stale: what breaks then is a failure."""

    def breaks_off(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer())
        peer.read_request()
        peer.send(b"HTTP/1.1 2")

    async def main() -> None:
        with FaultServer(breaks_off, says(answer())) as server:
            async with driver.client(base_url=server.base_url, max_retries=0) as client:
                await read(client)
                with pytest.raises(ConnectionLost):
                    await client.stream(REQUEST).__aenter__()
            assert server.connections == 1

    driver.run(main)


def test_an_idle_connection_that_ended_is_seen(driver: Driver) -> None:
    """A look at the idle socket shows its end before anything is sent there."""
    ended = threading.Event()
    requests: list[bytes] = []
    after_the_end: list[bytes] = []

    def script(peer: Peer) -> None:
        requests.append(peer.read_request()[0])
        peer.send(answer())
        peer.sock.shutdown(socket.SHUT_WR)
        ended.set()
        after_the_end.append(peer.sock.recv(100))

    async def main() -> None:
        with FaultServer(script) as server:
            async with driver.client(base_url=server.base_url) as client:
                await read(client)
                assert ended.wait(10)
                await read(client)
            assert server.all_gone()
        assert len(requests) == 2
        assert server.connections == 2
        assert after_the_end == [b"", b""]

    driver.run(main)


def test_an_answer_before_the_request_is_read(driver: Driver) -> None:
    """A server that refuses and hangs up while a large request is on its way is heard."""

    def script(peer: Peer) -> None:
        peer.sock.recv(1000)
        peer.send(refusal(413, "connection: close"))
        peer.sock.shutdown(socket.SHUT_WR)
        peer.wait_closed()

    async def main() -> None:
        request = {**REQUEST, "messages": [{"role": "user", "content": "x" * 4_000_000}]}
        with FaultServer(script) as server:
            async with driver.client(base_url=server.base_url) as client:
                with pytest.raises(APIError, match="413"):
                    await client.create(request)

    driver.run(main)


def test_two_responses_on_one_connection(driver: Driver) -> None:
    """A second response that nobody asked for is not taken for the answer to the next request."""
    evil = answer(WHOLE.replace(b"msg_1", b"msg_evil"))

    async def main() -> None:
        with FaultServer(keeps_saying(answer() + evil), says(answer())) as server:
            async with driver.client(base_url=server.base_url) as client:
                for _ in range(2):
                    stream, _ = await read(client)
                    assert stream.result().id == "msg_1"
            assert server.connections == 2

    driver.run(main)


def test_a_bomb(driver: Driver) -> None:
    """A gzip bomb of comments ends in LimitExceeded, on a stream and on a document."""
    bomb = gzip.compress(START + b": bomb\n" * 3_000_000)
    document = gzip.compress(b'{"x": "' + b" " * 3_000_000)

    async def main() -> None:
        answers = [answer(bomb, "content-encoding: gzip"), answer(document, "content-encoding: gzip", content_type="")]
        with FaultServer(*map(says, answers)) as server:
            async with driver.client(base_url=server.base_url, max_response_size=1_000_000) as client:
                async with client.stream(REQUEST) as stream:
                    with pytest.raises(LimitExceeded, match="max_response_size"):
                        [event async for event in stream]
                with pytest.raises(LimitExceeded, match="max_response_size"):
                    await client.create(REQUEST)

    driver.run(main)


def test_a_bomb_and_a_call_after_it(driver: Driver) -> None:
    """A bomb within the limit is read to its end, and its connection carries the next call."""
    bomb = answer(gzip.compress(HALF + b": bomb\n" * 1_000_000 + WHOLE[len(HALF) :]), "content-encoding: gzip")

    async def main() -> None:
        with FaultServer(keeps_saying(bomb, answer(), bomb)) as server:
            async with driver.client(base_url=server.base_url) as client:
                for _ in range(3):
                    stream, events = await read(client)
                    assert len(events) == EVENTS
                    assert stream.result().text == "Hello"
            assert server.connections == 1

    driver.run(main)


def test_others_have_their_turn_beside_a_bomb(backend: str) -> None:
    """While a bomb is decoded the event loop runs, and a deadline or a cancelled scope ends it in the middle."""
    size = 50_000_000
    bomb = answer(gzip.compress(HALF + b":" + b" " * size + b"\n"), "content-encoding: gzip")
    turns = 0

    async def main() -> None:
        nonlocal turns

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await anyio.lowlevel.checkpoint()

        with FaultServer(says(bomb)) as server:
            async with AsyncClient(base_url=server.base_url, trust_env=False) as client:
                async with client.stream(REQUEST) as stream, anyio.create_task_group() as tasks:
                    for _ in range(5):
                        await stream.__anext__()
                    tasks.start_soon(count)
                    turns = 0
                    with pytest.raises(IncompleteStream):
                        await stream.__anext__()
                    assert turns > size / 1_000_000
                    tasks.cancel_scope.cancel()

    anyio.run(main, backend=backend)


def test_cancelled_beside_a_bomb(backend: str) -> None:
    """A step that is cancelled between two turns can be repeated, and a closed stream leaves nothing open."""
    bomb = answer(gzip.compress(HALF + b": bomb\n" * 3_000_000 + WHOLE[len(HALF) :]), "content-encoding: gzip")

    async def main() -> None:
        with FaultServer(says(bomb)) as server:
            async with AsyncClient(base_url=server.base_url, trust_env=False) as client:
                events: list[Any] = []
                async with client.stream(REQUEST) as stream:
                    steps = 0
                    while len(events) < EVENTS:
                        steps += 1
                        with anyio.CancelScope() as scope:
                            if steps % 2:
                                scope.cancel()
                            events.append(await stream.__anext__())
                assert stream.result().text == "Hello"
                async with client.stream(REQUEST) as stream:
                    for _ in range(5):
                        await stream.__anext__()
                    with anyio.CancelScope() as scope:
                        scope.cancel()
                        await stream.__anext__()
                assert stream.outcome is Outcome.TRUNCATED
                assert await anyio.to_thread.run_sync(server.all_gone)

    anyio.run(main, backend=backend)


def test_nobody_there(driver: Driver) -> None:
    """A refused connection and a name without address are a ConnectError that says where, with the system's error."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]

        async def main() -> None:
            async with driver.client(base_url=f"http://127.0.0.1:{port}", retries=AT_ONCE) as client:
                with pytest.raises(ConnectError, match=f":{port}: ") as caught:
                    await client.create(REQUEST)
                assert isinstance(caught.value.__cause__, ConnectionRefusedError)
            async with driver.client(base_url="http://nobody.invalid", max_retries=0) as client:
                with pytest.raises(ConnectError, match="nobody") as caught:
                    await client.stream(REQUEST).__aenter__()
                assert isinstance(caught.value.__cause__, socket.gaierror)

        driver.run(main)


# TLS.


def test_tls(driver: Driver, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """Over TLS all is as without, the use of a connection for several calls too."""
    framed = head(200, CHUNKED) + chunked(WHOLE, 30) + LAST_CHUNK
    with_document = answer(DOCUMENT, content_type="application/json")

    async def main() -> None:
        with FaultServer(keeps_saying(framed, with_document, framed), tls=server_tls) as server:
            async with driver.client(base_url=server.base_url, ssl_context=client_tls) as client:
                stream, events = await read(client)
                assert len(events) == EVENTS
                assert stream.result().text == "Hello"
                assert (await client.create(REQUEST)).text == "Hello"
                await read(client)
                assert server.connections == 1

    driver.run(main)


def test_tls_large_request(driver: Driver, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """A request of many TLS records arrives whole."""
    sizes: list[int] = []

    def script(peer: Peer) -> None:
        sizes.append(len(json.loads(peer.read_request()[1])["messages"][0]["content"]))
        peer.send(answer())

    async def main() -> None:
        request = {**REQUEST, "messages": [{"role": "user", "content": "x" * 3_000_000}]}
        with FaultServer(script, tls=server_tls) as server:
            async with driver.client(base_url=server.base_url, ssl_context=client_tls) as client:
                async with client.stream(request) as stream:
                    assert [event async for event in stream]
        assert sizes == [3_000_000]

    driver.run(main)


def test_an_untrusted_certificate(driver: Driver, server_tls: ssl.SSLContext) -> None:
    """The system's trust is asked, and an unknown authority is a ConnectError with the TLS error as its cause."""

    async def main() -> None:
        with FaultServer(says(answer()), tls=server_tls) as server:
            async with driver.client(base_url=server.base_url, max_retries=0) as client:
                with pytest.raises(ConnectError, match="certificate verify failed") as caught:
                    await client.create(REQUEST)
                assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)

    driver.run(main)


def test_a_server_without_tls(driver: Driver) -> None:
    """Something else than TLS at the other end is a ConnectError."""

    async def main() -> None:
        def script(peer: Peer) -> None:
            peer.sock.recv(10_000)
            peer.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

        with FaultServer(script) as server:
            url = server.base_url.replace("http:", "https:")
            async with driver.client(base_url=url, max_retries=0) as client:
                with pytest.raises(ConnectError, match="TLS failed"):
                    await client.create(REQUEST)

    driver.run(main)


def test_a_server_with_tls_alone(driver: Driver, server_tls: ssl.SSLContext) -> None:
    """A TLS alert in place of an answer to http says what to change about the URL, in one line."""

    def alerts(peer: Peer) -> None:
        peer.sock.recv(10_000)
        peer.send(b"\x15\x03\x01\x00\x02\x02\x46")

    async def main() -> None:
        with FaultServer(alerts) as server:
            async with driver.client(base_url=server.base_url, max_retries=0) as client:
                with pytest.raises(ConnectionLost, match="speaks TLS .* https") as caught:
                    await client.create(REQUEST)
                assert "\n" not in str(caught.value)

    driver.run(main)


def test_a_server_with_tls_that_hangs_up(driver: Driver, server_tls: ssl.SSLContext) -> None:
    """Most TLS stacks say nothing to what is no TLS: the error of an http URL names the way all the same."""

    async def main() -> None:
        with FaultServer(says(answer()), tls=server_tls) as server:
            url = server.base_url.replace("https", "http")
            async with driver.client(base_url=url, max_retries=0) as client:
                with pytest.raises(ConnectionLost, match="speaks TLS .* https") as caught:
                    await client.create(REQUEST)
                assert "\n" not in str(caught.value)

    driver.run(main)


def test_a_server_of_http2_alone(driver: Driver, authority: Any) -> None:
    """If a context of the caller's own offers HTTP/2 and the server takes it, the error says so."""
    server_side, client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    authority.configure_trust(client_side)
    for context in (server_side, client_side):
        context.set_alpn_protocols(["h2"])

    async def main() -> None:
        with FaultServer(says(answer()), tls=server_side) as server:
            async with driver.client(base_url=server.base_url, ssl_context=client_side, max_retries=0) as client:
                with pytest.raises(ConnectError, match="TLS agreed on 'h2', not on HTTP/1.1"):
                    await client.create(REQUEST)

    driver.run(main)


@pytest.mark.parametrize("notify", [True, False])
def test_tls_closed_without_notify(
    driver: Driver, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, notify: bool
) -> None:
    """A body that the connection's end delimits is whole only after TLS's own end; anyone can forge a FIN."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200) + WHOLE + PING)
        if notify:
            peer.sock.unwrap()  # type: ignore[attr-defined]
        else:
            # Closes the TCP connection below TLS.
            socket.socket(fileno=peer.sock.detach()).close()

    async def main() -> None:
        with FaultServer(script, tls=server_tls) as server:
            async with driver.client(base_url=server.base_url, ssl_context=client_tls) as client:
                stream, events = await read(client)
                assert len(events) == EVENTS + 1
                assert stream.outcome is Outcome.COMPLETE
                if notify:
                    assert stream.transport_error is None
                else:
                    assert "close_notify" in str(stream.transport_error)

    driver.run(main)


@pytest.mark.parametrize("together", [True, False])
def test_a_broken_tls_record(
    driver: Driver, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, together: bool
) -> None:
    """What came in good records counts, though a broken one follows them in the same packet."""
    read_all = threading.Event()

    def script(peer: Peer) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = server_tls.wrap_bio(incoming, outgoing, server_side=True)

        def step(call: Any) -> Any:
            while True:
                try:
                    return call()
                except ssl.SSLWantReadError:
                    peer.send(outgoing.read())
                    incoming.write(peer.sock.recv(65536))

        step(tls.do_handshake)
        while b'"stream":true' not in step(lambda: tls.read(65536)):
            pass
        tls.write(head(200, CHUNKED) + chunked(HALF))
        broken = b"\x17\x03\x03\x00\x20" + b"x" * 32
        if together:
            peer.send(outgoing.read() + broken)
        else:
            peer.send(outgoing.read())
            assert read_all.wait(10)
            peer.send(broken)
        peer.wait_closed()

    async def main() -> None:
        with FaultServer(script) as server:
            url = server.base_url.replace("http:", "https:")
            async with driver.client(base_url=url, ssl_context=client_tls, timeouts=Timeouts(idle=5)) as client:
                async with client.stream(REQUEST) as stream:
                    events = []
                    with pytest.raises(IncompleteStream) as caught:
                        async for event in stream:
                            events.append(event)
                            if len(events) == 5:
                                read_all.set()
                assert len(events) == 5
                assert isinstance(caught.value.__cause__, ConnectionLost)
                assert "broken TLS" in str(caught.value.__cause__)
            assert server.all_gone()

    driver.run(main)


# Proxies.


@pytest.mark.parametrize("to", ["http", "https"])
@pytest.mark.parametrize("through", ["http", "https"])
def test_through_a_proxy(
    driver: Driver, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, to: str, through: str
) -> None:
    """A proxy is asked for a tunnel, over TLS or not, to servers with TLS or without; it sees its own password only."""
    seen: list[bytes] = []

    async def main() -> None:
        with FaultServer(keeps_saying(answer(), answer()), tls=server_tls if to == "https" else None) as server:
            proxy_tls = server_tls if through == "https" else None
            with FaultServer(tunnels(server, seen), tls=proxy_tls) as proxy:
                url = f"{through}://me:p%40ss@127.0.0.1:{proxy.port}"
                arguments = {"proxy": url, "ssl_context": client_tls, "api_key": "sk-key"}
                async with driver.client(base_url=server.base_url, **arguments) as client:
                    for _ in range(2):
                        _, events = await read(client)
                        assert len(events) == EVENTS
                    assert "p%40ss" not in repr(client)
                    assert "p@ss" not in repr(client._config)
                assert (proxy.connections, server.connections) == (1, 1)
            lines = seen[0].split(b"\r\n")
            assert lines[0] == f"CONNECT 127.0.0.1:{server.port} HTTP/1.1".encode()
            assert b"proxy-authorization: Basic bWU6cEBzcw==" in lines
            assert b"sk-key" not in seen[0]

    driver.run(main)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"HTTP/1.1 407 Who are you\r\ncontent-length: 0\r\n\r\n", "the proxy refused a tunnel: 407 Who are you"),
        (b"SOCKS\r\n\r\n", "the proxy doesn't speak HTTP"),
        (b"", "ended during the proxy's tunnel"),
    ],
)
def test_a_proxy_that_refuses(driver: Driver, reply: bytes, words: str) -> None:
    """Whatever a proxy has against it, no connection was made: ConnectError."""

    async def main() -> None:
        with FaultServer(says(reply)) as proxy:
            arguments = {"proxy": proxy.base_url, "max_retries": 0}
            async with driver.client(base_url="http://example.invalid", **arguments) as client:
                with pytest.raises(ConnectError, match=words):
                    await client.create(REQUEST)

    driver.run(main)


@pytest.mark.parametrize("to", ["http://example.invalid", "https://example.invalid:8443"])
def test_a_dead_proxy_is_named(driver: Driver, to: str) -> None:
    """A proxy that nobody is at is named as the proxy, with the host that it was to lead to."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]

        async def main() -> None:
            arguments = {"proxy": f"http://me:hushhush@127.0.0.1:{port}", "max_retries": 0}
            async with driver.client(base_url=to, **arguments) as client:
                with pytest.raises(ConnectError, match=rf"the proxy 127\.0\.0\.1:{port}, ") as caught:
                    await client.create(REQUEST)
                assert "example.invalid:" in str(caught.value)
                assert isinstance(caught.value.__cause__, ConnectionRefusedError)

        driver.run(main)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    yield
