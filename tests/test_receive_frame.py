"""Frames that came some other way: as text or as parsed objects, with a name or from a transport without names."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_step import (
    BedrockDecoder,
    DecodeError,
    EventDecoder,
    LimitExceeded,
    MessageStream,
    PingEvent,
    ProtocolViolation,
    StreamError,
    UnknownEvent,
    decode_event,
    encode_event,
    to_dict,
)
from sansio_step.testing import deviating_streams, event_streams

from .by_the_letter import frames_of
from .helpers import TEXT, block_start, delta, describe, frame, message_delta, message_start, text_block, whole

DELTA = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}
NAME = "content_block_delta"


def results(decoder, receive):
    events = []
    try:
        for step in receive:
            events += step(decoder)
    except StreamError as error:
        assert error is decoder.fault
    return events, decoder.deviations, describe(decoder.fault)


@given(event_streams() | deviating_streams().map(lambda case: case.data))
def test_a_frame_is_read_as_it_is_in_a_body(case):
    """Whichever way a frame comes: the same events, the same deviations, the same faults. Only places are unknown."""
    body = case if isinstance(case, bytes) else b"".join(map(encode_event, case))
    frames = frames_of(body)
    in_a_body, from_elsewhere = EventDecoder(), EventDecoder()
    whole_frames = [
        b"event: %b\n" % name.encode() * (name not in ("", "message"))  # elsewhere, these two are the same
        + b"data: "
        + data.replace(b"\n", b"\ndata: ")
        + b"\n\n"
        for name, data in frames
    ]
    expected = results(in_a_body, [lambda decoder, sent=sent: decoder.receive_data(sent) for sent in whole_frames])
    found = results(
        from_elsewhere,
        [lambda decoder, sent=data, name=name: decoder.receive_frame(sent, name or "message") for name, data in frames],
    )
    assert found[:2] == expected[:2]
    assert (found[2] or (None,) * 4)[0] is (expected[2] or (None,) * 4)[0]
    assert from_elsewhere.fault is None or from_elsewhere.fault.byte_offset is None


@given(event_streams())
def test_an_object_is_read_as_its_text(events):
    for event in events:
        item = to_dict(event)
        text = json.dumps(item)
        assert decode_event(item) == decode_event(text) == event
        from_object, from_text = MessageStream(), MessageStream()
        assert from_object.receive_frame(item) == from_text.receive_frame(text)
        assert from_object.deviations == from_text.deviations


@pytest.mark.parametrize(
    ("data", "event", "codes"),
    [
        (DELTA, None, []),
        (DELTA, NAME, []),
        (DELTA, "message", ["no_event_line"]),
        (DELTA, "", ["no_event_line"]),
        (DELTA, "ping", ["type_mismatch"]),
        ({"index": 0, "delta": DELTA["delta"]}, NAME, ["no_type"]),
        ({"type": "ping", "index": 0, "x": 1}, None, []),
        ({"type": NAME, "delta": DELTA["delta"]}, None, ["no_index"]),
        ({"type": NAME, "index": 0, "delta": {"text": "Hi"}}, None, ["bare_delta"]),
        ({"index": 0}, None, ["no_type"]),
    ],
)
def test_what_is_said_of_a_frame(data, event, codes):
    """A transport without names can't lack one."""
    for sent in (data, json.dumps(data), json.dumps(data).encode()):
        decoder = EventDecoder()
        decoder.receive_frame(sent, event)
        assert [deviation.code for deviation in decoder.deviations] == codes
        if codes:
            strict = EventDecoder(strict=True)
            with pytest.raises(ProtocolViolation) as caught:
                strict.receive_frame(sent, event)
            assert (caught.value.code, caught.value.byte_offset, caught.value.event_number) == (codes[0], None, 0)


def test_a_frame_can_hold_several_events():
    lines = "\n".join(json.dumps(item) for item in (DELTA, {"type": "ping"}))
    for event in (None, NAME):
        decoder = EventDecoder()
        assert [type(found).__name__ for found in decoder.receive_frame(lines, event)] == [
            "ContentBlockDeltaEvent",
            "PingEvent",
        ]
        assert [deviation.code for deviation in decoder.deviations] == ["no_blank_line"]


def test_text_that_is_no_object_is_foreign():
    decoder = EventDecoder()
    assert decoder.receive_frame("[DONE]") == [UnknownEvent("message", "[DONE]")]
    assert [deviation.code for deviation in decoder.deviations] == ["foreign_data"]


@pytest.mark.parametrize("as_object", [True, False])
def test_halves_of_a_character_in_two_frames_are_joined(as_object):
    decoder = EventDecoder()
    texts = []
    for half in ("a\ud83d", "\ude42b"):
        item = {**DELTA, "delta": {"type": "text_delta", "text": half}}
        (event,) = decoder.receive_frame(item if as_object else json.dumps(item))
        texts.append(event.delta.text)
    assert texts == ["a", "\U0001f642b"]


def test_a_half_of_a_character_alone_is_shown_as_such():
    for name in ("text", "a\ud83d"):
        found = decode_event({"type": "odd", name: ["\ud83d", {"\ud83d": 1}]})
        shown = name.replace("\ud83d", "\ufffd")
        assert found.extra == {shown: ["\ufffd", {"\ufffd": 1}]}
    found = decode_event({**DELTA, "delta": {"type": "text_delta", "text": "a\ud83d"}})
    assert found.delta.text == "a\ufffd"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (math.nan, "number out of range"),
        (math.inf, "number out of range"),
        ({1: 2}, "a key of a JSON object is a int, not a string"),
    ],
)
def test_an_object_that_no_json_text_gives(value, reason):
    for item in ({"type": "odd", "x": value}, {"type": "odd", "x": [[value]]}):
        with pytest.raises(DecodeError, match=f"^{reason}"):
            decode_event(item)
        with pytest.raises(DecodeError, match=f"^{reason}"):
            EventDecoder().receive_frame(item, "odd")


def test_an_object_is_as_deep_as_a_text_may_be():
    def nested(levels):
        value = []
        for _ in range(levels - 2):
            value = [value]
        return {"type": "odd", "x": value}

    assert decode_event(nested(200)) == decode_event(json.dumps(nested(200)))
    for item in (nested(201), json.dumps(nested(201))):
        with pytest.raises(DecodeError, match="nested deeper than 200"):
            decode_event(item)
    circle = {"type": "odd"}
    circle["x"] = circle
    with pytest.raises(DecodeError, match="nested deeper than 200"):
        decode_event(circle)


@pytest.mark.parametrize("reader", [EventDecoder, BedrockDecoder, MessageStream])
def test_a_text_over_the_limit(reader):
    text = json.dumps(DELTA)
    assert reader(max_event_size=len(text)).receive_frame(text) == [decode_event(text)]
    decoder = reader(max_event_size=len(text) - 1)
    with pytest.raises(LimitExceeded) as caught:
        decoder.receive_frame(text)
    assert (caught.value.name, caught.value.limit) == ("max_event_size", len(text) - 1)
    assert caught.value.byte_offset is None


def test_events_before_a_fault_are_given_and_the_fault_is_raised_by_the_next_call():
    lines = json.dumps(DELTA) + "\n" + '{"type":"content_block_delta","index":"x"}'
    decoder = EventDecoder()
    assert decoder.receive_frame(lines) == [decode_event(DELTA)]
    for again in (decoder.receive_frame, decoder.receive_data):
        with pytest.raises(DecodeError):
            again(b"{}")


@pytest.mark.parametrize("reader", [EventDecoder, MessageStream])
def test_wrong_calls(reader):
    with pytest.raises(TypeError, match="bytes"):
        reader().receive_frame(["{}"])
    with pytest.raises(TypeError, match="name of the event as a str, not int"):
        reader().receive_frame("{}", 3)
    ended = reader()
    ended.receive_eof()
    with pytest.raises(ValueError, match="^receive_frame after receive_eof: one object reads one body$"):
        ended.receive_frame("{}")


def test_a_stream_from_frames():
    body = whole(text_block("Hi", " there"))
    stream = MessageStream()
    for name, data in frames_of(body):
        stream.receive_frame(json.loads(data), name)
    assert stream.receive_eof() == []
    assert stream.result().text == "Hi there"
    assert stream.deviations == []
    body_and_frames = MessageStream()
    body_and_frames.consume(message_start() + block_start(TEXT))
    assert body_and_frames.receive_frame(DELTA) == [decode_event(DELTA)]
    body_and_frames.receive_data(delta(text="!") + message_delta())
    assert body_and_frames.message.text == "Hi!"
    with pytest.raises(LimitExceeded) as caught:
        _feed(MessageStream(max_message_size=1400), [json.loads(data) for _, data in frames_of(body)])
    assert caught.value.byte_offset is None
    assert caught.value.partial.id == "msg_1"


def _feed(stream, items):
    for item in items:
        stream.receive_frame(item)
    raise AssertionError("everything was read")


@given(st.sampled_from(["ping", "message_stop"]))
def test_an_object_with_a_type_alone(kind):
    assert type(decode_event({"type": kind})) is type(decode_event(json.dumps({"type": kind})))
    assert decode_event({"type": "ping"}) == PingEvent()


def test_a_frame_helper_is_right():
    assert frames_of(frame("ping")) == [("ping", b'{"type":"ping"}')]


def test_an_object_with_a_value_that_is_no_json():
    """msgspec would write bytes as base64, which nobody sent."""
    for value in (b"x", bytearray(b"x")):
        with pytest.raises(TypeError, match="a value of a JSON object is byte"):
            decode_event({"type": "odd", "x": value})


@dataclass
class Part:
    v: object


class Kind(Enum):
    HALF = "a\ud83d"
    BYTES = b"x"
    PAIR = (1, frozenset([2]))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Part(1), {"v": 1}),
        (Part([Kind.HALF]), {"v": ["a\ufffd"]}),
        (Kind.PAIR, [1, [2]]),
        (datetime(2026, 1, 2, tzinfo=timezone.utc), "2026-01-02T00:00:00Z"),
        pytest.param(10**4299, 10**4299, id="the largest number"),
    ],
)
def test_what_stands_beside_json_is_looked_at_as_json(value, expected):
    event = decode_event({"type": "odd", "x": value})
    assert event.extra == {"x": expected}
    assert decode_event(encode_event(event).split(b"data: ")[1].strip(), "odd") == event


@pytest.mark.parametrize("value", [10**4300, Part(math.inf), Part({1: 2})], ids=["number", "infinity", "key"])
def test_what_no_text_could_hold_is_refused_wherever_it_stands(value):
    with pytest.raises(DecodeError):
        decode_event({"type": "odd", "x": value})


def test_bytes_in_an_enumeration_are_no_json():
    with pytest.raises(TypeError, match="is bytes"):
        decode_event({"type": "odd", "x": Kind.BYTES})


def test_a_chain_of_objects_that_is_too_deep():
    part = Part(None)
    for _ in range(100_000):
        part = Part(part)
    with pytest.raises(DecodeError, match="nested deeper than 200"):
        decode_event({"type": "odd", "x": part})


def test_an_object_over_the_limit():
    """Its characters and values count. One that holds another twice is as large as its text would be."""
    shared = {}
    for _ in range(40):
        shared = {"a": shared, "b": shared}
    for item in ({"type": "odd", "x": "y" * 1000}, {"type": "odd", "x": shared}):
        decoder = EventDecoder(max_event_size=1000)
        with pytest.raises(LimitExceeded) as caught:
            decoder.receive_frame(item)
        assert (caught.value.name, caught.value.limit) == ("max_event_size", 1000)
    item = {"type": "ping", "x": ["yy", None]}  # 4 values and the object, 6 characters
    assert EventDecoder(max_event_size=11).receive_frame(item) == [decode_event(item)]
    with pytest.raises(LimitExceeded):
        EventDecoder(max_event_size=10).receive_frame(item)


@pytest.mark.parametrize("name", [5, b"ping", ["ping"]])
def test_a_name_is_a_str(name):
    with pytest.raises(TypeError, match="name of the event as a str"):
        decode_event({"type": "ping", "x": 1}, name)
    with pytest.raises(TypeError, match="str or bytes, or the object parsed from it, not list"):
        decode_event([])


@pytest.mark.parametrize("name", ["message_start", "message", None])
def test_a_frame_counts_with_the_bytes_that_it_had(name):
    """So `max_message_size` bounds what a server sent, spaces included, whatever its transport is."""
    data = message_start().partition(b"data: ")[2].replace(b"{", b"{" + b" " * 1000)
    enough = MessageStream(max_message_size=1024 + 256 + len(data))
    enough.receive_frame(data, name)
    with pytest.raises(LimitExceeded):
        MessageStream(max_message_size=len(data)).receive_frame(data, name)


@pytest.mark.parametrize("reader", [EventDecoder, MessageStream])
@pytest.mark.parametrize("name", ["content_block_stop", None])
def test_a_frame_at_fault_is_a_fault_at_once(reader, name):
    """Nothing came before it that would have to be given first."""
    frames = reader()
    for _ in range(2):
        with pytest.raises(DecodeError, match="index is -1") as caught:
            frames.receive_frame({"type": "content_block_stop", "index": -1}, name)
        assert caught.value is frames.fault


@pytest.mark.parametrize("field", ["text", "thinking", "signature", "partial_json"])
def test_a_half_of_a_character_in_an_object_is_never_shown(field):
    """json.loads makes one of an escape. Whatever text a delta carries, nobody can encode what he is given."""
    item = json.loads(delta(**{field: "a\ud83d"}).partition(b"data: ")[2])
    assert getattr(decode_event(item).delta, field) == "a\ufffd"


def test_an_object_is_any_mapping():
    """As clients and `types.MappingProxyType` have them."""
    for item in (DELTA, {"type": "odd", "a": [1]}):
        assert decode_event(MappingProxyType(item)) == decode_event(item) == decode_event(json.dumps(item))
        assert EventDecoder().receive_frame(MappingProxyType(item)) == [decode_event(item)]


def test_an_integer_has_as_many_digits_as_a_text_may_have():
    """4,300, which is all that Python reads. The next power of two that has more is refused."""
    most = 2**14284 - 1
    item = {"type": "odd", "x": most}
    assert (len(str(most)), decode_event(item).extra) == (4300, {"x": most})
    assert decode_event(json.dumps(item)) == decode_event(item)
    with pytest.raises(DecodeError, match="^number out of range"):
        decode_event({"type": "odd", "x": 2**14284})


def test_another_name_is_said_with_the_type():
    """Of an object as of its text."""
    for data in (DELTA, json.dumps(DELTA)):
        decoder = EventDecoder()
        decoder.receive_frame(data, "ping")
        (found,) = decoder.deviations
        assert found.detail == "event line 'ping', JSON type 'content_block_delta': the JSON's counts"
