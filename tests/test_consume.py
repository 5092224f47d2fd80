"""`consume` and `receive_data` read alike; what `keep` forgets; what `on_fault` holds back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_step import (
    ContentBlockDeltaEvent,
    DecodeError,
    ErrorDetail,
    ErrorEvent,
    IncompleteStream,
    LimitExceeded,
    MessageAccumulator,
    MessageStartEvent,
    MessageStream,
    Outcome,
    StreamError,
    TextDelta,
    UnknownDelta,
    decode_event,
    iter_events,
    parse,
    to_dict,
)

from .helpers import (
    MESSAGE_STOP,
    PING,
    TEXT,
    THINKING,
    block_start,
    delta,
    describe,
    frame,
    message_delta,
    message_start,
    pieces,
    read,
    text_block,
    whole,
)
from .test_properties import CASES, LIMITS

READS = ("message", "messages", "outcome", "block", "usage_is_final", "event_count", "deviations", "unapplied", "fault")
BROKEN = frame("content_block_delta", index="no index")
TOO_LONG = b"data: " + b"x" * 300 + b"\n\n"


def shown(stream):
    return {
        "fault": describe(stream.fault),
        "deviations": stream.deviations,
        "outcome": stream.outcome,
        "messages": [to_dict(message) for message in stream.messages],
        "unapplied": stream.unapplied,
    }


@given(CASES, LIMITS, st.data())
def test_both_verbs_read_alike_however_they_are_mixed(case, limits, data):
    _, chunks = case
    expected = read(chunks, **limits)
    stream = MessageStream(**limits)
    verbs = data.draw(st.lists(st.sampled_from(("consume", "receive_data", *READS)), min_size=1, max_size=6))
    try:
        for number, chunk in enumerate(chunks):
            verb = verbs[number % len(verbs)]
            if verb in READS:
                getattr(stream, verb)
                verb = "consume"
            getattr(stream, verb)(chunk)
        stream.receive_eof()
    except StreamError as error:
        assert error is stream.fault
    assert stream.event_count == len(expected["events"])
    assert shown(stream) == {name: expected[name] for name in shown(stream)}


@pytest.mark.parametrize("name", READS)
def test_whatever_is_asked_reads_what_waits_first(name):
    body = whole(text_block("Hi"), frame("content_block_delta", index=0, delta={"type": "odd_delta", "a": 1}))
    asked, given_at_once = MessageStream(), MessageStream()
    for chunk in pieces(body, 10):
        asked.consume(chunk)
    given_at_once.receive_data(body)
    assert getattr(asked, name) == getattr(given_at_once, name)


def test_methods_read_what_waits_first():
    body = whole(text_block("Hi"))
    for ask in (MessageStream.result, lambda stream: stream.finished(0), repr):
        asked, given_at_once = MessageStream(), MessageStream()
        asked.consume(body)
        given_at_once.receive_data(body)
        assert ask(asked) == ask(given_at_once)


def test_a_message_held_from_before_is_as_of_the_last_time_somebody_asked():
    stream = MessageStream()
    stream.consume(message_start() + block_start(TEXT) + delta(text="a"))
    message = stream.message
    stream.consume(delta(text="b"))
    assert message.text == "a"
    assert stream.message is message
    assert message.text == "ab"


INTERLEAVED = message_start() + b"".join(
    (
        block_start(TEXT, 0),
        block_start(THINKING, 1),
        *(
            delta(index, **{field: text})
            for text in "abc"
            for index, field in ((0, "text"), (1, "thinking"), (0, "text"))
        ),
        delta(1, thinking="d"),
        delta(1, signature="s"),
        delta(0, thinking="of another kind"),
        delta(0, text="e"),
    )
)


def test_deltas_in_a_row_of_several_blocks_and_kinds():
    """A row of deltas is joined as far as it is of one block and kind."""
    consumed = MessageStream()
    consumed.consume(INTERLEAVED)
    consumed.receive_eof()
    assert shown(consumed) == {name: value for name, value in read([INTERLEAVED]).items() if name in shown(consumed)}
    assert [block.type for block in consumed.message.content] == ["text", "thinking", "thinking"]
    assert consumed.message.text == "aabbcce"


@pytest.mark.parametrize(
    "row",
    [
        [(0, "text"), (0, "thinking"), (0, "text"), (0, "thinking")],
        [(0, "text"), (1, "text"), (0, "text"), (1, "text")],
        [(0, "text"), (0, "text"), (0, "thinking"), (0, "thinking")],
        [(0, "text"), (0, "text"), (1, "text"), (1, "text")],
    ],
)
def test_a_row_of_one_block_or_of_one_kind(row):
    """Neither alone makes the deltas ones that are joined."""
    texts = iter("abcdefghijklmnopqrst")
    body = message_start() + b"".join(delta(index, **{field: next(texts)}) for index, field in row * 5)
    consumed = MessageStream()
    consumed.consume(body)
    assert to_dict(consumed.message) == read([body])["messages"][0]


def test_deltas_in_a_row_for_a_block_that_is_finished():
    """Each needs a look of its own, so the row is no short way: no text of it is lost, or opens a block of its own."""
    late = b"".join(delta(text=text) for text in "bcdefghijklmnop")
    for body in (whole(text_block("a"), late), whole(text_block("a"), block_start(THINKING, 1), late)):
        consumed = MessageStream()
        consumed.consume(body)
        consumed.receive_eof()
        assert shown(consumed) == {name: value for name, value in read([body]).items() if name in shown(consumed)}
        assert consumed.message.text == "abcdefghijklmnop"


def test_receive_data_gives_events_after_consume_as_before():
    stream = MessageStream()
    stream.consume(message_start() + block_start(TEXT) + delta(text="a") * 500)
    assert stream.receive_data(delta(text="b") * 3) == [ContentBlockDeltaEvent(0, TextDelta("b"))] * 3
    assert stream.message.text == "a" * 500 + "bbb"


@pytest.mark.parametrize("strict", [False, True])
def test_limits_and_deviations_meet_at_the_same_event(strict):
    """An entry of deviations counts when its event comes, after the deltas before it and before those after it."""
    unnamed = delta(text="n").partition(b"\n")[2]
    body = message_start() + block_start(TEXT) + delta(text="abc") * 4 + unnamed + delta(text="def") * 4 + unnamed
    body += block_start(TEXT, 3) + delta(3, text="g") * 3
    for limit in range(1200, 3200, 40):
        consumed = MessageStream(max_message_size=limit, strict=strict, on_fault="keep")
        consumed.consume(body)
        expected = read([body], max_message_size=limit, strict=strict)
        consumed.receive_eof()
        assert shown(consumed) == {name: expected[name] for name in shown(consumed)}


def test_small_pieces_are_read_when_there_is_enough_to_read():
    """So nothing waits without a bound, neither in bytes nor in pieces, if nobody ever asks."""
    for chunk in (delta(text="x"), b":\n"):
        stream = MessageStream()
        stream.consume(message_start() + block_start(TEXT))
        message = stream.message
        for _ in range(40_000 // len(chunk)):
            stream.consume(chunk)
        stream.consume(delta(text="y") + b"\n" * 28 * 1024)
        assert message.text.endswith("y")


def test_many_small_pieces_are_read_before_they_are_many_bytes():
    """A piece takes 40 bytes beside its own, so 28 KiB in pieces of two would take 600 KB."""
    stream = MessageStream()
    stream.consume(message_start() + block_start(TEXT))
    message = stream.message
    for piece in pieces(delta(text="x") * 20, 2)[:1100]:
        stream.consume(piece)
    assert message.text


def test_pieces_are_read_when_they_are_many_bytes_together():
    """A fault is raised by the call that makes the pieces 28 KiB, not by one that comes much later."""
    stream = MessageStream()
    *most, last = pieces(BROKEN + b"\n" * (28 * 1024 - len(BROKEN)), 1024)
    for piece in (*most, last[1:]):
        stream.consume(piece)
    with pytest.raises(DecodeError):
        stream.consume(b"\n")


def test_what_waits_is_counted_anew_after_each_reading():
    stream = MessageStream()
    stream.consume(message_start() + block_start(TEXT) + b"\n" * 28 * 1024)
    message = stream.message
    stream.consume(delta(text="x"))
    assert message.text == ""
    assert stream.message.text == "x"
    stream.consume(delta(text="y") + b"\n" * (28 * 1024 - 1 - len(delta(text="y"))))
    assert message.text == "x"
    stream.consume(b"\n")
    assert message.text == "xy"


@pytest.mark.parametrize("broken", [BROKEN, TOO_LONG])
def test_the_call_that_reads_a_fault_raises_it_and_each_later_one(broken):
    body = message_start() + text_block("Hi")
    stream = MessageStream(max_event_size=290)
    stream.consume(body + broken)  # it waits
    with pytest.raises(StreamError) as first:
        stream.consume(b"\n" * 28 * 1024)
    assert stream.fault is first.value
    assert first.value.partial.text == "Hi"
    for receive in (stream.consume, stream.receive_data):
        with pytest.raises(StreamError) as again:
            receive(b"")
        assert again.value is first.value


def test_a_fault_that_somebody_asked_for_is_raised_by_the_next_consume():
    stream = MessageStream()
    stream.consume(BROKEN)
    assert isinstance(stream.fault, DecodeError)
    with pytest.raises(DecodeError):
        stream.consume(b"")


def test_consume_wants_bytes_of_a_body_that_goes_on():
    stream = MessageStream()
    with pytest.raises(TypeError, match="expected bytes, bytearray or memoryview, not str"):
        stream.consume("data: ")
    stream.consume(bytearray(whole()))
    assert stream.receive_eof() == []
    with pytest.raises(ValueError, match="after receive_eof"):
        stream.consume(b"")


def test_bytes_that_wait_are_the_callers_no_more():
    """A caller can read into one buffer again and again."""
    buffer = bytearray(whole(text_block("Hi")))
    stream = MessageStream()
    stream.consume(buffer)
    buffer[:] = b"x" * len(buffer)
    assert stream.result().text == "Hi"


# --- keep ------------------------------------------------------------------------------------------------


def several(*texts):
    return [whole(text_block(text)).replace(b"msg_1", b"msg_%d" % number) for number, text in enumerate(texts)]


def test_the_last_message_is_kept_alone():
    first, second = several("one", "two")
    stream = MessageStream(keep="last")
    stream.receive_data(first)
    assert [message.text for message in stream.messages] == ["one"]
    stream.receive_data(second)
    assert [message.text for message in stream.messages] == ["two"]
    assert stream.result().text == "two"


def test_what_is_forgotten_counts_no_more():
    """One message of this size is in the limit; a hundred are, too, if one is kept at a time."""
    bodies = several(*["x" * 100] * 100)
    size = 2 * (len(bodies[-1]) + 1024)
    every, last = MessageStream(max_message_size=size), MessageStream(max_message_size=size, keep="last")
    last.receive_data(b"".join(bodies))
    assert last.result().id == "msg_99"
    every.receive_data(b"".join(bodies))
    assert isinstance(every.fault, LimitExceeded)
    assert parse(b"".join(bodies), max_message_size=size).id == "msg_99"


def test_deviations_are_kept_and_count_on():
    body = b"".join(several(*["x"] * 20)).replace(b"event: ping\n", b"")
    unnamed = body.replace(b"event: message_stop\n", b"")
    stream = MessageStream(keep="last")
    stream.receive_data(unnamed)
    assert [deviation.code for deviation in stream.deviations] == ["no_event_line"] * 20
    # 20 entries of 256 bytes, whatever became of their messages.
    assert isinstance(_fault(unnamed, keep="last", max_message_size=20 * 256), LimitExceeded)
    assert _fault(unnamed, keep="last", max_message_size=20 * 256 + 4096) is None
    bare = body.replace(b'event: message_stop\ndata: {"type":"message_stop"}\n\n', b"")
    assert isinstance(_fault(bare, keep="last", max_message_size=19 * 256), LimitExceeded)
    assert _fault(bare, keep="last", max_message_size=20 * 256 + 4096) is None


def _fault(body, **options):
    stream = MessageStream(**options)
    stream.receive_data(body)
    return stream.fault


def test_what_fits_nowhere_is_forgotten_with_its_message():
    odd = frame("content_block_delta", index=0, delta={"type": "odd_delta", "a": 1})
    first, second = several("one", "two")
    stream = MessageStream(keep="last")
    stream.receive_data(message_start() + block_start(TEXT) + odd + message_delta() + MESSAGE_STOP)
    assert stream.unapplied == [(0, UnknownDelta("odd_delta", extra={"a": 1}))]
    stream.receive_data(second)
    assert stream.unapplied == []


def test_a_next_message_over_the_limit_is_a_fault_after_a_whole_one():
    first, second = several("one", "x" * 3000)
    stream = MessageStream(max_message_size=2500, keep="last")
    stream.receive_data(first + second)
    assert isinstance(stream.fault, LimitExceeded)
    assert stream.fault.partial.id == "msg_1"
    assert stream.outcome is Outcome.FAILED


def test_readers_keep_every_message():
    events = iter_events(several("one", "two"))
    list(events)
    assert [message.text for message in events.messages] == ["one", "two"]


@pytest.mark.parametrize("reader", [MessageStream, MessageAccumulator])
def test_bad_options_are_refused(reader):
    with pytest.raises(ValueError, match="keep is 'first'"):
        reader(keep="first")
    with pytest.raises(ValueError, match="on_fault is None"):
        reader(on_fault=None)


# --- on_fault --------------------------------------------------------------------------------------------


@given(CASES, LIMITS)
def test_an_observer_sees_all_that_others_see_and_throws_nothing(case, limits):
    _, chunks = case
    expected = read(chunks, **limits)
    stream = MessageStream(on_fault="keep", **limits)
    events = []
    for chunk in chunks:
        events += stream.receive_data(chunk)
    events += stream.receive_eof()
    assert events == expected["events"]
    assert shown(stream) == {name: expected[name] for name in shown(stream)}


def test_an_observer_passes_over_what_follows_a_fault():
    stream = MessageStream(on_fault="keep")
    assert len(stream.receive_data(message_start() + BROKEN + PING)) == 1
    fault = stream.fault
    assert isinstance(fault, DecodeError)
    assert stream.receive_data(PING) == []
    stream.consume(PING)
    assert list(stream.iter_data(PING)) == []
    assert stream.receive_frame({"type": "ping"}) == []
    assert stream.receive_eof() == []
    assert list(stream.iter_eof()) == []
    assert stream.fault is fault
    with pytest.raises(DecodeError) as raised:
        stream.result()
    assert raised.value is fault


def test_an_accumulator_that_observes_keeps_its_fault():
    accumulator = MessageAccumulator(strict=True, on_fault="keep")
    accumulator.add(decode_event({"type": "content_block_stop", "index": 3}))
    fault = accumulator.fault
    assert fault.code == "stop_without_block"
    accumulator.extend([decode_event({"type": "ping"})] * 3)
    accumulator.receive_eof()
    assert accumulator.fault is fault
    assert accumulator.event_count == 0
    with pytest.raises(StreamError) as raised:
        accumulator.result()
    assert raised.value is fault


def test_a_fault_ends_an_observers_batch():
    start = MessageStartEvent(decode_event(message_start().split(b"data: ")[1]).message)
    accumulator = MessageAccumulator(max_message_size=1500, on_fault="keep")
    accumulator.add(start)
    texts = [ContentBlockDeltaEvent(0, TextDelta("x" * 100)) for _ in range(9)]
    accumulator.extend([*texts, ErrorEvent(ErrorDetail("late"))])
    assert isinstance(accumulator.fault, LimitExceeded)
    assert accumulator.api_error is None
    assert accumulator.message.text == "x" * 100 * (accumulator.event_count - 1)


def test_a_wrong_call_is_no_fault():
    accumulator = MessageAccumulator(on_fault="keep")
    with pytest.raises(TypeError, match="expected an event"):
        accumulator.add({"type": "ping"})
    accumulator.receive_eof()
    with pytest.raises(ValueError, match="after receive_eof"):
        accumulator.add(decode_event({"type": "ping"}))
    with pytest.raises(IncompleteStream):
        accumulator.result()
