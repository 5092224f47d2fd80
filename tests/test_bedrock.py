"""Bedrock's streams: the events of the Messages API in AWS frames, under the laws of the decoder of event streams."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_step import (
    AWSFrame,
    BedrockDecoder,
    DecodeError,
    ErrorDetail,
    ErrorEvent,
    EventDecoder,
    LimitExceeded,
    MessageAccumulator,
    MessageStopEvent,
    MessageStream,
    Outcome,
    PingEvent,
    ProtocolViolation,
    StreamError,
    UnknownEvent,
    decode_event,
    encode_aws_frame,
    encode_event,
    parse,
    to_dict,
    to_json,
)
from sansio_step.testing import assert_chunk_invariant, chunked, damaged, event_streams, messages

from .helpers import MESSAGE_STOP, TEXT, block_start, delta, describe, message_start, pieces, splits, text_block, whole

CHUNK = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}


def chunk(document, **beside):
    """A frame with an event, given as its JSON."""
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return encode_aws_frame(AWSFrame(CHUNK, json.dumps({"bytes": base64.b64encode(data).decode(), **beside}).encode()))


def exception(name, payload, **headers):
    return encode_aws_frame(AWSFrame({":message-type": "exception", ":exception-type": name, **headers}, payload))


def documents(body):
    """The JSON of each event of a text/event-stream."""
    return [event.split(b"data: ")[1] for event in body.split(b"\n\n") if event]


def on_bedrock(body):
    return b"".join(map(chunk, documents(body)))


def reading(chunks, **options):
    decoder = BedrockDecoder(**options)
    events = []
    try:
        for data in chunks:
            events += decoder.receive_data(data)
        events += decoder.receive_eof()
    except StreamError as error:
        assert error is decoder.fault
    return events, describe(decoder.fault), decoder.deviations


# --- what is in a frame ------------------------------------------------------------------------------------------

BODY = whole(text_block("Hel", "lo"))


def test_a_message():
    """The same events as those of an event stream, without a deviation, and what Bedrock adds to the last."""
    events, fault, deviations = reading([on_bedrock(BODY)], strict=True)
    assert (fault, deviations) == (None, [])
    assert events == EventDecoder().receive_data(BODY)
    stop = {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 3}}
    (event,), _, _ = reading([chunk(stop, p="abcdef")], strict=True)
    assert event == MessageStopEvent(extra={"amazon-bedrock-invocationMetrics": {"inputTokenCount": 3}})


@given(event_streams(), st.data())
def test_any_message(events, data):
    """Every legal stream, cut anywhere, read strictly."""
    body = b"".join(chunk(to_json(event)) for event in events)
    decoder = BedrockDecoder(strict=True)
    got = [event for part in data.draw(chunked(body)) for event in decoder.receive_data(part)] + decoder.receive_eof()
    assert list(map(to_dict, got)) == list(map(to_dict, events))
    accumulator = MessageAccumulator(strict=True)
    accumulator.extend(got)
    assert accumulator.result() == parse(b"".join(map(encode_event, events)))


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        (exception("throttlingException", b'{"message":"Too many"}'), ErrorEvent(ErrorDetail("throttlingException", "Too many"))),
        (exception("newException", b'{"message":"m","originalStatusCode":424}'), ErrorEvent(ErrorDetail("newException", "m", extra={"originalStatusCode": 424}))),
        (exception("newException", b"<html>"), ErrorEvent(ErrorDetail("newException", "<html>"))),
        (exception("newException", b"[1]"), ErrorEvent(ErrorDetail("newException", "[1]"))),
        (exception("newException", b""), ErrorEvent(ErrorDetail("newException"))),
        (exception("newException", b'{"type":"other"}'), ErrorEvent(ErrorDetail("other", extra={"code": "newException"}))),
        (encode_aws_frame(AWSFrame({":message-type": "error", ":error-code": "500", ":error-message": "m"})), ErrorEvent(ErrorDetail("500", "m"))),
        (encode_aws_frame(AWSFrame({":message-type": "error", ":error-message": 7})), ErrorEvent(ErrorDetail(None, "7"))),
        (encode_aws_frame(AWSFrame({":message-type": "exception"})), ErrorEvent(ErrorDetail())),
    ],
)  # fmt: skip
def test_an_exception_is_an_error_event(frame, event):
    """Of any name, with all that AWS says about it, and no deviation: this is how Bedrock reports a failure."""
    assert reading([frame], strict=True) == ([event], None, [])
    accumulator = MessageAccumulator()
    accumulator.add(event)
    assert accumulator.outcome is Outcome.FAILED


def test_a_type_that_no_event_line_could_carry():
    """A line end in it, or half a character, changes nothing: it is the event's type. One that is no text is refused."""
    (event, other), fault, deviations = reading([chunk({"type": "a\nb", "n": 1}) + chunk({"type": "a\r"})])
    assert {deviation.code for deviation in deviations} <= {"no_event_line"}
    assert (event, other, fault) == (UnknownEvent("a\nb", extra={"n": 1}), UnknownEvent("a\r"), None)
    assert reading([chunk({"type": "\ud83e"})])[0] == [UnknownEvent("\ufffd")]
    assert reading([chunk({"type": 5})])[1][:2] == (DecodeError, "type is an integer, not a string (event 0, byte 0)")


@pytest.mark.parametrize(
    ("headers", "payload", "event", "codes"),
    [
        ({":event-type": "initial-response"}, b"{}", UnknownEvent("initial-response"), ["no_type"]),
        ({":event-type": "initial-response"}, b"", UnknownEvent("initial-response", ""), ["foreign_data"]),
        ({":event-type": "metadata"}, b'{"type":"metadata","a":1}', UnknownEvent("metadata", extra={"a": 1}), []),
        ({}, b'{"type":"ping"}', PingEvent(), []),
        ({":event-type": 7}, b'{"type":"ping"}', PingEvent(), []),
    ],
)
def test_a_frame_of_another_name_is_kept(headers, payload, event, codes):
    """As an event of that name, which is said."""
    events, fault, deviations = reading([encode_aws_frame(AWSFrame(headers, payload))])
    assert (events, fault) == ([event], None)
    assert [deviation.code for deviation in deviations] == codes


# --- the laws ------------------------------------------------------------------------------------------------------

ODD = [
    on_bedrock(BODY),
    on_bedrock(BODY)[:-1],
    on_bedrock(message_start() + block_start(TEXT) + delta(text="\ud83e") + delta(text="\udd9c")),
    on_bedrock(message_start()) + chunk(b'{"type":\n "ping"}') + chunk({"type": "ping", "a": "\n\r"}),
    on_bedrock(message_start()) + chunk(b"{") + on_bedrock(MESSAGE_STOP),
    on_bedrock(message_start()) + encode_aws_frame(AWSFrame(CHUNK, b"{}")) + on_bedrock(MESSAGE_STOP),
    on_bedrock(message_start()) + b"event: ping\n\n",
    on_bedrock(message_start()) + chunk({"type": "future", "a": "x" * 400}) + on_bedrock(MESSAGE_STOP),
    on_bedrock(message_start()) + chunk({"a": 1}) + chunk({"type": "a\nb"}),
    on_bedrock(message_start()) + chunk(b'{"type":"ping"}\n{"type":"ping"}') + chunk(b"{"),
]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("body", ODD)
def test_the_cutting_never_shows(body, strict):
    """The same events, then the same fault at the same place, and the same deviations."""
    expected = reading([body], strict=strict, max_event_size=500)
    for chunks in [*splits(body)][:: 1 if len(body) < 600 else 17]:
        assert reading(chunks, strict=strict, max_event_size=500) == expected
    assert_chunk_invariant(lambda: BedrockDecoder(strict=strict, max_event_size=500), body)


@given(
    event_streams().map(lambda events: b"".join(chunk(to_json(event)) for event in events)).flatmap(damaged), st.data()
)
def test_the_cutting_of_damaged_bodies_never_shows(body, data):
    """Events or a typed error, whatever happens on the way."""
    assert reading(data.draw(chunked(body))) == reading([body])


@given(st.binary(max_size=60) | st.sampled_from([b'{"bytes":"', b'{"bytes":"e30=","p":' + b"[" * 5000, b'{"bytes":1}']))
def test_any_payload_is_read_or_refused(payload):
    """With checksums that are right, so that the payload is what is looked at."""
    for headers in (CHUNK, {":event-type": "other"}, {":message-type": "exception", ":exception-type": "e"}):
        events, fault, _ = reading([encode_aws_frame(AWSFrame(headers, payload))])
        assert (len(events) > 0) == (fault is None)
        assert fault is None or fault[0] is DecodeError


@pytest.mark.parametrize(
    ("frame", "kind", "reason"),
    [
        (encode_aws_frame(AWSFrame(CHUNK, b"{}")), DecodeError, "a chunk without an event: Object missing required field `bytes`"),
        (encode_aws_frame(AWSFrame(CHUNK, b'{"bytes":"!"}')), DecodeError, "a chunk without an event: Invalid base64 encoded string - at `$.bytes`"),
        (chunk(b'{"type":"ping"'), DecodeError, "event: the text ends too early: expected ',' or the end of the object or array at character 14 of the data"),
        (b"event: ping\n\n", DecodeError, "no AWS frame begins with b'event: ping\\n': the checksum of its lengths is wrong"),
        (chunk({"type": "future", "a": "x" * 600}), LimitExceeded, "more than 500 bytes (max_event_size)"),
    ],
)  # fmt: skip
def test_a_fault_names_its_event_and_its_frame(frame, kind, reason):
    """Events before it are returned. It is raised by the next call and by each later one."""
    before = on_bedrock(message_start() + block_start(TEXT))
    decoder = BedrockDecoder(max_event_size=500)
    assert len(decoder.receive_data(before + frame + before)) == 2
    fault = decoder.fault
    assert type(fault) is kind
    assert str(fault) == f"{reason} (event 2, byte {len(before)})"
    for call in (decoder.receive_eof, lambda: decoder.receive_data(b"")):
        with pytest.raises(kind) as caught:
            call()
        assert caught.value is fault
    assert repr(decoder) == f"<BedrockDecoder events=2 fault={fault!r}>"


def test_deviations_are_listed_or_violations():
    """Those that show in an event, by the number of the event; in strict mode each ends the reading."""
    body = on_bedrock(message_start()) + chunk({"a": 1}) + chunk({"type": "message_delta"})
    events, fault, deviations = reading([body])
    assert (len(events), fault) == (3, None)
    assert [(each.code, each.event_number) for each in deviations] == [("no_type", 1), ("bare_message_delta", 2)]
    events, fault, _ = reading([body], strict=True)
    assert (len(events), fault[0], fault[2:]) == (1, ProtocolViolation, (1, len(on_bedrock(message_start()))))


def test_a_body_that_ends_inside_a_frame():
    """It is said, and a violation in strict mode; what came before is whole."""
    start, rest = on_bedrock(message_start()), on_bedrock(MESSAGE_STOP)[:40]
    events, fault, (deviation,) = reading([start + rest])
    assert (len(events), fault) == (1, None)
    assert (deviation.code, deviation.event_number, deviation.detail) == (
        "unfinished_event", 1, "the body ends inside a frame: 40 bytes of it",
    )  # fmt: skip
    assert reading([start + rest], strict=True)[1] == (
        ProtocolViolation, f"unfinished_event: the body ends inside a frame: 40 bytes of it (event 1, byte {len(start)})", 1, len(start),
    )  # fmt: skip
    decoder = BedrockDecoder()
    assert (decoder.receive_data(start + rest)[0].type, decoder.receive_eof(), decoder.receive_eof()) == (
        "message_start",
        [],
        [],
    )


def test_halves_of_a_character_are_joined():
    """Over two frames, as over two events of an event stream."""
    body = message_start() + block_start(TEXT) + delta(text="a\ud83e") + delta(text="\udd9cb")
    events, _, (deviation,) = reading(pieces(on_bedrock(body), 100))
    assert [event.delta.text for event in events[2:]] == ["a", "🦜b"]
    assert (deviation.code, deviation.count) == ("lone_surrogate", 2)


# --- botocore --------------------------------------------------------------------------------------------------------


@given(messages().flatmap(event_streams), st.data())
def test_botocore_reads_the_same_events(events, data):
    """Its parser gives the frames, and what is in them is what is read here."""
    eventstream = pytest.importorskip("botocore.eventstream", reason="botocore is not installed")
    buffer, theirs = eventstream.EventStreamBuffer(), []
    body = b"".join(chunk(to_json(event)) for event in events)
    for part in data.draw(chunked(body)):
        buffer.add_data(part)
        for message in buffer:
            assert message.headers == CHUNK
            theirs.append(to_dict(decode_event(base64.b64decode(json.loads(message.payload)["bytes"]))))
    assert theirs == list(map(to_dict, reading([body])[0]))


def test_a_stream_on_bedrocks_frames():
    """MessageStream takes this decoder in place of its own, with all that it says of a stream."""
    body = on_bedrock(whole(text_block("Hi", "!")))
    for size in (1, 7, 100, 10**6):
        stream = MessageStream(decoder=BedrockDecoder())
        for piece in pieces(body, size):
            stream.consume(piece)
        stream.receive_eof()
        assert stream.result().text == "Hi!"
        assert stream.deviations == []


def test_a_fault_of_the_message_has_the_place_of_its_frame():
    before = chunk({"type": "ping"})
    body = before + chunk({"type": "content_block_stop", "index": 7})
    for size in (1, 7, 10**6):
        stream = MessageStream(decoder=BedrockDecoder(strict=True), on_fault="keep")
        for piece in pieces(body, size):
            stream.receive_data(piece)
        fault = stream.fault
        assert (fault.code, fault.event_number, fault.byte_offset) == ("stop_without_block", 1, len(before))


def test_an_exception_within_the_limit_is_read_however_its_text_is_written():
    body = exception("throttlingException", b"\x01" * 800)
    (event,) = BedrockDecoder(max_event_size=len(body)).receive_data(body)
    assert event.error.message == "\x01" * 800


@pytest.mark.parametrize(
    ("payload", "headers", "said"),
    [
        (b'{"type":"overloaded_error","message":"m"}', {}, ("overloaded_error", "m", {"code": "throttlingException"})),
        (b'{"a":1}', {":error-message": "why"}, ("throttlingException", "why", {"a": 1})),
        (b'{"message":"a\tb","c":1}', {}, ("throttlingException", "a\tb", {"c": 1})),
        (b'{"message":"m"}', {":error-message": "why"}, ("throttlingException", "m", {})),
    ],
)
def test_nothing_of_an_exception_is_lost(payload, headers, said):
    (event,) = BedrockDecoder().receive_data(exception("throttlingException", payload, **headers))
    assert (event.error.type, event.error.message, event.error.extra) == said
