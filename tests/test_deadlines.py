"""Time limits, decided by literals: no clock runs here."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_step import DeadlineExceeded, Deadlines, PingEvent, Timeouts, UnknownEvent, decode_event

LIMITS = Timeouts(connect=10, first_event=30, idle=5, stall=20, total=100)
PING = PingEvent()
DELTA = decode_event('{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}')


def test_connect_runs_from_the_start() -> None:
    """Until the connection stands, connect is the limit."""
    deadlines = Deadlines(LIMITS, 1000)
    assert deadlines.next_deadline() == (1010, "connect")
    deadlines.check(1009.9)
    with pytest.raises(DeadlineExceeded, match="'connect' of 10 seconds") as caught:
        deadlines.check(1010)
    assert (caught.value.name, caught.value.seconds) == ("connect", 10)


def test_first_event_runs_from_the_connection() -> None:
    """Once the connection stands, the first event is waited for; connect is over."""
    deadlines = Deadlines(Timeouts(connect=10, first_event=30, idle=None, total=100), 0)
    deadlines.connected(8)
    assert deadlines.next_deadline() == (38, "first_event")


@pytest.mark.parametrize("streaming", [True, False])
def test_idle_begins_with_the_connection(streaming: bool) -> None:
    """Silence counts from the connection on, and each byte, sent or received, begins it anew."""
    deadlines = Deadlines(LIMITS, 0)
    deadlines.connected(1, streaming=streaming)
    assert deadlines.next_deadline() == (6, "idle")
    deadlines.bytes_sent(4)
    assert deadlines.next_deadline() == (9, "idle")
    deadlines.bytes_received(6)
    assert deadlines.next_deadline() == (11, "idle")


def test_a_caller_that_is_waited_for() -> None:
    """While nothing can go on without the caller, its own limit and the total run, and no limit on the other side."""
    limits = Timeouts(connect=10, first_event=30, idle=5, stall=20, caller=50, total=100)
    deadlines = Deadlines(limits, 0)
    deadlines.connected(0)
    deadlines.bytes_received(1)
    deadlines.caller_awaited(2)
    deadlines.caller_awaited(3)  # it is still the same wait
    assert deadlines.next_deadline() == (52, "caller")
    deadlines.caller_returned(42)
    deadlines.caller_returned(43)
    assert deadlines.next_deadline() == (46, "idle")  # of its 5 seconds one had passed
    deadlines.caller_awaited(45)
    assert deadlines.next_deadline() == (95, "caller")
    with pytest.raises(DeadlineExceeded, match="'caller' of 50 seconds"):
        deadlines.check(95)
    deadlines.caller_returned(95)
    deadlines.caller_awaited(95)
    assert deadlines.next_deadline() == (100, "total")


def test_a_caller_without_a_limit() -> None:
    """None is no limit: then only the total runs meanwhile."""
    deadlines = Deadlines(Timeouts(idle=5, caller=None, total=None), 0)
    deadlines.connected(0)
    deadlines.caller_awaited(0)
    assert deadlines.next_deadline() is None
    deadlines.paused()
    deadlines.connecting(10)
    assert deadlines.next_deadline() == (20, "connect")


def test_comments_do_not_hide_a_missing_first_event() -> None:
    """Bytes without an event keep idle away, but not first_event."""
    deadlines = Deadlines(LIMITS, 0)
    deadlines.connected(0)
    for now in range(1, 30):
        deadlines.bytes_received(now)
        deadlines.events_received([], now)
        deadlines.check(now)
    with pytest.raises(DeadlineExceeded) as caught:
        deadlines.check(30)
    assert caught.value.name == "first_event"


def test_pings_do_not_hide_a_missing_first_event() -> None:
    """A ping is not a first event: a server that only pings has not begun to answer."""
    deadlines = Deadlines(LIMITS, 0)
    deadlines.connected(0)
    for now in range(1, 30):
        deadlines.bytes_received(now)
        deadlines.events_received([PING], now)
        deadlines.check(now)
    with pytest.raises(DeadlineExceeded) as caught:
        deadlines.check(30)
    assert caught.value.name == "first_event"


@pytest.mark.parametrize("event", [PING, UnknownEvent(type="heartbeat")], ids=["ping", "unknown"])
def test_pings_for_ever_are_a_stall(event: object) -> None:
    """Once the first event has come, neither a ping nor an event that nobody knows is content."""
    deadlines = Deadlines(LIMITS, 0)
    deadlines.connected(0)
    deadlines.events_received([UnknownEvent(type="hello")], 1)
    for now in range(1, 21):
        deadlines.bytes_received(now)
        deadlines.events_received([event], now)
        deadlines.check(now)
    deadlines.bytes_received(21)
    with pytest.raises(DeadlineExceeded) as caught:
        deadlines.check(21)
    assert caught.value.name == "stall"


@pytest.mark.parametrize("event", [DELTA, decode_event('{"type":"error","error":{"type":"api_error","message":"x"}}')])
def test_content_begins_the_stall_anew(event: object) -> None:
    """Any event of the message pushes the stall away, also among pings in one batch."""
    deadlines = Deadlines(Timeouts(idle=None, stall=20, total=None), 0)
    deadlines.connected(0)
    deadlines.events_received([DELTA], 1)
    assert deadlines.next_deadline() == (21, "stall")
    deadlines.events_received([PING, event, PING], 15)
    assert deadlines.next_deadline() == (35, "stall")


def test_total_runs_through_everything() -> None:
    """No event and no new attempt moves the total."""
    deadlines = Deadlines(LIMITS, 0)
    deadlines.connected(0)
    deadlines.events_received([DELTA], 50)
    deadlines.paused()
    assert deadlines.next_deadline() == (100, "total")
    deadlines.connecting(95)
    assert deadlines.next_deadline() == (100, "total")
    with pytest.raises(DeadlineExceeded) as caught:
        deadlines.check(100)
    assert caught.value.name == "total"


def test_a_new_attempt_begins_with_connect() -> None:
    """What ran for the attempt before is forgotten."""
    deadlines = Deadlines(LIMITS, 0)
    deadlines.connected(1)
    deadlines.bytes_received(2)
    deadlines.connecting(6)
    assert deadlines.next_deadline() == (16, "connect")
    deadlines.check(15)


def test_a_document_has_no_first_event() -> None:
    """Without streaming, nothing but idle and the total runs."""
    deadlines = Deadlines(Timeouts(idle=None, first_event=1, total=100), 0)
    deadlines.connected(1, streaming=False)
    assert deadlines.next_deadline() == (100, "total")


def test_time_away_is_not_the_other_sides_silence() -> None:
    """While the caller is busy, the limits on silence stand still; the total does not."""
    deadlines = Deadlines(LIMITS, 0)
    deadlines.connected(0)
    deadlines.bytes_received(1)
    deadlines.events_received([DELTA], 1)
    deadlines.away(60)
    assert deadlines.next_deadline() == (66, "idle")
    deadlines.away(60)
    assert deadlines.next_deadline() == (100, "total")
    deadlines = Deadlines(Timeouts(idle=None, after_stop=5, total=None), 0)
    deadlines.connected(0)
    deadlines.events_received([STOP], 1)
    deadlines.away(60)
    assert deadlines.next_deadline() == (66, "after_stop")


def test_time_away_over_pings_is_silence() -> None:
    """A caller that is busy with a flood of pings and comments puts no wait for content off; bytes there were."""
    deadlines = Deadlines(LIMITS, 0)
    deadlines.connected(0)
    deadlines.bytes_received(1)
    deadlines.events_received([DELTA], 1)
    deadlines.away(2)
    deadlines.events_received([PING, PING], 4)
    deadlines.away(60)
    assert deadlines.next_deadline() == (23, "stall")


STOP = decode_event('{"type":"message_stop"}')
START = decode_event('{"type":"message_start","message":{"id":"m2"}}')


def test_after_stop_runs_from_the_message_stop() -> None:
    """A whole message takes the place of the wait for content, and neither pings nor unknown events put its end off."""
    deadlines = Deadlines(LIMITS, 0)
    deadlines.connected(0)
    deadlines.events_received([DELTA, STOP], 1)
    for now in (2, 3, 4):
        deadlines.bytes_received(now)
        deadlines.events_received([PING, UnknownEvent(type="heartbeat"), DELTA], now)
    assert deadlines.next_deadline() == (6, "after_stop")
    with pytest.raises(DeadlineExceeded, match="'after_stop' of 5 seconds"):
        deadlines.check(6)


def test_another_message_ends_after_stop() -> None:
    """A message_start says that the body goes on: content is waited for again."""
    deadlines = Deadlines(LIMITS, 0)
    deadlines.connected(0)
    deadlines.events_received([STOP], 1)
    deadlines.bytes_received(22)
    deadlines.events_received([PING, START], 3)
    assert deadlines.next_deadline() == (23, "stall")
    deadlines.events_received([STOP], 4)
    assert deadlines.next_deadline() == (9, "after_stop")


def test_none_waits_for_the_end_of_the_body() -> None:
    """Without after_stop, silence and the total are all that runs after a message_stop."""
    deadlines = Deadlines(Timeouts(after_stop=None, idle=50, total=None), 0)
    deadlines.connected(0)
    deadlines.bytes_received(1)
    deadlines.events_received([STOP], 1)
    assert deadlines.next_deadline() == (51, "idle")


def test_time_away_before_the_first_event() -> None:
    """The wait for the first event stands still too; a limit that doesn't run is not begun."""
    deadlines = Deadlines(Timeouts(first_event=30, idle=None, total=100), 0)
    deadlines.connected(0)
    deadlines.away(20)
    assert deadlines.next_deadline() == (50, "first_event")


def test_time_away_before_the_first_event_of_a_further_attempt() -> None:
    """What came in the attempt before says nothing of this one."""
    deadlines = Deadlines(Timeouts(first_event=30, idle=None, total=None), 0)
    deadlines.connected(0)
    deadlines.events_received([PING], 1)
    deadlines.connecting(2)
    deadlines.connected(3)
    deadlines.away(20)
    assert deadlines.next_deadline() == (53, "first_event")


def test_the_first_event_ends_the_wait_for_it() -> None:
    """Once it is there, only content is waited for, however long that limit is."""
    deadlines = Deadlines(Timeouts(first_event=30, stall=1000, idle=None, total=None), 0)
    deadlines.connected(0)
    deadlines.events_received([object(), PING], 5)
    assert deadlines.next_deadline() == (1005, "stall")


@pytest.mark.parametrize("seconds", [0.5, 1, 1e-9])
def test_a_limit_can_be_short(seconds: float) -> None:
    """Any positive number of seconds is a limit."""
    assert Deadlines(Timeouts(connect=seconds), 0).next_deadline() == (seconds, "connect")


def test_none_is_no_limit() -> None:
    """With every limit off, none runs and any time passes."""
    deadlines = Deadlines(Timeouts(connect=None, first_event=None, idle=None, stall=None, total=None), 0)
    deadlines.connected(0)
    deadlines.bytes_received(0)
    deadlines.events_received([PING, DELTA], 0)
    assert deadlines.next_deadline() is None
    deadlines.check(math.inf)


@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan, "5"])
def test_a_limit_is_a_positive_number(value: object) -> None:
    """Anything else is a ValueError that names the limit."""
    with pytest.raises(ValueError, match=r"^idle: "):
        Timeouts(idle=value)  # type: ignore[arg-type]


def test_a_repr_names_the_limits_that_run() -> None:
    """Each with the time at which it ends, for whoever looks at a call that hangs."""
    deadlines = Deadlines(LIMITS, 1000)
    assert repr(deadlines) == "<Deadlines connect at 1010, total at 1100>"
    deadlines.connected(1001, streaming=False)
    assert repr(deadlines) == "<Deadlines idle at 1006, total at 1100>"
    assert repr(Deadlines(Timeouts(connect=None, total=None), 0)) == "<Deadlines none running>"


def test_the_limits_that_hold_if_nobody_says_another() -> None:
    """In seconds, as the manual lists them."""
    assert Timeouts() == Timeouts(connect=10, first_event=300, idle=300, stall=600, after_stop=5, caller=60, total=3600)


UNKNOWN = UnknownEvent(type="heartbeat")


@pytest.mark.parametrize(
    ("events", "flowing"),
    [
        ([DELTA], True),
        ([DELTA, PING], True),
        ([STOP, START], True),
        ([], False),
        ([PING], False),
        ([UNKNOWN], False),
        ([DELTA, STOP], False),
        ([STOP, DELTA], False),  # until another message begins, its end is waited for
    ],
)
def test_what_flows(events: list[Any], flowing: bool) -> None:
    """Content does, in a message that is on its way, unless a gateway waits for its caller."""
    deadlines = Deadlines(LIMITS, 0)
    deadlines.connected(0)
    assert not deadlines.flowing
    deadlines.events_received(events, 1)
    assert deadlines.flowing is flowing
    deadlines.caller_awaited(2)
    assert not deadlines.flowing
    deadlines.caller_returned(3)
    assert deadlines.flowing is flowing
    deadlines.paused()
    assert not deadlines.flowing


def test_content_flows_without_a_limit_on_stalls() -> None:
    """As in gateways, which have none."""
    deadlines = Deadlines(Timeouts(stall=None), 0)
    deadlines.connected(0)
    deadlines.events_received([DELTA], 1)
    assert deadlines.flowing


@pytest.mark.parametrize("goes", [Deadlines.bytes_received, Deadlines.bytes_sent])
def test_bytes_while_the_caller_is_waited_for(goes: Any) -> None:
    """The wait is no silence, and counts once: `idle` begins with its end."""
    deadlines = Deadlines(LIMITS, 0)
    deadlines.connected(0)
    deadlines.caller_awaited(1)
    goes(deadlines, 4)
    deadlines.caller_returned(6)
    assert deadlines.next_deadline() == (11, "idle")


SECONDS = st.integers(0, 9)


@given(
    told=st.lists(st.sampled_from([[DELTA], [DELTA, DELTA], [PING, DELTA], [PING], [], [STOP, START]])),
    times=st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=9),
)
def test_a_flow_is_what_it_comes_to(told: list[list[Any]], times: list[tuple[int, int]]) -> None:
    """While content flows, `flowed` says the same as the three calls that it stands for, and ends nothing sooner."""
    short, long = Deadlines(LIMITS, 0), Deadlines(LIMITS, 0)
    for deadlines in (short, long):
        deadlines.connected(1)
        for events in [*told, [DELTA]]:
            deadlines.events_received(events, 1)
    now = 1
    for wait, away in times:
        assert short.flowing
        now += wait
        long.bytes_received(now)
        long.events_received([DELTA], now)
        long.away(away)
        now += away
        ended = short.ends
        short.flowed(now)
        assert repr(short) == repr(long)
        assert short.ends >= ended
