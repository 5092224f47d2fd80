"""JSON to types and back: every event, delta and block, what is unknown, what is of a wrong type."""

from __future__ import annotations

import json
from functools import reduce

import pytest

import sansio_step
from sansio_step import (
    CitationsDelta,
    CompactionDelta,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    DecodeError,
    ErrorDetail,
    ErrorEvent,
    EventDecoder,
    FallbackBlock,
    InputJSONDelta,
    Message,
    MessageDelta,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
    PingEvent,
    ProtocolViolation,
    SignatureDelta,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolInputError,
    ToolUseBlock,
    UnknownBlock,
    UnknownDelta,
    UnknownEvent,
    Usage,
    decode_event,
    decode_message,
    encode_event,
    encode_sse,
    to_dict,
    to_json,
    to_param,
)

from .helpers import frame, pieces

USAGE = {
    "input_tokens": 1, "output_tokens": 2, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 4, "cache_creation": {"a": 1},
    "output_tokens_details": {"thinking_tokens": 5}, "server_tool_use": {"web_search_requests": 1}, "service_tier": "s",
    "inference_geo": "eu", "iterations": [{"n": 1}], "fallback_credit": {"b": 2},
}  # fmt: skip
MESSAGE = {
    "type": "message", "id": "i", "role": "assistant", "model": "m", "content": [{"type": "text", "text": "t"}], "stop_reason": "s",
    "stop_sequence": "q", "stop_details": {"a": 1}, "container": {"id": "c"}, "context_management": {"e": []}, "usage": USAGE,
}  # fmt: skip
STOP = {"stop_reason": "r", "stop_sequence": "q", "stop_details": {"a": 1}, "container": {"id": "c"}}

# The wire's JSON of every event and delta, and what it is read as. Each names all the fields that WIRE lists.
EVENTS = [
    (
        {"type": "message_start", "message": MESSAGE},
        MessageStartEvent(
            Message(
                id="i", role="assistant", model="m", content=[TextBlock("t")], stop_reason="s", stop_sequence="q",
                stop_details={"a": 1}, container={"id": "c"}, context_management={"e": []}, usage=Usage(**USAGE),
            )
        ),
    ),
    (
        {"type": "content_block_start", "index": 3, "content_block": {"type": "text", "text": "a", "citations": [{"n": 1}]}},
        ContentBlockStartEvent(3, TextBlock("a", [{"n": 1}])),
    ),
    (
        {"type": "content_block_start", "index": 3, "content_block": {"type": "new", "a": None}},
        ContentBlockStartEvent(3, UnknownBlock("new", extra={"a": None})),
    ),
    *(
        ({"type": "content_block_delta", "index": 2**31 - 1, "delta": wire}, ContentBlockDeltaEvent(2**31 - 1, made))
        for wire, made in [
            ({"type": "text_delta", "text": "a"}, TextDelta("a")),
            ({"type": "input_json_delta", "partial_json": "{"}, InputJSONDelta("{")),
            ({"type": "thinking_delta", "thinking": "t", "estimated_tokens": 1}, ThinkingDelta("t", extra={"estimated_tokens": 1})),
            ({"type": "signature_delta", "signature": "s"}, SignatureDelta("s")),
            ({"type": "citations_delta", "citation": {"a": [1]}}, CitationsDelta({"a": [1]})),
            ({"type": "compaction_delta", "content": "c", "encrypted_content": "e"}, CompactionDelta("c", "e")),
            ({"type": "new_delta", "text": 5}, UnknownDelta("new_delta", extra={"text": 5})),
        ]
    ),
    ({"type": "content_block_stop", "index": 0}, ContentBlockStopEvent(0)),
    (
        {"type": "message_delta", "delta": STOP, "usage": USAGE, "context_management": {"e": []}},
        MessageDeltaEvent(MessageDelta(**STOP), usage=Usage(**USAGE), context_management={"e": []}),
    ),
    ({"type": "message_stop", "metrics": {"a": 1}}, MessageStopEvent(extra={"metrics": {"a": 1}})),
    ({"type": "ping", "cost": "0"}, PingEvent(extra={"cost": "0"})),
    (
        {"type": "error", "error": {"type": "t", "message": "m", "x": 1}, "request_id": "r"},
        ErrorEvent(ErrorDetail("t", "m", extra={"x": 1}), "r"),
    ),
    ({"type": "brand_new", "data": "d", "deep": [None]}, UnknownEvent("brand_new", extra={"data": "d", "deep": [None]})),
]  # fmt: skip


@pytest.mark.parametrize(("wire", "event"), EVENTS, ids=lambda value: getattr(value, "type", None))
def test_every_event(wire, event):
    """From the wire to its type, by every door; and back to the same JSON and the same event."""
    data = json.dumps(wire)
    assert decode_event(data) == decode_event(data.encode(), wire["type"]) == event
    decoder = EventDecoder(strict=True)
    (decoded,) = decoder.receive_data(
        frame(wire["type"], **{key: value for key, value in wire.items() if key != "type"})
    )
    assert decoded == event
    assert type(decoded) is type(event)
    assert to_dict(event) == json.loads(to_json(event)) == wire
    body = encode_event(event)
    assert body.split(b"\n")[0] == f"event: {wire['type']}".encode()
    assert json.loads(body.split(b"\n")[1].removeprefix(b"data: ")) == wire
    for size in (1, len(body)):
        again = EventDecoder(strict=True)
        assert [one for piece in pieces(body, size) for one in again.receive_data(piece)] == [event]


@pytest.mark.parametrize(("wire", "event"), EVENTS, ids=lambda value: getattr(value, "type", None))
def test_unknown_fields_of_every_event(wire, event):
    """Whatever they are called: kept in extra, and given back; those of its parts too."""
    more = {"surprise": [1, {"a": None}], "extra": {"extra": 1}, "_raw": "x", "null": None}
    decoded = decode_event(json.dumps({**wire, **more}))
    assert type(decoded) is type(event)
    assert {**decoded.extra, **more} == decoded.extra
    assert to_dict(decoded) == {**wire, **more}
    for part in ("message", "content_block", "delta", "usage", "error"):
        if part in wire:
            nested = {**wire, part: {**wire[part], **more}}
            assert to_dict(decode_event(json.dumps(nested))) == nested


# Every block that WIRE names, with the fields of it that have a name here.
RESULT = {"tool_use_id": "t", "content": [{"a": 1}], "caller": {"type": "direct"}, "is_error": False}
CALL = {"id": "i", "name": "n", "input": {"a": 1}, "caller": {"type": "direct"}}
BLOCKS = {
    "text": ("TextBlock", {"text": "a", "citations": [{"n": 1}]}),
    "thinking": ("ThinkingBlock", {"thinking": "a", "signature": "s"}),
    "redacted_thinking": ("RedactedThinkingBlock", {"data": "d"}),
    "tool_use": ("ToolUseBlock", CALL),
    "server_tool_use": ("ServerToolUseBlock", CALL),
    "mcp_tool_use": ("MCPToolUseBlock", {**CALL, "server_name": "s"}),
    "web_search_tool_result": ("WebSearchToolResultBlock", RESULT),
    "web_fetch_tool_result": ("WebFetchToolResultBlock", RESULT),
    "code_execution_tool_result": ("CodeExecutionToolResultBlock", RESULT),
    "bash_code_execution_tool_result": ("BashCodeExecutionToolResultBlock", RESULT),
    "text_editor_code_execution_tool_result": ("TextEditorCodeExecutionToolResultBlock", RESULT),
    "tool_search_tool_result": ("ToolSearchToolResultBlock", RESULT),
    "mcp_tool_result": ("MCPToolResultBlock", RESULT),
    "advisor_tool_result": ("AdvisorToolResultBlock", RESULT),
    "mcp_tool_listing": ("MCPToolListingBlock", {}),
    "container_upload": ("ContainerUploadBlock", {"file_id": "f"}),
    "compaction": ("CompactionBlock", {"content": "c", "encrypted_content": "e"}),
    "fallback": ("FallbackBlock", {"from": {"model": "a"}, "to": {"model": "b"}}),
}


def test_every_block_type_has_a_class():
    """The table below holds every public block class, and each is found by its wire type."""
    assert {name for name, _ in BLOCKS.values()} | {"UnknownBlock", "ContentBlock"} == {
        name for name in sansio_step.__all__ if name.endswith("Block")
    }  # fmt: skip


@pytest.mark.parametrize("kind", BLOCKS)
def test_every_block(kind):
    """Whole in content_block_start, and in a message's content: its class, its fields by name, the same JSON back."""
    name, fields = BLOCKS[kind]
    wire = {"type": kind, **fields, "surprise": 1, "extra": None}
    (block,) = decode_message(json.dumps({"content": [wire]})).content
    event = decode_event(json.dumps({"type": "content_block_start", "index": 0, "content_block": wire}))
    assert event.content_block == block
    assert type(block).__name__ == name
    assert block.type == kind
    for field, value in fields.items():
        assert getattr(block, "from_" if field == "from" else field) == value
    assert block.extra == {"surprise": 1, "extra": None}
    assert to_dict(block) == wire
    assert decode_event(encode_event(event).split(b"\n")[1][6:]) == event
    bare = decode_message(json.dumps({"content": [{"type": kind, **dict.fromkeys(fields)}]})).content[0]
    assert type(bare) is type(block)
    assert bare == type(block)()


KINDS = {str: "a string", int: "an integer", bool: "a boolean", dict: "an object", list: "an array", float: "a number"}


def refused(where, wrong, wanted):
    """What is said of a value of a wrong type."""
    if where.endswith(".index"):
        shown = repr(wrong) if isinstance(wrong, (int, float)) else KINDS[type(wrong)]
        return f"index is {shown}, not an integer from 0 to 2**31-1"
    return f"{where} is {KINDS[type(wrong)]}, not {KINDS[wanted]}"


def reason_of(read, data):
    with pytest.raises(DecodeError) as caught:
        read(data)
    return caught.value.reason


def seen(wire):
    """The event of a frame, and the codes of the deviations in it, which strict mode refuses by the first."""
    body = b"event: %b\ndata: %b\n\n" % (wire["type"].encode(), json.dumps(wire).encode())
    decoder = EventDecoder()
    (event,) = decoder.receive_data(body)
    codes = [each.code for each in decoder.deviations]
    if codes:
        with pytest.raises(ProtocolViolation) as caught:
            EventDecoder(strict=True).receive_data(body)
        assert caught.value.code == codes[0]
    return event, codes


# The fields of blocks that are content.
CONTENT = {
    "text.text",
    "thinking.thinking",
    "redacted_thinking.data",
    "compaction.content",
    "compaction.encrypted_content",
}


@pytest.mark.parametrize("kind", BLOCKS)
def test_every_field_of_a_block_has_its_type(kind):
    """Content of a wrong type is a DecodeError that names it; any other field is kept in `extra`, with a word.

    Only `content` of a result can be anything.
    """
    _, fields = BLOCKS[kind]
    for field, value in fields.items():
        wrong = 5 if not isinstance(value, int) or isinstance(value, bool) else "x"
        wire = {"type": "content_block_start", "index": 0, "content_block": {"type": kind, **fields, field: wrong}}
        if field == "content" and kind.endswith("_result"):
            assert decode_event(json.dumps(wire)).content_block.content == wrong
        elif f"{kind}.{field}" in CONTENT or field == "input":
            data = json.dumps(wire)
            assert reason_of(decode_event, data) == refused(f"content_block.{field}", wrong, type(value))
            data = json.dumps({"content": [{"type": kind, field: wrong}]})
            assert reason_of(decode_message, data) == refused(f"content block.{field}", wrong, type(value))
        else:
            event, codes = seen(wire)
            assert codes == ["wrong_type"]
            assert event.content_block.extra == {field: wrong}
            assert getattr(event.content_block, "from_" if field == "from" else field) is None
            assert to_dict(event) == wire


@pytest.mark.parametrize("kind", ["tool_use", "server_tool_use", "mcp_tool_use"])
def test_an_input_that_is_no_object(kind):
    """ "" and [] are none, a string is the text of the arguments; each is said. Only what is none of them is refused."""
    start = {"type": "content_block_start", "index": 0, "content_block": {"type": kind, "id": "i", "name": "n"}}
    for empty in ("", []):
        event, codes = seen({**start, "content_block": {**start["content_block"], "input": empty}})
        assert (event.content_block.input, event.content_block.input_json, codes[0]) == ({}, "", "wrong_type")
    event, codes = seen({**start, "content_block": {**start["content_block"], "input": '{"a": 1}', "input_json": "x"}})
    assert (event.content_block.input, event.content_block.input_json, codes) == ({"a": 1}, '{"a": 1}', ["wrong_type"])
    assert event.content_block.extra == {"input_json": "x"}
    event, _ = seen({**start, "content_block": {**start["content_block"], "input": '{"a'}})
    with pytest.raises(ToolInputError):
        event.content_block.input  # noqa: B018


def test_what_is_no_block_is_refused():
    """A message's content is an array of objects whose type, if any, is a string; a block in an event likewise."""
    for wire, reason in [
        ({"content": {}}, "message.content is an object, not an array"),
        ({"content": [None]}, "message.content[] is null, not an object"),
        ({"content": [[]]}, "message.content[] is an array, not an object"),
        ({"content": [{"type": 1.5}]}, "content block.type is a number, not a string"),
    ]:
        assert reason_of(decode_message, json.dumps(wire)) == reason
        data = json.dumps({"type": "message_start", "message": wire})
        assert reason_of(decode_event, data) == reason
    wire = {"type": "content_block_start", "index": 0, "content_block": {"type": True}}
    assert reason_of(decode_event, json.dumps(wire)) == "content_block.type is a boolean, not a string"
    assert decode_message('{"content":[{"a":1},{"type":null}]}').content == [
        UnknownBlock("", extra={"a": 1}),
        UnknownBlock(""),
    ]


def test_a_stop_reason_at_the_top_level_yields_to_the_deltas_own():
    """StepFun writes it at the top level: it is taken from there only if delta has none. Nothing is lost."""
    wire = {
        "type": "message_delta",
        "delta": {"stop_reason": "a", "x": 1},
        "stop_reason": "b",
        "stop_sequence": "c",
        "usage": {},
    }
    event = decode_event(json.dumps(wire))
    assert event == MessageDeltaEvent(MessageDelta("a", "c", extra={"x": 1}), Usage(), extra={"stop_reason": "b"})
    assert decode_event('{"type":"error","message":5}') == ErrorEvent(ErrorDetail(), extra={"message": 5})


def test_halves_leave_the_rest_of_their_event():
    """An event whose text holds half a character keeps its unknown fields; one whose text doesn't is as any other."""
    delta = {"type": "text_delta", "text": "a\ud83d", "y": 2}
    wire = {"type": "content_block_delta", "index": 3, "x": 1, "delta": delta}
    event = decode_event(json.dumps(wire))
    assert to_dict(event) == {**wire, "delta": {**delta, "text": "a\ufffd"}}
    (first,) = EventDecoder().receive_data(b"data: %b\n\n" % json.dumps(wire).encode())
    assert to_dict(first) == {**wire, "delta": {**delta, "text": "a"}}
    elsewhere = decode_event(json.dumps({**wire, "x": "\ud83d", "delta": {**delta, "text": "a"}}))
    assert type(elsewhere.delta) is TextDelta
    assert elsewhere.extra == {"x": "\ufffd"}


TYPED = {
    "message_start": {"message": dict, "message.content": list, "message.usage": dict, "message.stop_details": dict,
                      **{f"message.{name}": str for name in ("id", "role", "model", "stop_reason", "stop_sequence")},
                      **{f"message.{name}": dict for name in ("container", "context_management")},
                      **{f"message.usage.{name}": type(value) for name, value in USAGE.items()}},
    "content_block_start": {"index": int, "content_block": dict, "content_block.text": str, "content_block.citations": list},
    "content_block_delta": {"index": int, "delta": dict, "delta.text": str},
    "content_block_stop": {"index": int},
    "message_delta": {"delta": dict, "usage": dict, "usage.output_tokens": int, "context_management": dict, "delta.stop_reason": str,
                      "delta.stop_sequence": str, "delta.stop_details": dict, "delta.container": dict},
    "error": {"error.type": str, "error.message": str, "request_id": str},
}  # fmt: skip
REQUIRED = {"content_block", "content_block_delta.delta"}
PLACES = {
    "message_start.message", "message_start.message.content", "content_block_start.index", "content_block_start.content_block",
    "content_block_start.content_block.text", "content_block_delta.index", "content_block_delta.delta",
    "content_block_delta.delta.text", "content_block_stop.index", "message_delta.delta",
}  # fmt: skip


@pytest.mark.parametrize(("kind", "path"), [(kind, path) for kind, typed in TYPED.items() for path in typed])
def test_every_field_of_an_event_has_its_type(kind, path):
    """Null is as if a field were not there. A wrong type is refused in what places content, by name; all else is kept.

    It is in `extra` then, and its attribute None. A count of 7.0 is 7.
    """
    original = next(wire for wire, _ in EVENTS if wire["type"] == kind)
    *parents, last = path.split(".")

    def changed(value, *, absent=False):
        wire = json.loads(json.dumps(original))
        holder = wire
        for key in parents:
            holder = holder[key]
        holder[last] = value
        if absent:
            del holder[last]
        return json.dumps(wire)

    for wrong in (True, 1.5, 7, "x", [{}], {"a": 1}):
        if type(wrong) is TYPED[kind][path]:
            continue
        if f"{kind}.{path}" in PLACES:
            where = ".".join((kind, *parents, last)[-2:])
            assert reason_of(decode_event, changed(wrong)) == refused(where, wrong, TYPED[kind][path])
            continue
        wire = json.loads(changed(wrong))
        event, codes = seen(wire)
        assert codes == ["wrong_type"]
        assert to_dict(event) == wire
        holder = reduce(getattr, parents, event)
        assert (getattr(holder, last), holder.extra[last]) == (None, wrong)
    if TYPED[kind][path] is int and path != "index":
        event, codes = seen(json.loads(changed(7.0)))
        assert (getattr(reduce(getattr, parents, event), last), codes) == (7, [])
    if {path, f"{kind}.{path}"} & REQUIRED:
        for text in (changed(None), changed(None, absent=True)):
            with pytest.raises(DecodeError, match=last):
                decode_event(text)
    else:
        assert decode_event(changed(None)) == decode_event(changed(None, absent=True))


@pytest.mark.parametrize("delta", ["input_json_delta.partial_json", "thinking_delta.thinking", "signature_delta.signature",
                                   "citations_delta.citation", "compaction_delta.content", "compaction_delta.encrypted_content"])  # fmt: skip
def test_every_field_of_a_delta_has_its_type(delta):
    """So has each delta's own field; a citation is an object and can't be missing, the texts can."""
    kind, field = delta.split(".")

    def event(**fields):
        return decode_event(json.dumps({"type": "content_block_delta", "index": 0, "delta": {"type": kind, **fields}}))

    for wrong in (True, 1.5, 7, [1], "x" if field == "citation" else {"a": 1}):
        with pytest.raises(DecodeError) as caught:
            event(**{field: wrong})
        assert caught.value.reason == refused(f"delta.{field}", wrong, dict if field == "citation" else str)
    if field == "citation":
        with pytest.raises(DecodeError, match="without citation"):
            event()
    else:
        assert event() == event(**{field: None})


def test_to_dict_leaves_out_what_was_never_said():
    """None is left out, but for stop_reason and stop_sequence, which the API always writes."""
    assert to_dict(Message()) == {"type": "message", "content": [], "stop_reason": None, "stop_sequence": None}
    assert to_dict(MessageDelta()) == {"stop_reason": None, "stop_sequence": None}
    for item, wire in [
        (TextBlock(), {"type": "text", "text": ""}),
        (ThinkingBlock(), {"type": "thinking", "thinking": ""}),
        (ToolUseBlock(), {"type": "tool_use", "input": {}}),
        (UnknownBlock("x"), {"type": "x"}),
        (FallbackBlock(), {"type": "fallback"}),
        (FallbackBlock(from_={}), {"type": "fallback", "from": {}}),
        (Usage(), {}),
        (Usage(0), {"input_tokens": 0}),
        (ErrorDetail(), {}),
        (CompactionDelta(), {"type": "compaction_delta"}),
        (UnknownEvent("note", "text"), {"type": "note", "data": "text"}),
    ]:
        assert to_dict(item) == json.loads(to_json(item)) == wire


def test_to_json_is_compact_utf_8():
    """No spaces, no escapes of what UTF-8 can hold."""
    assert to_json(TextDelta("\u4f60 \u2028")) == '{"type":"text_delta","text":"\u4f60 \u2028"}'.encode()


def test_data_that_is_no_object():
    """Foreign text is kept as UnknownEvent, bytes that are not UTF-8 as U+FFFD. Data meant as our event is broken."""
    assert decode_event(b"a\xff", "note") == UnknownEvent("note", "a\ufffd")
    assert decode_event(b"[1]", "error") == ErrorEvent(ErrorDetail(message="[1]"))
    assert decode_event(b"\xff", "error") == ErrorEvent(ErrorDetail(message="\ufffd"))
    for data in (b' {"type"', b'{"type"'):
        for line in (b"", b"event: message\n", b"event:\n"):
            with pytest.raises(DecodeError, match=r"^(event|message): the text ends too early"):
                EventDecoder().receive_data(b"%bdata: %b\n\n" % (line, data))
    assert decode_event('{"type":"ping","a":"\\ud83d"}') == PingEvent(extra={"a": "\ufffd"})


def test_a_field_called_input_json_is_no_arguments():
    """The pieces of a tool's arguments come in deltas: a block's own field of that name is one that nobody knows."""
    wire = {"type": "tool_use", "input": {"a": 1}, "input_json": "{}"}
    block = decode_message(json.dumps({"content": [wire]})).content[0]
    assert (block.input, block.input_json, block.extra) == ({"a": 1}, "", {"input_json": "{}"})
    assert to_dict(block) == wire


def test_what_json_can_only_escape():
    """Integers beyond 64 bits and halves of characters are written as compactly as all else."""
    event = PingEvent(extra={"n": [2**70, 1], "a": {"b": "é\ud800"}})
    assert to_json(event) == b'{"type":"ping","n":[1180591620717411303424,1],"a":{"b":"\xc3\xa9\\ud800"}}'
    half = decode_event('{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\\ud83d"}}')
    assert encode_event(half).endswith(b'"delta":{"type":"text_delta","text":"a\\ud83d"}}\n\n')
    assert encode_event(UnknownEvent("a\ud800")) == b'event: a?\ndata: {"type":"a\\ud800"}\n\n'


@pytest.mark.parametrize("wrong", [5, None, {"type": "ping"}, TextDelta("x")])
def test_only_an_event_is_encoded_as_one(wrong):
    """A wrong argument is a TypeError that names what came."""
    with pytest.raises(TypeError, match=type(wrong).__name__):
        encode_event(wrong)
    if not isinstance(wrong, TextDelta):
        for door in (to_dict, to_json):
            with pytest.raises(TypeError, match=type(wrong).__name__):
                door(wrong)
    for door in (to_param, encode_sse):
        with pytest.raises(TypeError, match=type(wrong).__name__):
            door(wrong)


@pytest.mark.parametrize("stack", [0, 500, 850])
def test_writing_does_not_depend_on_the_callers_stack(stack):
    """200 levels are written from any depth, as they are read."""

    def deep_down(depth, call):
        return call() if depth == 0 else deep_down(depth - 1, call)

    event = decode_event('{"type":"ping","a":%s}' % ("[" * 199 + "]" * 199))
    assert deep_down(stack, lambda: decode_event(to_json(event))) == event


def test_numbers_keep_their_value():
    """Integers of any size JSON can hold, floats as they are, in fields that nobody named."""
    wire = {"type": "ping", "n": [0, -1, 2**53 + 1, 2**64, -(2**70), 10**100, 0.1, -1.5e300, 5e-324]}
    event = decode_event(json.dumps(wire))
    assert event.extra["n"] == wire["n"]
    assert json.loads(to_json(event)) == wire
    assert decode_event(to_json(event)) == event


def test_names_of_frames_from_elsewhere():
    """decode_event: "message", which other parsers give for a missing name, and "" are no names."""
    for name in ("message", ""):
        assert decode_event('{"type":"ping"}', name) == PingEvent()
        assert decode_event("[DONE]", name) == UnknownEvent("message", "[DONE]")
        assert decode_event('{"error":{"message":"m"}}', name) == ErrorEvent(ErrorDetail(message="m"))
        with pytest.raises(DecodeError):
            decode_event('{"type":', name)
    assert decode_event('{"type":"ping"}', "message_stop") == PingEvent()
    assert decode_event("{}", "message_stop") == MessageStopEvent()
    assert decode_event("{}") == UnknownEvent("message")


def test_an_event_that_an_event_stream_cannot_carry():
    """Text with a carriage return would come back as another text: encode_event refuses it."""
    event = decode_event("a\rb", "note")
    assert event == UnknownEvent("note", "a\rb")
    with pytest.raises(ValueError, match="carriage return"):
        encode_event(event)
