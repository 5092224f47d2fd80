"""EventDecoder: what shows in one frame, and the two ways of reading it."""

from __future__ import annotations

import json
from contextlib import nullcontext

import pytest

from sansio_step import (
    ContentBlockDeltaEvent,
    DecodeError,
    ErrorEvent,
    EventDecoder,
    LimitExceeded,
    MessageStream,
    PingEvent,
    ProtocolViolation,
    SSEDecoder,
    TextDelta,
    UnknownEvent,
    decode_event,
)
from sansio_step._events import ErrorDetail

from .helpers import (
    PING,
    TEXT,
    block_start,
    block_stop,
    delta,
    describe,
    frame,
    long_way,
    message_start,
    pieces,
    read,
    splits,
    text_block,
    whole,
)
from .test_deviations import LEGAL, ROWS

# Data that can't be read, under the name of an event, with the reason.
UNREADABLE = {
    "broken JSON": ('{"type":"ping"', "ping", "ping: the text ends too early: expected ',' or the end of the object or array at character 14 of the data"),
    "no JSON": ("hello", "ping", "ping: expected a JSON value at character 0 of the data"),
    "empty": ("", "content_block_delta", "content_block_delta: the text ends too early: expected a JSON value at character 0 of the data"),
    "[DONE] under our name": ("[DONE]", "message_stop", "message_stop: expected a JSON value at character 1 of the data"),
    "an array": ("[1]", "ping", "ping: the data is an array, not an object"),
    "a string": ('"x"', "message_start", "message_start: the data is a string, not an object"),
    "a number": ("1.5", "message_start", "message_start: the data is a number, not an object"),
    "null": ("null", "message_start", "message_start: the data is null, not an object"),
    "NaN": ('{"type":"ping","a":NaN}', "ping", "ping: expected a JSON value at character 19 of the data"),
    "Infinity": ('{"type":"ping","a":-Infinity}', "ping", "ping: expected a JSON value at character 19 of the data"),
    "a number out of range": ('{"type":"ping","a":1e400}', "ping", "ping: number out of range at character 19 of the data"),
    "too many digits": ('{"type":"ping","a":%s}' % ("1" * 5000), "ping", "ping: number out of range at character 19 of the data"),
    "type no string": ('{"type":5}', "ping", "type is an integer, not a string"),
    "index -1": ('{"type":"content_block_stop","index":-1}', "content_block_stop", "index is -1, not an integer from 0 to 2**31-1"),
    "index 2**31": ('{"type":"content_block_stop","index":2147483648}', "content_block_stop", "index is 2147483648, not an integer from 0 to 2**31-1"),
    "index 2**63": ('{"type":"content_block_stop","index":9223372036854775808}', "content_block_stop", "index is 9223372036854775808, not an integer from 0 to 2**31-1"),
    "index huge": ('{"type":"content_block_stop","index":%s}' % ("9" * 400), "content_block_stop", "index is an integer, not an integer from 0 to 2**31-1"),
    "index 0.0": ('{"type":"content_block_stop","index":0.0}', "content_block_stop", "index is 0.0, not an integer from 0 to 2**31-1"),
    "index true": ('{"type":"content_block_stop","index":true}', "content_block_stop", "index is True, not an integer from 0 to 2**31-1"),
    "index a string": ('{"type":"content_block_stop","index":"0"}', "content_block_stop", "index is a string, not an integer from 0 to 2**31-1"),
    "no delta": ('{"type":"content_block_delta","index":0}', "content_block_delta", "content_block_delta without delta"),
    "delta a string": ('{"type":"content_block_delta","index":0,"delta":"x"}', "content_block_delta", "content_block_delta.delta is a string, not an object"),
    "delta type a number": ('{"type":"content_block_delta","index":0,"delta":{"type":1}}', "content_block_delta", "delta.type is an integer, not a string"),
    "text a number": ('{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":1}}', "content_block_delta", "delta.text is an integer, not a string"),
    "no citation": ('{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta"}}', "content_block_delta", "citations_delta without citation"),
    "no block": ('{"type":"content_block_start","index":0}', "content_block_start", "content_block_start without content_block"),
    "block type a list": ('{"type":"content_block_start","index":0,"content_block":{"type":[]}}', "content_block_start", "content_block.type is an array, not a string"),
    "tool input a list": ('{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","input":[1]}}', "content_block_start", "content_block.input is an array, not an object"),
    "content a string": ('{"type":"message_start","message":{"content":"x"}}', "message_start", "message.content is a string, not an array"),
    "content of strings": ('{"type":"message_start","message":{"content":["x"]}}', "message_start", "message.content[] is a string, not an object"),
    "message an empty list": ('{"type":"message_start","message":[]}', "message_start", "message_start.message is an array, not an object"),
    "delta an empty string": ('{"type":"content_block_delta","index":0,"delta":""}', "content_block_delta", "content_block_delta.delta is a string, not an object"),
    "delta of a message a number": ('{"type":"message_delta","delta":1}', "message_delta", "message_delta.delta is an integer, not an object"),
    "broken and without a name": ('{"type":"content_block_d', "message", "event: the text ends too early: a string without its end at character 24 of the data"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_events(name):
    """A DecodeError that says why and where, with everything before it kept; never a bare error of a library."""
    data, event, reason = UNREADABLE[name]
    line = b"" if event == "message" else b"event: %b\n" % event.encode()
    body = PING + line + b"data: %b\n\n" % data.encode()
    for chunks in ([body], pieces(body, 1), [PING, body[len(PING) :]]):
        decoder = EventDecoder()
        events = []
        with pytest.raises(DecodeError) as caught:
            for chunk in (*chunks, b"\n"):
                events += decoder.receive_data(chunk)
        assert events == [PingEvent()]
        assert caught.value.reason == reason
        assert describe(caught.value)[2:] == (1, len(PING))
        assert len(str(caught.value)) < 300
    with pytest.raises(DecodeError):
        decode_event(data, event)


def nested(depth):
    return frame("ping", a=0).replace(b"0", b"[" * depth + b"]" * depth)


def deep_down(depth, call):
    return call() if depth == 0 else deep_down(depth - 1, call)


@pytest.mark.parametrize("stack", [0, 500, 800])
def test_the_limit_on_nesting_does_not_move_with_the_stack(stack):
    """200 levels are read and 201 refused, even if msgspec would have no stack left; so are 100,000."""
    for size in (1, 10**6):
        (event,) = deep_down(stack, lambda size=size: feed(nested(199), size))
        value = event.extra["a"]
        for _ in range(199):
            assert isinstance(value, list)
            value = value[0] if value else None
        for depth in (200, 100_000 if size > 1 else 300):
            with pytest.raises(DecodeError, match="nested deeper than 200"):
                deep_down(stack, lambda size=size, depth=depth: feed(nested(depth), size))


def feed(body, size):
    decoder = EventDecoder()
    return [event for chunk in pieces(body, size) for event in decoder.receive_data(chunk)]


def test_many_brackets_are_not_deep():
    """Width is no depth, and brackets in strings are neither."""
    assert feed(frame("ping", a=[[1]] * 500, b="[" * 500, c='\\"['), 10**6)[0].extra["b"] == "[" * 500


def test_unknown_fields_are_kept():
    """On the event, on its parts, whatever their names; null is a value there."""
    event = decode_event(
        '{"type":"content_block_delta","index":1,"extra":{"x":1},"delta":{"type":"text_delta","text":"a","extra":null,"_raw":2}}',
        "content_block_delta",
    )
    assert event.extra == {"extra": {"x": 1}}
    assert event.delta.extra == {"extra": None, "_raw": 2}
    assert event.delta.text == "a"


def test_a_null_field_is_an_absent_one():
    """null for a known field reads as if it were not there."""
    body = '{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":null}}'
    assert decode_event(body, "content_block_delta") == ContentBlockDeltaEvent(1, TextDelta(""))
    assert decode_event('{"type":null,"a":1}', "ping") == PingEvent(extra={"a": 1})


def test_frames_without_data_are_no_events():
    """An id or a comment alone dispatches nothing and counts for nothing."""
    decoder = EventDecoder()
    assert decoder.receive_data(b"id: 1\n\n: c\n\nevent: ping\n\n" + PING) == [PingEvent()]
    assert (decoder.deviations, "events=1" in repr(decoder)) == ([], True)
    assert decoder.receive_data(b"event: x\nid: 4\n\n" + delta(text="a") + b"id: 5\n\n")[0].delta.text == "a"


def test_an_event_is_returned_with_its_blank_line():
    """Nothing waits for the next chunk: each frame in a chunk of its own gives its event, in each shape."""
    frames = [message_start(), *[delta(text=str(number)) for number in range(5)], PING]
    for change in (lambda part: part, lambda part: part.replace(b"\n", b"\r\n"), lambda part: part.replace(b"\n", b"\r"),
                   lambda part: b": c\n\n" + part, lambda part: part[part.index(b"data") :], lambda part: b"id: 1\n" + part,
                   lambda part: part.replace(b": ", b":"), lambda part: part.replace(b',"', b'\ndata: ,"', 1)):  # fmt: skip
        decoder, stream = EventDecoder(), MessageStream()
        for part in map(change, frames):
            assert len(decoder.receive_data(part)) == len(stream.receive_data(part)) == 1
        assert stream.message.text == "01234"


# What servers write around the same event, and how a frame is changed to look so.
SHAPES = {
    "first party": lambda part: part,
    "CRLF": lambda part: part.replace(b"\n", b"\r\n"),
    "no event line": lambda part: part[part.index(b"data") :],
    "an empty event line": lambda part: b"event:\n" + part[part.index(b"data") :],
    "an id": lambda part: b"id: 7\n" + part,
    "a comment before it": lambda part: b": c\n\n" + part,
    "no space": lambda part: part.replace(b": ", b":"),
    "two data lines": lambda part: part.replace(b',"', b'\ndata: ,"', 1),
}


@pytest.mark.parametrize(
    "odd",
    [delta(text="b").replace(b',"', b'\r,"', 1), delta(text="b").replace(b",", b"\r\n,", 1), delta(text="b")[:-2] + b" \n",
     delta(text="b").replace(b"\n", b"\r\n").replace(b',"', b'\r,"', 1), delta(text="b").replace(b"\n\n", b"\n\r"),
     delta(text="b").replace(b'{"', b'{"x":' + b"[" * 1500 + b"]" * 1500 + b',"', 1)],
    ids=["CR", "CRLF", "no blank line", "CR among CRLF", "LF CR", "deep"],
)  # fmt: skip
def test_a_chunk_that_begins_like_a_delta_is_still_read_to_its_end(odd):
    """Line ends, wherever they stand, and what msgspec can't follow: read as the same bytes are among others."""
    chunks = [PING, odd, b"\n", delta(text="c")]
    assert read(chunks) == read([b"".join(chunks)]) == read(pieces(b"".join(chunks), 1))


def test_no_name_on_the_wire_is_one_of_our_own():
    """Whatever `type` says: in a delta's frame, alone, among others or decoded by hand, it is the same unknown event."""
    odd = b'event: content_block_delta\ndata: {"type":"\\u0000","never":1}\n\n'
    bare = b'event: content_block_delta\ndata: {"type":"\\u0000"}\n\n'
    run = delta(text="a")
    for chunks in ([PING, odd, bare], [PING + odd + bare], [(run * 9 + odd + bare) * 2], pieces(odd + bare, 1)):
        shown = read(chunks)
        unknown = [event for event in shown["events"] if isinstance(event, UnknownEvent)]
        assert unknown[:2] == [UnknownEvent("\0", extra={"never": 1}), UnknownEvent("\0")]
        assert {each.code for each in shown["deviations"]} >= {"type_mismatch"}


@pytest.mark.parametrize(
    ("data", "event"),
    [(b"[1,2]", UnknownEvent("message", "[1,2]")), (b'"DONE"', UnknownEvent("message", '"DONE"')),
     (b"12", None), (b"true", None), (b"[DONE]", None), (b'"DON', None)],
)  # fmt: skip
def test_json_that_the_end_leaves_whole_is_an_event(data, event):
    """Objects, arrays and strings show that they are whole; a number may have been longer."""
    shown = read([b"data: " + data])
    assert shown["events"] == ([event] if event else [])
    codes = [each.code for each in shown["deviations"]]
    assert ("unterminated_event" in codes, "unfinished_event" in codes) == (event is not None, event is None)


def test_message_as_the_name_is_no_name():
    """`event: message` says what no event line does: an error without its type is an error still."""
    bare = b'data: {"error":{"type":"overloaded_error","message":"y"}}\n\n'
    error = ErrorEvent(ErrorDetail("overloaded_error", "y"))
    for body in (bare, b"event: message\n" + bare):
        shown = read([body])
        assert shown["events"] == [error]
        assert [each.code for each in shown["deviations"]] == ["bare_error"]


KINDS = [
    delta(text="b"), PING, block_stop(), delta(2, thinking="t"), frame("surprise", a=1), PING.replace(b"\n", b"\r\n"),
    *(change(delta(text="c")) for change in SHAPES.values()), *(change(PING) for change in SHAPES.values()),
]  # fmt: skip


@pytest.mark.parametrize("first", KINDS)
def test_anything_may_stand_between_deltas(first):
    """Among the runs of deltas of a chunk each event is read as it is alone, in its place and with its number."""
    run = delta(text="a")
    alone = {part: EventDecoder().receive_data(part) for part in (run, *KINDS)}
    for second in KINDS:
        for parts in (
            [run] * 6 + [first, run, second] + [run] * 6,
            [first, second] + [run] * 9,
            [run] * 9 + [first, second],
        ):
            decoder = EventDecoder()
            assert decoder.receive_data(b"".join(parts)) == [event for part in parts for event in alone[part]]
            assert f"events={len(parts)} " in repr(decoder)
            numbers = [
                number
                for number, part in enumerate(parts)
                if b"event: " not in part and b"event:c" not in part and b"event:p" not in part
            ]
            counted = [each for each in decoder.deviations if each.code == "no_event_line"]
            assert [(each.event_number, each.count) for each in counted] == (
                [(numbers[0], len(numbers))] if numbers else []
            )


def test_a_name_that_does_not_fit_shows_in_any_chunk():
    """The JSON's type counts, and the difference is noted, also if the event comes alone or in a run."""
    wrong, unnamed = delta(text="a").replace(b"content_block_delta", b"ping", 1), SHAPES["no event line"](PING)
    for chunks in ([PING, wrong, unnamed, wrong, unnamed], [PING * 9 + wrong + unnamed + wrong + unnamed]):
        decoder = EventDecoder()
        for chunk in chunks:
            decoder.receive_data(chunk)
        number = 1 if len(chunks) > 1 else 9
        assert [(each.code, each.event_number, each.count) for each in decoder.deviations] == [
            ("type_mismatch", number, 2), ("no_event_line", number + 1, 2),
        ]  # fmt: skip
    assert read([b'event: \xff\ndata: {"type":"ping"}\n\n'])["deviations"][0].detail.startswith(
        "event line '\ufffd', JSON"
    )


def test_a_byte_order_mark_stands_at_the_start_alone():
    """Behind the first chunk it belongs to the name of a field, and makes it one that nobody knows."""
    decoder = EventDecoder()
    assert decoder.receive_data(PING) + decoder.receive_data(b"\xef\xbb\xbf" + PING) == [PingEvent(), PingEvent()]
    assert [(each.code, each.event_number) for each in decoder.deviations] == [("no_event_line", 1)]


FIRST, SECOND = "\ud83e", "\udd9c"


@pytest.mark.parametrize(
    ("deltas", "shown"),
    [
        ([{"text": f"a{FIRST}"}, {"text": f"{SECOND}b"}], ["a", "🦜b"]),
        (
            [{"text": "\ud800"}, {"text": "\udc00"}, {"text": "\udbff"}, {"text": "\udfff"}],
            ["", "\U00010000", "", "\U0010ffff"],
        ),
        ([{"text": FIRST}, {"text": ""}, {"text": SECOND}], ["", "", "🦜"]),
        ([{"text": FIRST}, {"text": SECOND + FIRST}, {"text": SECOND}], ["", "🦜", "🦜"]),
        ([{"text": FIRST}, {"text": "b"}, {"text": SECOND}], ["", "\ufffdb", "\ufffd"]),
        ([{"text": SECOND}, {"text": FIRST}], ["\ufffd", ""]),
        ([{"text": FIRST}, {"thinking": SECOND}], ["", "\ufffd"]),
        ([{"text": FIRST}, {"index": 1, "text": SECOND}], ["", "\ufffd"]),
        ([{"partial_json": FIRST}, PING, frame("surprise"), {"partial_json": SECOND}], ["", "🦜"]),
        ([{"text": FIRST}, block_stop(), {"text": SECOND}], ["", "\ufffd"]),
        ([{"text": FIRST}, {"signature": "s"}, {"text": SECOND}], ["", "s", "\ufffd"]),
    ],
)
def test_halves_in_neighbouring_deltas(deltas, shown):
    """A first half waits for the next delta, if that is of its index and kind; pings and unknown events are no neighbours."""
    frames = [part if isinstance(part, bytes) else delta(**part) for part in deltas]
    for chunks in (frames, [b"".join(frames)], pieces(b"".join(frames), 1)):
        decoder = EventDecoder()
        events = [
            event.delta
            for chunk in chunks
            for event in decoder.receive_data(chunk)
            if event.type == "content_block_delta"
        ]
        assert [getattr(each, each.__struct_fields__[0]) for each in events] == shown


def test_an_event_of_just_its_limit_may_lack_its_blank_line():
    """The last line end of an event counts; without it one byte less is enough."""
    for most, got in ((len(PING) - 1, [PingEvent()]), (len(PING) - 2, None)):
        decoder = EventDecoder(max_event_size=most)
        with nullcontext() if got else pytest.raises(LimitExceeded):
            assert decoder.receive_data(PING[:-1]) == []
            assert decoder.receive_eof() == got


def test_the_end_of_the_body_is_the_end():
    """An event that the end completes counts. Nothing is read after the end, not even a chunk that is one event."""
    for reader in (EventDecoder(), MessageStream()):
        reader.receive_data(PING + PING)
        assert reader.receive_data(PING[:-1]) == []
        assert len(reader.receive_eof()) == 1
        assert "events=3 " in repr(reader)
    for reader in (EventDecoder(), MessageStream(), SSEDecoder()):
        reader.receive_data(PING)
        reader.receive_eof()
        with pytest.raises(ValueError, match="after receive_eof"):
            reader.receive_data(PING)


BEFORE = [
    b"", b"\xef\xbb\xbf", b": c", b": c\n", b"id: 7\n", b"id: 7", b"data: 1", b"data:\n", b"event: ping\n", PING + b"\n", PING[:-1],
    PING.replace(b"\n", b"\r"), delta(text="a\ud83d"), delta(text="a")[:-20], b"data: {\n\n", PING[PING.index(b"data") :],
]  # fmt: skip


@pytest.mark.parametrize("before", BEFORE)
def test_a_chunk_is_read_by_what_came_before_it(before):
    """An event's own chunk is the rest of a comment, a line, a block or a character, if one is open."""
    front = message_start() + block_start(TEXT)
    for part in (delta(text="b"), delta(text="\udd9c"), PING, block_stop(), delta(text="b").replace(b"\n", b"\r\n")):
        for change in SHAPES.values():
            chunk = change(part)
            whole_body = read([front + before + chunk + chunk])
            assert read([front, before, chunk, chunk]) == read(pieces(front + before + chunk * 2, 1)) == whole_body
            assert read([before, chunk, chunk]) == read([before + chunk + chunk])


def test_data_over_several_lines_is_not_taken_for_several_events():
    """Lines that only JSON would join, or that look like another event, are read by the standard."""
    cut = b'event: content_block_delta\ndata: {"type":"content_block_delta",\n"index":0,"delta":{"type":"text_delta","text":"x"}}\n\n'
    twice = delta(text="a")[:-2] + b"," + delta(text="b")[33:]
    hidden = delta(text="a")[:-2] + b"\nnull," + delta(text="b")[33:]
    for odd in (cut, twice):
        for body in (odd, delta(text="a") + odd + delta(text="b"), delta(text="a") * 20 + odd):
            for chunks in ([body], pieces(body, 1)):
                decoder = EventDecoder()
                with pytest.raises(DecodeError):
                    for chunk in (*chunks, b"\n"):
                        decoder.receive_data(chunk)
                assert decoder.fault.byte_offset == body.index(odd)
    assert len(EventDecoder().receive_data(delta(text="a") * 9 + hidden)) == 10


def test_limits_hold_in_the_short_way_too():
    """An event over its limit is refused in one piece as in many; one of just the limit is not."""
    small, large = delta(text="a"), delta(text="a" * 10)
    for body in (large, small * 5 + large, small + large + small):
        for chunks in ([body], pieces(body, 1), pieces(body, 40)):
            decoder = EventDecoder(max_event_size=len(large) - 1)
            with pytest.raises(LimitExceeded):
                for chunk in (*chunks, b"\n"):
                    decoder.receive_data(chunk)
            assert decoder.fault.byte_offset == body.index(large)
        assert feed(body, 40) == EventDecoder(max_event_size=len(large)).receive_data(body)


def test_byte_offsets_in_any_shape():
    """A fault says where its frame starts on the wire, after comments too, with any line ends and any cutting."""
    for shape in (lambda body: body, lambda body: body.replace(b"\n", b"\r\n"), lambda body: b"\xef\xbb\xbf" + body):
        front = shape(text_block("a") + b": c\n\n" + PING)
        bad = shape(b": c\n" + frame("content_block_stop", index=-1))[3 if shape(b"") else 0 :]
        body = front + bad
        start = len(front) + bad.index(b"event")
        for chunks in splits(body):
            decoder = EventDecoder()
            with pytest.raises(DecodeError):
                for chunk in (*chunks, b"\n"):
                    decoder.receive_data(chunk)
            assert decoder.fault.byte_offset == start


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_byte_offsets_of_events_in_chunks_of_their_own(end):
    """If each event is a chunk, one that the message refuses is still found on the wire, with any line ends."""
    start, stop, wrong = (
        wire.replace(b"\n", end, 1)
        for wire in (message_start(), frame("message_delta", delta={}, usage={}), delta(7, text="a"))
    )
    stream = MessageStream(strict=True)
    assert len(stream.receive_data(start)) == 1
    assert len(stream.receive_data(stop)) == 1
    with pytest.raises(ProtocolViolation):
        stream.receive_data(wrong)
    assert (stream.fault.event_number, stream.fault.byte_offset) == (2, len(start + stop))


OTHERS = (
    PING,
    frame("ping", _name="pong"),
    frame("ping", _name=None),
    b"event: ping\ndata: {}\n\n",
    b"event:ping\ndata:{}\n\n",
    PING + frame("content_block_stop", index=1),
    frame("content_block_stop", index=1),
    delta(text="\ud83e") + PING,
    delta(text="\ud83e") + frame("content_block_stop", index=0) + delta(text="\udd9c"),
    delta(text="\ud83e") + delta(text="\udd9c").replace(b"event: content", b"event: kontent"),
)


@pytest.mark.parametrize("other", OTHERS, ids=range(len(OTHERS)))
def test_what_stands_between_runs_of_deltas(other):
    """Events among many deltas are the same, with the same deviations, as each in a chunk of its own."""
    body = delta(text="a") * 9 + other + delta(text="b") * 9
    whole, apart = EventDecoder(), EventDecoder()
    events = whole.receive_data(body)
    assert events == [event for part in body.split(b"\n\n") for event in apart.receive_data(part + b"\n\n")]
    assert [event.type for event in events].count("ping") == other.count(b"{}") + other.count(b'"ping"')
    assert whole.deviations == apart.deviations


@pytest.mark.parametrize("between", [b": keep-alive\n\n", b"id: 7\n\n", b"data\n\n", b"x\n\n", b":\n\n\n"])
def test_what_stands_behind_each_delta(between):
    """A comment, a block without data or an event with empty data is the same after each of many as after one."""
    body = (delta(text="a") + between) * 9
    whole, apart = EventDecoder(), EventDecoder()
    events = whole.receive_data(body)
    assert events == [event for part in body.split(b"\n\n") for event in apart.receive_data(part + b"\n\n")]
    assert len(events) == (18 if between == b"data\n\n" else 9)
    assert whole.deviations == apart.deviations


def test_large_events():
    """An event of many chunks is read as a small one is, and one that can't be is found on the wire."""
    small, large = delta(text="a"), delta(text="b" * 200_000)
    broken = large[:-3] + b"\n\n"
    for shape in (
        lambda body: body,
        lambda body: body.replace(b"\n", b"\r\n"),
        lambda body: body.replace(b"\n", b"\r"),
    ):
        decoder = EventDecoder()
        events = [
            event for chunk in pieces(shape(small + large + small), 1460) for event in decoder.receive_data(chunk)
        ]
        assert [len(event.delta.text) for event in events] == [1, 200_000, 1]
        decoder = EventDecoder()
        with pytest.raises(DecodeError):
            for chunk in pieces(shape(small + large + broken + small), 1460):
                decoder.receive_data(chunk)
        assert (decoder.fault.event_number, decoder.fault.byte_offset) == (2, len(shape(small + large)))
    decoder = EventDecoder(max_event_size=len(large) - 1)
    with pytest.raises(LimitExceeded):
        for chunk in pieces(small + large, 1460):
            decoder.receive_data(chunk)
    assert (decoder.fault.event_number, decoder.fault.byte_offset) == (1, len(small))


def test_decode_event_takes_text_and_bytes():
    """Frames from elsewhere: str, bytes, bytearray, or the object; anything else is a TypeError."""
    wire = json.dumps({"type": "surprise", "a": 1})
    for data in (wire, wire.encode(), bytearray(wire.encode())):
        assert decode_event(data) == UnknownEvent("surprise", extra={"a": 1})
    assert decode_event('{"a":1}', "surprise") == UnknownEvent("surprise", extra={"a": 1})
    assert decode_event("[DONE]") == UnknownEvent("message", "[DONE]")
    assert decode_event('{"type":"x","a":"\ud800"}') == UnknownEvent("x", extra={"a": "\ufffd"})
    with pytest.raises(TypeError):
        decode_event([{"type": "ping"}])


def test_strict_and_lenient_agree_on_what_is_whole():
    """The mode changes no event of a legal stream."""
    body = whole(text_block("a", "b"))
    assert EventDecoder(strict=True).receive_data(body) == EventDecoder().receive_data(body)


EVERY_INPUT = {
    **{f"deviation {code}": row[0] for code, row in ROWS.items()},
    **{f"legal {name}": body for name, body in LEGAL.items() if len(body) < 5000},
    **{f"unreadable {name}": text_block("a") + b"event: %b\ndata: %b\n\n" % (event.encode(), data.encode()) + PING
       for name, (data, event, _) in UNREADABLE.items()},
}  # fmt: skip


@pytest.mark.parametrize("name", EVERY_INPUT)
def test_every_input_reads_the_same_the_long_way(name):
    """The line by line, event by event reading gives the same events, fault, deviations and message, in any chunks."""
    body = EVERY_INPUT[name]
    cuttings = [[body], pieces(body, 1), pieces(body, 40), [part + b"\n\n" for part in body.split(b"\n\n")]]
    options = ({}, {"strict": True}, {"max_event_size": 90}, {"max_message_size": 1624})

    def shown():
        frames = []
        for chunks in cuttings:
            decoder = SSEDecoder()
            frames.append([event for chunk in chunks for event in decoder.receive_data(chunk)])
        return frames, [read(chunks, **option) for chunks in cuttings for option in options]

    short = shown()
    with long_way():
        assert shown() == short


def test_the_place_of_a_frame_after_comments_in_a_chunk_of_its_own():
    """Each line end counts with the bytes that it had."""
    for end in (b"\n", b"\r\n", b"\r"):
        first = message_start().replace(b"\n", end)
        comments = b": c" + end + b": dd" + end
        decoder = EventDecoder()
        decoder.receive_data(first)
        with pytest.raises(DecodeError) as caught:
            decoder.receive_data(comments + block_stop(-1).replace(b"\n", end))
        assert (caught.value.event_number, caught.value.byte_offset) == (1, len(first + comments))
