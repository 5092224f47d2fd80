"""Input that is meant to hurt: time and memory grow with the bytes, or not at all, and every end is a typed one.

Bounds are growth, not seconds: the same input eight times as large may take eight times as long, with room for noise and
caches, where anything quadratic would take sixty-four times. Each time is the best of several, in turns.
"""

from __future__ import annotations

import json
import time
import tracemalloc
from contextlib import suppress
from functools import partial

import pytest

import sansio_step
from sansio_step import (
    DecodeError,
    EventDecoder,
    LimitExceeded,
    MessageAccumulator,
    MessageStream,
    Outcome,
    PingEvent,
    SSEDecoder,
    StreamError,
    ToolInputError,
    decode_event,
    decode_message,
    parse,
    to_dict,
    to_json,
)

from .helpers import (
    MESSAGE_STOP,
    block_start,
    block_stop,
    delta,
    frame,
    message_delta,
    message_start,
    pieces,
    text_block,
    tool_block,
    whole,
)

MIB = 1 << 20
TIMES = 8


def timed(function):
    start = time.process_time()
    function()
    return time.process_time() - start


def assert_linear(prepare, small, *, most=3.0):
    """`prepare(size)` gives a function to call; at eight times the size it takes at most 8 * `most` as long."""
    few, many = prepare(small), prepare(small * TIMES)
    best_of_few = best_of_many = float("inf")
    # More rounds only if the machine was busy elsewhere: a best time can only fall.
    for _ in range(10):
        best_of_few = min(best_of_few, timed(few), timed(few))
        best_of_many = min(best_of_many, timed(many))
        if best_of_many <= best_of_few * TIMES * most:
            return
    raise AssertionError(f"{TIMES} times the input took {best_of_many / best_of_few:.1f} times as long")


def peak(function):
    """The most memory that a call held at a time, in bytes."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def assert_takes_no_more(few, many, room):
    """`many` holds at most `room` bytes more than `few` at a time."""
    for _ in range(3):  # what other threads of the process take in the meantime counts as well
        more = peak(many) - peak(few)
        if more < room:
            return
    raise AssertionError(f"{more} bytes more, and {room} are allowed")


def feed(factory, chunks, **options):
    """Read a body to its end or its fault."""
    stream = factory(**options)
    try:
        for chunk in chunks:
            stream.receive_data(chunk)
        stream.receive_eof()
    except StreamError:
        pass
    return stream


def reading(factory, *parts, size=None, repeat=1):
    """A function that reads some parts, one of them repeated so often that the whole gets large."""
    body = b"".join(parts)
    chunks = pieces(body, size) if size else [body]
    return lambda: feed(factory, chunks * repeat)


# --- lines and blocks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [b"", b"data: ", b"event: ", b"id: ", b"retry: ", b'data: {"type":"'])
@pytest.mark.parametrize("factory", [SSEDecoder, EventDecoder, MessageStream])
def test_a_line_of_a_gibibyte(factory, start):
    """A line that never ends is refused once it is over the limit, with no more memory than a few times that limit."""
    piece = b"1" * 65536
    limit = 2 * MIB
    fed = []

    def read():
        stream = factory(max_event_size=limit)
        stream.receive_data(start)
        with pytest.raises(LimitExceeded, match="max_event_size"):
            for number in range(1024 * MIB // len(piece)):
                fed.append(number)
                stream.receive_data(piece)

    assert peak(read) < 4 * limit
    assert len(fed) == limit // len(piece) + (not start)


@pytest.mark.parametrize("factory", [SSEDecoder, MessageStream])
def test_a_comment_of_a_gibibyte(factory):
    """A comment that never ends is not an event and has no limit; none of it is kept."""
    piece = b"1" * (4 * MIB)

    def read():
        stream = factory()
        stream.receive_data(b":")
        for _ in range(1024 * MIB // len(piece)):
            assert stream.receive_data(piece) == []
        assert len(stream.receive_data(b"\nevent: ping\ndata: {}\n\n")) == 1

    assert peak(read) < MIB


@pytest.mark.parametrize("size", [None, 1460, 7])
@pytest.mark.parametrize(
    "line", [b"\n", b"\r", b"\r\n", b":\n", b": a comment\r", b"id: 1\n", b"x\n\n", b"\0\n\n", b"\0"]
)
def test_a_million_lines_of_nothing(line, size):
    """Empty lines, comments and blocks without data cost time by their bytes, and no memory."""
    number = 1_000_000 // TIMES if size is None else 100_000 // TIMES

    def prepare(lines):
        return reading(SSEDecoder, line * lines, size=size)

    assert_linear(prepare, number)
    chunks = pieces(line * 10_000, size or 10**9)
    few, many = (partial(feed, EventDecoder, chunks * times) for times in (1, 3))
    # Lines without a blank one between are one block, which is kept up to its limit and has to be read at the end, as
    # short bytes objects of ten times their size; all else is gone at once.
    growth = len(line) * 20_000 * 12 if line in (b"id: 1\n", b"\0") else 0
    assert_takes_no_more(few, many, growth + 100_000)  # a pointer a line would be 160,000


@pytest.mark.parametrize("size", [None, 1460, 7])
def test_a_million_data_lines_in_an_event(size):
    """They are joined once."""
    number = 1_000_000 // TIMES if size is None else 100_000 // TIMES
    assert_linear(lambda lines: reading(SSEDecoder, b"data: a\n" * lines, b"\n", size=size), number)
    body = b'data: {"type":\n' + b"data:\n" * number + b'data: "ping"}\n\n'
    assert EventDecoder().receive_data(body) == [PingEvent()]


def test_a_line_byte_by_byte():
    """Nor does a long line cost more if it comes in the smallest pieces."""
    assert_linear(lambda size: reading(SSEDecoder, b"data: " + b"a" * size + b"\n\n", size=1), 25_000)
    assert_linear(lambda size: reading(MessageStream, frame("ping", a="b" * size), size=1), 25_000)


def test_nuls():
    """NULs are characters of a line; in JSON they are broken JSON."""
    assert [event.data for event in SSEDecoder().receive_data(b"data: \0\0\nid: \0\n\n")] == ["\0\0"]
    with pytest.raises(DecodeError):
        EventDecoder().receive_data(b"event: ping\ndata: {\0}\n\n")
    assert_linear(lambda size: reading(MessageStream, b"event: ping\ndata: {" + b"\0" * size + b"}\n\n"), 100_000)


# --- JSON ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("open_", ["[", '{"a":', '[{"a":', '["]",'])
def test_nesting(open_):
    """100,000 levels are a typed error wherever JSON is read, found in time that grows with the bytes."""
    deep = open_ * 100_000
    for wire in (f'{{"type":"ping","a":{deep}', f'{{"type":"content_block_start","index":0,"content_block":{deep}'):
        with pytest.raises(DecodeError, match=r"nested deeper than 200|ends too early"):
            EventDecoder().receive_data(f"event: ping\ndata: {wire}\n\n".encode())
    message = parse(whole(tool_block('{"a":' + deep)))
    with pytest.raises(ToolInputError, match="nested"):
        _ = message.tool_uses[0].input
    assert message.tool_uses[0].partial_input().keys() == {"a"}
    to_dict(message)
    with pytest.raises(DecodeError):
        decode_message(f'{{"content":{deep}')
    assert_linear(
        lambda levels: reading(EventDecoder, b"event: ping\ndata: " + open_.encode() * levels + b"\n\n"), 50_000
    )


@pytest.mark.parametrize("number", ["1", "-1", "0.1", "1e", "1e-", "1.5e+0"])
def test_a_number_of_ten_megabytes(number):
    """It is a number, or a typed error, in time that grows with its digits: Python's own conversion is quadratic."""

    def prepare(digits):
        body = b'event: ping\ndata: {"type":"ping","a":' + number.encode() + b"1" * digits + b"}\n\n"
        return lambda: feed(EventDecoder, [body])

    assert_linear(prepare, 10_000_000 // TIMES)
    stream = prepare(10_000_000)()
    assert stream.fault is None or isinstance(stream.fault, DecodeError)


def test_a_retry_of_megabytes():
    """Digits of a retry field aren't converted while bytes are read."""
    assert_linear(lambda digits: reading(SSEDecoder, b"retry: " + b"1" * digits + b"\n\n"), MIB)


@pytest.mark.parametrize("key", ["k{}", "{}" + "x" * 20, "\\u00e9{}"])
def test_a_million_keys(key):
    """Fields that nobody knows are kept, in a dict whose hashes no server can foresee."""

    def prepare(number):
        keys = ",".join(f'"{key.format(place)}":{place}' for place in range(number))
        body = b'event: ping\ndata: {"type":"ping",%b}\n\n' % keys.encode()
        return lambda: feed(EventDecoder, [body], max_event_size=64 * MIB)

    assert_linear(prepare, 250_000 // TIMES)


def test_a_million_fields_are_kept():
    """None is lost, however many."""
    (event,) = EventDecoder().receive_data(frame("ping", **{str(place): place for place in range(1_000_000)}))
    assert len(event.extra) == 1_000_000


def test_same_keys():
    """Of a key that comes again and again the last value counts, and the cost is that of the bytes."""
    assert_linear(lambda number: reading(EventDecoder, b'data: {"type":"ping"' + b',"a":1' * number + b"}\n\n"), 50_000)
    twice = (
        '{"type":"ping","a":1,"a":2}',
        '{"type":"message_stop","type":"ping"}',
        '{"type":"ping","type":"message_stop"}',
        '{"type":"content_block_stop","index":1,"index":2}',
        '{"type":"content_block_stop","index":1,"index":2,"a":0}',
        '{"type":"content_block_delta","index":0,"index":3,"delta":{"type":"text_delta","text":"a","text":"b"}}',
        '{"type":"content_block_delta","index":0,"delta":{},"delta":{"type":"thinking_delta","thinking":"b"}}',
        '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a","type":"future"}}',
        '{"type":"message_delta","delta":{},"delta":{"stop_reason":"a","stop_reason":"b"},"usage":{}}',
    )
    for text in twice:
        expected = decode_event(json.dumps(json.loads(text)))
        assert decode_event(text) == expected, text
        for name in ("content_block_delta", "content_block_stop", "ping", "message_stop"):
            assert EventDecoder().receive_data(f"event: {name}\ndata: {text}\n\n".encode()) == [expected], text


# --- events and messages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "index", ["-1", "2147483648", "9223372036854775808", "1" * 400, "0.0", "1e3", '"0"', "true", "[]"]
)
@pytest.mark.parametrize(
    "wire",
    [
        '"type":"content_block_start","content_block":{"type":"text","text":""}',
        '"type":"content_block_delta","delta":{"type":"text_delta","text":""}',
        '"type":"content_block_delta","delta":{"type":"future"}',
        '"type":"content_block_stop"',
    ],
)
def test_indices(index, wire):
    """An index that is not an integer from 0 to 2**31-1 is a DecodeError, by whichever way the event is read."""
    text = f'{{"index":{index},{wire}}}'
    kind = json.loads(f"{{{wire}}}")["type"]
    with pytest.raises(DecodeError):
        decode_event(text)
    with pytest.raises(DecodeError):
        EventDecoder().receive_data(f"event: {kind}\ndata: {text}\n\n".encode())
    assert EventDecoder().receive_data(f'data: {{"index":2147483647,{wire}}}\n\n'.encode())[0].index == 2**31 - 1


@pytest.mark.parametrize("step", [1, -1, 0, 7])
def test_many_blocks(step):
    """Blocks in order, backwards, all at one index or far apart: time by their number."""

    def prepare(number):
        first = number if step < 0 else 0
        frames = (text_block("x", index=first + place * step) for place in range(number))
        body = b"".join((message_start(), *frames, message_delta(), MESSAGE_STOP))

        def read():
            return len(feed(MessageStream, [body]).message.content)

        assert read() == number
        return read

    assert_linear(prepare, 2_500)


def test_a_million_open_blocks():
    """Blocks that are opened and never end stop at the limit of the message, and cost no more than a few times that."""
    limit = 2 * MIB
    frames = pieces(b"".join(block_start({"type": "text", "text": ""}, index) for index in range(limit // 64)), 10_000)

    def read():
        stream = MessageStream(max_message_size=limit)
        with pytest.raises(LimitExceeded, match="max_message_size"):
            stream.receive_data(message_start())
            for chunk in frames:
                stream.receive_data(chunk)
        assert stream.outcome is Outcome.FAILED

    assert peak(read) < 20 * limit


KIB = 1 << 10
WIDE = "\U0001f600" * 200  # four bytes a character, in a detail too
TURNED = "\U0001f600" + "\u202e" * 200  # and six characters for each that is escaped


def only_a_start(number):
    return frame("message_start", _name=None, message={"id": f"{number}", "stop_reason": "x"})


def a_start_by_another_name(number):
    return frame("message_start", _name=WIDE, message={"id": f"{number}", "stop_reason": "x"})


def a_start_that_fails(number):
    return frame("message_start", message={"id": f"{number}"}) + frame("error", _name=None, error=WIDE)


def a_stop_and_more(number):
    start = frame("message_start", message={"id": f"{number}", "stop_reason": "x"})
    return start + MESSAGE_STOP + frame(TURNED, _name=None) + frame(WIDE, _name="other")


def all_that_is_wrong(number):
    """Twenty codes of deviations, those that show a text of the server's with the widest."""
    start = frame("message_start", message={"id": f"{number}"})
    return b"".join(
        (
            start, start, block_start({"type": "x"}, 2), block_start({"type": "thinking", "signature": "a"}, 2),
            delta(2, signature="a") * 2, delta(2, text="a"), delta(1, text="a"), block_stop(2), delta(2, thinking="a"),
            MESSAGE_STOP, frame("ping", _name=WIDE), frame(_name=WIDE, a=1), b"event: %b\ndata: a\n\n" % WIDE.encode(),
            frame(WIDE, _name=None), frame(WIDE, a="\ud800"), frame("message_delta"), frame(error={}, _name="error"),
        )
    )  # fmt: skip


SMALL = {
    only_a_start: {"no_event_line", "bare_message_start", "no_message_stop"},
    a_start_by_another_name: {"type_mismatch", "bare_message_start", "no_message_stop"},
    a_start_that_fails: {"bare_message_start", "bare_error", "no_event_line"},
    a_stop_and_more: {"bare_message_start", "event_after_stop", "no_event_line", "type_mismatch"},
    all_that_is_wrong: 20,
}


@pytest.mark.parametrize("made", SMALL)
def test_a_body_of_small_messages(made):
    """Messages of next to nothing, with all deviations that fit into them, stop at the limit that they share.

    Until then they take no more than four times that, however the body is cut.
    """
    codes = {deviation.code for deviation in feed(MessageStream, [made(0) + made(1)]).deviations}
    assert SMALL[made] in (codes, len(codes))

    def read(limit, chunks):
        return feed(partial(MessageStream, max_message_size=limit), chunks).fault

    def read_whole(limit, body):
        with suppress(StreamError):
            parse(body, max_message_size=limit)

    def read_last(limit, chunks):
        return feed(partial(MessageStream, max_message_size=limit, keep="last"), chunks)

    for limit, size in ((256 * KIB, 64), (256 * KIB, 1460), (512 * KIB, 32 * KIB)):
        # Each message counts more than a KiB.
        body = b"".join(map(made, range(limit // KIB)))
        reading = partial(read, limit, pieces(body, size))
        # What is made once for all readings is made before the one that counts.
        assert str(reading()).startswith(f"more than {limit} bytes (max_message_size)")
        assert peak(reading) < 4 * limit
    assert peak(partial(read_whole, limit, body)) < 4 * limit
    assert peak(partial(read_last, limit, pieces(body, 1460))) < 4 * limit


FLOODS = {
    "message_start again": message_start(),
    "unknown deltas": frame("content_block_delta", index=0, delta={"type": "future_delta"}),
    "empty deltas": delta(text=""),
    "wrong kinds": delta(thinking="a"),
    "other indices": delta(index=1, text="a") + delta(index=0, text="b"),
    "halves": delta(text="\ud83e"),
    "no event line": frame("ping", _name=None),
    "other event line": frame("ping", _name="pong"),
    "no type": b"event: ping\ndata: {}\n\n",
    "foreign": b"data: [DONE]\n\n",
    "pings": frame("ping"),
    "unknown events": frame("future", a=[1]),
    "message_deltas": message_delta(None),
    "stops": block_stop(0),
    "citations": delta(citation={"a": 1}),
    "signatures": delta(signature="AB"),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods(name):
    """Any event, however often: time by the number; for each deviation one entry with a count."""

    def prepare(number):
        body = message_start() + block_start({"type": "text", "text": ""}) + FLOODS[name] * number
        return lambda: feed(MessageStream, [body])

    assert_linear(prepare, 2_000)
    assert len(prepare(2_000)().deviations) <= 3


@pytest.mark.parametrize("late", [delta(text="late"), MESSAGE_STOP, block_start({"type": "text", "text": "late"})])
def test_events_after_the_end(late):
    """What comes after message_stop changes nothing, keeps nothing and is counted."""
    body = whole(text_block("Hi"))
    few, many = (partial(feed, MessageStream, [body, *[late] * n]) for n in (500, 4_000))
    assert_takes_no_more(few, many, 50_000)
    stream = feed(MessageStream, [body, late * 1000])
    assert to_dict(stream.result()) == to_dict(parse(body))
    assert [(deviation.code, deviation.count) for deviation in stream.deviations] == [("event_after_stop", 1000)]


def test_gigantic_counts():
    """Counts beyond 64 bits are kept to the digit; those beyond what a number can be are a typed error."""
    for count in (2**63, 2**64, 10**300, -(10**300)):
        message = parse(message_start(usage={"input_tokens": count}) + message_delta(usage={"output_tokens": count}))
        assert (message.usage.input_tokens, message.usage.output_tokens) == (count, count)
        assert json.loads(to_json(message))["usage"] == {"input_tokens": count, "output_tokens": count}
    for count in ("1e400", "9" * 5000, "1.5", '"7"'):
        with pytest.raises(StreamError):
            parse(
                message_start()
                + b'event: message_delta\ndata: {"delta":{},"usage":{"output_tokens":%b}}\n\n' % count.encode()
            )


def test_bombs_of_unknown_fields():
    """What unknown fields hold counts towards the limits, in whichever event of the message it comes."""
    bomb = {"future": ["x" * 1000] * 100}
    for wire in (
        frame("message_delta", delta=bomb, usage={}),
        frame("message_delta", delta={}, usage=bomb),
        frame("message_delta", delta={}, usage={}, **bomb),
        block_start({"type": "text", "text": "", **bomb}),
        block_start({"type": "future", **bomb}),
        frame("content_block_delta", index=0, delta={"type": "text_delta", "text": "", **bomb}),
        frame("content_block_delta", index=0, delta={"type": "future", **bomb}),
        frame("message_stop", **bomb),
    ):
        stream = MessageStream(max_message_size=3 * MIB)
        stream.receive_data(message_start())
        try:
            for number in range(100):
                stream.receive_data(wire.replace(b"future", b"future%d" % number) if b"delta" not in wire else wire)
        except LimitExceeded:
            pass
        # A delta's own unknown fields stay on the event and are the caller's; a second message_stop changes nothing.
        kept = len(to_json(stream.message)) + sum(len(to_json(item)) for _, item in stream.unapplied)
        assert kept < 4 * MIB


def test_pieces_of_arguments():
    """100,000 pieces of a tool's arguments are joined once, and parsed once."""

    def prepare(number):
        body = whole(tool_block('{"a":"', *["é"] * number, '"}'))
        return lambda: [parse(body).tool_uses[0].input for _ in range(2)]

    assert_linear(prepare, 10_000)


def test_events_that_are_not_from_the_wire():
    """An accumulator takes events of any depth and any number too: those that somebody made by hand."""
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    accumulator = MessageAccumulator(max_message_size=MIB)
    accumulator.add(sansio_step.MessageStartEvent(sansio_step.Message(id="m")))
    accumulator.add(sansio_step.ContentBlockStartEvent(0, sansio_step.UnknownBlock("x", extra={"deep": deep})))
    assert accumulator.message.content[0].extra["deep"] is deep
    # Freed step by step, for interpreters that would need their own stack for it.
    while deep:
        deep = deep.pop()
