"""text/event-stream by the WHATWG rules."""

from __future__ import annotations

import base64
import re

import pytest

from sansio_step import LimitExceeded, ServerSentEvent, SSEDecoder, encode_sse

from .helpers import describe, long_way, pieces, splits
from .shared import needs_vectors, vectors


def decode(chunks, **options):
    decoder = SSEDecoder(**options)
    events = [event for chunk in chunks for event in decoder.receive_data(chunk)]
    events += decoder.receive_eof()
    return [(event.event, event.data, event.id) for event in events], decoder.retry, decoder.last_event_id


@needs_vectors
@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector["name"])
def test_conformance_vectors(vector):
    """Each vector gives its events whole, byte by byte, cut anywhere, and as it says that it was cut."""
    raw = base64.b64decode(vector["input_b64"])
    events = [(event["event"], event["data"], event["id"]) for event in vector["expected"]]
    expected = (events, vector["expected_retry"], vector["expected_last_event_id"])
    cuts = [0, *vector.get("chunks", []), len(raw)]
    assert decode([raw[start:stop] for start, stop in zip(cuts, cuts[1:], strict=False)]) == expected
    step = max(1, len(raw) // 300)  # 66 kB at each index would be 66,000 readings of it
    assert decode(pieces(raw, 1)) == expected
    for index in range(0, len(raw) + 1, step):
        assert decode([raw[:index], raw[index:]]) == expected


# Input, events as (event, data, id), retry: written from the standard.
LITERALS = {
    "a name, data, id": (b"event: a\ndata: 1\nid: 7\n\n", [("a", "1", "7")], None),
    "the id stays": (b"id: 7\ndata: 1\n\ndata: 2\n\nid\ndata: 3\n\n", [("message", "1", "7"), ("message", "2", "7"), ("message", "3", "")], None),
    "an empty id takes the last one away": (b"id: 7\ndata: 1\n\nid:\ndata: 2\n\ndata: 3\n\n", [("message", "1", "7"), ("message", "2", ""), ("message", "3", "")], None),
    "letters beside line ends": (b"data: 1\r\ndata: aX\r\nevent: X\r\n\r\n", [("X", "1\naX", "")], None),
    "an id with NUL is ignored": (b"id: 7\ndata: 1\n\nid: a\0b\ndata: 2\n\n", [("message", "1", "7"), ("message", "2", "7")], None),
    "no data, no event": (b"event: a\n\nid: 3\n\ndata: 1\n\n", [("message", "1", "3")], None),
    "an empty event is the default": (b"event:\ndata: 1\n\n", [("message", "1", "")], None),
    "empty data is data": (b"data\n\ndata:\ndata\n\n", [("message", "", ""), ("message", "\n", "")], None),
    "one space is dropped": (b"data:  1\n\ndata:\t2\n\n", [("message", " 1", ""), ("message", "\t2", "")], None),
    "several data lines, with and without space": (b"data:1\ndata: data:2\ndata:  3\n\n", [("message", "1\ndata:2\n 3", "")], None),
    "comments": (b":\n: data: no\ndata: 1\n:x\ndata: 2\n\n:\n\n", [("message", "1\n2", "")], None),
    "unknown fields": (b"foo: 1\ndata: 1\ndatax: 2\n Data: 3\n\n", [("message", "1", "")], None),
    "BOM once": (b"\xef\xbb\xbfdata: 1\n\n\xef\xbb\xbfdata: 2\n\n", [("message", "1", "")], None),
    "half a BOM": (b"\xef\xbbdata: 1\n\ndata: 2\n\n", [("message", "2", "")], None),
    "CR, LF, CRLF": (b"data: 1\r\rdata: 2\n\ndata: 3\r\n\r\ndata: 4\r\n\n", [("message", str(n), "") for n in (1, 2, 3, 4)], None),
    "CRLF after each of several lines": (b"data: 1\r\ndata: 2\r\nevent: a\r\n\r\n", [("a", "1\n2", "")], None),
    "CR after each of several lines": (b"data: 1\rdata: 2\revent: a\r\r", [("a", "1\n2", "")], None),
    "bytes that are not UTF-8": (b"data: a\xff\xe2\x82b\n\n", [("message", "a\ufffd\ufffdb", "")], None),
    "NUL is text": (b"data: a\0b\n\n", [("message", "a\0b", "")], None),
    "cut at the end": (b"data: 1\n\ndata: 2\n", [("message", "1", "")], None),
    "retry": (b"retry: 10\nretry: -1\nretry: 1e3\nretry:\n\ndata: 1\n\n", [("message", "1", "")], 10),
    "retry in an open block": (b"data: 1\n\nretry: 20\nretry: 30", [("message", "1", "")], 20),
    "retry with 5,000 digits": (b"retry: " + b"9" * 5000 + b"\n\n", [], 10**5000 - 1),
    "retry with digits of all kinds": (b"retry: " + b"1234567" * 701 + b"\n\n", [], sum(1234567 * 10 ** (7 * place) for place in range(701))),
    "event after the data": (b"data: 1\nevent: a\n\n", [("a", "1", "")], None),
    "empty lines first": (b"\n\n\ndata: 1\n\n\n\ndata: 2\n\n", [("message", "1", ""), ("message", "2", "")], None),
}  # fmt: skip


@pytest.mark.parametrize("name", LITERALS)
def test_rules_of_the_standard(name):
    """Each rule, whole, byte by byte and cut at each index."""
    raw, events, retry = LITERALS[name]
    last_id = events[-1][2] if events else ""
    step = max(1, len(raw) // 200)
    for number, chunks in enumerate(splits(raw)):
        if number % step == 0 or number < 2:
            assert decode(chunks) == (events, retry, last_id)


@pytest.mark.parametrize("name", LITERALS)
def test_short_ways_agree_with_the_line_by_line_way(name):
    """Every input gives the same by the loop over lines alone."""
    raw, events, retry = LITERALS[name]
    with long_way():
        assert decode([raw])[:2] == (events, retry)
        assert decode(pieces(raw, 1))[:2] == (events, retry)


SHAPES = {
    "common": b"event: a\ndata: %d\n\n",
    "no event line": b"data: %d\n\n",
    "no space": b"event:a\ndata:%d\n\n",
    "id first": b"id: %d\nevent: a\ndata: x\n\n",
    "comment between": b": hi\n\nevent: a\ndata: %d\n\n",
    "two data lines": b"event: a\ndata: %d\ndata:y\n\n",
    "id last": b"event: a\ndata: %d\nid: 5\n\n",
    "CRLF": b"event: a\r\ndata: %d\r\n\r\n",
    "CR": b"event: a\rdata: %d\r\r",
}


def test_shapes_may_change_within_a_chunk():
    """Two events in the common shape promise nothing about the third."""
    body = (
        SHAPES["common"] % 1
        + SHAPES["common"] % 2
        + b"id: 7\n"
        + SHAPES["common"] % 3
        + b"retry: 5\n"
        + SHAPES["CRLF"] % 4
    )
    expected = [("a", "1", ""), ("a", "2", ""), ("a", "3", "7"), ("a", "4", "7")]
    for chunks in splits(body):
        assert decode(chunks)[:2] == (expected, 5)


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_read_alike_in_any_chunks(shape):
    """The shapes that servers use, in chunks of one event, of one byte and of all: the same events, ids too."""
    events = [SHAPES[shape] % number for number in range(12)]
    body = b"".join(events)
    expected = decode([body])
    assert len(expected[0]) == 12
    assert decode(events) == decode(pieces(body, 1)) == decode(pieces(body, 5)) == expected
    assert decode([b"id: z\n\n", *events])[0][0][2] == ("z" if "id" not in shape else expected[0][0][2])


@pytest.mark.parametrize(
    "before", [b"", b"\xef\xbb\xbf", b"id: 5", b": c", b"data: 0\r", b"data: 0\r\r", b"data: 0\n", b"\n"]
)
def test_a_chunk_is_read_by_what_came_before_it(before):
    """An event's own chunk is the rest of a comment, of a line or of a block, if one is open."""
    for shape in SHAPES.values():
        chunk = shape % 1
        assert (
            decode([before, chunk, chunk]) == decode([before + chunk + chunk]) == decode(pieces(before + chunk * 2, 1))
        )


def test_a_repr_is_short_whatever_came():
    """Megabytes of data or of an id end up in a log as their ends."""
    decoder = SSEDecoder()
    (event,) = decoder.receive_data(b"id: %b\nevent: %b\ndata: %b\n\n" % (b"i" * 10**6, b"e" * 10**6, b"d" * 10**6))
    with pytest.raises(AttributeError):
        event.data = "2"
    assert repr(ServerSentEvent("1")) == "ServerSentEvent(data='1', event='message', id='')"
    assert len(repr(event)) < 300 > len(repr(decoder))
    decoder.receive_data(b"id: 7\ndata: 1\n\n")
    assert repr(decoder) == "<SSEDecoder events=2 last_event_id='7' fault=None>"


@pytest.mark.parametrize(
    "odd",
    [b"event: a\ndata: 2\rdata: 3\n\n", b"event: a\r\ndata: 2\rdata: 3\r\n\r\n", b"event: a\ndata: 2\ndata: 3\n\n",
     b"event: a\ndata: 2 \n", b"event: a\ndata: \n\n", b"event: a\ndata:\n\n", b"event: a\ndata: \xff\n\n",
     b"event: a\ndata: \n", b"data: 2\n\n", b"data:  2\n\n", b"data:2\n\n", b"event: a\ndata2\n\n"],
)  # fmt: skip
def test_a_chunk_that_begins_like_the_last_is_still_read_to_its_end(odd):
    """The same event line promises nothing about the rest: each chunk is read as its bytes are among others."""
    body = b"event: a\ndata: 1\n\n"
    chunks = [b"\n", body, odd, odd, b"\n", body]
    assert decode(chunks) == decode([b"".join(chunks)]) == decode(pieces(b"".join(chunks), 1))


@pytest.mark.parametrize("shape", SHAPES)
def test_events_are_counted_whichever_way_they_go(shape):
    """A fault names its event's number. Earlier events count, alone in a chunk, in one of many and line by line."""
    events = [SHAPES[shape] % number for number in range(3)]
    decoder = SSEDecoder(max_event_size=400)
    for chunks in ([b"".join(events)], events, [b"id\n" + b"".join(events)], events):
        for chunk in chunks:
            decoder.receive_data(chunk)
    with pytest.raises(LimitExceeded) as caught:
        decoder.receive_data(b"data: " + b"x" * 400)
    place = 4 * len(b"".join(events)) + len(b"id\n")
    assert (caught.value.event_number, caught.value.byte_offset) == (12, place)


def test_a_complete_line_is_delivered_now():
    """A CR ends its line at once, though an LF may follow; that LF is then no line of its own."""
    decoder = SSEDecoder()
    assert decoder.receive_data(b"data: 1\r\r") == [ServerSentEvent("1")]
    assert decoder.receive_data(b"\ndata: 2\r\n\r") == [ServerSentEvent("2")]
    assert decoder.receive_data(b"\n\n") == []


def test_retry_is_known_before_its_block_ends():
    """retry and the last event id: the first counts with its line, the other with its block."""
    decoder = SSEDecoder()
    decoder.receive_data(b"retry: 5\nid: 7\n")
    assert (decoder.retry, decoder.last_event_id) == (5, "")
    decoder.receive_data(b"\n")
    assert (decoder.retry, decoder.last_event_id) == (5, "7")


@pytest.mark.parametrize(
    "shape", ["event: a\ndata: {}\n\n", "data: {}\n\n", ": c\ndata: {}\n: c\n\n", "data: {}\r\n\r\n"]
)
def test_max_event_size_counts_the_event(shape):
    """All bytes of an event count, its line ends as one each, comments not; one more is refused, in any chunks."""
    body = shape.format("x" * 50).encode()
    size = sum(len(line) + 1 for line in body.splitlines() if not line.startswith(b":"))
    for chunks in ([body], pieces(body, 1), pieces(body, 20)):
        assert len(decode(chunks, max_event_size=size)[0]) == 1
        decoder = SSEDecoder(max_event_size=size - 1)
        with pytest.raises(LimitExceeded) as caught:
            for chunk in chunks:
                decoder.receive_data(chunk)
        assert (caught.value.name, caught.value.limit, caught.value.event_number) == ("max_event_size", size - 1, 0)
        assert caught.value.byte_offset == (4 if shape.startswith(":") else 0)


def test_events_in_front_of_a_fault_are_returned():
    """The list comes first, the fault with the next call and each later one; the decoder stays readable."""
    decoder = SSEDecoder(max_event_size=20)
    assert decoder.receive_data(b"id: 3\ndata: 1\n\ndata: " + b"x" * 30) == [ServerSentEvent("1", id="3")]
    assert describe(decoder.fault) == (LimitExceeded, "more than 20 bytes (max_event_size) (event 1, byte 15)", 1, 15)
    for call in (lambda: decoder.receive_data(b"data: 2\n\n"), decoder.receive_eof, lambda: decoder.receive_data(b"")):
        with pytest.raises(LimitExceeded) as caught:
            call()
        assert caught.value is decoder.fault
    assert decoder.last_event_id == "3"
    assert "events=1" in repr(decoder)


@pytest.mark.parametrize("mark", [b" ", b"\t", b"\x0b", b"\x0c", b"X", b"\xa0"])
def test_nothing_but_line_ends_is_passed_over_before_a_frame(mark):
    """A chunk can begin with any number of blank lines. A mark that only looks like one makes the field another."""
    for blank in (b"\n", b"\r\n\r\n", b"\r\r"):
        decoder = SSEDecoder()
        decoder.receive_data(b"data: 0\n\n")
        assert decoder.receive_data(blank + mark + b"data: 1\n\n") == []
        assert decoder.receive_data(blank + b"data: 2\n\n") == [ServerSentEvent("2")]


def test_the_retry_of_an_event_at_fault_counts_no_more_than_its_data():
    """It was known before the event ended, and is forgotten with it."""
    decoder = SSEDecoder(max_event_size=100)
    decoder.receive_data(b"retry: 5\n")
    assert decoder.retry == 5
    with pytest.raises(LimitExceeded):
        decoder.receive_data(b"data: " + b"x" * 100)
    assert decoder.retry is None


def test_nothing_after_a_fault_is_read_however_large_the_chunk():
    """A chunk of megabytes is read in slices. Those after the fault hold no event any more."""
    decoder = SSEDecoder(max_event_size=100)
    fine = b"data: 1\n\n"
    assert len(decoder.receive_data(fine + b"data: %b\n\n" % (b"x" * 100_000) + fine * 10_000)) == 1
    for call in (decoder.receive_eof, lambda: decoder.receive_data(fine)):
        with pytest.raises(LimitExceeded):
            call()


def test_comments_take_no_memory():
    """A stream of comments, in many lines or in one that never ends, is not kept."""
    decoder = SSEDecoder(max_event_size=100)
    for _ in range(100):
        assert decoder.receive_data(b": keep-alive\n" * 10 + b":" + b"x" * 300) == []
        assert decoder.receive_data(b"x" * 300 + b"\n") == []
        assert len(decoder._reader.pending) == 0
    assert decoder.receive_data(b"data: 1\n: in between\n\n") == [ServerSentEvent("1")]


@pytest.mark.parametrize(
    ("body", "offset"),
    [
        (b"data: 1\n\ndata: " + b"x" * 50, 9),
        (b"data: 1\r\n\r\ndata: " + b"x" * 50, 11),
        (b"\xef\xbb\xbfdata: 1\r\rdata: " + b"x" * 50, 12),
        (b"data: 1\n\n\n\r\n: c\r\n: d\ndata: " + b"x" * 50, 21),
        (b": c\r\ndata: 1\r\n: d\r\n\r\n\r\ndata: " + b"x" * 50 + b"\r\n\r\n", 5 + 9 + 5 + 2 + 2),
        (b"data: " + b"x" * 50 + b"\n\n", 0),
    ],
)  # fmt: skip
def test_byte_offset_is_where_the_event_starts(body, offset):
    """Counted on the wire, whatever the line ends and the cutting; after empty lines and comments too."""
    for chunks in splits(body):
        decoder = SSEDecoder(max_event_size=40)
        with pytest.raises(LimitExceeded):
            for chunk in (*chunks, b"\n"):
                decoder.receive_data(chunk)
        assert decoder.fault.byte_offset == offset


def test_use_after_the_end():
    """receive_eof twice gives an empty list; data after it is the caller's error; so is text, or a bad limit."""
    decoder = SSEDecoder()
    assert decoder.receive_eof() == decoder.receive_eof() == []
    with pytest.raises(ValueError, match="receive_eof"):
        decoder.receive_data(b"data: 1\n\n")
    with pytest.raises(TypeError, match="str"):
        SSEDecoder().receive_data("data: 1\n\n")
    with pytest.raises(ValueError, match="max_event_size"):
        SSEDecoder(max_event_size=0)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_like_input(kind):
    """bytes, bytearray and memoryview; what the caller does with its buffer afterwards changes nothing."""
    decoder = SSEDecoder()
    buffer = bytearray(b"data: 1")
    decoder.receive_data(kind(buffer))
    buffer[:] = b"data: 2"
    assert decoder.receive_data(kind(b"\n\n")) == [ServerSentEvent("1")]


def test_a_large_chunk_is_read_in_slices():
    """A chunk of a megabyte gives what small ones give; a fault in it keeps what came before."""
    body = b"".join(b"data: %d\n\n" % number for number in range(60_000))
    assert len(body) > 500_000
    assert decode([body]) == decode(pieces(body, 1000))
    decoder = SSEDecoder(max_event_size=20)
    events = decoder.receive_data(body[:200_003] + b"y" * 90_000)
    assert events == SSEDecoder().receive_data(body[:200_003])
    assert isinstance(decoder.fault, LimitExceeded)


LONG = "é" * 50_000
LARGE = {
    "event line": (f"event: a\ndata: {LONG}\n\n", "a", LONG, ""),
    "no event line": (f"data: {LONG}\n\n", "message", LONG, ""),
    "no space": (f"data:{LONG}\nevent:a\n\n", "a", LONG, ""),
    "two spaces": (f"data:  {LONG}\n\n", "message", f" {LONG}", ""),
    "an id and a retry time": (f"id: 7\ndata: {LONG}\nretry: 5\n\n", "message", LONG, "7"),
    "two data lines": (f"data: {LONG}\ndata: 1\n\n", "message", f"{LONG}\n1", ""),
    "a data line without a colon": (f"data\ndata: {LONG}\n\n", "message", f"\n{LONG}", ""),
    "many data lines": ("data: 1\n" * 20_000 + "\n", "message", "\n".join(["1"] * 20_000), ""),
    "another field of that start": (f"event: a\ndatax: 1\ndata: {LONG}\n\n", "a", LONG, ""),
    "a large field that is none": (f"x: {LONG}\ndata: 1\n\n", "message", "1", ""),
    "comments": (f": a\ndata: {LONG}\n: b\n\n", "message", LONG, ""),
    "many lines, data in the first and the last": (
        f"data: {LONG}\n{'x' * 9}\n" + "y\n" * 9 + "data: 1\n\n",
        "message",
        f"{LONG}\n1",
        "",
    ),
}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("shape", LARGE)
def test_large_events(shape, end):
    """An event of many chunks, which is read where it lies, is read by the same rules; so are those around it."""
    wire, name, data, last_id = LARGE[shape]
    small = "event: b\ndata: 2\n\n"
    body = (small + wire + small * 3).replace("\n", end).encode()
    expected = [("b", "2", ""), (name, data, last_id), *[("b", "2", last_id)] * 3]
    for size in (1460, 40_000, 99_999):
        assert decode(pieces(body, size)) == (expected, 5 if "retry" in wire else None, last_id)


@pytest.mark.parametrize(
    "event",
    [
        ServerSentEvent("1"),
        ServerSentEvent("a\nb\n\n", "name", "7"),
        ServerSentEvent("", " lead", " id "),
        ServerSentEvent("\ufeff: data\0", "\u2028", "\u0085"),
        ServerSentEvent("X", "X", "X"),
    ],
)
def test_encode_sse_is_undone_by_decoding(event):
    """Encoding and decoding give the event back."""
    assert SSEDecoder().receive_data(encode_sse(event)) == [event]


def test_encode_sse_writes_no_more_than_it_must():
    """The default name and an empty id have no line."""
    assert encode_sse(ServerSentEvent("1\n2")) == b"data: 1\ndata: 2\n\n"
    assert encode_sse(ServerSentEvent("", "a", "7")) == b"event: a\nid: 7\ndata: \n\n"


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (ServerSentEvent("a\rb"), "data with a carriage return can't be carried by an event stream"),
        (ServerSentEvent("", "a\nb"), "event 'a\\nb' is empty or has a line end"),
        (ServerSentEvent("", "a\rb"), "event 'a\\rb' is empty or has a line end"),
        (ServerSentEvent("", ""), "event '' is empty or has a line end"),
        (ServerSentEvent("", id="a\nb"), "line end or NUL in id 'a\\nb'"),
        (ServerSentEvent("", id="a\rb"), "line end or NUL in id 'a\\rb'"),
        (ServerSentEvent("", id="a\0b"), "line end or NUL in id 'a\\x00b'"),
    ],
)
def test_encode_sse_refuses_what_the_format_cannot_carry(event, reason):
    """What would come back as something else is a ValueError."""
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        encode_sse(event)
