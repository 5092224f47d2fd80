"""Bodies that are not streams, error responses; encoding."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from contextlib import suppress
from datetime import datetime
from enum import Enum
from http import HTTPStatus
from types import MappingProxyType
from uuid import UUID

import pytest
from hypothesis import given

from sansio_step import (
    APIError,
    ContentBlockDeltaEvent,
    DecodeError,
    EventDecoder,
    MessageStopEvent,
    MessageStream,
    Outcome,
    PingEvent,
    TextBlock,
    ThinkingBlock,
    ToolInputError,
    ToolUseBlock,
    UnknownDelta,
    UnknownEvent,
    Usage,
    decode_error,
    decode_event,
    decode_message,
    encode_event,
    to_dict,
    to_json,
)
from sansio_step.testing import messages

from .helpers import (
    TEXT,
    frame,
    message_delta,
    message_start,
    text_block,
    tool_block,
    whole,
)

STEPFUN_BODY = (
    b'{"id":"msg_01X","type":"message","role":"assistant","stop_reason":"end_turn",'
    b'"usage":{"input_tokens":35,"output_tokens":20},"content":[{"type":"text","text":"I\'m fine"}]}'
)


def test_decode_message():
    """StepFun's documented body: no model, no stop_sequence. The same from str, and from what to_json writes."""
    message = decode_message(STEPFUN_BODY)
    assert (message.id, message.model, message.text, message.stop_reason) == ("msg_01X", None, "I'm fine", "end_turn")
    assert message.usage == Usage(35, 20)
    assert decode_message(STEPFUN_BODY.decode()) == decode_message(bytearray(STEPFUN_BODY)) == message
    assert decode_message(to_json(message)) == message
    assert decode_message('{"content":[{"type":"text","text":"\\ud83d"}]}').text == "\ufffd"
    empty = decode_message({"content": [], "usage": [], "stop_reason": ""})  # as PHP and Go write what is not there
    assert (empty.usage, empty.stop_reason, empty.extra) == (None, None, {})


def test_decode_message_of_every_kind_of_block():
    """A whole message of all blocks comes back equal, as JSON too."""
    kinds = ["redacted_thinking", "server_tool_use", "web_search_tool_result", "web_fetch_tool_result", "compaction",
             "code_execution_tool_result", "bash_code_execution_tool_result", "text_editor_code_execution_tool_result",
             "tool_search_tool_result", "container_upload", "mcp_tool_use", "mcp_tool_result", "mcp_tool_listing",
             "advisor_tool_result", "fallback", "brand_new"]  # fmt: skip
    fields = {"tool_use_id": "t", "caller": {"type": "direct"}, "surprise": [1]}
    blocks = [{"type": kind, **fields, **({"input": {"a": 1}} if kind.endswith("_use") else {})} for kind in kinds]
    message = decode_message(json.dumps({"type": "message", "content": blocks, "odd": 1}))
    assert to_dict(message) == {
        "type": "message", "content": blocks, "odd": 1, "stop_reason": None, "stop_sequence": None,
    }  # fmt: skip
    names = {type(block).__name__ for block in message.content}
    assert len(names) == len(kinds)
    assert {"MCPToolUseBlock", "TextEditorCodeExecutionToolResultBlock", "UnknownBlock"} <= names


@given(messages())
def test_decode_message_of_the_parsed_object(message):
    """The object gives the same message as its text, and is not changed or shared."""
    wire = to_dict(message)
    before = json.dumps(wire)
    made = decode_message(wire)
    assert made == decode_message(before)
    assert to_dict(made) == to_dict(message)
    for block in made.content:
        block.extra = {**block.extra, "new": 1}
        with suppress(ToolInputError):  # of a call that was cut
            getattr(block, "input", {})["new"] = 1
    made.extra = {}
    assert json.dumps(wire) == before


def test_decode_message_of_a_dump():
    """What the official SDK's `model_dump()` gives: times as objects, null for every field that is not there."""
    types = pytest.importorskip("anthropic.types", reason="the official SDK is not installed")
    wire = {
        "id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use", "stop_sequence": None,
        "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {"a": 1}}],
        "usage": {"input_tokens": 1, "output_tokens": 2}, "container": {"id": "c", "expires_at": "2026-11-27T12:00:00Z"},
    }  # fmt: skip
    dump = types.Message.model_validate(wire).model_dump()
    assert type(dump["container"]["expires_at"]) is datetime
    message = decode_message(dump)
    assert message.content[0].input == {"a": 1}
    assert message.container["expires_at"] == "2026-11-27T12:00:00Z"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (1, 2)


class Shade(str, Enum):
    DARK = "dark"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, (2,)), [1, [2]]),
        (Shade.DARK, "dark"),
        (Outcome.COMPLETE, "complete"),
        (HTTPStatus.OK, 200),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (MappingProxyType({"a": 1}), {"a": 1}),
        ("\ud83e\udd9c", "🦜"),
        ("\ud83e", "\ufffd"),
        ({chr(0xD83E): 1, "b": 2, chr(0xDD9C): [3]}, {"\ufffd": [3], "b": 2}),
        (10**400, 10**400),
        (-0.0, -0.0),
        (True, True),
    ],
)
def test_decode_message_of_objects_that_are_nearly_json(value, expected):
    """Everything is what it is in JSON: halves of characters as in a text, of two equal keys the last."""
    made = decode_message({"content": [], "odd": value}).extra["odd"]
    assert made == expected
    assert type(made) is type(expected)
    assert json.dumps(made) == json.dumps(expected)


def nested(depth):
    value = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_decode_message_of_an_object_that_no_text_could_hold():
    """It is as much of an error as the text would be; an object that is no JSON at all is a wrong argument."""
    endless = {"content": []}
    endless["odd"] = [endless]
    for value in (float("nan"), float("inf"), {1: 2}, nested(200), endless):
        with pytest.raises(DecodeError):
            decode_message({"content": [], "odd": value})
    assert decode_message({"content": [], "odd": nested(199)}).extra["odd"] == nested(199)
    with pytest.raises(DecodeError, match="nested deeper than 200"):
        decode_message(json.dumps({"content": [], "odd": nested(200)}))
    with pytest.raises(TypeError, match="object"):
        decode_message({"content": [], "odd": object()})
    with pytest.raises(TypeError, match="expected JSON as str or bytes, or the object parsed from it, not list"):
        decode_message([])


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"<html>", b'{"content":5}', b'{"content":[{"type":5}]}', b"{}", b'{"name":"package"}', b'{"type":"ping"}',
     b'{"type":5,"content":[]}', b'{"type":"model","content":[]}'],
)  # fmt: skip
def test_decode_message_refuses_what_is_no_message(body):
    """A typed error for anything else."""
    with pytest.raises(DecodeError):
        decode_message(body)


def test_what_is_no_message_is_named_by_its_type():
    """A text is shown as far as 300 characters, anything else in short."""
    for kind, shown in (("k" * 300, repr("k" * 300)), ("k" * 301, repr("k" * 300) + "..."), (5, "5"), (None, "None")):
        with pytest.raises(DecodeError) as caught:
            decode_message({"type": kind})
        assert str(caught.value) == f"the body is not a message: its type is {shown}"


def test_what_is_a_message_and_what_an_error():
    """By the type; without one, an `error` beside content is a field like any other."""
    for body, reason in (
        (b"[]", "the body is not a JSON object"),
        (b"[1", "the text ends inside a number at character 2 of the body"),
    ):
        with pytest.raises(DecodeError) as caught:
            decode_message(body)
        assert str(caught.value) == reason
    with pytest.raises(APIError, match="^error: no message given$"):
        decode_message(b'{"type":"error"}')
    with pytest.raises(APIError, match="^t: no message given$"):
        decode_message(b'{"type":"error","content":[],"error":{"type":"t"}}')
    assert decode_message(b'\xef\xbb\xbf{"type":"message","content":[],"error":"x"}').extra == {"error": "x"}
    with pytest.raises(DecodeError, match="^the body is not a message: its type is 'model'$"):
        decode_message(b'{"type":"model","content":[]}')


def test_decode_message_raises_an_error_body():
    """An error's envelope in place of a message, first party's or StepFun's, is an APIError."""
    for body in (b'{"type":"error","error":{"type":"t","message":"m"}}', b'{"error":{"type":"t","message":"m"}}'):
        with pytest.raises(APIError, match="t: m"):
            decode_message(body)


@pytest.mark.parametrize(
    ("body", "kind", "message", "request_id"),
    [
        (b'{"type":"error","error":{"type":"overloaded_error","message":"busy"},"request_id":"req_1"}', "overloaded_error", "busy", "req_1"),
        (b'{"error":{"message":"no","type":"invalid_api_key"}}', "invalid_api_key", "no", "trace"),
        (b'{"error":"just text"}', None, "just text", "trace"),
        (b"<html>502</html>", None, "<html>502</html>", "trace"),
        (b"", None, None, "trace"),
        (b"[1]", None, "[1]", "trace"),
        (b'{"detail":"x"}', None, '{"detail":"x"}', "trace"),
        (b'{"error":{"type":5}}', None, '{"error":{"type":5}}', "trace"),
        (b'{"error":{"code":5}}', None, '{"error":{"code":5}}', "trace"),
        (b'{"error":{"type":"t","message":""}}', "t", None, "trace"),
        (b'{"error":{"type":"t"},"message":"beside"}', "t", "beside", "trace"),
        (b'{"error":{"type":"t","request_id":"req_1"}}', "t", None, "req_1"),
        (b'{"error":{"type":"t","message":"a\tb"},"request_id":""}', "t", "a\tb", "trace"),
        (b'{"type":"overloaded_error","message":"busy","request_id":"req_1"}', "overloaded_error", "busy", "req_1"),
        (b'{"type":"overloaded_error","message":"a\tb"}', "overloaded_error", "a\tb", "trace"),
        (b'{"type":"about:blank","title":"down"}', "about:blank", '{"type":"about:blank","title":"down"}', "trace"),
        (b"\xff" * 5000, None, "\ufffd" * 1000 + "...", "trace"),
        (b"\xff" * 1001, None, "\ufffd" * 1000 + "...", "trace"),
        (b"\xff" * 1000, None, "\ufffd" * 1000, "trace"),
    ],
)  # fmt: skip
def test_decode_error(body, kind, message, request_id):
    """Both envelopes, and any other body by its first 1000 characters; the request id from the body, else from the headers."""
    for headers in (
        {"X-Trace-Id": "trace"},
        [(b"x-trace-id", b"trace")],
        {b"X-TRACE-ID": b"trace"},
        [("Request-Id", "trace"), ("x-trace-id", "2")],
    ):
        error = decode_error(503, headers, body)
        for same in (b"\xef\xbb\xbf" + body, bytearray(body), *([body.decode()] if body.isascii() else [])):
            assert str(decode_error(503, headers, same)) == str(error)
        assert (error.status, error.type, error.message, error.request_id) == (503, kind, message, request_id)
        assert error.retryable
    assert decode_error(503, {}, body).request_id in (None, "req_1")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("\U0001f600" * 1001, "\U0001f600" * 1000 + "..."),
        (" " * 4000 + "down", "down"),
        (" " * 3500 + "x" * 600, "x" * 600),
    ],
)
def test_decode_error_counts_characters(body, message):
    """The first 1000 characters are those after the white space, however many bytes each takes; more is told."""
    assert decode_error(502, {}, body).message == message


BUSY = b'{"type":"error","error":{"type":"overloaded_error","message":"busy","details":{"error_code":"c"}},"a":1}'
BARE = b'{"error":{"type":"overloaded_error","message":"busy","code":"c"},"a":1}'
PING = frame("ping")


@pytest.mark.parametrize(
    "body",
    [
        b"event: error\ndata: %b\n\n" % BUSY,
        b"event: error\ndata: %b\n\n" % BARE,
        b"data: %b\n\n" % BUSY,
        b"data:%b\n\n" % BARE,
        b"event: error\ndata: %b" % BUSY,
        b"event: error\r\ndata: %b\r\n\r\n" % BUSY,
        b"event: error\rdata: %b\r\r" % BUSY,
        b"\xef\xbb\xbfevent: error\ndata: %b\n\n" % BUSY,
        b": hi\n\n: there\n"
        + PING
        + b"id: 1\nevent: error\n:HTTP_STATUS/529\ndata: %b\n\n" % BUSY
        + frame("message_stop"),
        message_start() + b"event: error\ndata: %b\n\n" % BUSY,
        b"event: error\ndata: {\ndata: %b\n\n" % BUSY[1:],
        b"event: error\ndata: %b\n\n" % BUSY + b"event: error\ndata: second\n\n",
        b'event: odd\ndata: {"message":"not this"}\n\nevent: error\ndata: %b\n\n' % BUSY,
        b"event: error\ndata: %b\n\nevent: message_start\ndata: {\n\n" % BUSY,
        b'event: error\ndata: {"type":"overloaded_error","message":"busy","code":"c","a":1}\n\n',
        b": hi\n\n%b\n" % BUSY,
    ],
)
def test_decode_error_of_an_event_stream(body):
    """The first error event of the body is the error, whatever comes around it; so is it in gzip."""
    for same in (body, gzip.compress(body)):
        error = decode_error(529, {"content-type": "text/event-stream"}, same)
        assert (error.type, error.message, error.code, error.extra) == ("overloaded_error", "busy", "c", {"a": 1})
        assert (error.status, error.retryable) == (529, True)


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (b"event: error\ndata: down\n\n", None, "down"),
        (b'event: error\ndata: {"code":"Throttling","message":"slow"}\n\n', None, "slow"),
        (b'event: error\ndata: "down"\n\n', None, '"down"'),
        # No error in it: what the body is, from its start.
        (PING + b"\n", None, PING.decode().strip()),
        (b"data: [DONE]\n\n", None, "data: [DONE]"),
        (b'event: odd\ndata: {"a":1}\n\n', None, 'event: odd\ndata: {"a":1}'),
        (b'data: {"a\n\nevent: error\ndata: x\n\n', None, 'data: {"a\n\nevent: error\ndata: x'),
        (b'data: {"message":"slow"}\n\n', None, "slow"),
    ],
)
def test_decode_error_of_an_event_stream_with_less(body, kind, message):
    """An error event says what it can; a body without one is shown as it came."""
    error = decode_error(503, {}, body)
    assert (error.type, error.message, error.retryable) == (kind, message, True)


def test_decode_error_of_gzip():
    """A body in gzip without its Content-Encoding: one member or several, with something after them."""
    for body in (
        gzip.compress(BUSY),
        gzip.compress(BUSY[:30]) + gzip.compress(b"") + gzip.compress(BUSY[30:]),
        gzip.compress(b"\xef\xbb\xbf" + BUSY),
        gzip.compress(BUSY) + b"\0" * 99,
        gzip.compress(BUSY) + b"rest",
        gzip.compress(BUSY)[:-8],  # its checksum and length have not come
        gzip.compress(BUSY)[:-8] + b"\0" * 8,  # and are wrong
    ):
        for same in (body, bytearray(body), memoryview(body)):
            error = decode_error(529, {}, same)
            assert (error.type, error.message, error.code, error.extra) == ("overloaded_error", "busy", "c", {"a": 1})


def test_decode_error_of_gzip_that_is_cut_or_broken():
    """As much as it holds up to there is the message: each cut gives a start of the text, and more with more bytes."""
    text = " ".join(f"{number}-{number * 7919}" for number in range(100))
    whole_body = gzip.compress(text.encode())
    lengths = []
    for cut in range(20, len(whole_body)):
        message = decode_error(502, {}, whole_body[:cut]).message
        assert text.startswith(message) or message.startswith("\ufffd")  # nothing is in it yet: the bytes themselves
        lengths.append(len(message) if text.startswith(message) else 0)
    assert lengths == sorted(lengths)
    assert lengths[-1] == len(text)
    # A fault takes nothing with it of what stands before: here the second member's header.
    assert decode_error(502, {}, whole_body + b"\x1f\x8b\x00").message == text
    for broken in (b"\x1f\x8b", b"\x1f\x8b\x08", b"\x1f\x8bno gzip", gzip.compress(b"")):
        assert decode_error(502, {}, broken).message.startswith("\ufffd")  # the first byte of the two is white space


def test_decode_error_of_a_bomb():
    """At most 256 KiB are read and decompressed: no body grows beyond that, however it is built."""
    tracemalloc.start()
    try:
        for bomb in (
            gzip.compress(b"x" * (64 << 20)),
            gzip.compress(b"x" * (1 << 20)) * 64,
            gzip.compress(b'{"error":"' + b"x" * (64 << 20) + b'"}'),
        ):
            tracemalloc.reset_peak()
            error = decode_error(500, {}, bomb)
            assert tracemalloc.get_traced_memory()[1] < 16 << 20  # a quarter of what it holds
            assert error.message.endswith("xxx...")
            assert len(error.message) == 1003
    finally:
        tracemalloc.stop()
    # After so many empty members no error is looked for.
    empty = gzip.compress(b"")
    assert decode_error(500, {}, empty * 1000 + gzip.compress(BUSY)).message == "busy"
    assert decode_error(500, {}, empty * (256 * 1024 // len(empty) + 1) + gzip.compress(BUSY)).type is None


def test_to_dict_of_parts():
    """Deltas, blocks, usage and events too; None is left out, but for the two stop fields; numbers of any size."""
    assert to_dict(Usage(1, service_tier="s", extra={"cost": 2**70})) == {
        "input_tokens": 1,
        "service_tier": "s",
        "cost": 2**70,
    }
    assert json.loads(to_json(Usage(1, extra={"cost": 2**70}))) == {"input_tokens": 1, "cost": 2**70}
    assert to_dict(MessageStopEvent()) == {"type": "message_stop"}
    assert to_dict(ThinkingBlock("a")) == {"type": "thinking", "thinking": "a"}
    assert to_dict(ToolUseBlock(id="i", input={"a": 1})) == {"type": "tool_use", "id": "i", "input": {"a": 1}}
    event = decode_event('{"delta":{"stop_reason":"x","new":1},"usage":{"output_tokens":1},"top":2}', "message_delta")
    assert to_dict(event) == {
        "type": "message_delta", "delta": {"stop_reason": "x", "stop_sequence": None, "new": 1}, "usage": {"output_tokens": 1}, "top": 2,
    }  # fmt: skip


EVENTS = [
    PingEvent(extra={"cost": "0"}),
    UnknownEvent("surprise", extra={"a": [1, None]}),
    UnknownEvent("message", "[DONE]"),
    UnknownEvent("note", "two\nlines"),
    UnknownEvent("line\nend", extra={"a": 1}),
    UnknownEvent("", extra={}),
    ContentBlockDeltaEvent(3, UnknownDelta("", extra={"x": 1})),
    *MessageStream().receive_data(
        whole(
            text_block("a\u4f60\u2028"),
            tool_block('{"a":1}', index=1),
            frame("error", error={"type": "t"}, request_id="r"),
        )
        + message_start(content=[TEXT, {"type": "new", "z": 1}], stop_details={"a": 1}, odd=None)
        + message_delta(context_management={"a": 1})
        + frame("content_block_delta", index=0, delta={"type": "compaction_delta", "content": "c"})
    ),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type or "no type")
def test_encode_event_is_undone_by_decoding(event):
    """Encoding and decoding give the event back; the frame is an event line, a data line, a blank line."""
    body = encode_event(event)
    assert EventDecoder().receive_data(body) == [event]
    if getattr(event, "data", None) is None:
        assert body.count(b"\n") == (3 if event.type and "\n" not in event.type else 2)


def test_a_text_block_takes_its_text_from_anywhere():
    """Blocks can be built by hand and sent back."""
    assert to_dict(TextBlock("a", citations=[])) == {"type": "text", "text": "a", "citations": []}


@pytest.mark.parametrize("stop_reason", [None, "end_turn"])
@pytest.mark.parametrize(("text", "view"), [("{", {}), ('{"a":1,"b', {"a": 1}), ('{"a":', {}), ("[1]", {})])
def test_arguments_that_were_cut_stay_cut(stop_reason, text, view):
    """What `to_dict` writes of a broken call, read again, is no finished call: nobody runs it."""
    call = {"type": "tool_use", "id": "a", "name": "b", "input": view, "input_json": text, "cost": 1}
    body = {"type": "message", "content": [call], "stop_reason": stop_reason, "stop_sequence": None}
    message = decode_message(body)
    assert message.content[0].extra == {"cost": 1}
    with pytest.raises(ToolInputError):
        _ = message.content[0].input
    assert to_dict(message) == body


def test_a_call_without_its_end_stays_without_it():
    """Its text is whole, and nothing says that no more was to come."""
    stream = MessageStream()
    stream.receive_data(
        b'data: {"type":"message_start","message":{"type":"message","content":[]}}\n\n'
        b'data: {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"a","name":"b","input":{}}}\n\n'
    )
    for piece in (
        b"",
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\\"a\\":1}"}}\n\n',
    ):
        stream.receive_data(piece)
        again = decode_message(to_dict(stream.message))
        with pytest.raises(ToolInputError, match="not finished"):
            _ = again.content[0].input
        assert to_dict(again) == to_dict(stream.message)


@pytest.mark.parametrize("stop_reason", [None, "end_turn"])
@pytest.mark.parametrize("field", ["{", '{"b":2}', 5, None])
def test_a_field_of_somebody_elses_that_is_called_input_json(stop_reason, field):
    """It does not say the same as the input, so that it is not the text of it."""
    call = {"type": "tool_use", "id": "a", "name": "b", "input": {"a": 1}, "input_json": field}
    body = {"type": "message", "content": [call], "stop_reason": stop_reason, "stop_sequence": None}
    message = decode_message(body)
    assert message.content[0].input == {"a": 1}
    assert to_dict(message) == body


@pytest.mark.parametrize("text", ['{"a":1}', ""])
def test_a_text_that_is_whole_in_a_message_that_is_over(text):
    """Nothing was cut: some servers say the arguments twice."""
    call = {"type": "tool_use", "id": "a", "name": "b", "input": {"a": 1} if text else {}, "input_json": text}
    body = {"type": "message", "content": [call], "stop_reason": "tool_use", "stop_sequence": None}
    message = decode_message(body)
    assert message.content[0].input == call["input"]
    assert to_dict(message) == body


def test_a_raw_control_character_in_a_document_is_that_character():
    """As in a stream: some servers write line ends and tabs into their strings as they are."""
    document = b'{"type":"message","content":[{"type":"text","text":"a\tb\nc"}]}'
    for data in (document, document.decode()):
        assert decode_message(data).text == "a\tb\nc"
