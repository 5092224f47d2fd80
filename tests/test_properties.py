"""The laws of the library, on streams of every kind: legal, deviating, damaged, and no streams at all."""

from __future__ import annotations

import copy
import json
import pickle
from contextlib import suppress
from itertools import chain

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_step import (
    APIError,
    DecodeError,
    EventDecoder,
    Message,
    MessageAccumulator,
    MessageStream,
    Outcome,
    ServerSentEvent,
    SSEDecoder,
    StreamError,
    ToolInputError,
    decode_error,
    decode_event,
    decode_message,
    encode_event,
    encode_sse,
    iter_events,
    parse,
    to_dict,
    to_json,
)
from sansio_step.testing import (
    assert_chunk_invariant,
    chunked,
    damaged,
    deviating_streams,
    event_streams,
    messages,
    wire_bytes,
)

from .helpers import describe, long_way, read, use


def scaled(factor):
    """So many times the examples of the profile: `pytest --hypothesis-profile=thorough` runs each test for long."""
    return max(1, int(settings.default.max_examples * factor))


LEGAL = event_streams().flatmap(wire_bytes)
DEVIATING = deviating_streams().map(lambda case: case.data)
SOUP = st.lists(
    st.sampled_from(
        [
            b"data",
            b"event",
            b"id",
            b"retry",
            b":",
            b": ",
            b"\n",
            b"\r",
            b"\r\n",
            b"\n\n",
            b"\0",
            b"\xef\xbb\xbf",
            b"\xe2",
        ]
        + [
            b'{"type":"ping"}',
            b"ping",
            b"message_stop",
            b"content_block_delta",
            b'{"type":"content_block_delta",',
            b"}",
        ]
        + [b'"index":0,"delta":{"type":"text_delta","text":"\\ud83d"}}', b"[DONE]", b"1e999", b'"\\ud83d"', b"[" * 250]
        + [
            b"event: ping\ndata: {}\n\n",
            b'event: error\ndata: {"error":null}\n\n',
            b'data: {"type":"message_start"}\n\n',
        ]
    ),
    max_size=20,
).map(b"".join)
BODIES = st.one_of(
    LEGAL,
    DEVIATING,
    st.builds(bytes.__add__, LEGAL, DEVIATING),  # several messages in one body
    (LEGAL | DEVIATING).flatmap(damaged),
    SOUP,
    st.binary(max_size=60),
)
LIMITS = st.sampled_from([{}, {}, {"strict": True}, {"max_event_size": 200}, {"max_message_size": 1324}])


def cut(body):
    """A body in pieces: as a network cuts it, or one event a piece, as servers flush them."""
    return chunked(body) | st.just([piece + b"\n\n" for piece in body.split(b"\n\n")[:-1]] + [body.split(b"\n\n")[-1]])


CASES = BODIES.flatmap(lambda body: st.tuples(st.just(body), cut(body)))


# --- chunk invariance ------------------------------------------------------------------------------------------


@settings(max_examples=scaled(1.5))
@given(CASES, LIMITS)
def test_cutting_never_shows(case, limits):
    """Events, fault, deviations, outcome, messages: all are the same however a body is cut."""
    body, chunks = case
    assert read(chunks, **limits) == read([body], **limits)


@settings(max_examples=scaled(0.3))
@given(CASES, LIMITS)
def test_an_event_stays_as_it_was_returned(case, limits):
    """Whatever comes after it and grows the message leaves the events before it alone."""
    stream = MessageStream(**limits)
    events, shown = [], []
    with suppress(StreamError):
        for chunk in case[1]:
            new = stream.receive_data(chunk)
            events += new
            shown += map(to_json, new)
        stream.receive_eof()
    assert list(map(to_json, events)) == shown


@settings(max_examples=scaled(0.3))
@given(BODIES.filter(lambda body: len(body) < 1500), st.sampled_from([SSEDecoder, EventDecoder, MessageStream]))
def test_no_place_to_cut_shows(body, factory):
    """The same at every place where a body can be cut, for every layer, with what the layer knows at the end."""

    def state(parser):
        if isinstance(parser, SSEDecoder):
            return parser.last_event_id, parser.retry
        return parser.deviations

    assert_chunk_invariant(factory, body, state=state)


@given(CASES, st.sampled_from([bytes, bytearray, memoryview]))
def test_kinds_of_bytes_never_show(case, kind):
    """Any bytes-like object is read as its bytes, and what was fed can be overwritten afterwards."""
    body, chunks = case
    decoder, other = EventDecoder(), EventDecoder()
    got, expected = [], []
    for chunk in chunks:
        buffer = bytearray(chunk)
        try:
            expected += decoder.receive_data(chunk)
        except StreamError:
            break
        got += other.receive_data(kind(buffer))
        buffer[:] = bytes(len(buffer))
    assert got == expected


# --- there and back ----------------------------------------------------------------------------------------------


@given(event_streams())
def test_events_there_and_back(events):
    """An event's bytes give the event back, whole stream or alone, and so does its JSON without a frame."""
    decoder = EventDecoder(strict=True)
    assert decoder.receive_data(b"".join(map(encode_event, events))) == events
    for event in events:
        assert decode_event(to_json(event)) == event
        assert decode_event(json.dumps(to_dict(event)), event.type) == event


@given(BODIES)
def test_events_of_any_body_there_and_back(body):
    """Whatever was read can be written, and is then read as the same: halves of characters and foreign text too.

    Foreign text with a CR is a ValueError: no line can carry it. It is left out of what is read again.
    """
    events, wires = [], []
    for event in read([body])["events"]:
        if "\r" in (getattr(event, "data", None) or ""):
            with pytest.raises(ValueError, match="carriage return"):
                encode_event(event)
        else:
            events.append(event)
            wires.append(encode_event(event))
    again = EventDecoder()
    found = again.receive_data(b"".join(wires)) + again.receive_eof()
    assert list(map(as_written, found)) == list(map(as_written, events))


def as_written(event):
    """The event, or its JSON if a call begins: arguments that came as a string are written as the object that they are."""
    block = getattr(event, "content_block", None)
    return to_dict(event) if hasattr(block, "input_json") else event


def text_without(marks):
    return st.text(st.characters(exclude_categories=["Cs"], exclude_characters=marks))


# What a frame can't carry in each of its fields. And an event without a name would be a `message`.
MARKS = {"data": "\r", "event": "\r\n", "id": "\r\n\0"}
CARRIED = st.builds(
    ServerSentEvent,
    text_without(MARKS["data"]),
    text_without(MARKS["event"]).filter(bool) | st.just("message"),
    text_without(MARKS["id"]),
)


@given(st.lists(CARRIED, max_size=5))
def test_frames_there_and_back(frames):
    """So do a frame's; the last event id stays until another one comes."""
    decoder = SSEDecoder()
    got = decoder.receive_data(b"".join(map(encode_sse, frames)))
    last = ""
    for frame, back in zip(frames, got, strict=True):
        last = frame.id or last
        assert back == msgspec.structs.replace(frame, id=last)


@pytest.mark.parametrize(("field", "mark"), [(field, mark) for field, marks in MARKS.items() for mark in marks])
@given(frame=CARRIED, after=st.text(max_size=3))
def test_what_no_frame_can_carry(field, mark, frame, after):
    """A mark that would end the line, or be read as another, is a ValueError."""
    spoilt = msgspec.structs.replace(frame, **{field: getattr(frame, field) + mark + after})
    with pytest.raises(ValueError, match="carriage return|line end"):
        encode_sse(spoilt)


@given(CARRIED)
def test_a_frame_without_a_name(frame):
    """It would come back as a `message`, so it is a ValueError too."""
    with pytest.raises(ValueError, match="is empty"):
        encode_sse(msgspec.structs.replace(frame, event=""))


@given(messages())
def test_copies_of_a_message(message):
    """A copy or a pickle of it equals it, and it says so shortly."""
    assert copy.deepcopy(message) == message
    assert pickle.loads(pickle.dumps(message)) == message
    assert len(repr(message)) < 20_000


def is_broken(block):
    """Whether a tool's arguments were cut."""
    try:
        return getattr(block, "input", None) is NotImplemented
    except ToolInputError:
        return True


@given(messages().filter(lambda message: not any(map(is_broken, message.content))))
def test_messages_there_and_back(message):
    """A message is a non-streaming body too, unless a tool's arguments were cut."""
    assert to_dict(decode_message(to_json(message))) == to_dict(message)


# --- any bytes ---------------------------------------------------------------------------------------------------


@settings(max_examples=scaled(1.5))
@given(BODIES, LIMITS)
def test_any_bytes(body, limits):
    """Events, then perhaps a typed error: nothing else comes out of any bytes, and all that came out can be used."""
    stream = MessageStream(**limits)
    events = []
    try:
        events += stream.receive_data(body)
        events += stream.receive_eof()
    except StreamError as fault:
        assert fault is stream.fault
        assert fault.event_number == len(events)
        with pytest.raises(type(fault)):
            stream.receive_data(b"")
    for event in events:
        to_json(event)
        repr(event)
        assert pickle.loads(pickle.dumps(event)) == event
    for message in stream.messages:
        use(message)
    assert stream.outcome is not Outcome.STREAMING or stream.fault is not None
    try:
        message = stream.result()
    except StreamError as error:
        assert stream.outcome is not Outcome.COMPLETE
        assert error.partial is stream.message
        again = pickle.loads(pickle.dumps(error))
        assert describe(again) == describe(error)
        if error.partial is not None:
            assert to_dict(again.partial) == to_dict(error.partial)
    else:
        assert stream.outcome is Outcome.COMPLETE
        assert message is stream.message


@given(BODIES | st.binary(max_size=40) | messages().map(to_json).flatmap(damaged), st.text(max_size=8))
def test_any_text_as_json(data, name):
    """One frame's data, a body, an error's body: a value or a typed error, whatever the bytes."""
    for read_one in (lambda: decode_event(data, name), lambda: decode_message(data)):
        try:
            read_one()
        except (DecodeError, APIError):
            pass
    assert isinstance(decode_error(500, {}, data), APIError)


# --- nothing is lost -----------------------------------------------------------------------------------------------


@given(st.data())
def test_no_field_is_lost(data):
    """Each event's JSON comes back from the types as it was, unknown fields, blocks, deltas and events included."""
    events = data.draw(event_streams())
    for event in events:
        wire = json.loads(json.dumps(to_dict(event)))
        wire["from_the_future"] = {"type": [1, None]}
        for part in ("message", "delta", "content_block", "usage"):
            if isinstance(wire.get(part), dict):
                wire[part]["from_the_future"] = [part]
        back = to_dict(decode_event(json.dumps(wire)))
        assert back == wire


@given(st.data())
def test_no_message_field_is_lost(data):
    """The message of a stream is the message that the stream was made from, in strict mode too."""
    message = data.draw(messages())
    body = data.draw(wire_bytes(data.draw(event_streams(message))))
    assert to_dict(parse(body, strict=True)) == to_dict(message)


# --- one reading -----------------------------------------------------------------------------------------------------


@settings(max_examples=scaled(0.5))
@given(st.lists(event_streams(), min_size=1, max_size=3).map(chain.from_iterable).flatmap(wire_bytes))
def test_strict_mode_accepts_what_is_legal(body):
    """No deviation and no fault in what is legal, in one message or several."""
    lenient, strict = read([body]), read([body], strict=True)
    assert lenient == strict
    assert lenient["deviations"] == []
    assert lenient["outcome"] is Outcome.COMPLETE


@given(CASES, LIMITS)
def test_all_doors_lead_to_the_same(case, limits):
    """`parse`, `iter_events`, the stream and the two layers by hand agree on events, message and error."""
    body, chunks = case
    expected = read([body], **limits)
    stream = MessageStream(**limits)
    try:
        for chunk in chunks:
            stream.receive_data(chunk)
        stream.receive_eof()
    except StreamError:
        pass
    assert outcome_of(lambda: parse(chunks, **limits)) == outcome_of(stream.result)
    assert outcome_of(lambda: parse(body, **limits)) == outcome_of(stream.result)

    events = []

    def loop():
        for event in iter_events(chunks, **limits):
            events.append(event)
        return stream.message

    looped = outcome_of(loop)
    assert events == expected["events"]
    assert looped == (outcome_of(stream.result) if stream.fault is None else describe(stream.fault))


def outcome_of(call):
    try:
        message = call()
    except StreamError as error:
        return describe(error)
    return to_dict(message) if isinstance(message, Message) else message


@given(event_streams(), st.data())
def test_layers_by_hand(events, data):
    """Frames decoded one by one and added one by one, or all at once, make the message that the stream makes."""
    body = data.draw(wire_bytes(events))
    one_by_one, at_once = MessageAccumulator(strict=True), MessageAccumulator(strict=True)
    for frame in SSEDecoder().receive_data(body):
        one_by_one.add(decode_event(frame.data, frame.event))
    at_once.extend(EventDecoder(strict=True).receive_data(body))
    assert to_dict(one_by_one.result()) == to_dict(at_once.result()) == to_dict(parse(body))


# --- the short ways are the long way -----------------------------------------------------------------------------------


@settings(max_examples=scaled(1.5))
@given(CASES, LIMITS)
def test_short_ways_agree_with_the_long_way(case, limits):
    """Whatever is read by a short way is what the general way reads: events, fault, deviations, messages."""
    _, chunks = case
    short = read(chunks, **limits)
    with long_way():
        assert read(chunks, **limits) == short


@given(CASES, st.sampled_from([{}, {"max_event_size": 40}]))
def test_short_ways_of_frames_agree(case, limits):
    """The same for plain frames, ids and retry included."""

    def frames():
        decoder = SSEDecoder(**limits)
        got = []
        try:
            for chunk in case[1]:
                got += decoder.receive_data(chunk)
            decoder.receive_eof()
        except StreamError:
            pass
        return got, decoder.last_event_id, decoder.retry, describe(decoder.fault)

    short = frames()
    with long_way():
        assert frames() == short
