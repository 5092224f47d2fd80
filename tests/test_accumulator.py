"""MessageAccumulator: what each event does to the message, how a message ends, and what that costs."""

from __future__ import annotations

import re
import time
from contextlib import nullcontext

import pytest

from sansio_step import (
    APIError,
    CitationsDelta,
    CompactionDelta,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    EventDecoder,
    IncompleteStream,
    InputJSONDelta,
    LimitExceeded,
    Message,
    MessageAccumulator,
    MessageDelta,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
    MessageStream,
    Outcome,
    PingEvent,
    ProtocolViolation,
    SignatureDelta,
    StreamError,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
    UnknownBlock,
    UnknownDelta,
    UnknownEvent,
    Usage,
    decode_message,
    parse,
    to_dict,
    to_json,
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
    message_delta,
    message_start,
    pieces,
    read,
    text_block,
    tool_block,
    whole,
)

MESSAGE, ENTRY = 1024, 256  # what a message and an entry of deviations count for, in bytes
SPLICE = message_start() + block_start(TEXT) + delta(text="a") + message_start(id="msg_2")


def events_of(body):
    return EventDecoder().receive_data(body)


def add(index, delta_):
    return ContentBlockDeltaEvent(index, delta_)


def built(*events, strict=False, most=64 << 20):
    accumulator = MessageAccumulator(strict=strict, max_message_size=most)
    accumulator.extend(events)
    return accumulator


# --- every delta on every kind of block ------------------------------------------------------------------

DELTAS = {
    "text": ({"type": "text_delta", "text": "x"}, {"type": "text", "text": "x"}),
    "thinking": ({"type": "thinking_delta", "thinking": "x"}, {"type": "thinking", "thinking": "x"}),
    "signature": (
        {"type": "signature_delta", "signature": "x"},
        {"type": "thinking", "thinking": "", "signature": "x"},
    ),
    "tool": ({"type": "input_json_delta", "partial_json": '{"x":1}'}, {"type": "tool_use", "input": {"x": 1}}),
    "citation": (
        {"type": "citations_delta", "citation": {"x": 1}},
        {"type": "text", "text": "", "citations": [{"x": 1}]},
    ),
    "compaction": (
        {"type": "compaction_delta", "content": "x", "encrypted_content": "y"},
        {"type": "compaction", "content": "x", "encrypted_content": "y"},
    ),
}
FITS = {
    "text": {"text", "citation"},
    "thinking": {"thinking", "signature"},
    "tool_use": {"tool"},
    "server_tool_use": {"tool"},
    "mcp_tool_use": {"tool"},
    "compaction": {"compaction"},
    "redacted_thinking": set(),
    "web_search_tool_result": set(),
    "container_upload": set(),
    "fallback": set(),
}


@pytest.mark.parametrize("kind", DELTAS)
@pytest.mark.parametrize("block", FITS)
def test_each_delta_on_each_block(kind, block):
    """A delta is merged into a block that it fits without a word, else it opens a further block of its own kind.

    But a signature opens none: there was no thinking for it.
    """
    wire, alone = DELTAS[kind]
    start = {
        "type": block,
        **({"input": {}} if block.endswith("_use") else {}),
        **({block: ""} if block in TEXT else {}),
    }
    start |= {"thinking": ""} if block == "thinking" else {}
    body = whole(block_start(start), frame("content_block_delta", index=0, delta=wire), block_stop())
    shown = read([body])
    if kind in FITS[block]:
        assert shown["deviations"] == []
        (merged,) = shown["messages"][0]["content"]
        assert merged == {**start, **alone, "type": block}
    else:
        assert [deviation.code for deviation in shown["deviations"]] == ["delta_kind_mismatch"]
        assert shown["messages"][0]["content"] == [start, *([] if kind == "signature" else [alone])]
        assert [unapplied.type for _, unapplied in shown["unapplied"]] == ["signature_delta"] * (kind == "signature")


@pytest.mark.parametrize("kind", DELTAS)
def test_each_delta_without_a_block(kind):
    """A delta for a block that was never opened opens one of the kind that it implies."""
    wire, alone = DELTAS[kind]
    shown = read([whole(frame("content_block_delta", index=0, delta=wire))])
    assert shown["messages"][0]["content"] == [alone]
    assert [deviation.code for deviation in shown["deviations"]] == ["delta_without_block", "no_block_stop"]


@pytest.mark.parametrize("kind", DELTAS)
def test_each_delta_behind_the_stop_of_its_block(kind):
    """Text, thinking, signature and arguments go on where they were; others get a further block. Nothing is lost."""
    wire, alone = DELTAS[kind]
    event = frame("content_block_delta", index=0, delta=wire)
    body = whole(event, block_stop(), event, event)
    shown = read([body])
    codes = {deviation.code: deviation.count for deviation in shown["deviations"]}
    assert codes["delta_after_stop"] == 2
    content = shown["messages"][0]["content"]
    if kind in ("text", "thinking"):
        assert content == [{**alone, kind: "xxx"}]
    elif kind == "signature":
        assert content == [{**alone, "signature": "xxx"}]
    elif kind == "tool":
        assert [block["input_json"] for block in content] == ['{"x":1}' * 3]
    elif kind == "citation":
        assert content == [alone, {**alone, "citations": [{"x": 1}] * 2}]
    else:
        assert content == [alone, alone]


@pytest.mark.parametrize(
    ("start", "field", "pieces", "said"),
    [
        ({"type": "text", "text": "a"}, "text", ("", "b", "c"), "text"),
        ({"type": "thinking", "thinking": "a"}, "thinking", ("b", "c"), "thinking"),
        ({"type": "thinking", "thinking": "", "signature": "a"}, "signature", ("b",), "signature"),
        ({"type": "tool_use", "input": {"a": 1}}, "partial_json", ("", "{", "}"), "input_json"),
    ],
)
def test_content_in_start_and_deltas_is_said_once(start, field, pieces, said):
    """What the start filled is told once a block, at the first delta with something in it, whatever the field."""
    body = whole(block_start(start), *(delta(**{field: piece}) for piece in pieces), block_stop())
    (deviation,) = read([body])["deviations"]
    number = 2 + [bool(piece) for piece in pieces].index(True)
    assert (deviation.code, deviation.event_number, deviation.count) == ("repeated_content", number, 1)
    assert deviation.detail == f"{said} in content_block_start and in deltas of block 0"


def test_each_delta_out_of_place_counts():
    """A run of deltas that don't belong where they say is one deviation for each of them; one that opens a block is not."""
    for body, code, count in [
        (whole(block_start(TEXT), delta(text="a"), *[delta(thinking="t")] * 5, block_stop()), "delta_kind_mismatch", 5),
        (whole(text_block("a"), *[delta(text="b")] * 5), "delta_after_stop", 5),
        (whole(*[delta(text="b")] * 5, block_stop()), "delta_without_block", 1),
        (whole(block_start(THINKING), *[delta(signature="s")] * 5, block_stop()), "repeated_signature", 4),
    ]:
        assert [(each.code, each.count) for each in read([body])["deviations"]] == [(code, count)]


def test_what_the_events_hold_is_not_changed():
    """Blocks grow in the message alone: those of the events, in message_start too, stay as they came."""
    start = {"type": "text", "text": "a", "citations": [1]}
    strange = {"type": "poem", "text": "a", "citations": [1]}
    body = (
        message_start(content=[start, strange])
        + b"".join(
            block_start(block, index) + delta(index, text="b") + delta(index, citation={"c": 2}) + block_stop(index)
            for index, block in ((2, start), (3, strange))
        )
        + delta(0, text="b")
        + delta(0, citation={"c": 2})
        + delta(1, text="b")
        + delta(1, citation={"c": 2})
    )
    stream = MessageStream()
    events = stream.receive_data(body)
    assert [to_dict(block) for block in events[0].message.content] == [start, strange]
    assert [to_dict(events[index].content_block) for index in (1, 5)] == [start, strange]
    wire = to_dict(stream.message)["content"]
    assert wire[-2] == {**start, "text": "ab", "citations": [1, {"c": 2}]}
    assert wire[-1] == {**strange, "text": "ab", "citations": [1, {"c": 2}]}


def test_blocks_of_message_start_are_finished():
    """What comes whole with message_start is no open block: no stop is missing, tool input can be read."""
    stream = MessageStream()
    stream.receive_data(message_start(content=[{"type": "tool_use", "input": {"a": 1}}, {"type": "text", "text": "x"}]))
    assert (stream.finished(0), stream.finished(1), stream.finished(2)) == (True, True, False)
    assert stream.message.tool_uses[0].input == {"a": 1}
    stream.receive_data(message_delta() + MESSAGE_STOP)
    assert stream.deviations == []


def test_a_fallback_block_changes_the_model():
    """From there on another model writes; without its name the first one's stands."""
    for to, model in [({"model": "other"}, "other"), ({}, "m"), ({"model": 5}, "m"), (None, "m")]:
        message = parse(whole(block_start({"type": "fallback", "from": {"model": "m"}, "to": to}), block_stop()))
        assert message.model == model


def test_arguments_of_unknown_blocks_have_no_lone_half():
    """Arguments in pieces for a block without a class become its input, halves of characters replaced."""
    body = whole(block_start({"type": "new"}), delta(partial_json='["\\ud83d'), delta(partial_json='"]'), block_stop())
    assert to_dict(parse(body))["content"] == [{"type": "new", "input": ["\ufffd"]}]
    replaced = frame("content_block_delta", index=0, delta={"type": "compaction_delta", "encrypted_content": "e"})
    assert to_dict(parse(whole(block_start({"type": "new"}), replaced, block_stop())))["content"] == [
        {"type": "new", "content": None, "encrypted_content": "e"}
    ]


def test_runs_are_counted_and_end_where_something_else_comes():
    """Deltas of one index and kind are joined, in lists, tuples and iterators of any length; the next is none of them."""
    events = events_of(message_start() + block_start(TEXT) + block_start(THINKING, 1) + block_start(TEXT, 2))
    made = [
        add(0, TextDelta("a")),
        add(0, TextDelta("b")),
        add(2, TextDelta("c")),
        add(0, TextDelta("d")),
        add(0, TextDelta("")),
    ]
    made += [add(1, ThinkingDelta("e")), add(1, ThinkingDelta("f")), add(0, TextDelta("g"))]
    for feed in (lambda each: [each], lambda each: (each,), lambda each: iter([each])):
        accumulator = MessageAccumulator()
        for event in [*events, *made]:
            accumulator.extend(feed(event))
        for other in (built(*events, *made), built(*events)):
            if other.message != accumulator.message:
                other.extend(iter(made))
            assert [to_dict(block) for block in other.message.content] == [
                {"type": "text", "text": "abdg"}, {"type": "thinking", "thinking": "ef", "signature": ""}, {"type": "text", "text": "c"},
            ]  # fmt: skip
            assert other.message == accumulator.message
            assert repr(other) == repr(accumulator) == "<MessageAccumulator streaming events=12 messages=1>"


def test_the_first_event_counts_in_full():
    """A delta is 79 bytes and its text. The first, without any message_start, also brings a message and two deviations."""
    for text, size in (("abc", 82), ("é", 81)):
        first = size + MESSAGE + 2 * ENTRY
        assert [each.code for each in built(add(0, TextDelta(text))).deviations] == [
            "no_message_start", "delta_without_block",
        ]  # fmt: skip
        for most, fits in ((first, True), (first - 1, False)):
            accumulator = MessageAccumulator(max_message_size=most)
            with nullcontext() if fits else pytest.raises(LimitExceeded):
                accumulator.add(add(0, TextDelta(text)))
        most = first + size
        accumulator = MessageAccumulator(max_message_size=most)
        accumulator.extend([add(0, TextDelta(text))] * 2)
        assert accumulator.message.text == text * 2
        accumulator = MessageAccumulator(max_message_size=most - 1)
        with pytest.raises(LimitExceeded, match=rf"^more than {most - 1} bytes \(max_message_size\) \(event 1\)$"):
            accumulator.extend([add(0, TextDelta(text))] * 2)


def test_a_message_start_counts_in_full():
    """It counts its JSON and 1 KiB, to the byte. One that is too much leaves the whole message before it whole."""
    (event,) = events_of(message_start(id="x" * 400))
    size = len(to_json(event)) + MESSAGE
    MessageAccumulator(max_message_size=size).add(event)
    with pytest.raises(LimitExceeded):
        MessageAccumulator(max_message_size=size - 1).add(event)
    for ends, entries in ((message_delta() + MESSAGE_STOP, 0), (message_delta(), 1)):  # no_message_stop is the one
        front = events_of(message_start() + ends)
        most = sum(len(to_json(each)) for each in front) + MESSAGE + entries * ENTRY + size
        built(*front, event, most=most)
        accumulator = built(*front, most=most - 1)
        with pytest.raises(LimitExceeded):
            accumulator.add(event)
        assert (accumulator.outcome, accumulator.result().id) == (Outcome.COMPLETE, "msg_1")


def test_each_delta_counts_once_in_a_chunk_of_its_own():
    """79 bytes and its text, also if the delta goes on where the last one was."""
    start = message_start() + block_start(TEXT)
    used = sum(len(to_json(event)) for event in events_of(start)) + MESSAGE
    chunks = [delta(text=text) for text in ("ab", "c", "d\u00e9")]
    for most, fits in ((used + 3 * 79 + 6, True), (used + 3 * 79 + 5, False)):
        stream = MessageStream(max_message_size=most)
        stream.receive_data(start)
        stream.receive_data(chunks[0])
        stream.receive_data(chunks[1])
        with nullcontext() if fits else pytest.raises(LimitExceeded):
            stream.receive_data(chunks[2])
        assert stream.message.text == ("abcd\u00e9" if fits else "abc")


def test_a_chunk_of_deltas_of_two_kinds():
    """What continues a thought, and the signature after it, in one chunk: each goes where it belongs."""
    stream = MessageStream()
    stream.receive_data(message_start() + block_start(THINKING) + delta(thinking="a"))
    stream.receive_data(delta(thinking="b") + delta(signature="s"))
    stream.receive_data(delta(thinking="c") + PING)
    (block,) = stream.message.content
    assert (block.thinking, block.signature, stream.event_count) == ("abc", "s", 7)


def test_deviations_are_of_their_message():
    """What the second message does is an entry of its own."""
    entries = read([whole(block_start(TEXT)) * 2])["deviations"]
    assert [(each.code, each.event_number, each.count) for each in entries] == [
        ("no_block_stop", 2, 1), ("no_block_stop", 6, 1),
    ]  # fmt: skip


def test_nothing_comes_behind_the_end():
    """One object reads one body: an event after its end is the caller's error, but a second end is not."""
    accumulator = built(*events_of(message_start()))
    accumulator.receive_eof()
    with pytest.raises(ValueError, match="^an event after receive_eof: one object reads one body$"):
        accumulator.add(add(0, TextDelta("a")))
    accumulator.receive_eof()
    assert accumulator.outcome is Outcome.TRUNCATED


def test_several_texts_of_a_block_that_come_by_turns():
    """Each delta adds to the text of its own kind."""
    deltas = b"".join(delta(**{field: text}) for text in "abc" for field in ("thinking", "signature"))
    (block,) = parse(whole(block_start(THINKING), deltas, block_stop())).content
    assert (block.thinking, block.signature) == ("abc", "abc")


def test_compaction_replaces_with_null_too():
    """compaction_delta replaces what stood there; null clears it, for that is what the server says it is now."""
    first = frame(
        "content_block_delta", index=0, delta={"type": "compaction_delta", "content": "a", "encrypted_content": "b"}
    )
    second = frame("content_block_delta", index=0, delta={"type": "compaction_delta", "content": "c"})
    shown = read(
        [whole(block_start({"type": "compaction", "content": None}), first, second, block_stop())], strict=True
    )
    assert shown["messages"][0]["content"] == [{"type": "compaction", "content": "c"}]


def test_fields_of_a_delta_stay_on_the_delta():
    """A field like estimated_tokens on a thinking_delta is kept on the event and is no part of the block."""
    wire = {"type": "thinking_delta", "thinking": "t", "estimated_tokens": 3}
    shown = read(
        [whole(block_start(THINKING), frame("content_block_delta", index=0, delta=wire), block_stop())], strict=True
    )
    assert shown["events"][2].delta == ThinkingDelta("t", extra={"estimated_tokens": 3})
    assert shown["messages"][0]["content"] == [{"type": "thinking", "thinking": "t", "signature": ""}]


# --- order and indices -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("indices", "deviations"),
    [
        ([0, 1, 2], []),
        ([0, 2], ["index_gap"]),
        ([3], ["index_gap"]),
        ([1, 0], ["index_gap"]),
        ([2**31 - 1, 0], ["index_gap"]),
        ([0, 1, 0], ["index_reused"]),
        ([1, 0, 1, 0], ["index_gap", "index_reused"]),
    ],
)
def test_blocks_are_in_index_order(indices, deviations):
    """Whatever the order of the starts; of one index in the order of their starts."""
    body = whole(*(text_block(f"{number}", index=index) for number, index in enumerate(indices)))
    shown = read([body])
    expected = [str(number) for _, number in sorted((index, number) for number, index in enumerate(indices))]
    assert [block["text"] for block in shown["messages"][0]["content"]] == expected
    assert [deviation.code for deviation in shown["deviations"]] == deviations


def test_a_start_ends_the_block_before_it_at_its_index():
    """A start for an index with an open block is a further block; later deltas and the stop are for that one."""
    body = message_start() + block_start(TEXT) + delta(text="a") + block_start(TEXT) + delta(text="b")
    stream = MessageStream()
    stream.receive_data(body)
    assert [block.text for block in stream.message.content] == ["a", "b"]
    assert not stream.finished(0)
    stream.receive_data(block_stop())
    assert stream.finished(0)
    assert [deviation.code for deviation in stream.deviations] == ["index_reused"]


# --- how a message ends ----------------------------------------------------------------------------------

HALF = message_start() + block_start(TEXT) + delta(text="a")


@pytest.mark.parametrize(
    ("body", "outcome", "error"),
    [
        (b"", Outcome.TRUNCATED, IncompleteStream),
        (message_start(), Outcome.TRUNCATED, IncompleteStream),
        (HALF, Outcome.TRUNCATED, IncompleteStream),
        (HALF + block_stop(), Outcome.TRUNCATED, IncompleteStream),
        (HALF + message_delta(None), Outcome.TRUNCATED, IncompleteStream),
        (HALF + message_delta("max_tokens"), Outcome.COMPLETE, None),
        (HALF + MESSAGE_STOP, Outcome.COMPLETE, None),
        (HALF + message_delta() + MESSAGE_STOP, Outcome.COMPLETE, None),
        (message_start(stop_reason="tool_use"), Outcome.COMPLETE, None),
        (MESSAGE_STOP, Outcome.TRUNCATED, IncompleteStream),
        (HALF + frame("error", error={}), Outcome.FAILED, APIError),
        (HALF + message_delta() + frame("error", error={}), Outcome.FAILED, APIError),
        (whole() + frame("error", error={}), Outcome.COMPLETE, None),
        (frame("error", error={}), Outcome.FAILED, APIError),
        (SPLICE, Outcome.FAILED, ProtocolViolation),
        (whole() + HALF, Outcome.TRUNCATED, IncompleteStream),
        (HALF + frame("error", error={}) + whole(), Outcome.COMPLETE, None),
        (b"event: ping", Outcome.TRUNCATED, IncompleteStream),
    ],
)
def test_outcome(body, outcome, error):
    """STREAMING until the end says otherwise; result gives a whole message or raises with what there is."""
    stream = MessageStream()
    assert stream.outcome is Outcome.STREAMING
    try:
        stream.receive_data(body)
        stream.receive_eof()
    except StreamError as fault:
        assert fault is stream.fault
    assert stream.outcome is outcome
    if error is None:
        assert stream.result() is stream.message
    else:
        with pytest.raises(error) as caught:
            stream.result()
        assert caught.value.partial is stream.message


def test_finished_says_when_a_block_ended():
    """By its stop, by a stop_reason, by message_stop; not by another block, nor by a message_delta without reason."""
    events = events_of(
        message_start()
        + block_start(TEXT)
        + block_start(TOOL, 1)
        + block_start(TEXT, 2)
        + block_stop(1)
        + message_delta(None)
    )
    accumulator = built(*events)
    assert [accumulator.finished(index) for index in (0, 1, 2, 3)] == [False, True, False, False]
    accumulator.extend(events_of(message_delta("tool_use")))
    assert [accumulator.finished(index) for index in (0, 1, 2, 3)] == [True, True, True, False]
    assert not MessageAccumulator().finished(0)
    stopped = built(*events, MessageStopEvent())
    assert all(stopped.finished(index) for index in (0, 1, 2))


def test_a_stream_that_breaks_off_finishes_no_block():
    """The end of the body, an error and a fault leave open blocks unfinished."""
    for end in (b"", frame("error", error={}), message_start(id="msg_2"), block_start(TEXT, 1)[:-9] + b"\n\n"):
        stream = MessageStream()
        stream.receive_data(HALF + end)
        assert not stream.finished(0)
        assert stream.message.content[0].text == "a"


# --- what is kept ----------------------------------------------------------------------------------------


def test_unknown_deltas_are_kept_with_their_index():
    """In order, whatever their block; they open none, for what they would mean is not known."""
    deltas = [UnknownDelta("audio_delta", extra={"n": number}) for number in range(3)]
    accumulator = built(MessageStartEvent(Message()), *(add(index, one) for index, one in enumerate(deltas)))
    assert accumulator.unapplied == list(enumerate(deltas))
    assert accumulator.message.content == []
    assert accumulator.deviations == []


def test_unknown_events_and_pings_change_nothing():
    """They are the caller's, wherever they come: before, inside and between messages."""
    others = [PingEvent(extra={"cost": 1}), UnknownEvent("new", extra={"content": "x"}), UnknownEvent("note", "text")]
    accumulator = MessageAccumulator(strict=True)
    for event in events_of(whole(text_block("a"))):
        accumulator.extend([*others, event])
    accumulator.add(PingEvent())
    assert to_dict(accumulator.result()) == read([whole(text_block("a"))])["messages"][0]


@pytest.mark.parametrize("event", [delta(text="x"), block_start(TEXT, 5), block_stop(), message_delta("refusal"), MESSAGE_STOP,
                                   frame("error", error={}), frame("new", a=1)])  # fmt: skip
def test_what_follows_message_stop_changes_nothing(event):
    """Any event but a ping or a message_start is a deviation after message_stop, and the message stays as it is."""
    body = whole(text_block("a"))
    shown = read([body + event])
    assert shown["messages"] == read([body])["messages"]
    assert shown["outcome"] is Outcome.COMPLETE
    assert [deviation.code for deviation in shown["deviations"]] == ["event_after_stop"]


def test_fields_that_collide_do_not_replace_the_messages_own():
    """A message_delta or message_stop with a role, type or content of its own: what message_start said stands."""
    body = (
        message_start()
        + text_block("a")
        + message_delta(role="user", id="other", content="no", new=1)
        + frame("message_stop", model="x", type_="y", usage={"z": 1})
    )
    message = read([body], strict=True)["messages"][0]
    assert (message["role"], message["id"], message["model"], message["type"]) == ("assistant", "msg_1", "m", "message")
    assert (message["new"], message["type_"]) == (1, "y")
    assert message["content"] == [{"type": "text", "text": "a"}]


def test_what_message_stop_says_of_the_message_counts():
    """Usage and a stop_reason that stand in an unusual place are the message's all the same: read, merged, shown."""
    late = frame("message_stop", usage={"output_tokens": 99, "cost": 1}, stop_reason="end_turn", new={"a": 1})
    message = parse(message_start() + text_block("a") + late, strict=True)
    assert (message.stop_reason, message.extra) == ("end_turn", {"new": {"a": 1}})
    assert to_dict(message)["usage"] == {"input_tokens": 3, "output_tokens": 99, "cost": 1}
    inside = frame(
        "message_delta", delta={"stop_reason": "s", "usage": {"output_tokens": 7}}, usage={"input_tokens": 4}
    )
    message = parse(message_start(usage=None) + inside + MESSAGE_STOP)
    assert message.usage == Usage(input_tokens=4, output_tokens=7)
    assert decode_message(to_json(message)) == message


def test_a_wrong_count_in_message_stop_takes_no_other_with_it():
    """Each count stands for itself. One of a wrong kind is in `extra`, unless a right one stands."""
    usage = {"output_tokens": 9, "cost": 2, "input_tokens": "5", "iterations": 1, "cache_read_input_tokens": True}
    message = parse(message_start() + text_block("a") + message_delta() + frame("message_stop", usage=usage))
    kept = {"cost": 2, "iterations": 1, "cache_read_input_tokens": True}
    assert message.usage == Usage(input_tokens=3, output_tokens=9, extra=kept)


@pytest.mark.parametrize("wrong", [5, "x", [], {"output_tokens": "x"}, None])
def test_what_is_not_of_its_kind_there_changes_nothing(wrong):
    """A wrong one never replaces a right one, and is said; the event keeps it, unless it stands for none."""
    stop = frame("message_stop", usage=wrong, stop_reason=wrong if wrong != "x" else 5, role=wrong, id=None)
    stream = MessageStream()
    events = stream.receive_data(message_start() + text_block("a") + message_delta() + stop)
    assert [each.code for each in stream.deviations] == ([] if wrong is None else ["wrong_type"])
    assert to_dict(stream.result()) == to_dict(
        parse(message_start() + text_block("a") + message_delta() + MESSAGE_STOP)
    )
    assert events[-1].extra.get("usage", []) == wrong


def test_an_implied_message_takes_what_comes_late():
    """If message_start is missing, a later event's id or role stands in for its own; unnamed fields are kept too."""
    body = text_block("a") + message_delta(new=1, usage={"cost": 2}) + MESSAGE_STOP
    assert (parse(body).extra, parse(body).usage.extra) == ({"new": 1}, {"cost": 2})
    assert (Message().extra, Usage().extra) == ({}, {})
    body = text_block("a") + message_delta(id="late", role="assistant") + MESSAGE_STOP
    message = parse(body)
    assert (message.id, message.role, message.extra) == ("late", "assistant", {})


def test_fields_that_nobody_named_are_kept_whatever_they_are_called():
    """`text` and `extra` are attributes here and no fields there; `type` in a delta is not the message's."""
    body = message_start() + frame(
        "message_delta", delta={"stop_reason": "s", "type": "x", "text": "t", "extra": 1}, usage={}
    )
    message = parse(body + MESSAGE_STOP)
    assert message.extra == {"text": "t", "extra": 1}
    assert to_dict(message)["type"] == "message"


def test_usage_opens_where_none_was():
    """Without usage at the start, the first message_delta's is the message's; the event keeps its own object."""
    body = frame("message_start", message={"id": "m", "role": "assistant", "model": "m", "content": []})
    body += message_delta(usage={"output_tokens": 2}) + message_delta(None, usage={"output_tokens": 4})
    stream = MessageStream()
    events = stream.receive_data(body)
    assert stream.message.usage.output_tokens == 4
    assert events[1].usage.output_tokens == 2


def test_events_built_by_hand():
    """The types are all that is needed: no bytes, no decoder."""
    accumulator = built(
        MessageStartEvent(Message(id="m", role="assistant")),
        ContentBlockStartEvent(0, ThinkingBlock()), add(0, ThinkingDelta("t")), add(0, SignatureDelta("s")), ContentBlockStopEvent(0),
        ContentBlockStartEvent(1, TextBlock()), add(1, TextDelta("a")), add(1, CitationsDelta({"n": 1})), ContentBlockStopEvent(1),
        ContentBlockStartEvent(2, ToolUseBlock(name="f")), add(2, InputJSONDelta("{}")), ContentBlockStopEvent(2),
        ContentBlockStartEvent(3, UnknownBlock("new")), add(3, CompactionDelta("c")), ContentBlockStopEvent(3),
        MessageDeltaEvent(MessageDelta("tool_use")), MessageStopEvent(),
        strict=True,
    )  # fmt: skip
    assert accumulator.result().content == [
        ThinkingBlock("t", "s"), TextBlock("a", [{"n": 1}]), ToolUseBlock(name="f", input_json="{}"),
        UnknownBlock("new", extra={"content": "c", "encrypted_content": None}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "texts", [("x\ud83d", "\ude00y"), ("a", "x\ud83d", "\ude00y"), ("a", "b", "\ud83d", "b"), ("a", "\ude00")]
)
def test_no_lone_half_of_events_built_by_hand(texts):
    """Halves in the caller's own deltas are joined or replaced like any others, also in the middle of a run."""
    expected = "".join(texts).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    one = MessageAccumulator()
    for text in texts:
        one.add(add(0, TextDelta(text)))
    many = built(*(add(0, TextDelta(text)) for text in texts))
    for accumulator in (one, many):
        accumulator.receive_eof()
        assert accumulator.message.text == expected


# --- limits and cost -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "part",
    [text_block("x" * 200), tool_block("x" * 200), block_start({"type": "new", "data": "x" * 200}), message_delta(x="x" * 200),
     frame("content_block_delta", index=0, delta={"type": "new", "x": "x" * 200}), message_start(x="x" * 200),
     frame("content_block_delta", index=0, delta={"type": "citations_delta", "citation": {"x": "x" * 200}}),
     frame("message_stop", x="x" * 200)],
)  # fmt: skip
def test_whatever_a_message_keeps_counts(part):
    """Each event that leaves something in the message counts against max_message_size, byte by byte."""
    body = part if b"message_start" in part else message_start() + part
    enough = least(body)
    assert enough == least(body.replace(b"x" * 200, b"")) + 200
    shown = read([body], max_message_size=enough - 1)
    assert shown["fault"][0] is LimitExceeded
    assert shown["fault"][1].startswith(f"more than {enough - 1} bytes (max_message_size)")


FRAMES = {
    "as the first party sends it": whole(text_block("a")),
    "without event lines": re.sub(rb"(?m)^event: .*\n", b"", whole(text_block("a"))),
    "with fields that nobody knows": whole(block_start({**TEXT, "b": 1}), block_stop(), frame("odd", a=1)),
    "under other names": whole(PING).replace(b"event: ", b"event: other_"),
    "with deviations": message_start(role=None) + frame("message_delta", stop_reason="end_turn") + MESSAGE_STOP,
}


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("chunk", [7, 10**9])
def test_an_event_counts_with_the_bytes_that_came(kind, chunk):
    """White space too, however its frame is read: what a server sent is what the limit is about."""
    body = FRAMES[kind]
    for name in (b"message_start", b"content_block_start", b"message_delta", b"message_stop"):
        data = b'{"type":"%b"' % name
        if data in body:
            assert least(body.replace(data, b"{" + b" " * 500 + data[1:]), chunk) == least(body, chunk) + 500


def counted(body):
    """What the events of a body without deviations count for, in bytes, and its messages."""
    size = 0
    for event in events_of(body):
        if isinstance(event, ContentBlockDeltaEvent):
            size += 79 + len(event.delta.text.encode())
        elif not isinstance(event, (PingEvent, UnknownEvent, ContentBlockStopEvent)):
            size += len(to_json(event)) + MESSAGE * isinstance(event, MessageStartEvent)
    return size


WHOLE = whole(text_block("a", "\u4f60"))
FOREIGN = frame("new", x="\ud800")
# Body, how many entries of deviations it brings, and the body without what neither counts nor changes anything.
CHARGES = {
    "nothing else": (whole(PING, frame("new", x=1), text_block("a")), 0, whole(text_block("a"))),
    "no event line": (re.sub(b"event: .*\n", b"", WHOLE), 1, WHOLE),
    "another event line": (WHOLE.replace(b"event: message_", b"event: x"), 1, WHOLE),
    "foreign data": (whole(b"data: [DONE]\n\n"), 1, whole()),
    "no type": (whole(b"event: new\ndata: {}\n\n"), 1, whole()),
    "half a character": (whole(FOREIGN, FOREIGN), 1, whole()),
    "no block stop": (WHOLE.replace(block_stop(), b""), 1, WHOLE),
    "no message stop": (message_start() + message_delta() + WHOLE.replace(b"msg_", b"other_"), 1, None),
    "message_start again": (message_start() + WHOLE, 1, WHOLE),
    "after the stop": (WHOLE + MESSAGE_STOP * 3 + frame("new"), 1, WHOLE),
    "two in one event": (message_start() + frame("message_stop", _name=None), 2, message_start() + MESSAGE_STOP),
    "of both layers": (WHOLE + frame("new", _name=None) + frame("new", _name="old") + FOREIGN, 4, WHOLE),
}  # fmt: skip


@pytest.mark.parametrize("name", CHARGES)
def test_each_message_and_each_deviation_counts(name):
    """Beside the events, a message counts 1 KiB and an entry of deviations 256 bytes, however the body is cut."""
    body, entries, legal = CHARGES[name]
    for times in (1, 3):
        several = b"".join(body.replace(b"msg_1", b"msg_%d" % number) for number in range(times))
        assert len(read([several])["deviations"]) == entries * times
        for chunk in (1, 100, 10**9):
            assert least(several, chunk) == (counted(legal or body) + entries * ENTRY) * times


def test_a_message_that_lacks_its_stop_stays_whole_at_the_limit():
    """A stop_reason made it whole: the message_start that is too much leaves it COMPLETE, for want of 256 bytes as of one."""
    front = message_start() + message_delta()
    for most in (least(front), least(front) + ENTRY - 1, least(front) + ENTRY):
        stream = MessageStream(max_message_size=most)
        assert len(stream.receive_data(front + message_start(id="msg_2"))) == 2
        assert isinstance(stream.fault, LimitExceeded)
        assert (stream.outcome, stream.result().id) == (Outcome.COMPLETE, "msg_1")


@pytest.mark.parametrize("options", [{"strict": True}, {"most": 1600}])
def test_an_event_at_fault_changes_nothing(options):
    """It is not applied, whichever of its parts is at fault: a message_stop that is refused leaves no field."""
    start, stop = events_of(message_start() + frame("message_stop", new="x" * 150))
    accumulator = built(start, **options)
    with pytest.raises(StreamError):
        accumulator.add(stop)
    assert accumulator.message.extra == {}


def test_the_limit_is_at_the_same_event_in_any_batch():
    """One by one, in lists of any length and from bytes: the same event is too much, the same text is kept."""
    events = events_of(message_start() + block_start(TEXT) + b"".join(delta(text=f"{n:03}") for n in range(3000)))
    shown = set()
    for size in (1, 2, 500, 1024, 5000):
        accumulator = MessageAccumulator(max_message_size=150_000)
        with pytest.raises(LimitExceeded) as caught:
            for batch in (events[start : start + size] for start in range(0, len(events), size)):
                accumulator.extend(batch)
        shown.add((caught.value.event_number, accumulator.message.text))
    assert len(shown) == 1
    ((number, text),) = shown
    assert text == "".join(f"{n:03}" for n in range(number - 2))
    assert 0 < number < 3000


def test_the_messages_of_a_body_share_one_limit():
    """max_message_size is for all of them together: twenty alike need twenty times what one needs, to the byte."""
    body = whole(text_block("x" * 100))
    enough = 20 * least(body)
    assert read([body * 20], max_message_size=enough)["fault"] is None
    shown = read([body * 20], max_message_size=enough - 1)
    assert shown["fault"][:3] == (LimitExceeded, shown["fault"][1], 20 * body.count(b"\n\n") - 1)
    assert shown["messages"][:19] == read([body * 19])["messages"]
    assert shown["outcome"] is Outcome.FAILED


def alternating(count):
    one, stop, other = events_of(delta(citation={"a": 1}) + block_stop() + delta(thinking="x"))
    return [*events_of(message_start() + text_block("a")), *[one, stop, other] * count]


def interleaved(count):
    first = events_of(delta(0, text="x") * 2 + delta(1, partial_json="1") * 2)
    return [*events_of(message_start() + block_start(TEXT) + block_start(TOOL, 1)), *first * count]


def over_the_limit(count):
    return events_of(message_start() + block_start(TEXT)) + [add(0, TextDelta("x" * 1000))] * (4 * count)


def halves(count):
    return events_of(message_start() + block_start(TEXT)) + [add(0, TextDelta("\ud83d"))] * (4 * count)


def descending(count):
    return events_of(message_start() + b"".join(text_block("x", index=count - n) for n in range(count)))


def reused(count):
    return events_of(message_start() + text_block("x") * count)


@pytest.mark.parametrize("made", [alternating, interleaved, over_the_limit, halves, descending, reused])
def test_cost_is_linear_in_events(made):
    """20,000 rounds of what is off the usual path end in seconds; with a look back at each they would take minutes."""
    events = made(20_000)
    accumulator = MessageAccumulator(max_message_size=60_000_000)
    started = time.process_time()
    with pytest.raises(LimitExceeded) if made is over_the_limit else nullcontext():
        accumulator.extend(events)
    assert accumulator.message is not None
    assert accumulator.message.content
    assert time.process_time() - started < 8


def test_bytes_in_small_pieces_give_the_same_live_message():
    """The live message between any two chunks is that of the events so far."""
    body = whole(text_block("a\u4f60", "b"), tool_block('{"a', '":1}', index=1))
    stream, accumulator = MessageStream(), MessageAccumulator()
    for piece in pieces(body, 5):
        accumulator.extend(stream.receive_data(piece))
        assert (stream.message is None) == (accumulator.message is None)
        if stream.message is not None:
            assert to_dict(stream.message) == to_dict(accumulator.message)


def test_max_message_size_must_be_positive():
    """A limit below one is the caller's error."""
    assert MessageAccumulator(max_message_size=1).max_message_size == 1
    with pytest.raises(ValueError, match="max_message_size is 0"):
        MessageAccumulator(max_message_size=0)


@pytest.mark.parametrize("end", [b"", frame("error", error={"type": "overloaded_error"})])
def test_half_a_character_at_an_early_end_stays_alone(end):
    """Its other half was still to come, so it is held back; once nothing more comes, it is U+FFFD."""
    stream = MessageStream()
    stream.receive_data(message_start() + block_start(TEXT) + delta(text="a\ud83d"))
    assert stream.message.text == "a"
    stream.receive_data(end)
    assert stream.message.text == ("a\ufffd" if end else "a")
    stream.receive_eof()
    assert stream.message.text == "a\ufffd"


def test_null_in_message_delta_changes_nothing():
    """What message_start said stays, and so does what an earlier message_delta said."""
    said = {"stop_sequence": "END", "stop_details": {"a": 1}, "container": {"id": "c"}}
    nulls = frame("message_delta", delta=dict.fromkeys(("stop_reason", *said)), usage={"output_tokens": 7})
    for body in (
        message_start(**said),
        message_start() + frame("message_delta", delta=said, usage={"output_tokens": 1}),
    ):
        message = parse(body + message_delta() + nulls + MESSAGE_STOP)
        assert {name: getattr(message, name) for name in said} == said
        assert message.stop_reason == "end_turn"
    assert parse(message_start(stop_sequence="END") + message_delta() + MESSAGE_STOP).stop_sequence == "END"
