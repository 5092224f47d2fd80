"""The machine that both drivers ask what to do, by literals: no socket, no clock, no randomness."""

from __future__ import annotations

from typing import Any

import pytest
from faultserver import HALF, OVERLOADED, WHOLE, answer

from sansio_step import ConnectError, ConnectionLost, DeadlineExceeded, Outcome, Timeouts
from sansio_step_adapters._call import Call, Close, Connect, Keep, Receive, Send, Sleep
from sansio_step_adapters._client import Pool
from sansio_step_adapters._config import make_config
from sansio_step_adapters._connection import Connection

LIMITS = Timeouts(connect=10, first_event=30, idle=5, stall=20, total=100)


def make_call(now: float = 0.0, **arguments: Any) -> Call:
    arguments = {"base_url": "http://example.org", "timeouts": LIMITS, "trust_env": False, **arguments}
    config = make_config(**arguments)
    return Call(config, b"{}", streaming=True, now=now, wall_time=lambda: 0.0, jitter=lambda: 0.0)


def send(call: Call, now: float) -> None:
    """Connect, and send the request."""
    call.connected(now)
    assert isinstance(call.want(now), Send)
    call.sent(now)


def test_a_call_from_end_to_end() -> None:
    """Connect, send, receive, keep: each step says until when it may wait."""
    call = make_call()
    assert call.want(0) == Connect("example.org", 80, False, until=10)
    call.connected(1)
    sending = call.want(1)
    assert isinstance(sending, Send)
    assert sending.data.startswith(b"POST /v1/messages HTTP/1.1\r\nhost: example.org\r\n")
    assert sending.data.endswith(b"\r\n\r\n{}")
    assert sending.until == 31
    assert call.want(1) == sending  # a step that was cancelled is wanted again
    call.sent(2)
    assert call.want(2) == Receive(until=31)
    response = answer()
    call.received(response[:20], 3)
    assert call.want(3) == Receive(until=8)
    assert not call.started
    call.received(response[20:], 4)
    assert call.started
    assert call.over
    assert len(call.events) == 8
    assert call.want(4) == Keep()
    call.released()
    assert call.want(4) is None
    assert call.error is None
    assert call.result().text == "Hello"


def test_an_idle_connection_carries_the_next_call() -> None:
    """It needs no connecting, and what broke in front of it is no stranger's business."""
    first = make_call()
    send(first, 0)
    first.received(answer(), 0)
    connection = first.connection
    assert connection is not None
    second = make_call()
    second.reuse(connection, 1)
    assert isinstance(second.want(1), Send)
    second.sent(1)
    second.ended(2)
    assert second.want(2) == Close()
    second.released()
    assert second.want(2) == Connect("example.org", 80, True, until=12)


def test_a_retry_waits_its_time() -> None:
    """The socket is closed first; then the time passes; then there is a new attempt with its own limits."""
    call = make_call()
    call.want(0)
    send(call, 1)
    call.received(answer(b"", "retry-after: 7", status=529), 2)
    assert call.want(2) == Keep()
    call.released()
    assert call.want(2) == Sleep(until=9)
    call.waited(9)
    assert call.want(9) == Connect("example.org", 80, False, until=19)


def test_a_failed_connect_is_retried_without_a_socket_to_close() -> None:
    """The waits grow, and the last failure stands."""
    call = make_call()
    for now, wake in ((0.0, 0.5), (0.5, 1.5)):
        assert isinstance(call.want(now), Connect)
        call.failed(ConnectionRefusedError("refused"), now)
        assert call.want(now) == Sleep(until=wake)
        call.waited(wake)
    assert isinstance(call.want(1.5), Connect)
    call.failed(ConnectionRefusedError("refused"), 1.5)
    assert call.want(1.5) is None
    assert call.started
    assert isinstance(call.error, ConnectError)
    with pytest.raises(ConnectError, match=r"no connection to example\.org:80: refused"):
        call.result()


def test_an_error_event_first_is_a_failed_attempt() -> None:
    """It doesn't reach the caller while another attempt is left."""
    call = make_call(max_retries=1)
    send(call, 0)
    call.received(answer(OVERLOADED), 0)
    assert not call.started
    assert not call.events
    call.released()
    call.waited(1)
    call.want(1)
    send(call, 1)
    call.received(answer(OVERLOADED), 1)
    assert call.started
    assert [event.type for event in call.events] == ["error"]
    assert call.outcome is Outcome.FAILED


def test_deadlines_end_the_call() -> None:
    """A limit that passed is seen by the next question, and what has come stays."""
    call = make_call()
    send(call, 0)
    call.received(answer(HALF + b": more")[:-3], 1)
    assert call.want(1) == Receive(until=6)
    call.waited(5.9)
    assert call.want(5.9) == Receive(until=6)
    call.waited(6)
    assert call.want(6) == Close()
    assert isinstance(call.error, DeadlineExceeded)
    assert call.error.name == "idle"
    assert call.error.partial is not None
    assert call.error.partial.text == "Hello"


def test_a_driver_that_sleeps_too_long() -> None:
    """Where it comes back from a wait behind the end of total, that is what the call ends in."""
    call = make_call()
    call.failed(OSError("x"), 0)
    assert call.want(0) == Sleep(until=0.5)
    assert call.want(100) is None
    assert call.over
    assert isinstance(call.error, DeadlineExceeded)
    assert call.error.name == "total"


def test_the_callers_own_time_is_not_the_servers() -> None:
    """Between a report and the next question the caller has the events; only total goes on."""
    call = make_call()
    send(call, 0)
    call.received(answer(HALF + b"...")[:-3], 1)
    assert call.want(50) == Receive(until=55)
    assert call.want(99) == Receive(until=100)
    assert call.want(101) == Close()
    assert isinstance(call.error, DeadlineExceeded)
    assert call.error.name == "total"


def test_a_write_that_fails_leaves_the_answer_to_be_read() -> None:
    """What the server said before it hung up counts for more than that it did."""
    call = make_call(max_retries=0)
    call.connected(0)
    assert isinstance(call.want(0), Send)
    broken = BrokenPipeError(32, "Broken pipe")
    call.failed(broken, 0)
    assert isinstance(call.want(0), Receive)
    call.received(answer(b"too large", status=413), 0)
    assert call.want(0) == Close()
    assert "413" in str(call.error)

    call = make_call(max_retries=0)
    call.connected(0)
    call.want(0)
    call.failed(broken, 0)
    call.ended(0)
    assert isinstance(call.error, ConnectionLost)
    assert call.error.__cause__ is broken


def test_the_pool_of_idle_connections() -> None:
    """The one used last is taken first, those idle for too long are given up, and their number is bounded."""
    pool: Pool[str] = Pool()
    connection = Connection(make_config(base_url="http://example.org", trust_env=False))
    assert pool.take() is None
    for number in range(3):
        assert pool.put(connection, f"idle since {number}", float(number))
    assert pool.expired(30.5) == "idle since 0"
    assert pool.expired(30.5) is None
    assert pool.take() == (connection, "idle since 2")
    assert [pool.put(connection, "", 40.0) for _ in range(100)] == [True] * 99 + [False]
    assert pool.drain() == "idle since 1"
    while pool.drain() is not None:
        pass
    assert not pool.put(connection, "late", 50.0)
    assert len(pool) == 0


def test_abandoned() -> None:
    """At whatever point the caller goes away, what is held is closed and nothing else is wanted."""
    waiting = make_call()
    waiting.abandon()
    assert waiting.want(0) is None

    sleeping = make_call()
    sleeping.failed(OSError("x"), 0)
    sleeping.abandon()
    assert sleeping.want(0) is None

    # The idle connection that was being taken meanwhile is the driver's to close.
    connecting = make_call()
    connecting.want(0)
    connecting.abandon()
    connecting.reuse(Connection(make_config(base_url="http://example.org", trust_env=False)), 1)
    assert connecting.connection is None
    assert connecting.want(1) is None

    reading = make_call()
    send(reading, 0)
    reading.received(answer(WHOLE)[:-150], 0)
    reading.abandon()
    assert reading.want(0) == Close()
    reading.received(b"late", 1)
    reading.released()
    reading.received(b"later", 2)
    reading.ended(2)
    reading.failed(OSError("x"), 2)
    reading.connected(3)
    assert reading.want(3) is None
    assert reading.outcome in (Outcome.TRUNCATED, Outcome.COMPLETE)
