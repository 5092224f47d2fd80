"""Every way in which real servers depart from the protocol: its code, its reading, strict mode.

One row a code, written as wire bytes; what is legal, however hard, is in `LEGAL` and gives no row.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from itertools import islice

import pytest

from sansio_step import (
    DecodeError,
    ErrorEvent,
    EventDecoder,
    MessageAccumulator,
    MessageStream,
    Outcome,
    ProtocolViolation,
    StreamError,
    TextBlock,
    UnknownDelta,
    UnknownEvent,
    decode_event,
    encode_event,
    iter_events,
    parse,
    to_dict,
    to_param,
)
from sansio_step._deviations import READINGS

from .helpers import (
    MESSAGE_STOP,
    PING,
    TEXT,
    THINKING,
    TOOL,
    block_start,
    block_stop,
    codes,
    delta,
    describe,
    frame,
    message_delta,
    message_start,
    read,
    splits,
    text_block,
    tool_block,
    whole,
)

HELLO = text_block("Hello")
END = message_delta() + MESSAGE_STOP


def content(body):
    return to_dict(parse(body))["content"]


def text(value):
    return {"type": "text", "text": value}


def unnamed(body):
    return b"".join(line for line in body.splitlines(keepends=True) if not line.startswith(b"event:"))


# StepFun's own page: no content, usage or stop_reason at the start, no block stop, stop_reason at the top level.
STEPFUN = (
    frame("message_start", message={"id": "msg_1", "type": "message", "role": "assistant", "model": "step-3.5-flash"})
    + block_start(TEXT)
    + delta(text="Hello")
    + frame("message_delta", stop_reason="end_turn", usage={"output_tokens": 5})
    + MESSAGE_STOP
)

# code: (body, codes that it gives in order, content of the message)
ROWS = {
    "no_event_line": (unnamed(whole(HELLO)), ["no_event_line"], [text("Hello")]),
    "no_type": (whole(b"event: ping\ndata: {}\n\n", HELLO), ["no_type"], [text("Hello")]),
    "type_mismatch": (
        whole(HELLO.replace(b"event: content_block_delta", b"event: ping")),
        ["type_mismatch"],
        [text("Hello")],
    ),
    "foreign_data": (
        whole(b"data: [DONE]\n\n", HELLO, b"event: note\ndata: plain\n\n"),
        ["foreign_data"],
        [text("Hello")],
    ),
    "unterminated_event": (whole(HELLO)[:-1], ["unterminated_event"], [text("Hello")]),
    "unfinished_event": (whole(HELLO) + b'event: ping\ndata: {"type"', ["unfinished_event"], [text("Hello")]),
    "lone_surrogate": (whole(text_block("a").replace(b'"a"', b'"a\\ud83d"')), ["lone_surrogate"], [text("a\ufffd")]),
    "bare_message_start": (
        frame("message_start", message={"id": "msg_1"}) + HELLO + message_delta() + MESSAGE_STOP,
        ["bare_message_start"],
        [text("Hello")],
    ),
    "bare_block_start": (
        whole(block_start({"type": "text"}), delta(text="Hello"), block_stop()),
        ["bare_block_start"],
        [text("Hello")],
    ),
    "bare_message_delta": (
        message_start() + HELLO + frame("message_delta", stop_reason="end_turn") + MESSAGE_STOP,
        ["bare_message_delta"],
        [text("Hello")],
    ),
    "no_block_stop": (whole(block_start(TEXT), delta(text="Hello")), ["no_block_stop"], [text("Hello")]),
    "no_message_stop": (message_start() + HELLO + message_delta(), ["no_message_stop"], [text("Hello")]),
    "no_stop_reason": (message_start() + HELLO + MESSAGE_STOP, ["no_stop_reason"], [text("Hello")]),
    "no_message_start": (HELLO + message_delta() + MESSAGE_STOP, ["no_message_start"], [text("Hello")]),
    "duplicate_message_start": (whole(HELLO, message_start()), ["duplicate_message_start"], [text("Hello")]),
    "index_gap": (whole(text_block("a"), text_block("b", index=3)), ["index_gap"], [text("a"), text("b")]),
    "index_reused": (
        whole(text_block("a"), text_block("c", index=1), text_block("b")),
        ["index_reused"],
        [text("a"), text("b"), text("c")],
    ),
    "delta_without_block": (whole(delta(text="Hello"), block_stop()), ["delta_without_block"], [text("Hello")]),
    "delta_after_stop": (whole(HELLO, delta(text="!")), ["delta_after_stop"], [text("Hello!")]),
    "delta_kind_mismatch": (
        whole(block_start(TEXT), delta(text="a"), delta(thinking="t"), delta(text="b"), block_stop()),
        ["delta_kind_mismatch"],
        [text("ab"), {"type": "thinking", "thinking": "t"}],
    ),
    "repeated_content": (
        whole(block_start({"type": "text", "text": "He"}), delta(text="llo"), block_stop()),
        ["repeated_content"],
        [text("Hello")],
    ),
    "repeated_signature": (
        whole(block_start(THINKING), delta(signature="a"), delta(signature="b"), block_stop()),
        ["repeated_signature"],
        [{"type": "thinking", "thinking": "", "signature": "ab"}],
    ),
    "event_after_stop": (whole(HELLO) + delta(text="late"), ["event_after_stop"], [text("Hello")]),
    "empty_data": (whole(b"event: ping\ndata: \n\n", HELLO), ["empty_data"], [text("Hello")]),
    "no_index": (whole(HELLO.replace(b',"index":0', b"")), ["no_index"], [text("Hello")]),
    "bare_delta": (whole(HELLO.replace(b'"type":"text_delta",', b"")), ["bare_delta"], [text("Hello")]),
    "wrong_type": (message_start(model=42) + HELLO + message_delta() + MESSAGE_STOP, ["wrong_type"], [text("Hello")]),
    "usage_reset": (
        message_start() + HELLO + message_delta(usage={"input_tokens": 0, "output_tokens": 5}) + MESSAGE_STOP,
        ["usage_reset"],
        [text("Hello")],
    ),
    "control_character": (whole(HELLO.replace(b"Hello", b"Hel\tlo")), ["control_character"], [text("Hel\tlo")]),
    "no_blank_line": (
        whole(block_start(TEXT), delta(text="Hel")[:-1] + unnamed(delta(text="lo")), block_stop()),
        ["no_blank_line"],
        [text("Hello")],
    ),
    "stop_without_block": (whole(HELLO, block_stop(1)), ["stop_without_block"], [text("Hello")]),
    "bare_document": (whole(b'{"detail":"busy"}\n\n', HELLO), ["bare_document"], [text("Hello")]),
}


@pytest.mark.parametrize("code", ROWS)
def test_lenient_reading(code):
    """Lenient: the message is read as the table says, and the deviation is listed once."""
    body, expected, blocks = ROWS[code]
    shown = read([body])
    assert [deviation.code for deviation in shown["deviations"]] == expected
    assert shown["fault"] is None
    assert shown["outcome"] is Outcome.COMPLETE
    assert shown["messages"][0]["content"] == blocks


@pytest.mark.parametrize("code", ROWS)
def test_strict_reading(code):
    """Strict: the first deviation is a ProtocolViolation with its code, at the event that the lenient mode names."""
    body, expected, _ = ROWS[code]
    (deviation, *_) = read([body])["deviations"]
    stream = MessageStream(strict=True)
    with pytest.raises(ProtocolViolation) as caught:
        for number in range(len(body)):
            stream.receive_data(body[number : number + 1])
        stream.receive_eof()
        raise stream.fault
    assert caught.value.code == expected[0]
    assert caught.value.event_number == deviation.event_number
    assert stream.fault is caught.value
    assert stream.deviations == []


@pytest.mark.parametrize("code", ROWS)
def test_reading_does_not_depend_on_the_cutting(code):
    """Each row reads the same whole, byte by byte and cut in two anywhere, in both modes."""
    body, _, _ = ROWS[code]
    for strict in (False, True):
        expected = read([body], strict=strict)
        for chunks in splits(body):
            assert read(chunks, strict=strict) == expected


def test_stepfun_documented_stream():
    """The stream on StepFun's page is whole: text, stop reason and usage, with three things to report."""
    message = parse(STEPFUN)
    assert (message.text, message.stop_reason, message.usage.output_tokens) == ("Hello", "end_turn", 5)
    assert codes(STEPFUN) == ["bare_message_start", "bare_message_delta", "no_block_stop"]


def test_spliced_messages_have_no_safe_reading():
    """A second message inside the first, before any stop reason, is a violation in both modes; what came is kept."""
    body = message_start() + block_start(TEXT) + delta(text="a") + message_start(id="msg_2") + whole(HELLO)
    for strict in (False, True):
        with pytest.raises(ProtocolViolation, match="msg_2") as caught:
            parse(body, strict=strict)
        assert caught.value.code == "spliced_message_start"
        assert caught.value.partial.text == "a"
        assert (caught.value.event_number, caught.value.byte_offset) == (3, body.index(b"event: message_start", 9))


def test_a_new_message_after_a_stop_reason_ends_the_one_before():
    """After a stop_reason the next message_start is not a splice: the first message only lacks its message_stop."""
    body = message_start() + HELLO + message_delta() + whole(HELLO).replace(b"msg_1", b"msg_2")
    shown = read([body])
    assert [message["id"] for message in shown["messages"]] == ["msg_1", "msg_2"]
    assert [deviation.code for deviation in shown["deviations"]] == ["no_message_stop"]


def test_messages_without_ids_are_not_merged():
    """Two message_starts without an id and with content between them may be two messages: no safe reading."""
    bare = frame("message_start", message={})
    assert codes(bare + bare + HELLO + message_delta() + MESSAGE_STOP).count("duplicate_message_start") == 1
    late = message_start() + HELLO + message_delta() + message_start() + MESSAGE_STOP
    assert codes(late) == ["duplicate_message_start"]  # after the stop_reason, too
    with pytest.raises(ProtocolViolation, match="spliced"):
        parse(bare + HELLO + bare + HELLO)


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        ('{"type":"error","error":"overloaded"}', "error", "overloaded"),
        ('{"error":{"message":"no","type":"t"}}', "message", "no"),
        ('{"error":{"message":"no"}}', "error", "no"),
        ("gateway timeout", "error", "gateway timeout"),
        ('{"type":"error","message":"flat"}', "error", "flat"),
        ('{"type":"error","error":[1]}', "error", "[1]"),
    ],
)
def test_bare_error(data, name, message):
    """An error without its envelope is an ErrorEvent with what there is, and fails the message all the same."""
    line = b"" if name == "message" else b"event: %b\n" % name.encode()
    body = message_start() + line + b"data: %b\n\n" % data.encode()
    shown = read([body])
    event = shown["events"][1]
    assert isinstance(event, ErrorEvent)
    assert event.error.message == message
    assert [deviation.code for deviation in shown["deviations"]] == ["bare_error"]
    assert shown["outcome"] is Outcome.FAILED
    with pytest.raises(ProtocolViolation, match="bare_error"):
        parse(body, strict=True)
    assert decode_event(data, name) == event


def test_deviations_are_counted_not_listed():
    """One entry for a code and message, with the first event's number and a count; the next message counts anew."""
    body = unnamed(whole(HELLO)) + unnamed(whole(HELLO).replace(b"msg_1", b"msg_2"))
    first, second = read([body])["deviations"]
    assert (first.code, first.event_number, first.count) == ("no_event_line", 0, 6)
    assert (second.code, second.event_number, second.count) == ("no_event_line", 6, 6)
    assert "6 times" in str(first)


def test_whose_deviation_it_is():
    """A message begins with a message_start after a message_stop, or with another id. The same one again does not."""
    start, bare = unnamed(message_start()), unnamed(frame("message_start", message={}))
    other = unnamed(whole(HELLO).replace(b"msg_1", b"msg_2"))
    for body, counts in [
        (unnamed(whole(HELLO)) * 3, [(0, 6), (6, 6), (12, 6)]),
        (start + unnamed(HELLO + message_delta()) + other, [(0, 5), (5, 6)]),
        (start + start + unnamed(HELLO + message_delta() + MESSAGE_STOP), [(0, 7)]),
        (bare + bare + unnamed(HELLO + message_delta() + MESSAGE_STOP), [(0, 7)]),
        (unnamed(PING * 2) + unnamed(whole(HELLO)), [(0, 2), (2, 6)]),
        (unnamed(PING * 2) + bare + unnamed(HELLO + message_delta() + MESSAGE_STOP), [(0, 2), (2, 6)]),
    ]:
        for chunks in ([body], [part + b"\n\n" for part in body.split(b"\n\n")[:-1]]):
            entries = [each for each in read(chunks)["deviations"] if each.code == "no_event_line"]
            assert [(each.event_number, each.count) for each in entries] == counts


def test_what_stands_behind_a_fault_was_never_read():
    """The deviations of the event at fault count, those of later events in its chunk don't; the end's fault has its place."""
    front = message_start() + block_start(TEXT)
    for tail in (unnamed(PING * 3), unnamed(PING) + delta(text="a") + unnamed(PING)):
        for splice, count in ((message_start(id="2"), []), (unnamed(message_start(id="2")), [1])):
            shown = read([front + splice + tail])
            assert [each.count for each in shown["deviations"]] == count
            assert shown["fault"][3] == len(front)
    assert read([whole(HELLO) + b": c\nevent: x\n"], strict=True)["fault"][2:] == (6, len(whole(HELLO)) + 4)


def test_halves_of_a_character_are_joined():
    """Servers that cut by UTF-16 units send half an emoji a delta: the message has it whole, and so have the events."""
    for field, start, kind in (
        ("text", TEXT, "text"),
        ("thinking", THINKING, "thinking"),
        ("partial_json", TOOL, "input"),
    ):
        first, second = ("", "") if field != "partial_json" else ('{"a":"', '"}')
        cut = [delta(**{field: first + "x\ud83d"}), PING, delta(**{field: "\ude00y" + second})]
        body = whole(block_start(start), *cut, block_stop())
        block = content(body)[0]
        assert block[kind] == ("x\U0001f600y" if field != "partial_json" else {"a": "x\U0001f600y"})
        shown = [event.delta for event in read([body])["events"] if event.type == "content_block_delta"]
        assert [getattr(one, field) for one in shown] == [first + "x", "\U0001f600y" + second]
        assert codes(body) == ["lone_surrogate"]


def test_no_lone_half_reaches_the_caller():
    """A half without its other one is U+FFFD, wherever it stands; a wrong neighbour is not swallowed."""
    body = whole(
        block_start(TEXT), delta(text="\ud83d"), delta(text="abc"), delta(text="\ude00"), delta(text="\ud83d"), block_stop(),
        frame("surprise", field="\udfff", deep={"\ud800": ["\ud800"]}),
    )  # fmt: skip
    shown = read([body])
    assert shown["messages"][0]["content"] == [text("\ufffdabc\ufffd\ufffd")]
    json.dumps([to_dict(event) for event in shown["events"]], ensure_ascii=False).encode()
    assert shown["events"][-3].extra == {"field": "\ufffd", "deep": {"\ufffd": ["\ufffd"]}}


def test_halves_survive_encoding():
    """An event with half a character encodes to what came, so that a second reader can join it too."""
    body = whole(block_start(TEXT), delta(text="x\ud83d"), delta(text="\ude00y"), block_stop())
    again = b"".join(encode_event(event) for event in read([body])["events"])
    assert read([again])["messages"] == read([body])["messages"]


def test_halves_of_single_frames_are_joined_by_the_accumulator():
    """`decode_event` knows no neighbours: it shows U+FFFD, and the accumulator still joins."""
    accumulator = MessageAccumulator()
    for part in ("x\ud83d", "\ude00y"):
        data = json.dumps({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": part}})
        event = decode_event(data, "content_block_delta")
        assert "\ufffd" in event.delta.text
        accumulator.add(event)
    assert accumulator.message.text == "x\U0001f600y"


def test_half_of_a_character_waits_in_the_live_message():
    """While the block goes on, a first half is not shown as U+FFFD: its other half may come."""
    stream = MessageStream()
    stream.receive_data(message_start() + block_start(TEXT) + delta(text="x\ud83d"))
    assert stream.message.text == "x"
    stream.receive_data(delta(text="\ude00"))
    assert stream.message.text == "x\U0001f600"


def test_index_order_holds_whatever_the_order_of_starts():
    """Blocks are in index order, with gaps and out of order, also in the live message."""
    stream = MessageStream()
    stream.receive_data(message_start() + b"".join(text_block(str(index), index=index) for index in (2, 0, 7, 1)))
    live = stream.message
    assert live.text == "0127"
    stream.receive_data(text_block("3", index=3))
    assert live.text == "01237"


def test_tool_input_in_start_and_deltas():
    """A tool's input in both places: the deltas win; only empty pieces: the start's stands, without a word."""
    start = {**TOOL, "input": {"a": 1}}
    assert content(whole(tool_block('{"b":', "2}", start=start)))[0]["input"] == {"b": 2}
    assert codes(whole(tool_block('{"b":2}', start=start))) == ["repeated_content"]
    assert content(whole(tool_block("", "", start=start)))[0]["input"] == {"a": 1}
    assert codes(whole(tool_block("", start=start))) == []


def test_late_pieces_of_a_tool_are_not_lost():
    """Pieces after the block's stop are appended, and the arguments are parsed anew."""
    body = message_start() + tool_block('{"a":1') + delta(partial_json="2}")
    stream = MessageStream()
    stream.receive_data(body)
    assert stream.message.tool_uses[0].input == {"a": 12}


def test_a_citation_behind_the_stop_opens_a_further_block():
    """Only text, thinking, signature and JSON are appended after a stop; the rest gets a block of its own."""
    body = whole(HELLO, delta(citation={"url": "u"}))
    assert content(body) == [text("Hello"), {"type": "text", "text": "", "citations": [{"url": "u"}]}]
    assert codes(body) == ["delta_after_stop"]


def test_further_block_takes_the_index_of_its_delta():
    """A block reused after a mismatch still finds its own deltas, in order."""
    body = whole(
        block_start(TOOL), delta(text="t1"), delta(partial_json="{}"), delta(text="t2"), block_stop(), text_block("z", index=1)
    )  # fmt: skip
    assert content(body) == [
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
        text("t1t2"),
        text("z"),
    ]


def test_unknown_deltas_are_kept_apart():
    """A delta of an unknown kind changes nothing and is kept with its index, without a deviation."""
    strange = frame("content_block_delta", index=0, delta={"type": "audio_delta", "data": "x"})
    body = whole(block_start(TEXT), strange, delta(text="a"), block_stop())
    shown = read([body], strict=True)
    assert shown["unapplied"] == [(0, UnknownDelta("audio_delta", extra={"data": "x"}))]
    assert shown["messages"][0]["content"] == [text("a")]


def test_known_deltas_grow_unknown_blocks():
    """A block of an unknown type takes any delta, in the field that the delta is for, without a deviation."""
    body = whole(
        block_start({"type": "poem", "text": "O ", "n": 1}), delta(text="what"), delta(citation={"u": 1}), block_stop(),
        block_start({"type": "new_tool_use", "name": "x"}, 1), delta(1, partial_json='{"a"'), delta(1, partial_json=":1}"), block_stop(1),
        block_start({"type": "cut_tool_use"}, 2), delta(2, partial_json='{"a"'), block_stop(2),
        block_start({"type": "memo", "citations": [{"u": 0}]}, 3), delta(3, citation={"u": 1}),
        frame("content_block_delta", index=3, delta={"type": "compaction_delta", "content": "c"}), block_stop(3),
    )  # fmt: skip
    assert read([body], strict=True)["messages"][0]["content"] == [
        {"type": "poem", "text": "O what", "n": 1, "citations": [{"u": 1}]},
        {"type": "new_tool_use", "name": "x", "input": {"a": 1}},
        {"type": "cut_tool_use", "input_json": '{"a"'},
        {"type": "memo", "citations": [{"u": 0}, {"u": 1}], "content": "c", "encrypted_content": None},
    ]


FOREIGN = [
    ("text", {"a": 1}, delta(text="x"), {"type": "text", "text": "x"}),
    ("text", ["a"], delta(text="x"), {"type": "text", "text": "x"}),
    ("thinking", 5, delta(thinking="x"), {"type": "thinking", "thinking": "x"}),
    ("signature", True, delta(signature="x"), None),
    ("input_json", {"a": 1}, delta(partial_json="{}"), {"type": "tool_use", "input": {}}),
    (
        "content",
        ["a"],
        frame("content_block_delta", index=0, delta={"type": "compaction_delta", "content": "x"}),
        {"type": "compaction", "content": "x"},
    ),
    *[
        ("citations", value, delta(citation={"q": 1}), {"type": "text", "text": "", "citations": [{"q": 1}]})
        for value in ({"a": 1}, "abc", 5, {}, "", False)
    ],
]


@pytest.mark.parametrize(("field", "value", "part", "further"), FOREIGN)
def test_a_field_of_another_kind_in_an_unknown_block_stays(field, value, part, further):
    """What it started with is no text to go on with, nor a list: the delta gets a block of its own after it.

    A signature gets none: it fits nowhere.
    """
    start = {"type": "new", field: value}
    shown = read([whole(block_start(start), part, block_stop())])
    assert [each.code for each in shown["deviations"]] == ["delta_kind_mismatch"]
    assert shown["messages"][0]["content"] == [start, *([further] if further else [])]
    assert len(shown["unapplied"]) == (further is None)


def test_a_half_at_the_end_of_an_unknown_blocks_text_is_replaced():
    """While it grows the other half may come; when the block ends it is U+FFFD, as in any text."""
    stream = MessageStream()
    stream.receive_data(message_start() + block_start({"type": "poem"}) + delta(text="a\ud83d"))
    assert stream.message.content[0].extra == {"text": "a"}
    stream.receive_data(block_stop())
    assert stream.message.content[0].extra == {"text": "a\ufffd"}


def test_arguments_of_an_unknown_block():
    """Empty pieces are none, an input that pieces replace is a deviation, and cut arguments go into no request."""
    start = {"type": "new_tool_use", "id": "a", "input": {}}
    empty = parse(whole(block_start(start), delta(partial_json=""), block_stop()), strict=True)
    assert to_dict(empty)["content"] == [start]
    replaced = read([whole(block_start({**start, "input": {"q": 1}}), delta(partial_json="[1]"), block_stop())])
    assert [each.code for each in replaced["deviations"]] == ["repeated_content"]
    assert replaced["messages"][0]["content"] == [{**start, "input": [1]}]
    cut = parse(whole(block_start(start), delta(partial_json='{"a":'), block_stop(), stop_reason="max_tokens"))
    assert to_dict(cut)["content"] == [{**start, "input_json": '{"a":'}]
    with pytest.raises(ValueError, match="no block"):
        to_param(cut)
    assert to_param(empty)["content"] == [start]


@pytest.mark.parametrize("again", [b"", block_start(TEXT)])
@pytest.mark.parametrize(
    ("first", "late", "shown"),
    [('{"a":1}', '{"b":2}', {"input": {"a": 1}, "input_json": '{"a":1}{"b":2}'}),
     ('{"a":1}', "}", {"input": {"a": 1}, "input_json": '{"a":1}}'}),
     ('{"a":', "1}", {"input": {"a": 1}}), ('{"a":1}', "", {"input": {"a": 1}})],
)  # fmt: skip
def test_late_arguments_of_an_unknown_block_are_appended(first, late, shown, again):
    """As those of a call with a class: what is whole then is the input, what is not goes into no request."""
    start = {"type": "new_tool_use", "input": {}}
    for block in (start, {**start, "type": "tool_use"}):
        body = whole(block_start(block), delta(partial_json=first), block_stop(), delta(partial_json=late), again)
        message = parse(body)
        assert to_dict(message)["content"][0] == {**block, **shown}
        message.content.append(TextBlock("x"))
        assert [each["type"] for each in to_param(message)["content"]] == [
            *([] if "input_json" in shown else [block["type"]]),
            "text",
        ]


def test_unknown_blocks_show_their_text_while_they_grow():
    """The live message has the text of an unknown block up to now, when it is asked for."""
    stream = MessageStream()
    stream.receive_data(message_start() + block_start({"type": "poem"}) + delta(text="O "))
    assert stream.message.content[0].extra == {"text": "O "}
    held = stream.messages[0]
    stream.receive_data(delta(text="wh") + delta(text="at"))
    assert held.content[0].extra == copy.deepcopy(held).content[0].extra == {"text": "O what"}
    stream.receive_data(block_stop())
    assert held.content[0].extra == {"text": "O what"}


def test_a_half_in_a_signature_is_replaced():
    """Only texts are cut by servers; elsewhere a half is U+FFFD at once."""
    body = whole(block_start(THINKING), delta(signature="s\ud83d"), block_stop())
    assert content(body)[0]["signature"] == "s\ufffd"
    assert codes(body) == ["lone_surrogate"]


@pytest.mark.parametrize(
    "tail", [block_start(TEXT), b"data: [DONE]\n\n", frame("content_block_stop", index=0), frame("error", error={})]
)
def test_events_after_the_end_stay_on_the_event(tail):
    """Behind message_stop nothing changes the message, an error neither."""
    shown = read([whole(HELLO) + tail])
    assert shown["outcome"] is Outcome.COMPLETE
    assert "event_after_stop" in [deviation.code for deviation in shown["deviations"]]
    assert shown["messages"] == read([whole(HELLO)])["messages"]


def test_message_stop_alone_is_no_message():
    """message_stop without anything before it does not make an empty message that is whole."""
    shown = read([MESSAGE_STOP])
    assert (shown["outcome"], shown["messages"]) == (Outcome.TRUNCATED, [])
    assert [deviation.code for deviation in shown["deviations"]] == ["no_message_start"]


def test_stop_of_a_block_never_opened_changes_nothing():
    """A stop without its block is no content and no loss, before a message_start neither; a second stop is no news."""
    assert content(whole(block_stop(3), HELLO)) == [text("Hello")]
    assert codes(whole(block_stop(3), HELLO)) == codes(block_stop(0)) == ["stop_without_block"]
    assert codes(whole(HELLO, block_stop())) == []
    assert read([block_stop(0)])["messages"] == []


def test_unfinished_event_says_what_was_dropped():
    """The detail of an unfinished event shows its start; a line without data counts, an id alone does not."""
    assert "content_bl" in read([whole(HELLO) + b"event: content_bl"])["deviations"][0].detail
    assert codes(whole(HELLO) + b"id: 7\n") == []
    assert codes(whole(HELLO) + b"event: x\n") == ["unfinished_event"]
    assert codes(whole(HELLO) + b'data: {"type":"ping"') == ["unfinished_event"]


def test_a_whole_event_at_the_end_can_be_at_fault_too():
    """The unterminated last event is read like any other: what is wrong with it is the fault."""
    stream = MessageStream()
    stream.receive_data(whole(HELLO) + b'event: content_block_stop\ndata: {"type":"content_block_stop","index":-1}')
    with pytest.raises(StreamError, match="index is -1"):
        stream.receive_eof()
    assert describe(stream.fault)[2:] == (6, len(whole(HELLO)))
    assert stream.result().text == "Hello"


INTERLEAVED = b"".join(
    (block_start(TEXT), block_start(TOOL, 1), delta(0, text="a"), delta(1, partial_json="{"), delta(0, text="b"),
     delta(1, partial_json="}"), block_stop(1), block_stop(0))
)  # fmt: skip
LEGAL = {
    "BOM": b"\xef\xbb\xbf" + whole(HELLO),
    "CRLF": whole(HELLO).replace(b"\n", b"\r\n"),
    "CR": whole(HELLO).replace(b"\n", b"\r"),
    "mixed line ends": whole(HELLO).replace(b"\n\n", b"\r\n\n").replace(b"stop\n", b"stop\r"),
    "comments": whole(HELLO).replace(b"event:", b": keep-alive\n\n:\nevent:"),
    "pings anywhere": PING.join((b"", message_start(), block_start(TEXT), delta(text="a"), block_stop(), message_delta(), MESSAGE_STOP, b"")),
    "pings with fields": whole(HELLO, frame("ping", cost="0")),
    "spaces in the JSON": whole(HELLO).replace(b'"}', b'"   }').replace(b":{", b" : {"),
    "type not first": whole(HELLO).replace(b'"type":"content_block_delta","index":0,', b'"index":0,"type":"content_block_delta",'),
    "U+2028 and U+0085": whole(text_block("a\u2028b\u0085c")),
    "a long line": whole(text_block("x" * 300_000)),
    "many deltas": whole(text_block(*"y" * 20_000)),
    "interleaved blocks": whole(INTERLEAVED),
    "several message_deltas": message_start() + HELLO + message_delta() + frame("message_delta", delta={}, usage={"output_tokens": 9}) + MESSAGE_STOP,
    "usage before the stop": message_start() + block_start(TEXT) + frame("message_delta", delta={}, usage={"output_tokens": 1}) + delta(text="a") + block_stop() + message_delta() + MESSAGE_STOP,
    "unknown event": whole(HELLO, frame("surprise", a=[None, {"b": 1}])),
    "unknown block and field": whole(block_start({"type": "poem", "lines": [1]}), block_stop(), text_block("a", index=1)).replace(b'"index":1', b'"index":1,"new":null'),
    "several messages": whole(HELLO) + whole(HELLO).replace(b"msg_1", b"msg_2") + PING,
    "the same id again after message_stop": whole(HELLO) + whole(HELLO),
    "pre-filled message_start": message_start(content=[{**TOOL, "input": {"a": 1}}], stop_reason="tool_use") + MESSAGE_STOP,
    "pre-filled tool": whole(tool_block(start={**TOOL, "input": {"a": 1}})),
    "empty pieces": whole(tool_block("", "")),
    "usage zero and null at the start": message_start(usage={"input_tokens": 0, "output_tokens": None}) + HELLO + message_delta() + MESSAGE_STOP,
    "a stop_reason of no characters": message_start(stop_reason="") + HELLO + message_delta("") + message_delta() + message_delta("") + MESSAGE_STOP,
    "counts with a fraction of 0": message_start(usage={"input_tokens": 3.0}) + HELLO + message_delta(usage={"output_tokens": 5.0}) + MESSAGE_STOP,
    "usage that moves": message_start(usage={"input_tokens": 9, "cache_read_input_tokens": 0}) + HELLO + message_delta(usage={"input_tokens": 0, "cache_read_input_tokens": 9}) + MESSAGE_STOP,
    "a delta of its block's own kind": whole(block_start({"type": "verse", "verse": ""}), frame("content_block_delta", index=0, delta={"type": "verse_delta", "verse": "a"}), block_stop()),
    "lines that are not fields": whole(HELLO).replace(b"event:", b"future\n data: x\n[]\nevent:"),
    "a blank data line": whole(HELLO).replace(b"}\n\n", b"}\ndata:\n\n"),
    "cost keys": message_start() + HELLO + message_delta(usage={"output_tokens": 1, "cost": 0.1}) + MESSAGE_STOP,
    "arguments cut by max_tokens": whole(tool_block('{"a": "b'), stop_reason="max_tokens"),
    "empty thinking with a signature": whole(block_start({"type": "thinking", "thinking": ""}), delta(signature="s"), block_stop()),
    "citations null": whole(block_start({"type": "text", "text": "", "citations": None}), delta(text="a"), block_stop()),
    "ids and retry": whole(HELLO).replace(b"event:", b"retry: 5\nid: 7\nevent:"),
    "data over two lines": whole(HELLO).replace(b',"index"', b'\ndata: ,"index"'),
    "no space after the colon": whole(HELLO).replace(b": ", b":"),
    "message_stop with fields": whole(HELLO).replace(b'{"type":"message_stop"}', b'{"type":"message_stop","metrics":{}}'),
    "a unicode escape in two halves of one string": whole(text_block("a").replace(b'"a"', b'"\\ud83d\\ude00"')),
    "bytes that are not UTF-8": whole(text_block("a").replace(b'"a"', b'"\xff"')),
}  # fmt: skip


@pytest.mark.parametrize("name", LEGAL)
@pytest.mark.parametrize("strict", [False, True])
def test_legal_is_read_without_a_word(name, strict):
    """Legal and hard: whole, without a deviation, in both modes and in small chunks."""
    body = LEGAL[name]
    for size in (len(body), 1000, 3 if len(body) < 5000 else 700):
        shown = read([body[start : start + size] for start in range(0, len(body), size)], strict=strict)
        assert shown["deviations"] == []
        assert shown["fault"] is None
        assert shown["outcome"] is Outcome.COMPLETE
        assert not any(isinstance(event, UnknownEvent) for event in shown["events"]) or name == "unknown event"


# Body, and what is said of each deviation in it: code, number of the first event, detail, how many.
SAID = [
    (ROWS["no_event_line"][0], [('no_event_line', 0, "'message_start' without an event line", 6)]),
    (ROWS["no_type"][0], [('no_type', 1, "JSON without type, read as 'ping' by its event line", 1)]),
    (ROWS["type_mismatch"][0], [('type_mismatch', 2, "event line 'ping', JSON type 'content_block_delta': the JSON's counts", 1)]),
    (ROWS["foreign_data"][0], [('foreign_data', 1, "'message' with data that is not a JSON object: '[DONE]'", 2)]),
    (ROWS["unterminated_event"][0], [('unterminated_event', 5, 'the body ends without the blank line after its last event', 1)]),
    (ROWS["unfinished_event"][0], [('unfinished_event', 6, 'the body ends inside an event: \'event: ping\\ndata: {"type"\'', 1)]),
    (ROWS["lone_surrogate"][0], [('lone_surrogate', 2, "half of a surrogate pair in 'content_block_delta'", 1)]),
    (ROWS["bare_message_start"][0], [('bare_message_start', 0, 'message_start without content, usage, model, role', 1)]),
    (ROWS["bare_block_start"][0], [('bare_block_start', 1, 'text block without text', 1)]),
    (ROWS["bare_message_delta"][0], [('bare_message_delta', 4, 'message_delta without delta, without usage, stop_reason at the top level', 1)]),
    (ROWS["no_block_stop"][0], [('no_block_stop', 3, 'message_delta while block 0 is open', 1)]),
    (ROWS["no_message_stop"][0], [('no_message_stop', 5, 'the body ends after a stop_reason without message_stop', 1)]),
    (ROWS["no_stop_reason"][0], [('no_stop_reason', 4, 'message_stop, and no stop_reason was given', 1)]),
    (ROWS["no_message_start"][0], [('no_message_start', 0, 'content before any message_start', 1)]),
    (ROWS["duplicate_message_start"][0], [('duplicate_message_start', 4, "message_start of 'msg_1' again", 1)]),
    (ROWS["index_gap"][0], [('index_gap', 4, 'index 3 after 0', 1)]),
    (ROWS["index_reused"][0], [('index_reused', 7, 'content_block_start for index 0, which already has a block', 1)]),
    (ROWS["delta_without_block"][0], [('delta_without_block', 1, 'a text delta for block 0, which was never opened', 1)]),
    (ROWS["delta_after_stop"][0], [('delta_after_stop', 4, 'a text delta for block 0, which is finished', 1)]),
    (ROWS["delta_kind_mismatch"][0], [('delta_kind_mismatch', 3, 'a thinking delta for block 0, a text block', 1)]),
    (ROWS["repeated_content"][0], [('repeated_content', 2, 'text in content_block_start and in deltas of block 0', 1)]),
    (ROWS["repeated_signature"][0], [('repeated_signature', 3, 'more than one signature_delta for block 0', 1)]),
    (ROWS["event_after_stop"][0], [('event_after_stop', 6, 'content_block_delta after message_stop', 1)]),
    (ROWS["empty_data"][0], [('empty_data', 1, 'ping with empty data', 1)]),
    (ROWS["no_index"][0], [('no_index', 1, 'content_block_start without an index, read as 0', 3)]),
    (ROWS["bare_delta"][0], [('bare_delta', 2, 'a delta without a type, read as text_delta', 1)]),
    (ROWS["wrong_type"][0], [('wrong_type', 0, 'message.model is 42', 1)]),
    (ROWS["usage_reset"][0], [('usage_reset', 4, 'every input count that is stated is 0, and one was positive', 1)]),
    (ROWS["control_character"][0], [('control_character', 2, 'a raw control character in a JSON string', 1)]),
    (ROWS["no_blank_line"][0], [('no_blank_line', 2, 'no blank line between the events of a frame: 2 whole ones', 1)]),
    (ROWS["stop_without_block"][0], [('stop_without_block', 4, 'content_block_stop for block 1, which was never opened', 1)]),
    (ROWS["bare_document"][0], [('bare_document', 1, "JSON where a field should be: '{\"detail\":\"busy\"}'", 1)]),
    (block_stop(3), [('stop_without_block', 0, 'content_block_stop for block 3 before any message_start', 1)]),
    (STEPFUN, [('bare_message_start', 0, 'message_start without content, usage', 1), ('bare_message_delta', 3, 'message_delta without delta, stop_reason at the top level', 1), ('no_block_stop', 3, 'message_delta while block 0 is open', 1)]),
    (MESSAGE_STOP, [('no_message_start', 0, 'message_stop before any message_start', 1)]),
    (whole(text_block('a', index=2)), [('index_gap', 1, 'first index 2', 1)]),
    (message_start() + HELLO + message_delta() + whole(HELLO).replace(b'msg_1', b'msg_2'), [('no_message_stop', 5, "message_start of 'msg_2' before the message_stop of 'msg_1'", 1)]),
    (whole(*(block_start(TEXT, index) for index in range(7))), [('no_block_stop', 8, 'message_delta while blocks 0, 1, 2, 3, 4 and more are open', 1)]),
    (whole(*(block_start(TEXT, index) for index in range(5))), [('no_block_stop', 6, 'message_delta while blocks 0, 1, 2, 3, 4 are open', 1)]),
    (message_start() + b'{"detail":"%b"}\n\n' % (b"x" * 47), [("bare_document", 1, f"JSON where a field should be: '{{\"detail\":\"{'x' * 47}\"}}'", 1)]),
    (message_start() + b'{"detail":"%b"}\n\n' % (b"x" * 48), [("bare_document", 1, f"JSON where a field should be: '{{\"detail\":\"{'x' * 48}\"'...", 1)]),
    (message_start() + block_start(TEXT) + MESSAGE_STOP, [('no_stop_reason', 2, 'message_stop, and no stop_reason was given', 1), ('no_block_stop', 2, 'message_stop while block 0 is open', 1)]),
    (whole(HELLO, delta(citation={'url': 'u'}), delta(partial_json='{}'), delta(signature='s')), [('delta_after_stop', 4, 'a citations delta for block 0, which is finished', 2), ('delta_kind_mismatch', 6, 'a signature delta for block 0, a text block', 1)]),
    (whole(block_start(TOOL), delta(thinking='t'), block_stop(), delta(1, partial_json='1')), [('delta_kind_mismatch', 2, 'a thinking delta for block 0, a tool_use block', 1), ('delta_without_block', 4, 'an input_json delta for block 1, which was never opened', 1), ('no_block_stop', 5, 'message_delta while block 1 is open', 1)]),
    (whole(HELLO) + MESSAGE_STOP + block_stop() + block_start(TEXT) + message_delta() + frame('error', error={}) + frame('x'), [('event_after_stop', 6, 'message_stop after message_stop', 6)]),
    (message_start() + b'data: no\n\ndata: ' + b'x' * 50 + b'\n\nevent: y\ndata: z\n\n', [('foreign_data', 1, "'message' with data that is not a JSON object: 'no'", 3)]),
    (message_start() + b'event: error\ndata: no\n\n', [('bare_error', 1, 'an error event whose data is not a JSON object', 1)]),
    (message_start() + b'event: error\ndata: {"error":{}}\n\n', [('bare_error', 1, 'an error without its envelope', 1)]),
    (b'data: {}\n\nevent: \ndata: {"a":1}\n\nevent: x\ndata: {}\n\n', [('no_type', 0, "JSON without type, read as 'message' because it has no event line", 3)]),
    (frame('message_start', message={'role': 'assistant', 'usage': {}}) + block_start({'type': 'thinking'}) + block_start({'type': 'tool_use'}, 1), [('bare_message_start', 0, 'message_start without content, model', 1), ('bare_block_start', 1, 'thinking block without thinking', 2)]),
    (frame('message_delta') + frame('message_delta', delta={}) + frame('message_delta', usage={}), [('bare_message_delta', 0, 'message_delta without delta, without usage', 3), ('no_message_start', 0, 'content before any message_start', 1)]),
    (b"data: " + b"x" * 50 + b"\n\n", [("foreign_data", 0, f"'message' with data that is not a JSON object: {'x' * 40!r}...", 1)]),
    (b"data: " + b"x" * 40 + b"\n\n", [("foreign_data", 0, f"'message' with data that is not a JSON object: {'x' * 40!r}", 1)]),
    (b'event: \xff' + b'y' * 80, [('unfinished_event', 0, f"the body ends inside an event: 'event: \ufffd{'y' * 52}'...", 1)]),
    (b"event: \xff" + b"y" * 52, [("unfinished_event", 0, f"the body ends inside an event: 'event: \ufffd{'y' * 52}'", 1)]),
    (frame("x", _name="y" * 200), [("type_mismatch", 0, f"event line '{'y' * 148}...", 1)]),
    (whole(block_start({**TOOL, "input": "{}"}), block_stop()), [("wrong_type", 1, "content_block.input is '{}'", 1)]),
    (whole(block_start({**TOOL, "input": ""}), delta(partial_json="{}"), block_stop()), [("wrong_type", 1, "content_block.input is ''", 1), ("bare_block_start", 1, "tool_use block without input", 1)]),
    (whole(block_start({**TEXT, "citations": 5}), block_stop()), [("wrong_type", 1, "content_block.citations is 5", 1)]),
    (message_start(usage={"input_tokens": "3"}) + END, [("wrong_type", 0, "usage.input_tokens is '3'", 1)]),
    (message_start() + message_delta(usage={"output_tokens": "5"}) + MESSAGE_STOP, [("wrong_type", 1, "usage.output_tokens is '5'", 1)]),
    (message_start() + message_delta(context_management=5) + MESSAGE_STOP, [("wrong_type", 1, "message_delta.context_management is 5", 1)]),
    (message_start() + message_delta() + frame("message_stop", stop_reason=5), [("wrong_type", 2, "message_stop.stop_reason is 5", 1)]),
    (message_start(usage="") + END, [("wrong_type", 0, "message.usage is ''", 1), ("bare_message_start", 0, "message_start without usage", 1)]),
    (message_start() + delta(1, text="a") + END, [("delta_without_block", 1, "a text delta for block 1, which was never opened", 1), ("index_gap", 1, "first index 1", 1), ("no_block_stop", 2, "message_delta while block 1 is open", 1)]),
    (message_start() + message_delta(usage="") + MESSAGE_STOP, [("wrong_type", 1, "message_delta.usage is ''", 1), ("bare_message_delta", 1, "message_delta without usage", 1)]),
    (message_start() + frame("message_stop", stop_reason=""), [("no_stop_reason", 1, "message_stop, and no stop_reason was given", 1)]),
    (message_start() + frame("message_stop", stop_reason=5), [("wrong_type", 1, "message_stop.stop_reason is 5", 1), ("no_stop_reason", 1, "message_stop, and no stop_reason was given", 1)]),
    (message_start() + END[: -len(MESSAGE_STOP)] + frame("message_stop", usage={"input_tokens": 0}), [("usage_reset", 2, "every input count that is stated is 0, and one was positive", 1)]),
    (message_start() + b'event: error\ndata: {"message":"busy"}\n\n', [("bare_error", 1, "an error without its envelope", 1)]),
    (message_start(usage=5) + END, [("wrong_type", 0, "message.usage is 5", 1)]),
    (whole(block_start({**TOOL, "caller": 5}), block_stop()), [("wrong_type", 1, "content_block.caller is 5", 1)]),
    (message_start() + message_delta(usage=5) + MESSAGE_STOP, [("wrong_type", 1, "message_delta.usage is 5", 1)]),
    (message_start() + message_delta() + frame("message_stop", usage=""), [("wrong_type", 2, "message_stop.usage is ''", 1)]),
    (message_start() + message_delta() + frame("message_stop", usage={"input_tokens": "3"}), [("wrong_type", 2, "usage.input_tokens is '3'", 1)]),
    (message_start() + message_delta() + frame("message_stop", usage=5), [("wrong_type", 2, "message_stop.usage is 5", 1)]),
    (message_start() + frame("error", error={}, request_id=5), [("wrong_type", 1, "error.request_id is 5", 1)]),
    (message_start() + frame("error", error={"message": 5}), [("wrong_type", 1, "error.message is 5", 1)]),
]  # fmt: skip


@pytest.mark.parametrize(("body", "said"), SAID)
def test_what_is_said_of_a_deviation(body, said):
    """The number is that of the first event that did so. The detail names what it did and where, in 160 characters."""
    deviations = read([body])["deviations"]
    assert [(each.code, each.event_number, each.detail, each.count) for each in deviations] == said
    code, number, detail, _ = said[0]
    kind, shown, at, _ = read([body], strict=True)["fault"]
    assert (kind, at) == (ProtocolViolation, number)
    whole_detail = detail.removesuffix("...") if len(detail) > 160 else f"{detail} (event {number}"
    assert shown.startswith(f"{code}: {whole_detail}")


@pytest.mark.parametrize(
    "body",
    [
        whole() + frame("\u202e" * 200),
        whole(block_start({"type": "\u202e" * 200, "text": 0}), delta(text="a"), block_stop()),
    ],
)
def test_a_detail_is_cut_as_it_is_shown(body):
    """160 characters and "...", escapes counted as they stand there: what an entry takes is bounded by its 256 bytes."""
    (deviation,) = read([body])["deviations"]
    assert (len(deviation.detail), deviation.detail[-3:]) == (163, "...")


def test_a_violation_shows_200_characters_of_a_type():
    """A server's word can be megabytes."""
    started = whole(block_start({"type": "y" * 201, "signature": 5}), delta(signature="s"), block_stop())
    grown = whole(block_start({"type": "y" * 201, "a": ""}), block_stop(), frame("content_block_delta", index=0, delta={"type": f"{'y' * 201}_delta", "a": "b"}))  # fmt: skip
    assert read([started], strict=True)["fault"][1].startswith(f"delta_kind_mismatch: a signature delta for block 0, a {'y' * 200}... block")  # fmt: skip
    assert read([grown], strict=True)["fault"][1].startswith(f"delta_after_stop: {'y' * 200}... for block 0, which is finished")  # fmt: skip


@pytest.mark.parametrize(("first", "named"), [("msg_1", "'msg_1'"), (None, "a message without an id")])
def test_a_spliced_message_is_named(first, named):
    """Both are, so that whoever looks after the gateway finds them."""
    fault = read([message_start(id=first) + HELLO + message_start(id="msg_2")])["fault"]
    reason = f"message_start of 'msg_2' inside {named}: nobody can tell whose the rest is"
    assert (fault[0], fault[1].partition(" (")[0]) == (ProtocolViolation, f"spliced_message_start: {reason}")


def test_a_decoder_alone_keeps_65536_entries():
    """What a further message does is counted in the last entry of its code: no occurrence is lost, however many there are.

    A code that comes for the first time has an entry of its own all the same.
    """
    frames = (frame("message_start", _name=None, message={"id": f"{number}"}) for number in range(40_000))
    decoder = EventDecoder()
    decoder.receive_data(b"".join(islice(frames, 32_767)) + frame("ping", _name="pong"))
    last = decoder.deviations[-1]
    assert (len(decoder.deviations), last.code, last.event_number) == (65_535, "type_mismatch", 32_767)
    assert {deviation.count for deviation in decoder.deviations} == {1}
    # There is room for one of the two entries that the next message brings.
    decoder.receive_data(next(frames))
    assert len(decoder.deviations) == 65_536
    for each in frames:
        decoder.receive_data(each)
    decoder.receive_data(frame("ping", _name="pong") + b"data: [DONE]\n\n" * 3)
    decoder.receive_data(message_start(id="the last") + b"data: [DONE]\n\n" * 2)
    entries = decoder.deviations
    assert [(each.code, each.event_number, each.count) for each in entries if each.count > 1 or each.event_number > 32_766] == [
        ("bare_message_start", 32_766, 7_234), ("type_mismatch", 32_767, 2), ("no_event_line", 32_768, 7_233), ("foreign_data", 40_002, 5),
    ]  # fmt: skip
    counts = Counter()
    for each in entries:
        counts[each.code] += each.count
    assert counts == {"bare_message_start": 40_000, "no_event_line": 40_000, "type_mismatch": 2, "foreign_data": 5}


def test_every_code_has_a_row():
    """The tables here cover each code that there is."""
    assert set(READINGS) == {*ROWS, "spliced_message_start", "bare_error"}


HALF = "a\ud83d b"


@pytest.mark.parametrize(
    ("fields", "more", "extra"),
    [
        ({}, {}, ({}, {})),
        ({"x": 1}, {}, ({"x": 1}, {})),
        ({}, {"y": 2}, ({}, {"y": 2})),
    ],
)
def test_a_delta_with_half_of_a_character_keeps_its_other_fields(fields, more, extra):
    sent = frame("content_block_delta", index=0, delta={"type": "text_delta", "text": HALF, **more}, **fields)
    (event,) = EventDecoder().receive_data(sent)
    assert (event.delta.text, event.extra, event.delta.extra) == ("a\ufffd b", *extra)


@pytest.mark.parametrize("index", [-1, 2**31, True, 1.5, "0"])
def test_a_delta_with_half_of_a_character_needs_a_right_index(index):
    sent = frame("content_block_delta", index=index, delta={"type": "text_delta", "text": HALF})
    with pytest.raises(DecodeError, match="index is"):
        EventDecoder().receive_data(sent)


def test_a_row_of_deviations_ends_with_an_event_without_one():
    """Else those after it would count before they are given."""
    deltas = [delta(text=text) for text in (HALF, "plain", HALF, HALF)]
    events = iter_events([message_start() + block_start(TEXT) + b"".join(deltas)])
    counts = []
    for _ in range(6):
        next(events)
        counts.append([(deviation.event_number, deviation.count) for deviation in events.deviations])
    assert counts == [[], [], [(2, 1)], [(2, 1)], [(2, 2)], [(2, 3)]]
