"""The types of events, blocks and messages, and the errors."""

from __future__ import annotations

import copy
import json
import pickle
from typing import get_args

import msgspec
import pytest

import sansio_step
from sansio_step import (
    APIError,
    ContentBlock,
    ContentBlockDeltaEvent,
    DeadlineExceeded,
    DecodeError,
    Delta,
    Deviation,
    EventDecoder,
    IncompleteStream,
    InputJSONDelta,
    LimitExceeded,
    Message,
    MessageStopEvent,
    MessageStream,
    Outcome,
    PingEvent,
    ProtocolViolation,
    StreamError,
    StreamEvent,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ToolInputError,
    ToolUseBlock,
    UnexpectedResponse,
    UnknownBlock,
    UnknownDelta,
    UnknownEvent,
    Usage,
    decode_event,
    encode_event,
    parse,
)

from .helpers import delta, frame, message_start, text_block, tool_block, whole

ERRORS = [
    StreamError("reason"),
    DecodeError("reason"),
    LimitExceeded("max_event_size", 9),
    ProtocolViolation("no_type", "detail"),
    IncompleteStream("reason"),
    APIError("rate_limit_error", "slow", request_id="r", status=429),
    ToolInputError("reason", '{"a', 3),
    DeadlineExceeded("idle", 2.5),
    UnexpectedResponse("no event stream", status=200, content_type="text/html", start=b"<html>"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_pickle(error):
    """An error survives a pickle and a copy with all that it knows: text, place, partial message, own fields."""
    error.event_number, error.byte_offset, error.partial = 3, 70, parse(whole(text_block("a")))
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert (str(twin), twin.args, twin.partial) == (str(error), error.args, error.partial)
        assert vars(twin) == vars(error)
    assert "event 3, byte 70" in str(error) or isinstance(error, ToolInputError)


def test_errors_say_where():
    """The place is in the text if it is known, and only then."""
    error = DecodeError("broken")
    assert str(error) == "broken"
    error.byte_offset = 7
    assert str(error) == "broken (byte 7)"
    error.event_number = 0
    assert str(error) == "broken (event 0, byte 7)"
    assert len(str(APIError("t", "x" * 10_000))) < 400


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (408, None, True), (409, None, True), (429, "x", True), (500, None, True), (529, None, True), (504, "x", True),
        (400, "overloaded_error", False), (401, None, False), (402, None, False), (451, "censorship_blocked", False),
        (None, "overloaded_error", True), (None, "api_error", True), (None, "rate_limit_error", True), (None, "timeout_error", True),
        (None, "invalid_request_error", False), (None, None, False), (200, "overloaded_error", True),
    ],
)  # fmt: skip
def test_retryable(status, kind, retryable):
    """By the status if it is that of an error, else by the type."""
    assert APIError(kind, None, status=status).retryable is retryable


def test_a_repr_stays_short():
    """A message of megabytes, an event and an error with it are some hundred characters in a log."""
    body = whole(text_block("x" * 2_000_000), tool_block('{"a":"' + "y" * 1_000_000 + '"}', index=1))
    message = parse(body.replace(b'"model"', b'"new":[' + b"1," * 100_000 + b'1],"model"'))
    message.content += [UnknownBlock("z" * 10_000, extra={"k" * 1000: ["v" * 1000] * 1000})] * 50
    error = IncompleteStream("reason")
    error.partial = message
    stream = MessageStream()
    for thing in (message, message.content[1], error, *stream.receive_data(body), stream, stream.message.content[0]):
        assert len(repr(thing)) < 2000
    assert "msg_1" in repr(message)


def test_a_repr_shows_what_there_is():
    """Only the fields that are set; unknown ones as extra."""
    assert repr(TextDelta("a", extra={"b": 1})) == "TextDelta(text='a', extra={'b': 1})"
    assert repr(PingEvent()) == "PingEvent()"
    assert repr(ToolUseBlock(id="i", input={"a": 1})) == "ToolUseBlock(id='i', input={'a': 1})"
    assert repr(ToolUseBlock(input_json='{"a')) == "ToolUseBlock(input_json='{\"a')"


def test_types_tell_themselves_apart():
    """type is an attribute of every event, delta, block and message, as users of the SDKs expect."""
    for event in MessageStream().receive_data(whole(text_block("a"))):
        assert encode_event(event).startswith(b"event: " + event.type.encode() + b"\n")
    assert (TextDelta("a").type, TextBlock().type, Message().type, UnknownEvent("x").type) == (
        "text_delta", "text", "message", "x",
    )  # fmt: skip


def test_events_are_frozen():
    """An event that was handed out does not change, not even if its extra is empty."""
    event = TextDelta("a")
    with pytest.raises(AttributeError):
        event.text = "b"
    for change in (
        lambda extra: extra.update(a=1),
        lambda extra: extra.setdefault("a", 1),
        lambda extra: extra.clear(),
    ):
        with pytest.raises(TypeError, match="extra"):
            change(event.extra)
    assert event.extra == TextBlock().extra == {}


def test_events_and_messages_copy_and_pickle():
    """Copies are equal and of the same type, the empty extra stays the shared one."""
    things = [
        *MessageStream().receive_data(whole(text_block("a"), tool_block("{}", index=1))),
        Usage(1),
        UnknownBlock("x", extra={"a": 1}),
    ]
    things += [parse(whole(text_block("a"))), Deviation("no_type", 1, "d")]
    for thing in things:
        for twin in (copy.copy(thing), copy.deepcopy(thing), pickle.loads(pickle.dumps(thing))):
            assert twin == thing
            assert type(twin) is type(thing)
    assert copy.deepcopy(PingEvent()).extra is pickle.loads(pickle.dumps(PingEvent())).extra is PingEvent().extra


def test_equality_is_of_what_was_said():
    """Blocks compare by their fields; how far the stream is, and what was parsed already, takes no part."""
    block = parse(whole(tool_block('{"a":1}'))).content[0]
    assert block.input == {"a": 1}
    assert block == ToolUseBlock(id="toolu_1", name="look", input_json='{"a":1}')
    assert block != ToolUseBlock(id="toolu_1", name="look", input_json='{"a":2}')
    assert TextBlock("a") != TextBlock("b")
    assert ThinkingBlock("a") != TextBlock("a")
    stream = MessageStream()
    stream.receive_data(message_start() + delta(text="a"))
    assert stream.message.content == [TextBlock("a")]
    assert (stream.message.content == 5) is False
    assert stream.message.content[0]._progress != 5


def test_tool_input_is_parsed_once():
    """The same object at each reading, until the text changes; a value that is set replaces the text."""
    block = ToolUseBlock(input_json='{"a":[1]}')
    assert block.input is block.input
    block.input_json = '{"a":2}'
    assert block.input == {"a": 2}
    block.input = {"b": 3}
    assert (block.input, block.input_json, block.partial_input()) == ({"b": 3}, "", {"b": 3})
    assert (ToolUseBlock().input, ToolUseBlock(input={"a": 1}).partial_input()) == ({}, {"a": 1})


@pytest.mark.parametrize(
    ("text", "reason", "partial"),
    [("[1]", "not a JSON object", {}), ('"x"', "not a JSON object", {}), ('{"a":1', "number", {}), ('{"a":NaN}', "JSON value", {}),
     ('{"a":1}}', "after", {"a": 1}), ("[" * 300, "nested", {})],
)  # fmt: skip
def test_broken_tool_input(text, reason, partial):
    """Strict: only one whole JSON object is an input."""
    block = ToolUseBlock(input_json=text)
    with pytest.raises(ToolInputError, match=reason) as caught:
        block.input  # noqa: B018
    assert caught.value.input_json == text
    assert block.partial_input() == partial
    assert sansio_step.to_dict(block)["input_json"] == text


def test_lone_halves_in_tool_input_are_mended():
    """An escape of half a character in the arguments is U+FFFD: no lone half reaches the caller."""
    assert ToolUseBlock(input_json='{"a":"\\ud83d!"}').input == {"a": "\ufffd!"}


def test_fields_read_the_class_too():
    """The descriptors that stand in for growing fields answer on the class as well."""
    assert TextBlock.text is TextBlock.text
    assert ToolUseBlock.input is ToolUseBlock.input


def test_types_are_msgspec_structs():
    """Events, blocks and messages are Structs, with their fields in the order of the docs."""
    assert issubclass(Message, msgspec.Struct)
    assert ContentBlockDeltaEvent(1, InputJSONDelta("{")).delta.partial_json == "{"
    assert MessageStopEvent(extra={"a": 1}).extra == {"a": 1}
    assert msgspec.structs.replace(TextDelta("a"), text="b") == TextDelta("b")


def test_the_type_of_an_unknown_thing():
    """`wire_type` is the wire's word, as `type` is; to type checkers `type` is a Literal, so that it narrows."""
    for thing in (UnknownEvent("new"), UnknownDelta("new"), UnknownBlock("new")):
        assert (thing.type, thing.wire_type) == ("new", "new")


@pytest.mark.parametrize("twin_of", [copy.copy, copy.deepcopy, lambda delta: pickle.loads(pickle.dumps(delta))])
def test_a_delta_with_half_a_character_keeps_it_in_its_copies(twin_of):
    """What came is written again by a copy, too, and the whole character is there once the other half follows."""
    (event,) = EventDecoder().receive_data(delta(text="a\ud83d"))
    twin = msgspec.structs.replace(event, delta=twin_of(event.delta))
    assert (twin, twin.delta.text) == (event, "a")
    events = EventDecoder().receive_data(encode_event(twin) + delta(text="\ude00"))
    assert "".join(each.delta.text for each in events) == "a\U0001f600"


def test_what_grows_says_so_past_the_fields():
    """`msgspec.structs.asdict` reads the slots themselves: what grows there shows its value, and compares as that."""
    stream = MessageStream()
    stream.receive_data(message_start() + text_block("a")[: -len(frame("content_block_stop", index=0))])
    held = msgspec.structs.asdict(stream.message.content[0])["text"]
    assert (repr(held), held == "a", held == "b") == ("'a'", True, False)


def test_a_delta_with_half_a_character_is_of_its_class_by_every_look():
    """By its name, its module and its JSON, so that nobody notices that it keeps the half as well."""
    (event,) = EventDecoder().receive_data(
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        b'"delta":{"type":"text_delta","text":"a\\ud83d"}}\n\n'
    )
    cls = type(event.delta)
    assert (cls.__name__, cls.__module__) == ("TextDelta", TextDelta.__module__)
    assert isinstance(event.delta, TextDelta)
    assert msgspec.json.decode(msgspec.json.encode(event)) == {
        "type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"},
    }  # fmt: skip


@pytest.mark.parametrize("union", [StreamEvent, Delta, ContentBlock], ids=["events", "deltas", "blocks"])
def test_a_class_bears_the_name_of_its_type(union):
    """In CamelCase, and msgspec writes that type too."""
    for cls in get_args(union):
        if not cls.__name__.startswith("Unknown"):
            words = cls.type.replace("mcp", "MCP").replace("_json", "_JSON").split("_")
            name = "".join(word if word.isupper() else word.capitalize() for word in words)
            assert cls.__name__.removesuffix("Event").removesuffix("Block") == name
            assert (cls.__struct_config__.tag_field, cls.__struct_config__.tag) == ("type", cls.type)


@pytest.mark.parametrize("kind", ["content_block_delta", "content_block_stop", "content_block_start"])
def test_an_index_has_31_bits(kind):
    """Whichever way reads it, from the bytes of a body or from an object."""
    for index in (2**31 - 1, 2**31, 2**31 + 1, -1):
        item = {"type": kind, "index": index}
        if kind == "content_block_delta":
            item["delta"] = {"type": "text_delta", "text": "a"}
        elif kind == "content_block_start":
            item["content_block"] = {"type": "text", "text": ""}
        body = f"event: {kind}\ndata: {json.dumps(item)}\n\n".encode()
        if index == 2**31 - 1:
            assert EventDecoder().receive_data(body) == [decode_event(item)]
            continue
        with pytest.raises(DecodeError, match=f"^index is {index}"):
            decode_event(item)
        with pytest.raises(DecodeError, match=f"^index is {index}"):
            EventDecoder().receive_data(body)


def test_the_words_of_an_outcome():
    """They go into logs and JSON."""
    assert [outcome.value for outcome in Outcome] == ["streaming", "complete", "truncated", "failed"]
