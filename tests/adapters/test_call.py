"""The machine that both drivers ask what to do, by literals: no socket, no clock, no randomness."""

from __future__ import annotations

import contextlib
import gzip
import math
import ssl
from typing import Any

import pytest
from faultserver import (
    BLOCK,
    CHUNKED,
    DOCUMENT,
    EVENTS,
    HALF,
    LAST_CHUNK,
    OVERLOADED,
    PING,
    START,
    WHOLE,
    answer,
    chunked,
    delta,
    head,
)
from hypothesis import example, given
from hypothesis import strategies as st
from live import NAMES, READS, wait_live

from sansio_step import (
    APIError,
    ConnectError,
    ConnectionLost,
    DeadlineExceeded,
    Deadlines,
    DecodeError,
    EventDecoder,
    IncompleteStream,
    Outcome,
    StreamError,
    Timeouts,
    UnexpectedResponse,
)
from sansio_step_adapters._call import Call
from sansio_step_adapters._config import make_config
from sansio_step_adapters._connection import Connection
from sansio_step_adapters._pool import Idle, Pool
from sansio_step_adapters._reader import Wanted
from sansio_step_adapters._wants import Close, Connect, Keep, Proceed, Receive, Send, Sleep

LIMITS = Timeouts(connect=10, first_event=30, idle=5, stall=20, total=100)


def make_call(now: float = 0.0, wanted: Wanted = Wanted.STREAM, body: bytes = b"{}", **arguments: Any) -> Call:
    arguments = {"base_url": "http://example.org", "timeouts": LIMITS, "trust_env": False, **arguments}
    config = make_config(**arguments)
    return Call(config, body, wanted=wanted, now=now, wall_time=lambda: 0.0, jitter=lambda: 0.0)


def send(call: Call, now: float) -> None:
    """Connect, and send the request."""
    call.connected(now)
    write(call, now)


def write(call: Call, now: float) -> None:
    """All of what it wants to send."""
    while isinstance(sending := call.want(now), Send):
        call.sent(len(sending.data), now)


def test_a_call_from_end_to_end() -> None:
    """Connect, send, receive, keep: each step says until when it may wait."""
    call = make_call()
    assert call.want(0) == Connect("example.org", 80, False, until=10)
    call.connected(1)
    sending = call.want(1)
    assert isinstance(sending, Send)
    assert sending.data.startswith(b"POST /v1/messages HTTP/1.1\r\nhost: example.org\r\n")
    assert sending.data.endswith(b"\r\n\r\n{}")
    assert sending.until == 6
    assert call.want(1) == sending  # a step that was cancelled is wanted again
    call.sent(10, 2)
    assert call.want(2) == Send(sending.data[10:], until=7)  # bytes that go out are no silence either
    call.sent(len(sending.data) - 10, 3)
    assert call.want(3) == Receive(until=8)
    response = answer()
    call.received(response[:20], 3.5)
    assert call.want(3.5) == Receive(until=8)  # part of a head is not yet a response
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
    """It needs no connecting, and what broke before it is no stranger's business."""
    first = make_call()
    send(first, 0)
    first.received(answer(), 0)
    connection = first.connection
    assert connection is not None
    second = make_call()
    second.reuse(connection, 1)
    write(second, 1)
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
    """Where it comes back from a wait after the end of total, that is what the call ends in."""
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
    call.send_failed(broken, 0)
    assert isinstance(call.want(0), Receive)
    call.received(answer(b"too large", status=413), 0)
    assert call.want(0) == Close()
    assert "413" in str(call.error)

    for end in (lambda call: call.ended(0), lambda call: call.failed(ConnectionResetError("reset"), 0)):
        call = make_call(max_retries=0)
        call.connected(0)
        call.want(0)
        call.send_failed(broken, 0)
        end(call)
        assert isinstance(call.error, ConnectionLost)
        assert call.error.__cause__ is broken


@pytest.mark.parametrize("status", [413, 401, 429])
def test_an_answer_ends_the_upload(status: int) -> None:
    """Once the answer to a request is whole, the rest of the request is not sent, and the connection is closed."""
    call = make_call(max_retries=0, body=b"x" * 1_000_000)
    call.connected(0)
    sending = call.want(0)
    assert isinstance(sending, Send)
    assert len(sending.data) < 100_000
    call.sent(len(sending.data), 0)
    assert isinstance(call.want(0), Send)
    refusal = answer(b"no", status=status)
    call.received(refusal[:-1], 0)
    assert isinstance(call.want(0), Send)
    call.received(refusal[-1:], 0)
    assert call.want(0) == Close()
    assert isinstance(call.error, APIError)
    assert call.error.status == status


def test_an_upload_in_progress_is_not_idle() -> None:
    """`idle` runs from the connection on, and anew with what goes out: a slow line is no silent server."""
    call = make_call(body=b"x" * 1_000_000)
    call.connected(0)
    for now in range(4, 28, 4):
        assert isinstance(call.want(now), Send)
        call.sent(1000, now)
    assert isinstance(call.want(28.9), Send)
    assert call.want(29) == Close()  # nothing went for 5 seconds
    assert isinstance(call.error, DeadlineExceeded)
    assert call.error.name == "idle"


@pytest.mark.parametrize("wanted", Wanted)
def test_1xx_for_ever_is_silence(wanted: Wanted) -> None:
    """A server that only says that it is still there has not begun to answer."""
    call = make_call(wanted=wanted)
    send(call, 0)
    for now in range(1, 5):
        call.received(b"HTTP/1.1 102 Processing\r\n\r\n", now)
        assert call.want(now) == Receive(until=5)
    assert call.want(5) == Close()
    assert isinstance(call.error, DeadlineExceeded)
    assert call.error.name == "idle"


def idle(since: float, name: str, home: object = "here") -> Idle[str]:
    return Idle(since, home, Connection(make_config(base_url="http://example.org", trust_env=False)), name)


def test_the_pool_of_idle_connections() -> None:
    """The one used last is taken first, those idle for too long are given up, and their number is bounded."""
    pool: Pool[str] = Pool()
    assert pool.take() is None
    assert pool.next_end() is None
    ones = [idle(float(number), f"idle since {number}") for number in range(3)]
    assert all(pool.put(one) for one in ones)
    assert pool.next_end() == 30
    assert pool.given_up("here", 29.9) is None
    assert pool.given_up("here", 30.5) is ones[0]
    assert pool.given_up("here", 30.5) is None
    assert pool.next_end() == 31
    assert pool.take() is ones[2]
    assert [pool.put(idle(40.0, "")) for _ in range(100)] == [True] * 99 + [False]
    while pool.drain() is not None:
        pass
    assert not pool.put(idle(50.0, "late"))
    assert len(pool) == 0


def test_an_idle_connection_of_another_home() -> None:
    """What another event loop or process made is given up at once, however fresh."""
    pool: Pool[str] = Pool()
    mine, other = idle(0.0, "mine"), idle(1.0, "other", home="elsewhere")
    pool.put(other)
    pool.put(mine)
    assert pool.given_up("here", 1.0) is other
    assert pool.given_up("here", 1.0) is None
    assert pool.take() is mine


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


# Turns.

BOMB = gzip.compress(HALF + b": bomb\n" * 500_000 + WHOLE[len(HALF) :])


def test_a_call_lets_others_have_a_turn() -> None:
    """Bytes that hold more than a turn are `Proceed`, with what the turn gave in hand, until there is no more."""
    call = make_call()
    send(call, 0)
    call.received(answer(BOMB, "content-encoding: gzip"), 1)
    assert len(call.events) == 5
    turns = 0
    while call.want(1) == Proceed():
        assert not call.over
        call.proceeded(1)
        turns += 1
    assert turns > 10
    assert call.over
    assert call.want(1) == Keep()  # the body was whole, and so is the connection
    assert len(call.events) == EVENTS
    assert call.result().text == "Hello"


def test_a_turn_that_was_cancelled_is_wanted_again() -> None:
    """Asked again without a report, the call still wants the same, and nothing is lost or given twice."""
    call = make_call()
    send(call, 0)
    call.received(answer(BOMB, "content-encoding: gzip"), 1)
    while call.want(1) == Proceed():
        assert call.want(1) == Proceed()
        call.proceeded(1)
    call.proceeded(1)  # says nothing to a call that has nothing pending
    assert len(call.events) == EVENTS
    assert call.error is None


@pytest.mark.parametrize(("name", "now"), [("total", 100), ("stall", 50)])
def test_deadlines_are_looked_at_between_turns(name: str, now: float) -> None:
    """A bomb that takes its time runs into the limits as a silent server does."""
    limits = Timeouts(total=100, stall=None if name == "total" else 49)
    call = make_call(timeouts=limits)
    send(call, 0)
    call.received(answer(gzip.compress(HALF + b": bomb\n" * 5_000_000), "content-encoding: gzip"), 1)
    call.events.clear()
    assert call.want(1) == Proceed()
    call.proceeded(now - 1)
    assert call.want(now - 1) == Proceed()
    call.proceeded(now)
    assert isinstance(call.want(now), (Keep, Close))
    assert call.over
    assert isinstance(call.error, DeadlineExceeded)
    assert call.error.name == name
    assert call.error.partial is not None
    assert call.error.partial.text == "Hello"


def test_the_caller_goes_away_between_turns() -> None:
    """A call that is abandoned while more is pending wants its connection released, and no turn."""
    call = make_call()
    send(call, 0)
    call.received(answer(BOMB, "content-encoding: gzip"), 1)
    assert call.want(1) == Proceed()
    call.abandon()
    assert call.over
    assert isinstance(call.want(1), (Keep, Close))
    call.proceeded(1)
    call.released()
    call.proceeded(2)
    assert call.want(2) is None
    assert call.outcome is Outcome.TRUNCATED


def test_the_socket_ends_between_turns() -> None:
    """What is pending when a body that the end delimits is over comes all the same."""
    call = make_call()
    send(call, 0)
    call.received(head(200, "content-encoding: gzip") + BOMB, 1)
    while call.want(1) == Proceed():
        call.proceeded(1)
    assert isinstance(call.want(1), Receive)
    call.ended(1)
    assert call.over
    assert call.result().text == "Hello"
    assert call.want(1) == Close()


# Pings, and streams without an event.


def attempt(call: Call, response: bytes, now: float) -> None:
    """One more attempt, from its connect to this response."""
    if call.connection is None:
        assert isinstance(call.want(now), Connect)
        call.connected(now)
    assert isinstance(call.want(now), Send)
    write(call, now)
    call.received(response, now)


def sleep(call: Call, now: float) -> float:
    """From the end of an attempt to the beginning of the one after it; when that is."""
    assert not call.over
    assert isinstance(call.want(now), (Keep, Close))
    call.released()
    waiting = call.want(now)
    assert isinstance(waiting, Sleep)
    call.waited(waiting.until)
    return waiting.until


def test_pings_are_given_at_once() -> None:
    """A ping starts the caller's part, and counts as nothing delivered."""
    call = make_call()
    send(call, 0)
    call.received(head(200, CHUNKED) + chunked(PING), 1)
    assert call.started
    assert not call.delivered
    assert [event.type for event in call.events] == ["ping"]
    call.received(chunked(WHOLE), 2)
    assert call.delivered
    assert len(call.events) == 1 + EVENTS


FAILURES = {
    "an error event": answer(PING + OVERLOADED),
    "an end": answer(PING * 2),
    "a loss": head(200, CHUNKED) + chunked(PING) + b"zz\r\n",
    "comments after them": answer(PING + b": still here\n\n"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_fails_after_pings_alone_is_retried(name: str) -> None:
    """The pings stay given, the failure is not shown, and the message is that of the second attempt."""
    call = make_call()
    attempt_at = 0.0
    call.connected(0)
    attempt(call, FAILURES[name], attempt_at)
    pings = len(call.events)
    assert [event.type for event in call.events] == ["ping"] * pings
    assert pings == FAILURES[name].count(b"event: ping")
    attempt_at = sleep(call, attempt_at)
    attempt(call, answer(PING + WHOLE), attempt_at)
    assert [event.type for event in call.events].count("ping") == pings + 2  # one is in WHOLE
    assert "error" not in [event.type for event in call.events]
    assert call.over
    assert call.error is None
    assert call.result().text == "Hello"
    assert call.exchange.transport_error is None


def test_a_refusal_after_the_first_attempts_pings() -> None:
    """The last attempt's failure is the call's, with its status; a retry after pings counts as any other."""
    refusal = answer(b'{"error":{"type":"rate_limit_error","message":"slow"}}', status=429)
    call = make_call()
    call.connected(0)
    attempt(call, answer(PING + OVERLOADED), 0)
    attempt(call, refusal, sleep(call, 0))
    attempt(call, refusal, sleep(call, 1))
    assert call.over
    assert [event.type for event in call.events] == ["ping"]
    assert isinstance(call.error, APIError)
    assert call.error.status == 429
    assert call.exchange.status == 429
    assert call.outcome is Outcome.FAILED


def test_a_call_that_will_be_retried_has_not_failed() -> None:
    """Whoever looks at the outcome with the first attempt's ping in hand sees a call that goes on."""
    call = make_call()
    call.connected(0)
    attempt(call, answer(PING + OVERLOADED), 0)
    assert call.outcome is Outcome.STREAMING
    with pytest.raises(IncompleteStream):
        call.result()


@pytest.mark.parametrize("body", [b"", b": hello\n\n", b": a\n" * 100, PING, PING * 3 + b": a\n\n", b"\n\n"])
@pytest.mark.parametrize("wanted", [Wanted.STREAM, Wanted.MESSAGE])
def test_an_empty_answer_is_retried(wanted: Wanted, body: bytes) -> None:
    """A 200 without an event that ends properly is as good as one that breaks: the server went away."""
    call = make_call(wanted=wanted, max_retries=1)
    call.connected(0)
    attempt(call, answer(body), 0)
    now = sleep(call, 0)
    attempt(call, answer(WHOLE if wanted is Wanted.STREAM else DOCUMENT), now)
    assert call.result().text == "Hello"
    last = make_call(wanted=wanted, max_retries=0)
    last.connected(0)
    attempt(last, answer(body), 0)
    assert last.over
    assert isinstance(last.error, IncompleteStream if PING in body else UnexpectedResponse)
    assert last.outcome is not Outcome.STREAMING


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"error":{"type":"api_error","message":"no"}}', HALF, START])
def test_what_is_not_empty_is_not_retried(body: bytes) -> None:
    """A page, a document or an event that is no ping was an answer."""
    call = make_call()
    call.connected(0)
    attempt(call, answer(body), 0)
    assert call.over
    assert call.error is not None


def test_the_first_event_is_no_ping() -> None:
    """`first_event` runs through pings, however slowly they are taken, and ends with what is none."""
    call = make_call()
    send(call, 0)
    call.received(head(200, CHUNKED), 0)
    for now in range(4, 28, 4):
        call.received(chunked(PING), now)
        # The caller takes two seconds over each: its time counts for the next byte, and not for the first event.
        assert call.want(now + 2) == Receive(until=min(now + 7, 30))
    assert call.want(30) == Close()
    assert isinstance(call.error, DeadlineExceeded)
    assert call.error.name == "first_event"

    call = make_call()
    send(call, 0)
    call.received(head(200, CHUNKED) + chunked(PING + START), 0)
    for now in range(1, 40):
        call.received(chunked(BLOCK + delta("x")), now)
        assert call.want(now) == Receive(until=now + 5)


# A response that is left open, and one of pings alone.


@pytest.mark.parametrize("wanted", [Wanted.STREAM, Wanted.MESSAGE])
def test_a_response_that_is_left_open(wanted: Wanted) -> None:
    """After message_stop the wait is `after_stop`, pings or not; then the message is whole and the connection closed."""
    call = make_call(wanted=wanted, timeouts=Timeouts(after_stop=3, idle=5, stall=20, total=100))
    send(call, 0)
    call.received(head(200, CHUNKED) + chunked(WHOLE), 1)
    assert call.want(1) == Receive(until=4)
    for now in (2, 3, 3.5):
        call.received(chunked(PING), now)
        assert call.want(now + 0.4) == Receive(until=4)  # the caller's time over a ping is the server's silence
    assert not call.over
    assert call.want(4) == Close()
    assert call.over
    assert call.error is None
    assert call.outcome is Outcome.COMPLETE
    assert call.result().text == "Hello"
    assert len(call.events) == EVENTS + 3
    assert isinstance(call.exchange.transport_error, DeadlineExceeded)
    assert call.exchange.transport_error.name == "after_stop"


def test_the_body_may_end_after_the_stop() -> None:
    """A response that ends in time is as any other, and its connection is kept."""
    call = make_call()
    send(call, 0)
    call.received(head(200, CHUNKED) + chunked(WHOLE), 1)
    assert call.want(1) == Receive(until=6)
    call.received(LAST_CHUNK, 5.9)
    assert call.want(5.9) == Keep()
    assert call.exchange.transport_error is None


def test_another_message_after_the_stop() -> None:
    """A message_start ends the wait: what comes then has the limits of a stream again."""
    call = make_call(timeouts=Timeouts(after_stop=3, idle=5, stall=20, total=100))
    send(call, 0)
    call.received(head(200, CHUNKED) + chunked(WHOLE), 1)
    call.received(chunked(START.replace(b"msg_1", b"msg_2")), 3.9)
    assert call.want(3.9) == Receive(until=8.9)
    assert call.want(8) == Receive(until=13)  # with the caller's own time
    assert call.outcome is Outcome.STREAMING


def test_without_after_stop_the_bodys_end_is_waited_for() -> None:
    """None is no limit: idle and total are left."""
    call = make_call(timeouts=Timeouts(after_stop=None, idle=5, stall=20, total=100))
    send(call, 0)
    call.received(head(200, CHUNKED) + chunked(WHOLE), 1)
    for now in range(4, 100, 4):
        assert isinstance(call.want(now), Receive)
        call.received(chunked(PING), now)
    assert call.want(100) == Close()
    assert call.exchange.transport_error.name == "total"  # type: ignore[union-attr]
    assert call.error is None


def test_a_flood_of_pings_is_silence() -> None:
    """`stall` ends in spite of pings, and the caller's time over them is not the server's excuse."""
    call = make_call(timeouts=Timeouts(stall=20, idle=50, total=1000))
    send(call, 0)
    call.received(head(200, CHUNKED) + chunked(HALF), 0)
    now = 0.0
    while isinstance(call.want(now), Receive):
        call.received(chunked(PING), now)
        now += 0.5  # the caller takes this over each ping
        assert now < 100
    assert isinstance(call.error, DeadlineExceeded)
    assert call.error.name == "stall"
    assert now == 20

    assert Timeouts().stall == 600


# How it ended, and what the caller can do.


def test_the_outcome_without_a_connection() -> None:
    """A call that never had a response has failed."""
    call = make_call(max_retries=0)
    assert call.outcome is Outcome.STREAMING
    call.failed(ConnectionRefusedError("refused"), 0)
    assert call.outcome is Outcome.FAILED


REFUSAL = answer(b'{"error":{"type":"authentication_error","message":"who?"}}', status=401)


@pytest.mark.parametrize("wanted", Wanted)
def test_no_key_and_a_401(wanted: Wanted) -> None:
    """Without a key the error says where one goes, once; with a key or a key's header it doesn't."""
    call = make_call(wanted=wanted)
    send(call, 0)
    call.received(REFUSAL, 0)
    assert str(call.error) == "401 authentication_error: who?; no key was sent: set STEP_API_KEY or pass api_key"
    assert call.error.message == "who?"  # type: ignore[union-attr]
    with pytest.raises(APIError, match="STEP_API_KEY") as caught:
        call.result()
    assert str(caught.value).count("STEP_API_KEY") == 1
    for keyed in ({"api_key": "k"}, {"headers": {"Authorization": "y"}}, {"headers": {"X-API-Key": "z"}}):
        call = make_call(wanted=wanted, **keyed)
        send(call, 0)
        call.received(REFUSAL, 0)
        assert str(call.error) == "401 authentication_error: who?"
    call = make_call(wanted=wanted)
    send(call, 0)
    call.received(REFUSAL.replace(b" 401 ", b" 403 "), 0)
    assert "STEP_API_KEY" not in str(call.error)


def test_a_dead_proxy_is_named() -> None:
    """An error about the way to a server through a proxy names both."""
    call = make_call(proxy="http://proxy.example:3128", max_retries=0)
    assert call.want(0) == Connect("proxy.example", 3128, False, until=10)
    call.failed(ConnectionRefusedError(111, "Connection refused"), 0)
    assert str(call.error) == (
        "no connection to the proxy proxy.example:3128, on the way to example.org:80: [Errno 111] Connection refused"
    )


def test_a_count_goes_to_its_own_place() -> None:
    """It asks for JSON at /v1/messages/count_tokens, under the limits of a document."""
    call = make_call(wanted=Wanted.COUNT)
    call.connected(0)
    sending = call.want(0)
    assert isinstance(sending, Send)
    assert sending.data.startswith(b"POST /v1/messages/count_tokens HTTP/1.1\r\n")
    assert b"accept: application/json" in sending.data
    assert sending.until == 5
    write(call, 0)
    call.received(answer(b'{"input_tokens": 7}', content_type="application/json"), 1)
    assert call.over
    assert call.count() == 7
    assert call.want(1) == Keep()


@pytest.mark.parametrize("body", [WHOLE, DOCUMENT, b"{}", b'{"input_tokens": "7"}'])
def test_no_count_is_an_error(body: bytes) -> None:
    """Whatever came in place of a count, `count()` raises the error about it."""
    call = make_call(wanted=Wanted.COUNT)
    send(call, 0)
    call.received(answer(body), 1)
    with pytest.raises(UnexpectedResponse):
        call.count()


@given(
    idle=st.sampled_from([6, 30]),
    after_stop=st.sampled_from([8, None]),
    steps=st.lists(
        st.tuples(NAMES, st.lists(NAMES, max_size=1), st.integers(1, 5), st.sampled_from([0, 0, 1, 3, 9])), max_size=20
    ),
)
@example(30, None, [("message_stop", [], 1, 0), ("delta", [], 1, 0)])
def test_limits_are_those_of_the_letter(
    idle: int, after_stop: int | None, steps: list[tuple[str, list[str], int, int]]
) -> None:
    """Whatever comes, and however long the caller takes over it: a limit ends the call when it should, and not before.

    `Deadlines`, told of each read and of the caller's time, says when.
    """
    limits = Timeouts(first_event=30, idle=idle, stall=9, after_stop=after_stop, total=None)
    call, letter = make_call(timeouts=limits), Deadlines(limits, 0)
    send(call, 0)
    letter.connected(0)
    call.received(head(200, CHUNKED) + chunked(START + BLOCK), 0)
    letter.bytes_received(0)
    letter.events_received(EventDecoder().receive_data(START + BLOCK), 0)
    now = 0
    for name, another, wait, away in steps:
        if not wait_live(call, now, now + wait, letter):
            break
        now += wait
        for comes in (name, *another):
            call.received(b"".join(map(chunked, READS[comes])), now)
            letter.bytes_received(now)
            letter.events_received(EventDecoder().receive_data(b"".join(READS[comes])), now)
        letter.away(away)
        now += away
        if now >= letter.ends:
            break
    else:
        assert not wait_live(call, now, math.inf, letter)
    now = max(now, letter.ends)
    assert not isinstance(call.want(now), Receive)
    assert call.over
    with pytest.raises(DeadlineExceeded) as caught:
        letter.check(now)
    error = call.exchange.transport_error
    assert isinstance(error, DeadlineExceeded)
    assert error.name == caught.value.name


def test_a_wait_that_was_cancelled_is_the_callers_time() -> None:
    """As all time in which no driver speaks: nobody listened to the server."""
    call = flowing()
    call.received(chunked(delta("c")), 2)
    assert isinstance(call.want(2), Receive)
    call.want(5)
    call.waited(9)
    assert call.want(9) == Receive(until=10)


def flowing(limits: Timeouts = LIMITS) -> Call:
    """A call in the middle of its stream, of which the last read was a lone delta."""
    call = make_call(timeouts=limits)
    send(call, 0)
    for data in (head(200, CHUNKED) + chunked(START + BLOCK), chunked(delta("a")), chunked(delta("b"))):
        call.received(data, 1)
        assert isinstance(call.want(1), Receive)
    return call


def test_reads_between_two_wants() -> None:
    """As while a write waits: each counts, whatever comes after it."""
    call = flowing(Timeouts(idle=30, stall=10))
    call.received(chunked(delta("c")), 5)
    call.received(chunked(PING), 6)
    assert call.want(6) == Receive(until=15)


@pytest.mark.parametrize(
    ("end", "error"),
    [(LAST_CHUNK, IncompleteStream), (chunked(b"data: {\n\n"), DecodeError), (b"no chunk\r\n", IncompleteStream)],
)
def test_the_end_can_come_with_a_delta(end: bytes, error: type[StreamError]) -> None:
    """Nothing more is waited for then, and the delta is given all the same."""
    call = flowing()
    call.received(chunked(delta("c")) + end, 2)
    assert call.over
    assert isinstance(call.error, error)
    assert call.exchange.message is not None
    assert call.exchange.message.text == "abc"
    assert isinstance(call.want(2), (Keep, Close))


def test_abandoned_before_a_delta_is_read() -> None:
    """The connection is closed, though nothing was asked since the delta came."""
    call = flowing()
    call.received(chunked(delta("c")), 2)
    call.abandon()
    assert call.want(2) == Close()


class Speaking(ssl.SSLContext):
    """TLS that has something to say after a read, as with TLS 1.3's KeyUpdate, for which `ssl` has no function."""

    said = b""

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, **more: Any) -> Any:
        made, context = super().wrap_bio(incoming, outgoing, **more), self

        class Object:
            def __getattr__(self, name: str) -> Any:
                return getattr(made, name)

            def read(self, size: int) -> bytes:
                data = made.read(size)
                outgoing.write(context.said)
                context.said = b""
                return data

        return Object()


def test_what_tls_has_to_say_in_the_middle_goes_out(server_tls: ssl.SSLContext) -> None:
    """However well the stream flows, the peer that asked for it has its answer before more is waited for."""
    context = Speaking(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    call = make_call(base_url="https://example.org", ssl_context=context)
    to_server, from_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_tls.wrap_bio(to_server, from_server, server_side=True)
    call.connected(0)
    while isinstance(want := call.want(0), Send):
        to_server.write(want.data)
        call.sent(len(want.data), 0)
        with contextlib.suppress(ssl.SSLWantReadError):
            server.do_handshake()
        if from_server.pending:
            call.received(from_server.read(), 0)
    for body in (head(200, CHUNKED) + chunked(START + BLOCK), chunked(delta("a")), chunked(delta("b"))):
        server.write(body)
        call.received(from_server.read(), 1)
        assert call.want(1) == Receive(until=6)
    context.said = b"a record"
    server.write(chunked(delta("c")))
    call.received(from_server.read(), 2)
    assert call.want(2) == Send(b"a record", until=7)
    call.sent(3, 3)
    server.write(chunked(delta("d")))  # read beside the write, as drivers do
    call.received(from_server.read(), 3)
    assert call.want(3) == Send(b"ecord", until=8)
    call.sent(5, 4)
    assert call.want(4) == Receive(until=9)


def test_a_retry_after_pings_connects_in_its_own_time() -> None:
    """The caller has had events by then, and connecting is no time of the caller's all the same."""
    call = make_call(timeouts=Timeouts(connect=20, idle=5, stall=None, first_event=None, total=None), max_retries=1)
    send(call, 0)
    call.received(head(200, CHUNKED) + chunked(PING), 0)
    assert isinstance(call.want(0), Receive)
    call.received(chunked(OVERLOADED), 0)
    assert isinstance(call.want(0), Close)
    call.released()
    sleeping = call.want(0)
    assert isinstance(sleeping, Sleep)
    assert sleeping.until is not None
    now = sleeping.until
    call.waited(now)
    assert isinstance(call.want(now), Connect)
    call.connected(now + 8)
    sending = call.want(now + 8)
    assert isinstance(sending, Send)
    assert sending.until == now + 13
    write(call, now + 8)
    assert call.want(now + 8) == Receive(until=now + 13)
