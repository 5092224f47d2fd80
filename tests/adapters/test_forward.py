"""The gateway's machine by literals: what it wants, and what late news from its driver does. No socket, no clock."""

from __future__ import annotations

import gc
import gzip
import math
import tracemalloc
import zlib
from typing import Any

import msgspec
import pytest
from faultserver import BLOCK, CHUNKED, HALF, PING, START, WHOLE, answer, chunked, delta, head
from hypothesis import example, given
from hypothesis import strategies as st
from live import NAMES, READS, wait_live

from sansio_step import ConnectionLost, DeadlineExceeded, Deadlines, EventDecoder, Timeouts
from sansio_step_adapters._body import Body
from sansio_step_adapters._call import Call
from sansio_step_adapters._config import make_config
from sansio_step_adapters._forward import MOST_KEPT, MOST_UNSENT, Forward, Outgoing
from sansio_step_adapters._reader import Wanted
from sansio_step_adapters._report import Observer, Report
from sansio_step_adapters._secrets import Mask
from sansio_step_adapters._wants import Close, Connect, Give, Keep, Proceed, Receive, Send, Sleep

LIMITS = Timeouts(connect=10, first_event=30, idle=5, stall=20, caller=7, total=100)


def make(timeouts: Timeouts = LIMITS, **options: Any) -> Forward:
    config = make_config(base_url="http://example.org", timeouts=timeouts, trust_env=False)
    observer = Observer(Report("/v1/messages"), Mask(), read=True, now=0)
    headers = [(b"host", b"example.org")]
    return Forward(config, Outgoing("POST", "/v1/messages", headers), observer, now=0, **options)


def write(forward: Forward, now: float) -> bytes:
    written = b""
    while isinstance(want := forward.want(now), Send):
        written += want.data
        forward.sent(len(want.data), now)
    return written


def give(forward: Forward, now: float) -> list[Any]:
    given = []
    while isinstance(want := forward.want(now), Give):
        given.append(dict(want.message))
        forward.given(now)
    return given


def begun(now: float = 0.0, **options: Any) -> Forward:
    forward = make(**options)
    forward.feed(b"{}", now, more=False)
    assert isinstance(forward.want(now), Connect)
    forward.connected(now)
    write(forward, now)
    return forward


def half_sent(**options: Any) -> Forward:
    """A call whose request has begun to go out, and whose caller has more of it."""
    forward = make(**options)
    forward.feed(b"{", 0, more=True)
    assert isinstance(forward.want(0), Connect)
    forward.connected(0)
    write(forward, 0)
    return forward


def test_a_call_from_end_to_end() -> None:
    """The caller first, then the upstream; each piece to the caller before it is read along."""
    forward = make()
    assert forward.want(0) == Sleep(until=7)
    forward.feed(b"{", 5, more=True)
    assert forward.want(5) == Connect("example.org", 80, False, until=15)
    forward.connected(6)
    assert write(forward, 6).endswith(b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n")
    assert forward.want(6) == Receive(until=13)  # for the caller, whose news wakes it
    assert forward.want(9) == Receive(until=13)
    forward.feed(b"}", 12, more=False)
    assert write(forward, 12) == b"1\r\n}\r\n0\r\n\r\n"
    assert forward.want(12) == Receive(until=17)
    forward.received(head(200, CHUNKED) + chunked(HALF), 13)
    want = forward.want(13)
    assert want == Give({"type": "http.response.start", "status": 200, "headers": want.message["headers"]})  # type: ignore[union-attr]
    forward.given(19)
    assert [message["body"] for message in give(forward, 25)] == [HALF]
    assert forward.want(25) == Receive(until=30)  # the caller's 12 seconds were no silence of the upstream's
    forward.received(chunked(WHOLE[len(HALF) :]) + b"0\r\n\r\n", 26)
    assert forward.want(26) == Keep()  # before the caller has the rest
    forward.released()
    assert give(forward, 26) == [{"type": "http.response.body", "body": WHOLE[len(HALF) :], "more_body": False}]
    assert forward.over
    assert forward.want(26) is None
    assert forward.error is None


def test_turns_after_the_end() -> None:
    """What the caller has in full is read along in turns, with no limit on the upstream running."""
    bomb = gzip.compress(HALF + b": bomb\n" * 500_000)
    forward = begun()
    forward.received(answer(bomb, "content-encoding: gzip"), 1)
    assert forward.want(1) == Keep()
    forward.released()
    assert give(forward, 1)[-1]["more_body"] is False
    turns = 0
    while forward.want(90) == Proceed():
        assert not forward.over
        forward.proceeded(90)
        turns += 1
    assert turns > 5
    assert forward.over
    forward.proceeded(91)  # says nothing
    assert forward.error is None


def test_nobody_reads_a_bomb_for_a_caller_that_has_left() -> None:
    """What a large piece still holds is of no use then."""
    forward = begun()
    bomb = gzip.compress(HALF + b": bomb\n" * 500_000)
    forward.received(head(200, CHUNKED, "content-encoding: gzip") + chunked(bomb), 1)
    give(forward, 1)
    assert forward.want(1) == Proceed()
    forward.caller_left()
    assert forward.want(1) == Close()
    forward.released()
    assert forward.over


def test_news_that_come_too_late() -> None:
    """Of a caller that has left, and of an upstream that is not wanted any more."""
    forward = begun()
    forward.received(head(200, CHUNKED) + chunked(HALF), 1)
    assert isinstance(forward.want(1), Give)
    forward.caller_left()
    forward.given(2)
    assert forward.want(2) == Close()
    forward.received(chunked(HALF), 2)
    forward.ended(2)
    forward.failed(OSError("x"), 2)
    forward.send_failed(OSError("x"), 2)
    forward.released()
    assert forward.over
    assert forward.error is None


def test_a_request_that_goes_on_after_its_answer() -> None:
    """Once the answer is whole, what the rest of the request is like changes nothing."""
    config = make_config(base_url="http://example.org", timeouts=LIMITS, trust_env=False)
    observer = Observer(Report("/v1/messages"), Mask(), read=True, now=0)
    forward = Forward(config, Outgoing("POST", "/", [(b"host", b"x"), (b"content-length", b"9")], 9), observer, now=0)
    forward.feed(b"{", 0, more=True)
    forward.want(0)
    forward.connected(0)
    write(forward, 0)
    forward.received(answer(b"no", status=413), 1)
    forward.feed(b"far too much", 1, more=False)
    assert forward.want(1) == Close()
    forward.released()
    assert give(forward, 1)[-1] == {"type": "http.response.body", "body": b"no", "more_body": False}
    assert forward.error is None


def test_a_caller_may_leave_once_the_last_message_is_on_its_way() -> None:
    """Servers say so of everyone then."""
    forward = begun()
    forward.received(answer(), 1)
    forward.released()
    while forward.want(1).message.get("more_body", True):  # type: ignore[union-attr]
        forward.given(1)
    forward.caller_left()
    forward.given(1)
    assert forward.over
    assert not forward._observer.report.disconnected


def test_a_limit_that_passes_while_the_caller_takes_the_last() -> None:
    """The upstream has done its part; then the response is broken off by the caller's own fault."""
    forward = begun()
    forward.received(answer(), 1)
    forward.released()
    assert isinstance(forward.want(1), Give)
    assert forward.want(8) is None
    assert isinstance(forward.error, DeadlineExceeded)
    assert forward.error.name == "caller"


def test_a_write_that_fails_while_tls_is_made() -> None:
    """There is no answer to be read yet: no connection was made."""
    config = make_config(base_url="https://example.org", timeouts=LIMITS, trust_env=False, max_retries=0)
    call = Call(config, b"{}", wanted=Wanted.STREAM, now=0, wall_time=lambda: 0.0, jitter=lambda: 0.0)
    call.connected(0)
    assert isinstance(call.want(0), Send)
    call.send_failed(BrokenPipeError(32, "Broken pipe"), 0)
    assert "Broken pipe" in str(call.error)
    call.given(0)  # which no call wants
    assert call.want(0) == Close()


def test_a_write_fails_once() -> None:
    """What is said of it again says nothing new."""
    forward = begun()
    first = BrokenPipeError(32, "first")
    forward.send_failed(first, 0)
    forward.send_failed(BrokenPipeError(32, "second"), 0)
    forward.ended(0)
    assert isinstance(forward._observer.lost, ConnectionLost)
    assert forward._observer.lost.__cause__ is first


def test_a_write_that_was_cut() -> None:
    """Nothing follows it; the answer is still read. While a connection is made, a limit has passed and says so."""
    forward = make()
    forward.feed(b"x" * 1_000_000, 0, more=False)
    forward.want(0)
    forward.connected(0)
    assert isinstance(forward.want(0), Send)
    forward.send_cut()
    forward.send_cut()
    assert isinstance(forward.want(0), Receive)
    forward.received(answer(b"no", status=413), 0)
    assert forward.want(0) == Close()
    config = make_config(base_url="https://example.org", timeouts=LIMITS, trust_env=False, max_retries=0)
    call = Call(config, b"{}", wanted=Wanted.STREAM, now=0, wall_time=lambda: 0.0, jitter=lambda: 0.0)
    call.connected(0)
    call.want(0)
    call.send_cut()
    assert call.want(10) == Close()
    assert isinstance(call.error, DeadlineExceeded)


# Bodies.


def test_a_body_in_pieces() -> None:
    """It goes out in the order in which it came, as much at a time as is asked for, and again from the start."""
    body = Body(10)
    assert body.take(5) == b""
    body.feed(b"abc", more=True)
    body.feed(b"", more=True)
    body.feed(b"defg", more=True)
    assert (body.take(2), body.take(3), body.unsent) == (b"ab", b"cde", 2)
    assert not body.whole
    body.feed(b"h", more=False)
    assert (body.whole, body.size, body.unsent) == (True, 8, 3)
    assert body.rewind()
    assert body.take(100) == b"abcdefgh"
    assert (body.take(1), body.unsent) == (b"", 0)


def test_a_body_that_is_too_large_to_keep() -> None:
    """Once a byte of it has gone out for good, it can't begin again; before that it can."""
    body = Body(10)
    body.feed(b"x" * 11, more=False)
    assert body.rewind()
    assert body.take(4) == b"xxxx"
    assert not body.rewind()
    assert (body.take(100), body.unsent) == (b"x" * 7, 0)
    body = Body(10)
    body.feed(b"abcdef", more=True)
    assert body.take(2) == b"ab"
    body.forget()
    assert not body.rewind()
    assert (body.take(2), body.take(9), body.unsent) == (b"cd", b"ef", 0)
    body.feed(b"g", more=False)
    assert (body.take(9), body.size) == (b"g", 7)
    whole = Body.of(b"y" * 100)
    assert whole.take(60) == b"y" * 60
    whole.forget()
    assert not whole.rewind()
    assert whole.take(100) == b"y" * 40
    whole = Body.of(b"y" * 100)
    assert whole.take(60) == b"y" * 60
    assert whole.rewind()
    assert whole.take(100) == b"y" * 100


def test_what_a_gateway_keeps_of_a_body() -> None:
    """It is full at a bound, and not before."""
    forward = make()
    forward.feed(b"x" * (MOST_UNSENT - 1), 0, more=True)
    assert not forward.full
    forward.feed(b"x", 0, more=True)
    assert forward.full
    assert MOST_KEPT == 1024 * 1024


@pytest.mark.parametrize("pieces", [1000, 100_000])
def test_the_cost_of_a_body_is_linear(pieces: int) -> None:
    """A caller that sends a byte at a time is no attack: bytes are not moved again for each that comes or goes."""
    body = Body(10)
    for _ in range(pieces):
        body.feed(b"x", more=True)
    taken = 0
    while piece := body.take(1):
        taken += len(piece)
    assert taken == pieces


def test_what_is_held_of_a_request_that_is_answered() -> None:
    """A stream that runs for minutes does not hold its request, in a client or in a gateway."""
    gc.collect()
    config = make_config(base_url="http://example.org", timeouts=LIMITS, trust_env=False)
    for kind in ("call", "forward"):
        tracemalloc.start()
        try:
            body = b"x" * 900_000
            if kind == "call":
                machine: Any = Call(
                    config, body, wanted=Wanted.STREAM, now=0, wall_time=lambda: 0.0, jitter=lambda: 0.0
                )
            else:
                machine = make()
                machine.feed(body, 0, more=False)
            del body
            machine.want(0)
            machine.connected(0)
            write(machine, 0)
            assert tracemalloc.get_traced_memory()[0] > 900_000  # in case that it must be sent again
            machine.received(head(200, CHUNKED) + chunked(HALF), 1)
            give(machine, 1)
            assert tracemalloc.get_traced_memory()[0] < 500_000
        finally:
            tracemalloc.stop()


@given(
    opening=st.sampled_from([START + BLOCK, PING]),
    idle=st.sampled_from([6, 30]),
    steps=st.lists(
        st.tuples(NAMES, st.integers(1, 5), st.sampled_from(["at once", "stuck"]), st.sampled_from([0, 0, 1, 3, 9]))
    ),
)
# A message that is whole has no silence, whatever comes of it later.
@example(START + BLOCK, 6, [(name, 5, "at once", 0) for name in ("message_stop", "delta", "ping", "ping")])
@example(START + BLOCK, 30, [(name, 5, "at once", 0) for name in ("message_stop", "delta")])
@example(START + BLOCK, 6, [(name, 5, "at once", 0) for name in ("delta", "delta and message_stop", "ping", "ping")])
@example(START + BLOCK, 6, [("delta", 1, "at once", 0), ("comment", 5, "at once", 3)])
@example(PING, 6, [(name, 5, "at once", 0) for name in ("delta", "ping", "ping")])
def test_limits_are_those_of_the_letter(opening: bytes, idle: int, steps: list[tuple[str, int, str, int]]) -> None:
    """Whatever comes, and however long the caller takes for it: a limit ends the call when it should, and not before.

    `Deadlines`, told of each read and of the caller's time, says when.
    """
    limits = Timeouts(first_event=12, idle=idle, stall=9, caller=8, total=None)
    forward, letter = begun(timeouts=limits), Deadlines(msgspec.structs.replace(limits, after_stop=None), 0)
    letter.connected(0)
    forward.received(head(200, CHUNKED) + chunked(opening), 0)
    letter.bytes_received(0)
    letter.caller_awaited(0)
    for now in (3, 4):  # the head and the first bytes
        assert isinstance(forward.want(now - 1), Give)
        forward.given(now)
    letter.caller_returned(now)
    letter.events_received(EventDecoder().receive_data(opening), now)
    letter.bytes_received(now)
    for name, wait, takes, seconds in steps:
        if not wait_live(forward, now, now + wait, letter):
            break
        now += wait
        forward.received(b"".join(map(chunked, READS[name])), now)
        letter.bytes_received(now)
        letter.caller_awaited(now)
        assert isinstance(forward.want(now), Give)
        if takes == "stuck":
            assert forward.stuck(now + 0.5) == letter.ends
            if now + seconds >= letter.ends:
                break
        now += seconds
        forward.given(now)
        letter.caller_returned(now)
        letter.events_received(EventDecoder().receive_data(b"".join(READS[name])), now)
        letter.bytes_received(now)
        if now >= letter.ends:
            break
    else:
        assert not wait_live(forward, now, math.inf, letter)
    now = max(now, letter.ends)
    forward.waited(now)
    assert not isinstance(forward.want(now), Receive)
    with pytest.raises(DeadlineExceeded) as caught:
        letter.check(now)
    assert isinstance(forward.error, DeadlineExceeded)
    assert forward.error.name == caught.value.name


def test_what_the_caller_sends_meanwhile_ends_no_wait_for_it() -> None:
    """A caller that still sends its request and takes nothing of the response has the same time as any other."""
    forward = half_sent()
    forward.received(head(200, CHUNKED) + chunked(HALF), 1)
    assert isinstance(forward.want(1), Give)
    forward.given(1)
    assert isinstance(forward.want(1), Give)
    assert forward.stuck(1) == 8
    forward.feed(b"}", 5, more=False)
    forward.waited(8)
    assert isinstance(forward.want(8), Close)
    assert isinstance(forward.error, DeadlineExceeded)
    assert forward.error.name == "caller"


def test_a_delta_that_a_coding_holds_more_after() -> None:
    """What one turn has left of it is read before more is waited for, whatever that turn brought."""
    forward = begun(0)
    bodies = [START + BLOCK, delta("a"), delta("b") + b": long\n" * 100_000 + b"\n" + delta("c"), delta("d")]
    coder = zlib.compressobj(wbits=31)
    forward.received(head(200, CHUNKED, "content-encoding: gzip"), 1)
    turns = 0
    for body in bodies:
        forward.received(chunked(coder.compress(body) + coder.flush(zlib.Z_SYNC_FLUSH)), 1)
        while not isinstance(want := forward.want(1), Receive):
            if isinstance(want, Give):
                forward.given(1)
            else:
                assert isinstance(want, Proceed)
                forward.proceeded(1)
                turns += 1
    assert turns > 1
    report = forward._observer.ended(1)
    assert report.message is not None
    assert report.message.text == "abcd"


def test_a_request_goes_on_beside_a_stream_that_flows() -> None:
    """What the caller sends of it goes out, though nothing but content comes."""
    forward = half_sent()
    for body in (head(200, CHUNKED) + chunked(START + BLOCK), chunked(delta("a")), chunked(delta("b"))):
        forward.received(body, 1)
        give(forward, 1)
    forward.received(chunked(delta("c")), 2)
    assert isinstance(forward.want(2), Give)
    forward.feed(b"}", 2, more=False)
    forward.given(2)
    assert forward.want(2) == Send(b"1\r\n}\r\n0\r\n\r\n", until=7)


@pytest.mark.parametrize(
    "limits", [Timeouts(caller=7, total=None), Timeouts(caller=60, total=7)], ids=["caller", "total"]
)
def test_a_limit_that_passes_before_the_caller_is_waited_for(limits: Timeouts) -> None:
    """A server's own work on a message can take that long: its wait for the caller then ends at once."""
    forward = begun(timeouts=limits)
    forward.received(head(200, CHUNKED) + chunked(HALF), 0)
    assert isinstance(forward.want(0), Give)
    forward.given(0)
    assert isinstance(forward.want(0), Give)
    assert forward.stuck(8) == 8
    forward.waited(8)
    assert isinstance(forward.want(8), Close)
    assert isinstance(forward.error, DeadlineExceeded)


def test_an_answer_before_the_request_is_whole() -> None:
    """The wait for the rest is over then: the caller has its time to take the answer, and the upstream its own."""
    limits = Timeouts(first_event=None, idle=5, stall=None, caller=7, total=None)
    taken, stuck = half_sent(timeouts=limits), half_sent(timeouts=limits)
    for forward in (taken, stuck):
        assert forward.want(0) == Receive(until=7)  # for the caller
        forward.received(head(200, CHUNKED), 6)
        assert isinstance(forward.want(6), Give)
    taken.given(6)
    assert taken.want(6) == Receive(until=11)
    assert stuck.stuck(6) == 13
    stuck.feed(b"}", 6.5, more=False)
    stuck.given(12)
    assert stuck.want(12) == Send(b"1\r\n}\r\n0\r\n\r\n", until=17)
