"""What vendors write differently, rule by rule: what just falls under a rule, and what just does not.

The tables of `test_deviations` have one row for each code. Here each body is read at many cuttings, with all line ends,
in both modes, and by both ways through the decoder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from sansio_step import (
    APIError,
    CitationsDelta,
    DecodeError,
    ErrorEvent,
    EventDecoder,
    IncompleteStream,
    InputJSONDelta,
    LimitExceeded,
    MessageAccumulator,
    MessageStream,
    Outcome,
    PingEvent,
    ProtocolViolation,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
    ToolInputError,
    UnknownDelta,
    UnknownEvent,
    decode_event,
    decode_message,
    encode_event,
    parse,
    to_dict,
    to_param,
)

from .helpers import (
    MESSAGE_STOP,
    PING,
    TEXT,
    THINKING,
    TOOL,
    block_start,
    block_stop,
    delta,
    frame,
    least,
    long_way,
    message_delta,
    message_start,
    pieces,
    read,
    text_block,
    tool_block,
    whole,
)
from .test_hostile import assert_linear

HELLO = text_block("Hello")
START = message_start()
END = message_delta() + MESSAGE_STOP


def cuttings(body: bytes, end: bytes) -> Iterator[list[bytes]]:
    """Cut a body after each byte, each seventh, each event, and at random places."""
    yield pieces(body, 1)
    yield pieces(body, 7)
    *events, last = body.split(end * 2)
    yield [*(event + end * 2 for event in events), last]
    chance = Random(len(body))
    for _ in range(6):
        cuts = sorted(chance.sample(range(len(body) + 1), min(4, len(body))))
        yield [body[start:stop] for start, stop in pairwise([0, *cuts, len(body)])]


def without_place(shown: dict[str, Any]) -> dict[str, Any]:
    """Leave out the byte offset of a fault, which moves with the line ends."""
    fault = shown["fault"]
    return {**shown, "fault": fault and (fault[0], re.sub(r", byte \d+", "", fault[1]), fault[2])}


def agreed(body: bytes) -> dict[str, Any]:
    """Read a body, and check that all cuttings, all line ends and the long way give the same reading.

    Strict mode has to give the same events up to the first deviation and refuse that. Without a deviation it has to
    read the same.
    """
    shown = read([body])
    strict = read([body], strict=True)
    for end in (b"\n", b"\r\n", b"\r"):
        written = body.replace(b"\n", end)
        for is_strict, expected in ((False, shown), (True, strict)):
            here = read([written], strict=is_strict)
            assert without_place(here) == without_place(expected)
            for chunks in cuttings(written, end):
                assert read(chunks, strict=is_strict) == here
    with long_way():
        assert read([body]) == shown
        assert read(pieces(body, 1), strict=True) == strict
    if not shown["deviations"]:
        assert strict == shown
        return shown
    number = shown["deviations"][0].event_number
    kind, text, at, _ = strict["fault"]
    assert (kind, at) == (ProtocolViolation, number)
    assert text.partition(":")[0] in [each.code for each in shown["deviations"] if each.event_number == number]
    assert strict["events"] == shown["events"][:number]
    assert strict["deviations"] == []
    return shown


def said(shown: dict[str, Any]) -> list[tuple[str, int, int]]:
    """The deviations of a reading: code, number of the first event, how many."""
    return [(each.code, each.event_number, each.count) for each in shown["deviations"]]


def message_of(shown: dict[str, Any]) -> Any:
    (message,) = shown["messages"]
    return message


def content_of(shown: dict[str, Any]) -> Any:
    return message_of(shown)["content"]


def text(value: str) -> dict[str, str]:
    return {"type": "text", "text": value}


def data_lines(*frames: bytes) -> bytes:
    """The data lines of some frames."""
    return b"".join(each[each.index(b"data: ") : -1] for each in frames)


def in_one_frame(*frames: bytes, name: bytes = b"") -> bytes:
    """Events without the blank lines between them."""
    return name + data_lines(*frames) + b"\n"


def assert_fault(shown: dict[str, Any], kind: type, number: int, offset: int) -> None:
    assert (shown["fault"][0], shown["fault"][2], shown["fault"][3]) == (kind, number, offset)
    assert shown["outcome"] is Outcome.FAILED
    assert len(shown["events"]) == number


# --- empty_data -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "heartbeat",
    [
        b"event: ping\ndata: \n\n",
        b"event: ping\ndata:\n\n",
        b"event:ping\ndata\n\n",
        b"data:\nevent: ping\n\n",
        b"event: ping\ndata:\ndata:\n\n",
        b": keep-alive\nid: 7\nevent: ping\ndata: \n\n",
    ],
)
def test_a_ping_needs_no_data(heartbeat):
    """A ping with empty data is a ping, before, inside and after a message."""
    shown = agreed(heartbeat + whole(HELLO, heartbeat) + heartbeat)
    assert said(shown) == [("empty_data", 0, 1), ("empty_data", 5, 2)]
    assert [event for event in shown["events"] if event.type == "ping"] == [PingEvent()] * 3
    assert (shown["outcome"], content_of(shown)) == (Outcome.COMPLETE, [text("Hello")])


def test_an_event_without_a_data_line_is_none():
    """Empty data needs a data line. Without one nothing is dispatched."""
    shown = agreed(whole(HELLO, b"event: ping\n\n"))
    assert (said(shown), len(shown["events"])) == ([], 6)


def test_a_message_stop_needs_no_data():
    """A message_stop with empty data ends the message as any other does."""
    shown = agreed(START + HELLO + message_delta() + b"event: message_stop\ndata: \n\n")
    assert said(shown) == [("empty_data", 5, 1)]
    assert (shown["outcome"], shown["messages"]) == (Outcome.COMPLETE, read([whole(HELLO)])["messages"])
    assert shown["kinds"] == read([whole(HELLO)])["kinds"]


def test_a_block_stop_without_data_stops_nothing():
    """A content_block_stop with empty data names no block: it is kept as unknown, and message_delta ends the block."""
    shown = agreed(whole(block_start(TEXT), delta(text="Hello"), b"event: content_block_stop\ndata:\n\n"))
    assert said(shown) == [("empty_data", 3, 1), ("no_block_stop", 4, 1)]
    assert shown["events"][3] == UnknownEvent("content_block_stop", "")
    assert (shown["outcome"], content_of(shown)) == (Outcome.COMPLETE, [text("Hello")])


def test_a_message_delta_without_data_says_nothing():
    """A message_delta with empty data gives no stop_reason. A body that ends there is cut."""
    nothing = START + HELLO + b"event: message_delta\ndata: \n\n"
    shown = agreed(nothing)
    assert (said(shown), shown["outcome"]) == ([("empty_data", 4, 1)], Outcome.TRUNCATED)
    assert shown["events"][4] == UnknownEvent("message_delta", "")
    shown = agreed(nothing + MESSAGE_STOP)
    assert said(shown) == [("empty_data", 4, 1), ("no_stop_reason", 5, 1)]


def test_an_error_without_data_is_an_error():
    """An error with empty data fails the message. The server's words are None."""
    shown = agreed(START + HELLO + b"event: error\ndata: \n\n")
    assert (said(shown), shown["outcome"]) == ([("bare_error", 4, 1)], Outcome.FAILED)
    with pytest.raises(APIError) as caught:
        parse(START + HELLO + b"event: error\ndata: \n\n")
    assert (caught.value.type, caught.value.message, caught.value.partial.text) == (None, None, "Hello")


@pytest.mark.parametrize("name", ["message_start", "content_block_start", "content_block_delta"])
def test_what_places_content_needs_its_data(name):
    """A start or a delta with empty data is a DecodeError, since content may be lost with it."""
    shown = agreed(PING + b"event: %b\ndata: \n\n" % name.encode() + PING)
    assert_fault(shown, DecodeError, 1, len(PING))


@pytest.mark.parametrize("line", [b"", b"event: heartbeat\n"])
def test_empty_data_under_a_foreign_name(line):
    """Empty data under a foreign name, or under none, is foreign data."""
    shown = agreed(whole(line + b"data: \n\n", HELLO))
    assert said(shown) == [("foreign_data", 1, 1)]
    assert shown["events"][1] == UnknownEvent("heartbeat" if line else "message", "")


@pytest.mark.parametrize("name", [b"ping", b"message_stop", b"message_delta"])
@pytest.mark.parametrize("rest", [b"data:", b"data: ", b"data: \n"])
def test_empty_data_at_the_end_of_the_body_may_be_cut(name, rest):
    """Empty data at the end of the body is dropped if its blank line is missing: more data may have been meant."""
    shown = agreed(START + HELLO + message_delta() + b"event: " + name + b"\n" + rest)
    assert sorted(said(shown)) == [("no_message_stop", 5, 1), ("unfinished_event", 5, 1)]
    assert len(shown["events"]) == 5


def test_empty_data_of_a_frame_from_elsewhere():
    """`decode_event` reads empty data as the decoder does."""
    assert decode_event("", "ping") == decode_event(b"", "ping") == PingEvent()
    assert decode_event("", "content_block_stop") == UnknownEvent("content_block_stop", "")
    assert decode_event("", "error").type == "error"
    with pytest.raises(DecodeError, match="content_block_delta"):
        decode_event("", "content_block_delta")


# --- no_index -------------------------------------------------------------------------------------------------

_INDEXED = {
    "start": (frame("content_block_start", content_block=TEXT), block_start(TEXT)),
    "delta": (frame("content_block_delta", delta={"type": "text_delta", "text": "Hello"}), delta(text="Hello")),
    "stop": (frame("content_block_stop"), block_stop()),
}


@pytest.mark.parametrize("lack", [b"", b',"index":null'])
@pytest.mark.parametrize("which", [["start"], ["delta"], ["stop"], ["start", "delta", "stop"]])
def test_an_absent_index_is_0(which, lack):
    """An index that is absent or null is 0, in each of the three events and in all of them."""
    events = [_INDEXED[name][name not in which] for name in _INDEXED]
    bare = b"".join(event if b"index" in event else event[:-3] + lack + event[-3:] for event in events)
    shown = agreed(whole(bare))
    first = 1 + list(_INDEXED).index(which[0])
    assert said(shown) == [("no_index", first, len(which))]
    assert shown["events"] == read([whole(HELLO)])["events"]
    assert shown["messages"] == read([whole(HELLO)])["messages"]


def test_only_0_is_dropped():
    """A second block with its index is no further deviation."""
    first = b"".join(bare for bare, _ in _INDEXED.values())
    shown = agreed(whole(first, tool_block('{"a":1}', index=1)))
    assert said(shown) == [("no_index", 1, 3)]
    assert [block["type"] for block in content_of(shown)] == ["text", "tool_use"]


def test_an_absent_index_again_is_0_again():
    """A second block without an index is a second block at 0."""
    first = b"".join(bare for bare, _ in _INDEXED.values())
    shown = agreed(whole(first, first))
    assert said(shown) == [("no_index", 1, 6), ("index_reused", 4, 1)]
    assert content_of(shown) == [text("Hello"), text("Hello")]


@pytest.mark.parametrize("index", ["-1", "2147483648", "0.0", '"0"', '""', "true", "[]", "{}"])
@pytest.mark.parametrize("name", _INDEXED)
def test_a_wrong_index_is_no_absent_one(name, index):
    """Any other value that is no index is a DecodeError."""
    bare, _ = _INDEXED[name]
    shown = agreed(START + bare[:-3] + b',"index":%b}\n\n' % index.encode())
    assert_fault(shown, DecodeError, 1, len(START))


# --- bare_delta -----------------------------------------------------------------------------------------------

_CITATION = {"type": "char_location", "cited_text": "Hello"}
_BY_FIELD = {
    "text": (TEXT, "Hello", TextDelta("Hello")),
    "thinking": (THINKING, "hm", ThinkingDelta("hm")),
    "signature": (THINKING, "AB", SignatureDelta("AB")),
    "partial_json": (TOOL, '{"a":1}', InputJSONDelta('{"a":1}')),
    "citation": (TEXT, _CITATION, CitationsDelta(_CITATION)),
}


def block_delta(index: int = 0, **fields: Any) -> bytes:
    return frame("content_block_delta", index=index, delta=fields)


@pytest.mark.parametrize("kind", [{}, {"type": None}, *({"type": name} for name in ("text", "thinking", "tool_use"))])
@pytest.mark.parametrize("field", _BY_FIELD)
def test_a_delta_is_known_by_its_field(field, kind):
    """A delta without a type, or with the type of any block, is read by its one field."""
    start, value, expected = _BY_FIELD[field]
    shown = agreed(whole(block_start(start), block_delta(**kind, **{field: value}), block_stop()))
    assert said(shown) == [("bare_delta", 2, 1)]
    made = shown["events"][2].delta
    assert (type(made), getattr(made, field)) == (type(expected), getattr(expected, field))
    # What the server called it is not lost.
    assert made.extra == ({} if kind.get("type") is None else kind)
    typed = read([whole(block_start(start), delta(**{field: value}), block_stop())])
    assert shown["messages"] == typed["messages"]


@pytest.mark.parametrize("field", _BY_FIELD)
def test_the_empty_fields_of_a_union_say_nothing(field):
    """Empty fields beside the one that is filled do not matter. Some servers write every field of a union."""
    start, value, expected = _BY_FIELD[field]
    others = {"text": "", "thinking": "", "signature": "", "partial_json": "", "citation": None}
    shown = agreed(whole(block_start(start), block_delta(**{**others, field: value}), block_stop()))
    assert said(shown) == [("bare_delta", 2, 1)]
    made = shown["events"][2].delta
    assert type(made) is type(expected)
    assert to_dict(made)[field] == value
    assert content_of(shown) == content_of(read([whole(block_start(start), delta(**{field: value}), block_stop())]))


@pytest.mark.parametrize("fields", [{}, {"text": "a", "thinking": "b"}, {"text": "", "thinking": ""}, {"data": "a"}])
@pytest.mark.parametrize("kind", ["", "text"])
def test_a_delta_that_can_not_be_told_is_kept(kind, fields):
    """A bare delta with none of the five fields, or with two, is guessed at by nobody. It goes whole to `unapplied`."""
    fields = {**({"type": kind} if kind else {}), **fields}
    shown = agreed(whole(block_start(TEXT), block_delta(**fields), delta(text="b"), block_stop()))
    extra = {key: value for key, value in fields.items() if key != "type"}
    assert shown["unapplied"] == [(0, UnknownDelta(kind, extra=extra))]
    assert content_of(shown) == [text("b")]


def test_a_type_of_its_own_is_no_bare_delta():
    """A delta whose type is no block's is an unknown delta, whatever its fields."""
    shown = agreed(whole(block_start(TEXT), block_delta(type="poem", text="a"), block_stop()))
    assert said(shown) == []
    assert shown["unapplied"] == [(0, UnknownDelta("poem", extra={"text": "a"}))]


@pytest.mark.parametrize(
    "fields",
    [{"text": 5}, {"text": ["a"]}, {"thinking": True}, {"partial_json": {"a": 1}}, {"citation": "a"}, {"signature": 1}],
)
def test_a_bare_delta_of_a_wrong_type_places_no_content(fields):
    """A bare delta whose content has a wrong type is a DecodeError."""
    front = START + block_start(TEXT)
    assert_fault(agreed(front + block_delta(**fields)), DecodeError, 2, len(front))


def test_bare_deltas_in_a_row():
    """Many bare deltas give one entry. Halves of characters join between them."""
    many = block_delta(text="a") * 60 + block_delta(text="\ud83d") + block_delta(text="\ude00")
    shown = agreed(whole(block_start(TEXT), many, block_stop()))
    assert said(shown) == [("bare_delta", 2, 62), ("lone_surrogate", 62, 2)]
    assert content_of(shown) == [text("a" * 60 + "\U0001f600")]


# --- wrong_type -----------------------------------------------------------------------------------------------

_WRONG = {
    str: (5, 1.5, True, [], {}, ["a"]),
    int: ("7", "", 1.5, 123.45, True, False, [], {}),
    dict: ("x", 5, True, [1]),
    list: ("x", 5, {}),
    bool: ("true", 1, 0, []),
}
_COUNTS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
_OBJECTS = ("cache_creation", "output_tokens_details", "server_tool_use", "fallback_credit")
_USAGE = {
    **dict.fromkeys(_COUNTS, int),
    **dict.fromkeys(_OBJECTS, dict),
    "service_tier": str,
    "inference_geo": str,
    "iterations": list,
}
_MESSAGE = {
    **dict.fromkeys(("id", "role", "model", "stop_sequence"), str),
    **dict.fromkeys(("stop_details", "container", "context_management"), dict),
}
_BLOCK = {
    "text": {"citations": list},
    "thinking": {"signature": str},
    "tool_use": {"id": str, "name": str, "caller": dict},
    "server_tool_use": {"id": str, "name": str, "caller": dict},
    "mcp_tool_use": {"server_name": str},
    "web_search_tool_result": {"tool_use_id": str, "caller": dict},
    "mcp_tool_result": {"tool_use_id": str, "is_error": bool},
    "container_upload": {"file_id": str},
    "fallback": {"from": dict, "to": dict},
}
_EMPTY = {"text": TEXT, "thinking": {"type": "thinking", "thinking": ""}, "tool_use": {"type": "tool_use", "input": {}}}


@pytest.mark.parametrize(("field", "kind"), _USAGE.items())
def test_a_count_of_a_wrong_type_is_set_aside(field, kind):
    """A wrong value in the usage is kept in `extra` under its name, the attribute is None, and the message is whole."""
    for value in _WRONG[kind]:
        at_start = agreed(
            message_start(usage={field: value}) + HELLO + message_delta(usage={"speed": "s"}) + MESSAGE_STOP
        )
        in_delta = agreed(
            message_start(usage={"speed": "s"}) + HELLO + message_delta(usage={field: value}) + MESSAGE_STOP
        )
        for shown, number in ((at_start, 0), (in_delta, 4)):
            assert said(shown) == [("wrong_type", number, 1)]
            usage = getattr(shown["events"][number], "message", shown["events"][number]).usage
            assert (getattr(usage, field), usage.extra) == (None, {field: value})
            assert message_of(shown)["usage"] == {field: value, "speed": "s"}


@pytest.mark.parametrize(("field", "kind"), _MESSAGE.items())
def test_a_field_of_the_message_of_a_wrong_type_is_set_aside(field, kind):
    """A wrong value for a field of message_start's message ends no stream."""
    for value in _WRONG[kind]:
        shown = agreed(message_start(**{field: value}) + HELLO + END)
        assert said(shown) == [("wrong_type", 0, 1)]
        message = shown["events"][0].message
        assert (getattr(message, field), message.extra) == (None, {field: value})
        assert message_of(shown)[field] == value
        assert shown["outcome"] is Outcome.COMPLETE


@pytest.mark.parametrize("field", ["stop_reason", "stop_sequence", "stop_details", "container"])
def test_a_field_of_a_message_delta_of_a_wrong_type_is_set_aside(field):
    """A wrong value in message_delta's delta is kept. A wrong stop_reason stops no message."""
    kind = str if field.startswith("stop_") and field != "stop_details" else dict
    for value in _WRONG[kind]:
        shown = agreed(START + HELLO + frame("message_delta", delta={field: value}, usage={}) + PING)
        assert said(shown) == [("wrong_type", 4, 1)]
        delta = shown["events"][4].delta
        assert (getattr(delta, field), delta.extra) == (None, {field: value})
        assert message_of(shown)[field] == value
        assert shown["outcome"] is Outcome.TRUNCATED


def test_context_management_of_a_wrong_type_is_set_aside():
    """The same holds for the field of message_delta that stands beside its delta."""
    shown = agreed(START + HELLO + message_delta(context_management=[]) + MESSAGE_STOP)
    assert said(shown) == [("wrong_type", 4, 1)]
    assert (shown["events"][4].context_management, shown["events"][4].extra) == (None, {"context_management": []})
    assert message_of(shown)["context_management"] == []


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind, fields in _BLOCK.items() for field in fields])
def test_a_field_of_a_block_of_a_wrong_type_is_set_aside(kind, field):
    """A wrong value for a field of a block that is no content takes nothing from the block."""
    for value in _WRONG[_BLOCK[kind][field]]:
        start = {**_EMPTY.get(kind, {"type": kind}), field: value}
        if "tool_use" in kind and "result" not in kind:
            start = {**start, "input": {"a": 1}}
        shown = agreed(whole(block_start(start), block_stop()))
        assert said(shown) == [("wrong_type", 1, 1)]
        block = shown["events"][1].content_block
        assert (getattr(block, field if field != "from" else "from_"), block.extra) == (None, {field: value})
        assert content_of(shown) == [start]


def test_fields_of_an_error_of_a_wrong_type_are_set_aside():
    """An error is an error, whatever types its fields have."""
    shown = agreed(START + frame("error", error={"type": 5, "message": ["no"]}, request_id=7))
    assert said(shown) == [("wrong_type", 1, 3)]
    event = shown["events"][1]
    assert (event.error.type, event.error.message, event.request_id) == (None, None, None)
    assert (event.error.extra, event.extra) == ({"type": 5, "message": ["no"]}, {"request_id": 7})
    assert shown["outcome"] is Outcome.FAILED


_PLACING = [
    frame("content_block_start", index=0, content_block="text"),
    frame("content_block_start", index=0, content_block=[]),
    block_start({"type": "text", "text": 5}),
    block_start({"type": "text", "text": ["a"]}),
    block_start({"type": "thinking", "thinking": {}}),
    block_start({"type": "redacted_thinking", "data": 5}),
    block_start({"type": "compaction", "content": ["a"]}),
    block_start({"type": "compaction", "encrypted_content": 5}),
    block_start({**TOOL, "input": 5}),
    block_start({**TOOL, "input": [1]}),
    block_start({**TOOL, "input": True}),
    frame("content_block_delta", index=0, delta=""),
    frame("content_block_delta", index=0, delta=[]),
    frame("content_block_delta", index=0, delta=5),
    block_delta(type="text_delta", text=5),
    block_delta(type="thinking_delta", thinking=[]),
    block_delta(type="input_json_delta", partial_json={"a": 1}),
    block_delta(type="signature_delta", signature=1),
    block_delta(type="citations_delta", citation="a"),
    block_delta(type="compaction_delta", content=5),
    block_delta(type=5, text="a"),
    frame("message_delta", delta="end_turn", usage={}),
    frame("message_delta", delta=["a"], usage={}),
]


@pytest.mark.parametrize("part", _PLACING, ids=range(len(_PLACING)))
def test_content_of_a_wrong_type_is_refused(part):
    """A wrong type for an index, a block, a delta or content is a DecodeError. The events before it are kept."""
    assert_fault(agreed(START + part + PING), DecodeError, 1, len(START))


def test_any_json_is_the_content_of_a_result():
    """The content of a tool's result can be any JSON value."""
    for value in (5, "a", [1], {"a": 1}, True):
        start = {"type": "mcp_tool_result", "tool_use_id": "t", "content": value}
        shown = agreed(whole(block_start(start), block_stop()))
        assert (said(shown), content_of(shown)) == ([], [start])


def usages(*counts: Any, stop: Any = None) -> bytes:
    """A message whose usage comes in parts: in message_start, in message_deltas, and in message_stop."""
    first, *others = counts
    deltas = b"".join(frame("message_delta", delta={}, usage=each) for each in others)
    last = MESSAGE_STOP if stop is None else frame("message_stop", usage=stop)
    return (
        message_start(usage=first)
        + HELLO
        + deltas
        + frame("message_delta", delta={"stop_reason": "end_turn"}, usage={})
        + last
    )


@pytest.mark.parametrize(
    ("body", "count", "extra"),
    [
        (usages({"input_tokens": 9}, {"input_tokens": "9"}), 9, {}),
        (usages({"input_tokens": "9"}, {"input_tokens": 9}), 9, {}),
        (usages({"input_tokens": 9}, {"input_tokens": 1.5}, {"input_tokens": 8}), 8, {}),
        (usages({"input_tokens": 1.5}, {"input_tokens": 9}, {"input_tokens": True}), 9, {}),
        (usages({"input_tokens": 1.5}, {"input_tokens": None}), None, {"input_tokens": 1.5}),
        (usages({"input_tokens": 9}, stop={"input_tokens": "8"}), 9, {}),
        (usages({"input_tokens": "9"}, stop={"input_tokens": 8}), 8, {}),
    ],
)
def test_a_wrong_count_never_replaces_a_right_one(body, count, extra):
    """A wrong count leaves a right one as it was. A right one takes the place of a wrong one, in message_stop too."""
    shown = agreed(body)
    assert {code for code, _, _ in said(shown)} <= {"wrong_type"}
    usage = parse(body).usage
    assert (usage.input_tokens, usage.extra) == (count, extra)
    expected = {"input_tokens": count, **extra} if count is not None else extra
    assert message_of(shown)["usage"] == expected


def fields(*parts: bytes) -> bytes:
    return START + HELLO + b"".join(parts)


def stating(**delta: Any) -> bytes:
    return frame("message_delta", delta=delta, usage={})


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [
        (fields(stating(stop_reason="end_turn"), stating(stop_reason=5), MESSAGE_STOP), "stop_reason", "end_turn"),
        (fields(stating(stop_reason=["a"]), stating(stop_reason="end_turn"), MESSAGE_STOP), "stop_reason", "end_turn"),
        (fields(stating(stop_reason="end_turn"), frame("message_stop", stop_reason=5)), "stop_reason", "end_turn"),
        (fields(stating(stop_reason=5), frame("message_stop", stop_reason="end_turn")), "stop_reason", "end_turn"),
        (fields(stating(stop_sequence=5), stating(stop_sequence="</x>"), END), "stop_sequence", "</x>"),
        (fields(stating(stop_sequence="</x>"), frame("message_stop", stop_sequence=[])), "stop_sequence", "</x>"),
        (fields(stating(container={"id": "c"}), stating(container=[]), END), "container", {"id": "c"}),
        (fields(stating(container="c"), stating(container={"id": "c"}), END), "container", {"id": "c"}),
        (
            fields(message_delta(context_management="c"), message_delta(context_management={"a": 1}), MESSAGE_STOP),
            "context_management",
            {"a": 1},
        ),
        (
            fields(message_delta(context_management={"a": 1}), message_delta(context_management=5), MESSAGE_STOP),
            "context_management",
            {"a": 1},
        ),
        (message_start(stop_details="s") + HELLO + stating(stop_details={"a": 1}) + END, "stop_details", {"a": 1}),
    ],
)
def test_a_wrong_field_never_replaces_a_right_one(body, field, value):
    """The same holds for the message's own fields, whichever event states them."""
    shown = agreed(body)
    assert message_of(shown)[field] == value
    message = parse(body)
    assert (getattr(message, field), message.extra) == (value, {})


@pytest.mark.parametrize(
    ("written", "count"),
    [("10.0", 10), ("1e2", 100), ("0.0", 0), ("-0.0", 0), ("1e15", 10**15), ("9223372036854774784.0", 2**63 - 1024)],
)
@pytest.mark.parametrize("field", _COUNTS)
def test_a_count_with_a_fraction_of_0_is_a_count(field, written, count):
    """10.0 is the count 10, and no deviation: some languages have no integers."""
    body = usages({field: 777}, {field: 888}).replace(b"777", written.encode()).replace(b"888", written.encode())
    shown = agreed(body)
    assert said(shown) == []
    value = getattr(parse(body).usage, field)
    assert (type(value), value) == (int, count)


def test_a_fraction_of_0_is_a_count_where_counts_are_alone():
    """10.0 is no text and no index."""
    assert said(agreed(message_start(model=10.0) + HELLO + END)) == [("wrong_type", 0, 1)]
    assert_fault(agreed(START + frame("content_block_stop", index=1.0)), DecodeError, 1, len(START))


@pytest.mark.parametrize("written", ["1e19", "1e300", "-1e300", "1e-7"])
def test_a_huge_or_tiny_float_is_not_lost(written):
    """A float of any size is a count or set aside, and never becomes another number."""
    body = usages({"input_tokens": 777}, {}).replace(b"777", written.encode())
    agreed(body)
    usage = parse(body).usage
    kept = usage.extra.get("input_tokens") if usage.input_tokens is None else usage.input_tokens
    assert kept == float(written)


@pytest.mark.parametrize("nothing", ["", []])
@pytest.mark.parametrize("kind", ["tool_use", "server_tool_use", "mcp_tool_use"])
def test_an_empty_input_of_another_type_is_an_empty_input(kind, nothing):
    """An input of "" or [] is absent. Deltas say what it is, and without them it is empty."""
    start = {**TOOL, "type": kind, "input": nothing}
    shown = agreed(whole(tool_block('{"a":', "1}", start=start)))
    assert said(shown) == [("wrong_type", 1, 1), ("bare_block_start", 1, 1)]
    assert content_of(shown)[0] == {**start, "input": {"a": 1}}
    for deltas in ([], [""]):
        shown = agreed(whole(tool_block(*deltas, start=start)))
        assert said(shown) == [("wrong_type", 1, 1), ("bare_block_start", 1, 1)]
        assert content_of(shown)[0] == {**start, "input": {}}


@pytest.mark.parametrize("nothing", ["", []])
def test_an_empty_delta_of_another_type_is_none(nothing):
    """A message_delta whose delta is "" or [] is read as one without a delta."""
    body = (
        START
        + HELLO
        + frame("message_delta", delta=nothing, stop_reason="end_turn", usage={"output_tokens": 5})
        + MESSAGE_STOP
    )
    shown = agreed(body)
    assert {code for code, _, _ in said(shown)} == {"wrong_type", "bare_message_delta"}
    assert shown["messages"] == read([whole(HELLO)])["messages"]
    assert shown["events"][4].delta.stop_reason == "end_turn"


@pytest.mark.parametrize("nothing", ["", []])
def test_an_empty_usage_of_another_type_is_none(nothing):
    """A usage of "" or [] states no count, and takes none away."""
    at_start = agreed(message_start(usage=nothing) + HELLO + END)
    assert ("wrong_type", 0, 1) in said(at_start)
    assert message_of(at_start)["usage"] == {"output_tokens": 5}
    in_delta = agreed(START + HELLO + message_delta(usage=nothing) + MESSAGE_STOP)
    assert ("wrong_type", 4, 1) in said(in_delta)
    assert message_of(in_delta)["usage"] == {"input_tokens": 3, "output_tokens": 1}
    nowhere = agreed(message_start(usage=nothing) + HELLO + message_delta(usage=nothing) + MESSAGE_STOP)
    assert "usage" not in message_of(nowhere)


@pytest.mark.parametrize("wrong", [5, "x", [1], True])
def test_a_usage_that_is_no_object_is_set_aside(wrong):
    """Any other usage that is no object is kept in `extra` until a right one comes."""
    shown = agreed(message_start(usage=wrong) + HELLO + message_delta(usage=wrong) + MESSAGE_STOP)
    assert said(shown) == [("wrong_type", 0, 2)]
    assert message_of(shown)["usage"] == wrong
    later = agreed(message_start(usage=wrong) + HELLO + END)
    assert message_of(later)["usage"] == {"output_tokens": 5}
    earlier = agreed(START + HELLO + message_delta(usage=wrong) + MESSAGE_STOP)
    assert message_of(earlier)["usage"] == {"input_tokens": 3, "output_tokens": 1}


@pytest.mark.parametrize(
    ("usage", "shown"),
    [(5, {"usage": 5}), ([1], {"usage": [1]}), (None, {}), ({"output_tokens": 5}, {"usage": {"output_tokens": 5}})],
)
def test_a_usage_inside_the_delta(usage, shown):
    """It counts as one beside the delta does: an object is merged, null says nothing, and all else is set aside."""
    end = frame("message_delta", delta={"stop_reason": "end_turn", "usage": usage}) + MESSAGE_STOP
    body = message_start(usage=None) + HELLO + end
    message = message_of(agreed(body))
    assert {key: value for key, value in message.items() if key == "usage"} == shown
    aside = parse(body).extra
    assert aside == ({"usage": usage} if isinstance(usage, (int, list)) else {})


@pytest.mark.parametrize("kind", ["tool_use", "server_tool_use", "mcp_tool_use"])
def test_an_input_in_a_string_is_the_arguments_text(kind):
    """An input that is a string is the text of the arguments. An empty piece after it changes nothing."""
    start = {**TOOL, "type": kind, "input": '{"a": [1, "b"]}'}
    for deltas in ([], [""]):
        body = whole(tool_block(*deltas, start=start))
        shown = agreed(body)
        assert said(shown) == [("wrong_type", 1, 1)]
        assert content_of(shown)[0] == {**start, "input": {"a": [1, "b"]}}
        (call,) = parse(body).content
        assert (call.input, call.input_json) == ({"a": [1, "b"]}, '{"a": [1, "b"]}')
        call.input_json = ""  # which leaves what the block would have started with
        assert call.input == {}


@pytest.mark.parametrize("broken", ['{"a": 1', "nonsense", "[1]", '"a"', '{"a": "\t"}'])
def test_an_input_in_a_broken_string_fails_alone(broken):
    """A broken text of arguments is an error to those who ask for the input, and is kept. The message is whole."""
    body = whole(tool_block(start={**TOOL, "input": broken}))
    shown = agreed(body)
    assert (said(shown), shown["outcome"]) == ([("wrong_type", 1, 1)], Outcome.COMPLETE)
    (call,) = parse(body).tool_uses
    with pytest.raises(ToolInputError):
        _ = call.input
    assert call.input_json == broken == content_of(shown)[0]["input_json"]


def test_an_input_in_a_string_is_unfinished_until_its_block_is():
    """Arguments that came as a string are not to be run before their block has ended."""
    stream = MessageStream()
    stream.receive_data(START + block_start({**TOOL, "input": '{"a":1}'}))
    with pytest.raises(ToolInputError, match="not finished"):
        _ = stream.message.tool_uses[0].input
    assert stream.message.tool_uses[0].partial_input() == {"a": 1}


def test_pieces_win_over_an_input_in_a_string():
    """The deltas win over an input that is a string, as they win over an object."""
    shown = agreed(whole(tool_block('{"b":', "2}", start={**TOOL, "input": '{"a":1}'})))
    assert said(shown) == [("wrong_type", 1, 1), ("repeated_content", 2, 1)]
    assert content_of(shown)[0]["input"] == {"b": 2}


def test_a_body_that_is_no_stream_is_read_by_the_same_rules():
    """A whole message with wrong types is read by the same rules. Nobody is told of them there."""
    message = decode_message(
        json.dumps(
            {"type": "message", "id": "m", "role": "assistant", "model": 42, "content": [{**TOOL, "input": '{"a":1}'}, {**TOOL, "input": []}],
             "stop_reason": "", "stop_sequence": [], "usage": {"input_tokens": 10.0, "output_tokens": "7"}}
        )
    )  # fmt: skip
    assert (message.model, message.stop_reason, message.stop_sequence) == (None, None, None)
    assert message.extra == {"model": 42, "stop_sequence": []}
    assert (message.usage.input_tokens, message.usage.output_tokens) == (10, None)
    assert message.usage.extra == {"output_tokens": "7"}
    assert [block.input for block in message.content] == [{"a": 1}, {}]


# --- usage_reset ----------------------------------------------------------------------------------------------

_STOOD = {"input_tokens": 9, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 5}
_ZEROS = dict.fromkeys(_STOOD, 0)
_RESETS = [
    (usages(_STOOD, _ZEROS), _STOOD, 4),
    (usages(_STOOD, {"input_tokens": 0}), _STOOD, 4),
    (usages(_STOOD, {"cache_read_input_tokens": 0}), _STOOD, 4),
    (usages(_STOOD, {"input_tokens": 0.0, "cache_read_input_tokens": None}), _STOOD, 4),
    (usages({"input_tokens": 9}, _ZEROS), {**_ZEROS, "input_tokens": 9}, 4),
    (usages({**_ZEROS, "input_tokens": 9}, _ZEROS), {**_ZEROS, "input_tokens": 9}, 4),
    (usages({}, {"input_tokens": 9}, {"input_tokens": 0}), {"input_tokens": 9}, 5),
    (usages(_STOOD, {}, {"input_tokens": 0}), _STOOD, 5),
    (
        usages(_STOOD, {"input_tokens": 0, "output_tokens": 7, "speed": 0}),
        {**_STOOD, "output_tokens": 7, "speed": 0},
        4,
    ),
    (
        usages({"cache_creation": {"a": 3, "b": 0}}, {"cache_creation": {"a": 0, "b": 0}}),
        {"cache_creation": {"a": 3, "b": 0}},
        4,
    ),
    (usages(_STOOD, stop=_ZEROS), _STOOD, 5),
    (usages(_STOOD, stop={"input_tokens": 0}), _STOOD, 5),
]


@pytest.mark.parametrize(("body", "usage", "number"), _RESETS, ids=range(len(_RESETS)))
def test_counts_that_stood_stay_through_a_reset(body, usage, number):
    """If all input counts that are stated are 0 and one was positive, those that stood stay. The others are taken."""
    shown = agreed(body)
    assert said(shown) == [("usage_reset", number, 1)]
    assert message_of(shown)["usage"] == usage


_NO_RESETS = [
    # A sum that moves from one count to another is the last word.
    (usages({**_ZEROS, "input_tokens": 20591}, {**_ZEROS, "cache_read_input_tokens": 20591}), {**_ZEROS, "cache_read_input_tokens": 20591}),
    (usages(_STOOD, {**_ZEROS, "input_tokens": 1}), {**_ZEROS, "input_tokens": 1}),
    (usages({"input_tokens": 9}, {"input_tokens": 0, "cache_creation": {"a": 9}}), {"input_tokens": 0, "cache_creation": {"a": 9}}),
    # Nothing stood, or nothing but 0.
    (usages(_ZEROS, _ZEROS), _ZEROS),
    (usages({}, _ZEROS), _ZEROS),
    (usages(None, _ZEROS), _ZEROS),
    # Nothing is stated.
    (usages(_STOOD, dict.fromkeys(_STOOD)), _STOOD),
    (usages(_STOOD, {"output_tokens": 0}), {**_STOOD, "output_tokens": 0}),
    # What a server counts as output may be set to 0, as each count may go down.
    (usages({**_STOOD, "output_tokens": 8}, {"output_tokens": 0}), {**_STOOD, "output_tokens": 0}),
    (usages(_STOOD, dict.fromkeys(_STOOD, 1)), dict.fromkeys(_STOOD, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("body", "usage"), _NO_RESETS, ids=range(len(_NO_RESETS)))
def test_what_is_no_reset_replaces(body, usage):
    """Counts replace, without a deviation, if one that is stated is positive, none stood, or none is stated."""
    shown = agreed(body)
    assert [code for code, _, _ in said(shown) if code != "bare_message_start"] == []
    assert message_of(shown)["usage"] == usage


def test_a_count_of_a_wrong_type_resets_nothing():
    """A wrong value is no count of 0, and one that was set aside was no count."""
    shown = agreed(usages(_STOOD, {"input_tokens": "0"}))
    assert (said(shown), message_of(shown)["usage"]) == ([("wrong_type", 4, 1)], _STOOD)
    shown = agreed(usages({"input_tokens": "9"}, {"input_tokens": 0}))
    assert (said(shown), message_of(shown)["usage"]) == ([("wrong_type", 0, 1)], {"input_tokens": 0})


def test_every_reset_is_counted():
    """Several resets of a message give one entry."""
    shown = agreed(usages(_STOOD, _ZEROS, _ZEROS, _ZEROS))
    assert said(shown) == [("usage_reset", 4, 3)]


# --- control_character ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("character", [chr(code) for code in range(32) if code != 13])
def test_a_raw_control_character_is_itself(character):
    """A raw control character is read in a text, a key and an unknown field. A line feed stands between two data lines."""
    raw = character.encode() if character != "\n" else b"\ndata: "

    def put(part: bytes) -> bytes:
        return part.replace(b"|", raw)

    shown = agreed(whole(block_start(TEXT), put(delta(text="a|b")), put(frame("ping", **{"c|d": ["|"]})), block_stop()))
    assert said(shown) == [("control_character", 2, 2)]
    assert content_of(shown) == [text(f"a{character}b")]
    assert shown["events"][3].extra == {f"c{character}d": [character]}


def test_no_other_character_is_a_control_character():
    """DEL and the characters above it are legal in JSON, and so is the escape of a control character."""
    shown = agreed(whole(text_block("a\x7f\x80\u2028\ufeff"), text_block("a|b", index=1).replace(b"|", b"\\u0009")))
    assert (said(shown), content_of(shown)) == ([], [text("a\x7f\x80\u2028\ufeff"), text("a\tb")])


def test_control_characters_among_worse():
    """Half a character and bytes that are no UTF-8 in the same string are read by their own rules."""
    bad = delta(text="a|b").replace(b"|", b"\t\\ud83d\xff\x00")
    shown = agreed(whole(block_start(TEXT), bad, block_stop()))
    assert said(shown) == [("control_character", 2, 1), ("lone_surrogate", 2, 1)]
    assert content_of(shown) == [text("a\t\ufffd\ufffd\0b")]
    halves = [delta(text="\t|").replace(b"|", b"\\ud83d"), delta(text="|\t").replace(b"|", b"\\ude00")]
    raw = [each.replace(b"\\t", b"\t") for each in halves]
    assert content_of(agreed(whole(block_start(TEXT), *raw, block_stop()))) == [text("\t\U0001f600\t")]


@pytest.mark.parametrize(
    "part", [b'{"type":\x01"ping"}', b'{\x00"type":"ping"}', b'{"type":"ping"\x1f}', b'\x0b{"type":"ping"}']
)
def test_a_control_character_outside_a_string_is_broken_json(part):
    """A control character between JSON's tokens is a DecodeError."""
    shown = agreed(PING + b"event: ping\ndata: " + part + b"\n\n")
    assert_fault(shown, DecodeError, 1, len(PING))


def test_a_backslash_before_a_control_character_is_no_escape():
    """A backslash before a raw control character is a DecodeError."""
    shown = agreed(PING + frame("ping", a="|").replace(b"|", b"\\\t"))
    assert_fault(shown, DecodeError, 1, len(PING))


def test_arguments_are_read_strictly_all_the_same():
    """A raw tab in the wire's JSON is a blank in the arguments, or an error if it stands in a string of theirs."""
    blank = whole(tool_block("{|'a': 1}".replace("'", '"')).replace(b"|", b"\t"))
    assert said(agreed(blank)) == [("control_character", 2, 1)]
    assert parse(blank).tool_uses[0].input == {"a": 1}
    for piece, expected in (('{"a":"\t"}', []), ('{"a":"|"}', [("control_character", 2, 1)])):
        body = whole(tool_block(piece)).replace(b"|", b"\t")
        shown = agreed(body)
        assert (said(shown), shown["outcome"]) == (expected, Outcome.COMPLETE)
        with pytest.raises(ToolInputError, match="control character"):
            _ = parse(body).tool_uses[0].input


def test_a_control_character_at_the_end_of_the_body():
    """JSON with a control character can be the unterminated event at the end of the body."""
    shown = agreed(whole(HELLO) + frame("ping", a="|").replace(b"|", b"\t")[:-1])
    assert {(code, number) for code, number, _ in said(shown)} == {("unterminated_event", 6), ("control_character", 6)}
    assert shown["events"][6].extra == {"a": "\t"}


# --- no_blank_line --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [b"", b"event: content_block_delta\n", b"event: ping\n", b"event: future\n", b"event: error\n"]
)
def test_events_without_a_blank_line_between_them(name):
    """Each data line is an event by its own type, whatever the event line. There is no further code, and numbers run on."""
    parts = in_one_frame(delta(text="a"), PING, delta(text="b"), block_stop(), frame("future", a=1), name=name)
    shown = agreed(whole(block_start(TEXT), parts))
    assert said(shown) == [("no_blank_line", 2, 1)]
    apart = read([whole(block_start(TEXT), delta(text="a"), PING, delta(text="b"), block_stop(), frame("future", a=1))])
    assert (shown["events"], shown["messages"]) == (apart["events"], apart["messages"])


@pytest.mark.parametrize("name", [b"", b"event: message_stop\n"])
def test_done_in_the_frame_of_the_last_event(name):
    """`[DONE]` in the frame of message_stop costs no message, and is no foreign data."""
    shown = agreed(START + HELLO + message_delta() + in_one_frame(MESSAGE_STOP, b"data: [DONE]\n\n", name=name))
    assert said(shown) == [("no_blank_line", 5, 1), ("event_after_stop", 6, 1)]
    assert shown["events"][6] == UnknownEvent("message", "[DONE]")
    assert shown["messages"] == read([whole(HELLO)])["messages"]


def test_other_lines_between_the_data():
    """Comments, ids and event lines between the data lines change nothing."""
    parts = (
        b": c\n" + data_lines(delta(text="a")) + b"id: 7\n:\nevent: x\n" + data_lines(delta(text="b")) + b"retry: 1\n\n"
    )
    shown = agreed(whole(block_start(TEXT), parts, block_stop()))
    assert (said(shown), content_of(shown)) == ([("no_blank_line", 2, 1)], [text("ab")])


def test_events_in_one_frame_depart_from_the_protocol_as_alone():
    """A deviation of one event of the frame has that event's number. Halves join between them."""
    odd = block_delta(text="\ud83d")
    parts = in_one_frame(delta(text="a"), odd, delta(text="\ude00"), frame("content_block_stop"))
    shown = agreed(whole(block_start(TEXT), parts))
    expected = [("bare_delta", 3, 1), ("lone_surrogate", 3, 2), ("no_blank_line", 2, 1), ("no_index", 5, 1)]
    assert sorted(said(shown)) == expected
    assert content_of(shown) == [text("a\U0001f600")]


@pytest.mark.parametrize(
    "line",
    [
        b"data: {\n",
        b'data: {"a":1}\n',
        b"data: plain\n",
        b"data: []\n",
        b'data: {"type":5}\n',
        b"data:\n",
        b"data: [DONE\n",
    ],
)
@pytest.mark.parametrize("place", [1, 2])
def test_one_line_that_is_no_event_spoils_the_frame(line, place):
    """A frame with a data line that is no event is one broken JSON text: a DecodeError at the frame."""
    lines = [data_lines(PING), data_lines(PING)]
    lines.insert(place, line)
    if line == b"data:\n" and place == 2:
        lines.append(data_lines(PING))
    shown = agreed(START + b"".join(lines) + b"\n" + PING)
    assert_fault(shown, DecodeError, 1, len(START))


def test_an_empty_line_of_data_after_one_event_is_a_blank():
    """One whole event and an empty data line are one event."""
    shown = agreed(START + data_lines(PING) + b"data:\n\n")
    assert said(shown) == [("no_event_line", 1, 1)]


def test_json_over_many_lines_is_one_event():
    """One JSON text over many lines is one event, even if a line of it is an object with a type."""
    lines = b'data: {"type":"future","a":[\ndata: {"type":"ping"},\ndata: {"type":"ping"}\ndata: ]}\n\n'
    shown = agreed(START + b"event: future\n" + lines)
    assert said(shown) == []
    assert shown["events"][1].extra == {"a": [{"type": "ping"}, {"type": "ping"}]}


def test_a_fault_in_a_frame_of_several():
    """A fault has the number of its event and the offset of its frame. The events before it are returned."""
    front = START + b": c\n\n" + PING
    wrong = in_one_frame(PING, block_stop(-1), PING)
    shown = agreed(front + b": c\n" + wrong)
    assert_fault(shown, DecodeError, 3, len(front) + 4)
    assert said(shown) == [("no_blank_line", 2, 1)]
    # The same for what is wrong with the message.
    spliced = in_one_frame(PING, message_start(id="msg_2"), PING)
    shown = read([START + spliced])
    assert (shown["fault"][0], shown["fault"][2:]) == (ProtocolViolation, (2, len(START)))
    assert read(pieces(START + spliced, 1)) == shown


def test_events_of_one_frame_at_the_end_of_the_body():
    """Whole lines are events without the last blank line and without the last line end."""
    for rest in (b"\n", b""):
        body = START + HELLO + in_one_frame(message_delta(), MESSAGE_STOP)[:-2] + rest
        shown = agreed(body)
        assert {(code, number) for code, number, _ in said(shown)} == {("no_blank_line", 4), ("unterminated_event", 4)}
        assert (shown["outcome"], shown["messages"]) == (Outcome.COMPLETE, read([whole(HELLO)])["messages"])


@pytest.mark.parametrize("lost", [3, 5, 20, 26])
def test_events_of_one_frame_in_which_the_body_ends(lost):
    """The whole lines are events, and the cut one is dropped."""
    body = START + HELLO + in_one_frame(PING, message_delta(), MESSAGE_STOP)[:-lost]
    shown = agreed(body)
    assert sorted(said(shown)) == [("no_blank_line", 4, 1), ("no_message_stop", 6, 1), ("unfinished_event", 6, 1)]
    assert len(shown["events"]) == 6
    assert (shown["outcome"], shown["messages"]) == (Outcome.COMPLETE, read([whole(HELLO)])["messages"])


def test_one_whole_line_before_a_cut_one():
    """One whole line before a cut one is an event as well."""
    shown = agreed(whole(HELLO) + in_one_frame(PING, frame("future"))[:-4])
    assert said(shown) == [("no_blank_line", 6, 1), ("unfinished_event", 7, 1)]
    assert shown["events"][6] == PingEvent()


def test_a_fault_at_the_end_of_the_body_in_a_frame_of_several():
    """A fault in the frame in which the body ends has its number and its offset too."""
    front = whole(HELLO)
    shown = agreed(front + in_one_frame(PING, block_stop(-1))[:-1])
    assert (shown["fault"][0], shown["fault"][2:]) == (DecodeError, (7, len(front)))
    assert len(shown["events"]) == 7
    assert shown["outcome"] is Outcome.COMPLETE  # the message was whole before it


def test_the_limit_of_an_event_is_that_of_its_frame():
    """Several events in a frame share the limit of one. A frame over it gives none of them."""
    body = in_one_frame(PING, PING, name=b"event: ping\n")
    for chunks in ([body], pieces(body, 1)):
        assert read(chunks, max_event_size=len(body))["fault"] is None
        shown = read(chunks, max_event_size=len(body) - 1)
        assert (shown["fault"][0], shown["fault"][2:], shown["events"]) == (LimitExceeded, (0, 0), [])


def test_the_events_of_a_frame_count_as_they_do_apart():
    """Towards the size of a message they count as in frames of their own, with 256 bytes for the deviation."""
    apart = whole(
        block_start(TEXT), delta(text="a" * 50), delta(text="b"), frame("message_delta", delta={}, usage={"a": 1})
    )
    together = whole(
        block_start(TEXT),
        in_one_frame(delta(text="a" * 50), delta(text="b"), frame("message_delta", delta={}, usage={"a": 1})),
    )
    for chunk in (1, 10**9):
        assert least(together, chunk) == least(apart, chunk) + 256


@pytest.mark.parametrize("depth", [190, 200])
def test_nesting_in_a_frame_of_several(depth):
    """A line that is nested deeper than 200 levels is no event."""
    deep = frame("future", a=0).replace(b"0", b"[" * depth + b"]" * depth)
    shown = agreed(PING + in_one_frame(PING, deep))
    if depth < 200:
        assert (said(shown), len(shown["events"])) == ([("no_blank_line", 1, 1)], 3)
    else:
        assert_fault(shown, DecodeError, 1, len(PING))


def test_one_frame_of_many_events():
    """A frame of 100,000 events gives one entry, and takes time by their number."""
    assert_linear(lambda number: lambda: read([in_one_frame(*[PING] * number)]), 2_000)
    shown = read([in_one_frame(*[PING] * 100_000)])
    assert (said(shown), len(shown["events"])) == ([("no_blank_line", 0, 1)], 100_000)
    assert_linear(lambda number: lambda: read([in_one_frame(*[PING] * number, b"data: {\n\n")]), 2_000)
    assert_linear(lambda number: lambda: read([in_one_frame(*[PING] * number, block_stop(-1))]), 2_000)


# --- stop_without_block ---------------------------------------------------------------------------------------


def test_a_stop_for_a_block_never_opened_changes_nothing():
    """A stop for a block that never opened changes nothing, before, inside and at the end of a message."""
    for body, number in (
        (whole(block_stop(7), HELLO), 1),
        (whole(block_start(TEXT), block_stop(7), delta(text="Hello"), block_stop()), 2),
        (whole(HELLO, block_stop(1)), 4),
        (START + HELLO + message_delta() + block_stop(7) + MESSAGE_STOP, 5),
        (block_stop(0) + whole(HELLO), 0),
    ):
        shown = agreed(body)
        assert said(shown) == [("stop_without_block", number, 1)]
        assert (shown["outcome"], shown["messages"]) == (Outcome.COMPLETE, read([whole(HELLO)])["messages"])


def test_a_stop_alone_is_no_message():
    """A stop opens no message and ends none."""
    shown = agreed(block_stop(0) + block_stop(0))
    assert said(shown) == [("stop_without_block", 0, 2)]
    assert (shown["outcome"], shown["messages"]) == (Outcome.TRUNCATED, [])


def test_a_stop_leaves_the_index_to_a_later_block():
    """A block that opens later at that index is its first."""
    shown = agreed(whole(block_stop(0), HELLO, block_stop(1), text_block("!", index=1)))
    assert said(shown) == [("stop_without_block", 1, 2)]
    assert content_of(shown) == [text("Hello"), text("!")]


def test_a_second_stop_is_no_stop_without_a_block():
    """A second stop is legal, and so is one for a block that message_start carried. A delta opens a block too."""
    assert said(agreed(whole(HELLO, block_stop()))) == []
    carried = message_start(content=[text("Hello")]) + block_stop(0) + END
    assert said(agreed(carried)) == []
    assert said(agreed(whole(delta(text="a"), block_stop()))) == [("delta_without_block", 1, 1)]
    assert said(agreed(whole(HELLO, HELLO, block_stop()))) == [("index_reused", 4, 1)]


def test_a_stop_after_the_end_is_late():
    """After message_stop a stop is late, whatever its index. After an error it is ignored."""
    assert said(agreed(whole(HELLO) + block_stop(7))) == [("event_after_stop", 6, 1)]
    assert said(agreed(START + frame("error", error={"type": "api_error", "message": "m"}) + block_stop(7))) == []


# --- bare_document --------------------------------------------------------------------------------------------

_API_ERROR = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}, "request_id": "req_1"}
_ERROR = json.dumps(_API_ERROR).encode()
_PRETTY = json.dumps(_API_ERROR, indent=2).encode()
_IN_LINES = b'{"error":\n{"type":"overloaded_error",\n"message":"busy"}\n,"request_id":"req_1"}'


@pytest.mark.parametrize("written", [_ERROR, _PRETTY, _IN_LINES])
@pytest.mark.parametrize("front", [b"", START + HELLO, PING, b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n\n", b"\n", b""])
def test_an_error_written_bare(written, front, end):
    """A bare error on one line or on many, first or midway, with or without a blank line, gives the server's words."""
    body = front + written + end
    shown = agreed(body)
    number = len(read([front])["events"])
    assert said(shown) == [("bare_document", number, 1)]
    (event,) = shown["events"][number:]
    assert (type(event), event.error.type, event.error.message) == (ErrorEvent, "overloaded_error", "busy")
    assert (event.request_id, shown["outcome"]) == ("req_1", Outcome.FAILED)
    with pytest.raises(APIError, match="busy") as caught:
        parse(body)
    assert (caught.value.type, caught.value.event_number) == ("overloaded_error", number)
    assert getattr(caught.value.partial, "text", None) == ("Hello" if HELLO in front else None)


@pytest.mark.parametrize("error", ['"busy"', "{}", '""', "false", "[1]", "5"])
def test_whatever_the_error_is(error):
    """A document with an `error` of any type fails the message."""
    shown = agreed(START + b'{"error":%b}\n\n' % error.encode())
    assert (said(shown), shown["outcome"]) == ([("bare_document", 1, 1)], Outcome.FAILED)


@pytest.mark.parametrize(
    "document", [b'{"detail":"a"}', b'{"error":null,"b":1}', b"{}", b'{"type":"ping"}', b'{"type":"error"}']
)
def test_a_document_without_an_error(document):
    """Any other document is kept as text, even if it has a type. An `error` of null is none."""
    shown = agreed(START + document + b"\n\n" + HELLO + END)
    assert said(shown) == [("bare_document", 1, 1)]
    assert shown["events"][1] == UnknownEvent("message", document.decode())
    assert shown["messages"] == read([whole(HELLO)])["messages"]


def test_documents_one_a_line():
    """Each line is an event of its own. An error among them fails the message."""
    lines = b'{"a":1}\n{"b":2}\n' + _ERROR + b"\n"
    for end in (b"\n", b""):
        shown = agreed(START + lines + end + (PING if end else b""))
        assert said(shown) == [("bare_document", 1, 3)]
        assert shown["events"][1:3] == [UnknownEvent("message", '{"a":1}'), UnknownEvent("message", '{"b":2}')]
        assert type(shown["events"][3]) is ErrorEvent
        assert shown["outcome"] is Outcome.FAILED


def test_documents_stand_among_fields_and_comments():
    """Fields and comments between the lines of a document are no part of it. The frame's own event comes first."""
    own = b": c\n" + PING[:-1].replace(b"\n", b'\n{"a":\n', 1) + b"foo: bar\nid: 7\n1}\n: c\nretry: 5\n\n"
    shown = agreed(START + own + HELLO + END)
    assert said(shown) == [("bare_document", 2, 1)]
    assert shown["events"][1:3] == [PingEvent(), UnknownEvent("message", '{"a":\n1}')]
    assert shown["outcome"] is Outcome.COMPLETE


def test_documents_after_the_events_of_a_frame_of_several():
    """A frame's documents come after all its events."""
    shown = agreed(START + data_lines(PING, frame("future", a=1)) + b'{"b":2}\n{"c":3}\n\n' + HELLO + END)
    assert said(shown) == [("no_blank_line", 1, 1), ("bare_document", 3, 2)]
    assert [event.type for event in shown["events"][1:5]] == ["ping", "future", "message", "message"]
    assert shown["messages"] == read([whole(HELLO)])["messages"]


def test_an_event_line_names_no_document():
    """The event line says nothing of a document."""
    shown = agreed(START + b'event: ping\n{"a":1}\n\n')
    assert (said(shown), shown["events"][1:]) == ([("bare_document", 1, 1)], [UnknownEvent("message", '{"a":1}')])


@pytest.mark.parametrize(
    "lines",
    [
        b"foo: bar",
        b'foo: {"a":1}',
        b"Internal Server Error",
        b"<html>\n<body>no</body>\n</html>",
        b"[]",
        b'[{"error":"busy"}]',
        b'["a"]\n["b"]',
        b'"text"',
        b"5",
        b"null",
        b'{"a":1',
        b'{"a":1}}',
        b"{'a':1}",
        b'{"a":NaN}',
        b'{"a":1}\n[]',
        b'Error:\n\t{"a":1} and more',
    ],
)
def test_lines_that_are_no_documents_are_ignored(lines):
    """Other lines without a field are ignored, as the standard has it: each has to be an object, or all of them joined."""
    shown = agreed(START + lines + b"\n\n" + HELLO + END)
    assert (said(shown), shown["events"]) == ([], read([whole(HELLO)])["events"])


def test_where_a_fault_stands_after_documents():
    """A fault after documents and frames of several events has the right number and byte offset."""
    frames = b'{"a":1}\n{"b":2}\n\n' + PING[:-1] + b'{"c":3}\n\n' + in_one_frame(PING, PING) + b"{\n}\n\n"
    front = START + frames
    shown = agreed(front + b": c\n" + block_stop(-1) + PING)
    assert_fault(shown, DecodeError, 8, len(front) + 4)
    assert said(shown) == [("bare_document", 1, 4), ("no_blank_line", 5, 1)]


def test_where_a_bare_error_stands():
    """The APIError of a bare error has its event number, and the byte offset of its frame."""
    front = START + PING
    for own in (b"", PING[:-1]):
        with pytest.raises(APIError) as caught:
            parse(front + b": c\n" + own + _ERROR + b"\n\n")
        assert (caught.value.event_number, caught.value.byte_offset) == (2 + bool(own), len(front) + 4)


@pytest.mark.parametrize("lost", [1, 2, 30])
def test_a_document_in_which_the_body_ends(lost):
    """A cut document is dropped as an unfinished event. Whole ones before it are events."""
    shown = agreed(START + _ERROR[:-lost])
    assert (said(shown), shown["outcome"]) == ([("unfinished_event", 1, 1)], Outcome.TRUNCATED)
    shown = agreed(START + b'{"a":1}\n{"b":2}\n' + _ERROR[:-lost])
    assert said(shown) == [("bare_document", 1, 2), ("unfinished_event", 3, 1)]
    assert len(shown["events"]) == 3


def test_a_document_in_the_frame_of_the_last_event():
    """The frame's own event is unterminated, or unfinished. Its document is neither."""
    own = START + HELLO + message_delta() + MESSAGE_STOP[:-1]
    shown = agreed(own + b'{"a":1}')
    assert said(shown) == [("unterminated_event", 5, 1), ("bare_document", 6, 1), ("event_after_stop", 6, 1)]
    shown = agreed(START + HELLO + message_delta() + MESSAGE_STOP[:-4] + b'\n{"a":1}')
    assert sorted(said(shown)) == [("bare_document", 5, 1), ("no_message_stop", 6, 1), ("unfinished_event", 6, 1)]


def test_documents_are_text_of_any_kind():
    """Raw control characters, halves of characters and bytes that are no UTF-8 are read in documents too."""
    shown = agreed(START + b'{"a":"\t\\ud83d\xff"}\n\n{"error":"\t\\ud83d\xff"}\n\n')
    assert said(shown) == [("bare_document", 1, 2)]
    assert shown["events"][1] == UnknownEvent("message", '{"a":"\t\\ud83d\ufffd"}')
    assert shown["events"][2].error.message == "\t\ufffd\ufffd"


def test_documents_count_towards_the_limit_of_an_event():
    """The lines of a document count towards the size of their frame."""
    body = PING[:-1] + _ERROR + b"\n\n"
    for chunks in ([body], pieces(body, 1)):
        assert read(chunks, max_event_size=len(body))["fault"] is None
        shown = read(chunks, max_event_size=len(body) - 1)
        assert (shown["fault"][0], shown["fault"][2:], shown["events"]) == (LimitExceeded, (0, 0), [])


@pytest.mark.parametrize("depth", [199, 200])
def test_nesting_in_a_document(depth):
    """JSON that is nested deeper than 200 levels is no document."""
    shown = agreed(START + b'{"error":%b}\n\n' % (b"[" * depth + b"]" * depth))
    expected = ([("bare_document", 1, 1)], Outcome.FAILED) if depth < 200 else ([], Outcome.TRUNCATED)
    assert (said(shown), shown["outcome"]) == expected


def test_a_hundred_thousand_lines_of_documents():
    """100,000 lines are as many documents, or one over all of them."""
    shown = read([b'{"a":1}\n' * 100_000 + b"\n"])
    assert said(shown) == [("bare_document", 0, 100_000)]
    shown = read([b'{"a":[\n' + b"1,\n" * 100_000 + b"1]}\n\n"])
    assert (said(shown), len(shown["events"])) == ([("bare_document", 0, 1)], 1)


@pytest.mark.parametrize("end", [b"\n", b""])
@pytest.mark.parametrize(
    ("head", "line", "tail"),
    [
        (b"", b'{"a":1}\n', b""),
        (b'{"a":[\n', b"1,\n", b"1]}\n"),
        (b"", b'{"a":1}\n', b"{\n"),
        (b"", b"{\n", b""),
        (b"", b"oops\n", b""),
    ],
)
def test_many_lines_without_a_field(head, line, tail, end):
    """Whole documents, cut ones and other lines take time by their number."""
    assert_linear(lambda number: lambda: read([head + line * number + tail + end]), 2_000)


def test_a_message_for_a_stream():
    """A body that is one whole message in JSON is an IncompleteStream that carries it and names decode_message."""
    message = parse(whole(HELLO))
    for written in (json.dumps(to_dict(message)), json.dumps(to_dict(message), indent=1)):
        for end in ("", "\n", "\n\n"):
            body = (written + end).encode()
            assert said(agreed(body)) == [("bare_document", 0, 1)]
            for chunks in ([body], pieces(body, 1)):
                with pytest.raises(IncompleteStream, match="decode_message") as caught:
                    parse(chunks)
                assert to_dict(caught.value.partial) == to_dict(message)


# --- a stop_reason of "" --------------------------------------------------------------------------------------


def test_a_stop_reason_of_nothing_is_null():
    """A stop_reason of "" stops nothing, wipes nothing, and is no deviation."""
    running = frame("message_delta", delta={"stop_reason": "", "stop_sequence": None}, usage={"output_tokens": 2})
    start = message_start(stop_reason="")
    shown = agreed(
        start + running + HELLO + running + message_delta() + running + frame("message_stop", stop_reason="")
    )
    assert (said(shown), shown["outcome"]) == ([], Outcome.COMPLETE)
    assert message_of(shown)["stop_reason"] == "end_turn"
    assert shown["events"][0].message.stop_reason is None
    assert shown["events"][1].delta.stop_reason is None
    assert (said(agreed(start + HELLO + running)), agreed(start + running)["outcome"]) == ([], Outcome.TRUNCATED)
    shown = agreed(start + HELLO + running + MESSAGE_STOP)
    assert (said(shown), message_of(shown)["stop_reason"]) == ([("no_stop_reason", 5, 1)], None)


def test_a_stop_reason_of_nothing_at_the_top_level_is_null():
    """A stop_reason of "" beside a delta, or inside one, hides no reason that stands in the other place."""
    beside = frame("message_delta", delta={"stop_reason": "end_turn"}, stop_reason="", usage={})
    shown = agreed(START + HELLO + beside + MESSAGE_STOP)
    assert (said(shown), message_of(shown)["stop_reason"]) == ([], "end_turn")
    shown = agreed(
        START
        + HELLO
        + frame("message_delta", delta={"stop_reason": ""}, stop_reason="end_turn", usage={})
        + MESSAGE_STOP
    )
    assert (said(shown), message_of(shown)["stop_reason"]) == ([("bare_message_delta", 4, 1)], "end_turn")
    shown = agreed(START + HELLO + frame("message_delta", stop_reason="", usage={}))
    assert (said(shown), shown["outcome"]) == ([("bare_message_delta", 4, 1)], Outcome.TRUNCATED)


# --- deltas that nobody knows ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "kind", "field"),
    [
        ({"type": "connector_text", "connector_text": ""}, "connector_text_delta", "connector_text"),
        ({"type": "verse", "verse": "O ", "lines": 2}, "verse_delta", "verse"),
        ({"type": "verse", "extra": "O "}, "verse_delta", "extra"),
        ({"type": "redacted_thinking", "data": "AB"}, "redacted_thinking_delta", "data"),
        ({"type": "container_upload", "file_id": "f"}, "container_upload_delta", "file_id"),
    ],
)
def test_a_delta_for_the_text_of_its_own_block(start, kind, field):
    """An X_delta with one string adds to that text of a block of type X, without a deviation. Halves join."""
    parts = [block_delta(type=kind, **{field: part}) for part in ("a", "", "b")]
    shown = agreed(whole(block_start(start), *parts, block_stop()))
    assert (said(shown), shown["unapplied"]) == ([], [])
    assert content_of(shown) == [{**start, field: start[field] + "ab"}]
    stream = MessageStream()
    stream.receive_data(START + block_start(start) + parts[0])
    assert stream.block is stream.message.content[0]
    halves = [block_delta(type=kind, **{field: part}) for part in ("\ud83d", "\ude00")]
    shown = agreed(whole(block_start(start), *halves, block_stop()))
    assert (said(shown), content_of(shown)) == (
        [("lone_surrogate", 2, 2)],
        [{**start, field: start[field] + "\U0001f600"}],
    )


@pytest.mark.parametrize(
    ("start", "fields"),
    [
        ({"type": "verse", "verse": "O "}, {"type": "verse_delta", "verse": "a", "key": "b"}),  # two strings
        ({"type": "verse", "verse": "O "}, {"type": "verse_delta", "key": "a"}),  # one that the block has not
        ({"type": "verse", "verse": 5}, {"type": "verse_delta", "verse": "a"}),  # or has as something else
        ({"type": "verse", "verse": "O "}, {"type": "verse_delta", "verse": 5}),  # no string
        ({"type": "verse", "verse": "O "}, {"type": "verse_delta"}),  # nothing
        ({"type": "verse", "verse": "O "}, {"type": "poem_delta", "verse": "a"}),  # of another block
        ({"type": "verse", "verse": "O "}, {"type": "verse", "verse": "a"}),
        (TEXT, {"type": "verse_delta", "verse": "a"}),
    ],
)
def test_any_other_delta_fits_nowhere(start, fields):
    """Any other unknown delta goes whole to `unapplied`. A block of an unknown type is not sent back then."""
    body = whole(block_start(start), block_delta(**fields), block_stop(), text_block("b", index=1))
    shown = agreed(body)
    assert said(shown) == []
    kind = fields["type"]
    assert shown["unapplied"] == [(0, UnknownDelta(kind, extra={k: v for k, v in fields.items() if k != "type"}))]
    assert content_of(shown) == [start, text("b")]
    assert [block["type"] for block in to_param(parse(body))["content"]] == ["text"]


def test_thinking_that_lacks_something_is_not_sent_back():
    """A thinking block with something unapplied is not sent back, since its signature signs all of it."""
    body = whole(
        block_start(THINKING), delta(thinking="a"), block_delta(type="hint_delta", hint="b"), delta(signature="s"), block_stop(),
        text_block("c", index=1),
    )  # fmt: skip
    assert [block["type"] for block in to_param(parse(body))["content"]] == ["text"]
    assert content_of(agreed(body))[0] == {**THINKING, "thinking": "a", "signature": "s"}


def test_an_unknown_delta_for_no_block():
    """An unknown delta opens no block."""
    shown = agreed(whole(block_delta(5, type="verse_delta", verse="a")))
    assert (said(shown), content_of(shown)) == ([], [])
    assert shown["unapplied"] == [(5, UnknownDelta("verse_delta", extra={"verse": "a"}))]


@pytest.mark.parametrize("start", [TEXT, TOOL, {"type": "compaction", "content": "c"}, {"type": "mcp_tool_result"}])
def test_a_signature_under_a_block_that_can_have_none(start):
    """A signature under such a block opens no block, before its stop or after it."""
    shown = agreed(whole(block_start(start), delta(signature="AB"), block_stop()))
    assert said(shown) == [("delta_kind_mismatch", 2, 1)]
    assert shown["unapplied"] == [(0, SignatureDelta("AB"))]
    assert [block["type"] for block in content_of(shown)] == [start["type"]]
    # After its stop it is no other.
    late = agreed(whole(block_start(start), block_stop(), delta(signature="AB")))
    assert (said(late), late["unapplied"]) == ([("delta_kind_mismatch", 3, 1)], shown["unapplied"])


@pytest.mark.parametrize(
    "start",
    [
        {"type": "verse", "verse": "a"},
        {"type": "verse", "signature": "A"},
        {**TOOL, "signature": "A"},
        {"type": "compaction", "signature": ""},
    ],
)
def test_a_signature_for_any_block_that_has_one(start):
    """A block of an unknown type takes a signature, and so does a known one that came with one."""
    shown = agreed(whole(block_start(start), delta(signature="BC"), block_stop()))
    assert shown["unapplied"] == []
    assert "delta_kind_mismatch" not in [code for code, _, _ in said(shown)]
    assert content_of(shown) == [{**start, "signature": start.get("signature", "") + "BC"}]


def test_a_compaction_delta_replaces_whatever_it_states():
    """A compaction_delta replaces its two fields and any further key of the block's."""
    first = block_delta(type="compaction_delta", content="a", encrypted_content="x", signature="s", tool_changes=[1])
    second = block_delta(type="compaction_delta", content="b", encrypted_content=None, signature="t")
    shown = agreed(
        whole(block_start({"type": "compaction", "content": None, "signature": ""}), first, second, block_stop())
    )
    assert said(shown) == []
    (block,) = content_of(shown)
    assert (block["content"], block["signature"], block["tool_changes"]) == ("b", "t", [1])


# --- errors under Bedrock's names -----------------------------------------------------------------------------

_EXCEPTIONS = [
    "internalServerException",
    "modelStreamErrorException",
    "throttlingException",
    "serviceUnavailableException",
    "modelTimeoutException",
    "validationException",
]


@pytest.mark.parametrize("name", _EXCEPTIONS)
def test_an_exception_of_bedrock_is_an_error(name):
    """A Bedrock exception has no envelope. The event's name is the error's type."""
    for data, words in (
        (b'{"message":"slow down"}', "slow down"),
        (b"slow down", "slow down"),
        (b"{}", None),
        (b"", None),
    ):
        shown = agreed(START + b"event: %b\ndata: %b\n\n" % (name.encode(), data))
        assert (said(shown), shown["outcome"]) == ([("bare_error", 1, 1)], Outcome.FAILED)
        event = shown["events"][1]
        assert (type(event), event.error.type, event.error.message) == (ErrorEvent, name, words)
        assert decode_event(data, name) == event


def test_other_exceptions_are_unknown_events():
    """An event of another name is no error."""
    shown = agreed(START + b'event: teapotException\ndata: {"message":"no"}\n\n')
    assert (said(shown), shown["events"][1]) == (
        [("no_type", 1, 1)],
        UnknownEvent("teapotException", extra={"message": "no"}),
    )


# --- what the message says of its usage and its blocks --------------------------------------------------------

_COUNT = {"output_tokens": 5}
_FINAL = [
    (START + HELLO, False),
    (START + HELLO + frame("message_delta", delta={}, usage=_COUNT), False),
    (START + HELLO + stating(stop_reason="end_turn"), False),
    (START + HELLO + stating(stop_reason="end_turn") + MESSAGE_STOP, False),
    (START + HELLO + message_delta(usage={"output_tokens": None}), False),
    (START + HELLO + message_delta(usage={"output_tokens": "5"}), False),
    (START + HELLO + message_delta(usage={"input_tokens": 5}), False),
    (START + HELLO + frame("message_delta", delta={"stop_reason": ""}, usage=_COUNT), False),
    (START + HELLO + message_delta(), True),
    (START + HELLO + message_delta(usage={"output_tokens": 0}), True),
    (START + HELLO + message_delta(usage={"output_tokens": 5.0}), True),
    (START + HELLO + stating(stop_reason="end_turn") + frame("message_delta", delta={}, usage=_COUNT), True),
    (START + HELLO + stating(stop_reason="end_turn") + frame("message_stop", usage=_COUNT), True),
    (START + HELLO + frame("message_stop", stop_reason="end_turn", usage=_COUNT), True),
    (START + HELLO + frame("message_delta", stop_reason="end_turn", usage=_COUNT), True),
    (message_start(stop_reason="end_turn", usage=_COUNT), True),
    (message_start(stop_reason="end_turn", usage={"input_tokens": 5}), False),
    (whole(HELLO) + message_start(id="msg_2"), False),
    (whole(HELLO) + stating(stop_reason="end_turn"), True),
    (whole(HELLO) + PING, True),
]


@pytest.mark.parametrize(("body", "is_final"), _FINAL, ids=range(len(_FINAL)))
def test_when_the_usage_is_final(body, is_final):
    """The usage is final if an output count came with the stop_reason of the last message, or after it."""
    for chunks in ([body], pieces(body, 1), pieces(body, 40)):
        stream = MessageStream()
        for chunk in chunks:
            stream.receive_data(chunk)
        assert stream.usage_is_final is is_final
    accumulator = MessageAccumulator()
    for event in EventDecoder().receive_data(body):
        accumulator.add(event)
    assert accumulator.usage_is_final is is_final


def test_which_block_an_event_was_for():
    """`block` is the one that began, grew or ended, of several that ended the last. It is None after any other event."""
    accumulator = MessageAccumulator()
    seen = []
    odd = (
        block_stop(9), START, block_start(TEXT, 4), delta(4, text="a"), delta(4, text="b"), PING, delta(4, thinking="t"),
        delta(4, signature="s"), block_start(TEXT, 4), block_stop(4), delta(4, text="c"), delta(4, citation={"u": 1}), block_stop(7),
        block_delta(4, type="future_delta", a="b"), delta(2, text="d"), block_stop(2), message_delta(), MESSAGE_STOP, block_stop(4),
    )  # fmt: skip
    for event in EventDecoder().receive_data(b"".join(odd)):
        accumulator.add(event)
        seen.append(accumulator.block)
    # In index order: the text opened by a delta at 2, the text at 4, the thinking that it could not take, its second
    # text, and the text of a citation that came after that one's stop.
    implied, first, thinking, second, cited = accumulator.message.content
    assert [block.type for block in (implied, first, thinking, second, cited)] == [
        "text",
        "text",
        "thinking",
        "text",
        "text",
    ]
    expected = [
        None, None, first, first, first, None, thinking,
        thinking, second, second, second, cited, None,
        None, implied, implied, None, None, None,
    ]  # fmt: skip
    assert [block is other for block, other in zip(seen, expected, strict=True)] == [True] * len(expected)


def test_the_block_of_a_run():
    """After a run of deltas `block` is the one that they grew."""
    body = START + block_start(TEXT) + delta(text="a") * 50
    for chunks in ([body], pieces(body, 64), [part + b"\n\n" for part in body.split(b"\n\n")[:-1]]):
        stream = MessageStream()
        for chunk in chunks:
            stream.receive_data(chunk)
        assert stream.block is stream.message.content[0]
    assert stream.receive_data(PING) == [PingEvent()]
    assert stream.block is None


@pytest.mark.parametrize("first", ["{}", "{ }", "nonsense", '{"a', "[]", "null", '""'])
def test_pieces_win_over_any_input_in_a_string(first):
    """Whatever the string says, even nothing: the deltas are the arguments."""
    shown = agreed(whole(tool_block('{"b":', "2}", start={**TOOL, "input": first})))
    assert content_of(shown)[0]["input"] == {"b": 2}


def test_a_right_signature_takes_the_place_of_a_wrong_one():
    """A value of a wrong kind waits in `extra` only until a right one comes."""
    body = whole(block_start({**THINKING, "signature": 5}), delta(thinking="t"), delta(signature="AB"), block_stop())
    assert content_of(agreed(body)) == [{"type": "thinking", "thinking": "t", "signature": "AB"}]


def test_a_right_citation_takes_the_place_of_wrong_ones():
    """So with a list that was none."""
    body = whole(block_start({**TEXT, "citations": "x"}), delta(text="t"), delta(citation={"u": 1}), block_stop())
    assert content_of(agreed(body)) == [{"type": "text", "text": "t", "citations": [{"u": 1}]}]


def test_a_fallback_model_takes_the_place_of_a_wrong_one():
    """So with the model that a fallback names."""
    fallback = {"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}}
    assert message_of(agreed(message_start(model=42) + block_start(fallback) + block_stop() + END))["model"] == "b"


@pytest.mark.parametrize("blank", [b" ", b"\t", b"  \n "])
def test_blanks_after_a_document(blank):
    """Lines of blanks are no part of a document, and take nothing from it."""
    shown = agreed(START + b'{"error":"busy"}\n' + blank + b"\n\n")
    assert said(shown) == [("bare_document", 1, 1)]
    shown = agreed(START + blank + b'\n{"error":"busy"}\n\n')
    assert said(shown) == [("bare_document", 1, 1)]


@pytest.mark.parametrize("cut", [b"{\n", b'{\n  "error": {\n', b'{"error":\n'])
def test_a_document_cut_at_a_line_end(cut):
    """A document that goes over lines is not whole before its last one."""
    assert said(agreed(START + cut)) == [("unfinished_event", 1, 1)]


def test_a_document_cut_after_the_frames_own_event():
    """The frame's event is whole, the document after it is not."""
    assert said(agreed(START + PING[:-1] + b'{"error":{"mess')) == [
        ("unterminated_event", 1, 1),
        ("unfinished_event", 2, 1),
    ]


@pytest.mark.parametrize("rest", [b'{"a":', b"and", b"["])
def test_what_is_cut_after_a_document(rest):
    """The document is whole. What the body ends in may have become another, or anything else."""
    shown = agreed(START + b'{"detail":"busy"}\n' + rest)
    assert said(shown) == [("bare_document", 1, 1), ("unfinished_event", 2, 1)]


def test_a_bedrock_exception_with_an_error_in_it():
    """The name says that it failed, wherever the words stand."""
    for said_in_it in ('{"message":"slow down"}', '"slow down"'):
        data = b'{"error":%b}' % said_in_it.encode()
        shown = agreed(START + b"event: throttlingException\ndata: " + data + b"\n\n")
        assert shown["outcome"] is Outcome.FAILED
        event = shown["events"][1]
        assert (event.error.type, event.error.message, event.error.extra) == ("throttlingException", "slow down", {})
        assert event.extra == {}


def test_null_in_message_stop_states_nothing():
    """Neither a reason nor a count, and no field that nobody knows."""
    nulls = dict.fromkeys(("stop_reason", "stop_sequence", "stop_details", "container", "context_management", "usage"))
    body = START + HELLO + message_delta() + frame("message_stop", **nulls)
    shown = agreed(body)
    assert (said(shown), message_of(shown)) == ([], message_of(agreed(START + HELLO + END)))
    assert parse(body).extra == {}


def test_a_usage_in_message_stop_alone():
    """It is the message's usage and no other field; one that is no object is kept as a field that nobody knows."""
    start = message_start(usage=None)
    nothing = frame("message_delta", delta={"stop_reason": "end_turn"})
    for usage, counts, extra in (({"output_tokens": 7}, {"output_tokens": 7}, {}), (5, None, {"usage": 5})):
        message = parse(start + HELLO + nothing + frame("message_stop", usage=usage))
        assert (message.usage and to_dict(message.usage), message.extra) == (counts, extra)


@pytest.mark.parametrize(
    "fields", [{"stop_reason": 5}, {"stop_sequence": []}, {"usage": {"input_tokens": "3"}}, {"usage": 5}, {"usage": ""}]
)
def test_what_is_wrong_in_message_stop_is_said(fields):
    """Its fields are the message's, and so is what is wrong with them."""
    assert said(agreed(START + HELLO + message_delta() + frame("message_stop", **fields))) == [("wrong_type", 5, 1)]


@pytest.mark.parametrize("nothing", ["", []])
def test_an_empty_usage_in_message_stop_is_absent(nothing):
    """As it is in every other event."""
    shown = agreed(message_start(usage=None) + HELLO + message_delta(usage=None) + frame("message_stop", usage=nothing))
    assert "usage" not in message_of(shown)


def test_a_delta_that_can_not_be_told_is_said():
    """Nothing is left out without a word: it is in `unapplied`, under the code of a delta without a type."""
    shown = agreed(whole(block_start(TEXT), block_delta(text="a", thinking="b"), block_stop()))
    assert [code for code, _, _ in said(shown)] == ["bare_delta"]


@pytest.mark.parametrize("nothing", ["", []])
def test_absent_is_bare(nothing):
    """An empty text or list in place of usage is none, and a message without usage is bare."""
    assert "bare_message_start" in [c for c, _, _ in said(agreed(message_start(usage=nothing) + HELLO + END))]


@pytest.mark.parametrize("nothing", ["", []])
def test_absent_input_is_bare(nothing):
    """So is a call without its input."""
    assert "bare_block_start" in [
        c for c, _, _ in said(agreed(whole(tool_block("{}", start={**TOOL, "input": nothing}))))
    ]


def test_a_retry_without_a_value_is_a_field():
    """A field's name alone is a line of the format, not one of a document."""
    assert said(agreed(b'retry\n{"error":"busy"}\n\n')) == [("bare_document", 0, 1)]


def test_whole_lines_after_a_bad_one_at_the_end():
    """Of the lines in which the body ends each whole one is an event."""
    shown = agreed(START + HELLO + message_delta() + data_lines(PING) + b"data: {\n" + data_lines(MESSAGE_STOP)[:-1])
    assert [e.type for e in shown["events"][5:]] == ["ping", "message_stop"]


LATE_STARTS = [
    message_start(stop_reason="end_turn") + block_start(TEXT) + delta(text="Transfer 10"),
    message_start() + HELLO + message_delta() + block_start(TOOL, 1) + delta(1, partial_json='{"all":'),
]


@pytest.mark.parametrize("body", LATE_STARTS)
def test_a_stop_reason_says_nothing_of_a_block_after_it(body):
    """A body that ends inside a block which began after the stop_reason is cut, and no message of it is whole."""
    shown = agreed(body)
    assert (shown["outcome"], said(shown)) == (Outcome.TRUNCATED, [])
    assert agreed(body + block_stop(0 if body is LATE_STARTS[0] else 1))["outcome"] is Outcome.COMPLETE


@pytest.mark.parametrize("error", [True, 429, [], {}])
def test_words_beside_an_error_that_has_none(error):
    """An `error` that is no text yields to the message beside it."""
    shown = agreed(START + frame(_name="error", error=error, message="Too many requests"))
    assert shown["outcome"] is Outcome.FAILED
    (event,) = shown["events"][1:]
    assert (event["error"].get("message") if isinstance(event, dict) else event.error.message) == (
        None if error == {} else "Too many requests"
    )


def test_a_deep_count_breaks_nothing():
    """Objects in usage are not walked: neither a deep one nor a large one costs more than its bytes."""
    deep: dict = {"a": 0}
    for _ in range(140):
        deep = {"a": deep}
    body = message_start(usage={"input_tokens": 1, "cache_creation": deep}) + HELLO
    body += frame("message_delta", delta={"stop_reason": "end_turn"}, usage={"cache_creation": deep}) + MESSAGE_STOP
    assert agreed(body)["outcome"] is Outcome.COMPLETE


def test_no_usage_is_final_before_a_message():
    """Nothing was counted yet, and a message opened for content that has no start was not either."""
    stream = MessageStream()
    assert not stream.usage_is_final
    stream.receive_data(block_start(TEXT))
    assert not stream.usage_is_final


def test_an_unknown_delta_after_the_stop_is_appended():
    """As a text would be, and with the same word."""
    start = {"type": "verse", "verse": "O "}
    late = frame("content_block_delta", index=0, delta={"type": "verse_delta", "verse": "sea"})
    shown = agreed(whole(block_start(start), block_stop(), late))
    assert content_of(shown) == [{"type": "verse", "verse": "O sea"}]
    assert [code for code, _, _ in said(shown)] == ["delta_after_stop"]


def test_further_keys_of_a_compaction_delta_need_none_before():
    """They are the block's, whether it started with such fields or not, and never the event's."""
    part = frame("content_block_delta", index=0, delta={"type": "compaction_delta", "content": "c", "signature": "s"})
    body = whole(block_start({"type": "compaction"}), part, part.replace(b'"s"', b'"t"'), block_stop())
    assert content_of(agreed(body))[0]["signature"] == "t"
    events = MessageStream().receive_data(body)
    assert events[2].delta.extra == {"signature": "s"}
    body = whole(block_start({"type": "odd_compaction", "a": 1}), part, part.replace(b'"s"', b'"t"'), block_stop())
    expected = {"type": "odd_compaction", "a": 1, "content": "c", "encrypted_content": None, "signature": "t"}
    assert content_of(agreed(body)) == [expected]


def test_a_bare_document_is_encoded_as_it_came():
    """Under a field it would be read as an event without a type."""
    (event,) = EventDecoder().receive_data(b'{"note":1}\n\n')
    assert encode_event(event) == b'{"note":1}\n\n'
    assert EventDecoder().receive_data(encode_event(event)) == [event]


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity"])
def test_no_number_out_of_range_beside_half_a_character(number):
    """What the standard library takes for a number is none, whoever reads the event."""
    wire = b'event: ping\ndata: {"type":"ping","a":"\\ud83d","b":%b}\n\n' % number.encode()
    with pytest.raises(DecodeError, match="number out of range|expected a JSON value"):
        EventDecoder().receive_data(wire)


@pytest.mark.parametrize(("depth", "is_read"), [(198, True), (199, False)])
def test_nesting_is_bounded_beside_half_a_character(depth, is_read):
    """200 levels, as anywhere; the event is one, and its field another."""
    value = b"[" * depth + b"]" * depth
    wire = b'event: ping\ndata: {"type":"ping","a":"\\ud83d","b":[%b,%b]}\n\n' % (value, b"[]," * 300 + b"1")
    decoder = EventDecoder()
    if is_read:
        assert len(decoder.receive_data(wire)) == 1
    else:
        with pytest.raises(DecodeError, match="nested deeper than 200"):
            decoder.receive_data(wire)


def test_an_error_that_is_a_text_is_the_message():
    """What stands beside it is kept as a field of the event."""
    shown = agreed(START + b'event: error\ndata: {"error":"overloaded","message":"busy"}\n\n')
    assert shown["events"][1].error.message == "overloaded"
    assert shown["events"][1].extra == {"message": "busy"}


def test_a_frame_of_events_with_spaces_that_the_end_cuts():
    """The lines are what is looked at, not what spaces part in them."""
    shown = agreed(START + b'data: {"type": "ping"}\ndata: {"type": "ping", "a": 1}\ndata: {"ty')
    assert [event.type for event in shown["events"]] == ["message_start", "ping", "ping"]


@pytest.mark.parametrize(("zeros", "codes"), [(15, ["usage_reset"]), (16, [])])
def test_sixteen_counts_of_an_object_are_looked_at(zeros, codes):
    """A server can write an object of megabytes, and have it looked at again with each message_delta."""
    counts = {**{f"c{number}": 0 for number in range(zeros)}, "last": 5}
    nothing = dict.fromkeys(counts, 0)
    body = message_start(usage={"cache_creation": counts}) + HELLO
    shown = agreed(body + message_delta(usage={"cache_creation": nothing}) + MESSAGE_STOP)
    assert [code for code, _, _ in said(shown)] == codes


@pytest.mark.parametrize("name", ["error", "throttlingException"])
def test_an_event_with_a_type_of_its_own_is_no_error_by_its_line(name):
    """The JSON's type counts."""
    shown = agreed(START + f'event: {name}\ndata: {{"type":"ping","a":1}}\n\n'.encode())
    assert (said(shown), shown["events"][1]) == ([("type_mismatch", 1, 1)], PingEvent(extra={"a": 1}))
