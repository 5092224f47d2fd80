"""A message whose events come in one list is what it is when they come one by one, in everything that can be asked."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_step import (
    CitationsDelta,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    ErrorDetail,
    ErrorEvent,
    EventDecoder,
    FallbackBlock,
    InputJSONDelta,
    Message,
    MessageAccumulator,
    MessageDelta,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
    MessageStream,
    Outcome,
    PingEvent,
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
    WebSearchToolResultBlock,
    encode_event,
    to_dict,
)
from sansio_step.testing import DEVIATION_CODES, deviating_streams, event_streams

from .helpers import describe
from .shared import needs_corpus, streams

START = MessageStartEvent(
    Message(id="msg_1", role="assistant", model="m", usage=Usage(input_tokens=3, cache_read_input_tokens=9, output_tokens=1))
)  # fmt: skip
END = MessageDeltaEvent(MessageDelta("end_turn"), Usage(output_tokens=5))
STOP = MessageStopEvent()
PING = PingEvent()


def events_of(body):
    """The events of a body, up to one that can't be read."""
    decoder = EventDecoder()
    events = []
    with suppress(StreamError):
        events += decoder.receive_data(body)
        events += decoder.receive_eof()
    return events


def block(start, *deltas, index=0):
    """The events of one block."""
    return [
        ContentBlockStartEvent(index, start),
        *(item if isinstance(item, PingEvent) else ContentBlockDeltaEvent(index, item) for item in deltas),
        ContentBlockStopEvent(index),
    ]


def unfinished():
    made = TextBlock("a")
    made.set_finished(False)
    return made


TEXT = block(TextBlock(), TextDelta("a"), TextDelta("b"))
SAYING = Message(id="msg_1", role="assistant", model="m", content=[TextBlock("a")], usage=Usage(output_tokens=1))
CASES = {
    "text": [START, *TEXT, END, STOP],
    "many deltas around a ping": [
        START, *block(TextBlock(), *[TextDelta(text) for text in "abcdef"], PING, *[TextDelta(text) for text in "ghijkl"]), END, STOP,
    ],
    "no block": [START, END, STOP],
    "a text after a text": [START, *TEXT, *block(TextBlock(), TextDelta("c"), index=1), END, STOP],
    "an unknown block": [START, *block(UnknownBlock("new")), END, STOP],
    "a ping everywhere": [START, PING, *block(TextBlock(), PING, TextDelta("a"), PING, TextDelta("b"), PING), PING, END, PING, STOP],
    "thinking, its signature, a call": [
        START,
        *block(ThinkingBlock(), ThinkingDelta("hm"), ThinkingDelta("…"), SignatureDelta("s")),
        *block(ToolUseBlock("t", "f"), InputJSONDelta(""), InputJSONDelta('{"a"'), InputJSONDelta(":1}"), index=1),
        END, STOP,
    ],
    "a call without arguments": [START, *block(ToolUseBlock("t", "f"), InputJSONDelta("")), END, STOP],
    "arguments that break": [START, *block(ToolUseBlock("t", "f"), InputJSONDelta('{"a":')), END, STOP],
    "a result that starts whole": [START, *block(WebSearchToolResultBlock("t", [{"url": "u"}])), END, STOP],
    "an unknown event": [START, UnknownEvent("new"), *TEXT, END, STOP],
    "a citation between texts": [
        START, *block(TextBlock(), TextDelta("a"), CitationsDelta({"n": 1}), TextDelta("b")), END, STOP,
    ],
    "text that starts with some": [START, *block(TextBlock("a"), TextDelta("b")), END, STOP],
    "input that starts with some": [START, *block(ToolUseBlock("t", "f", {"a": 1}), InputJSONDelta('{"b":2}')), END, STOP],
    "two signatures": [START, *block(ThinkingBlock(), SignatureDelta("s"), SignatureDelta("t")), END, STOP],
    "two signatures, a thought between": [
        START, *block(ThinkingBlock(), SignatureDelta("s"), ThinkingDelta("a"), SignatureDelta("t")), END, STOP,
    ],
    "a thought in a text": [START, *block(TextBlock(), ThinkingDelta("a")), END, STOP],
    "an unknown delta": [START, *block(TextBlock(), UnknownDelta("new_delta", extra={"x": "y"})), END, STOP],
    "an unknown block that grows": [START, *block(UnknownBlock("new"), UnknownDelta("new_delta", extra={"x": "y"})), END, STOP],
    "a fallback to another model": [START, *block(FallbackBlock(to={"model": "other"})), END, STOP],
    "halves of a character": [START, *block(TextBlock(), TextDelta("a\ud83d"), TextDelta("\ude00")), END, STOP],
    "a half alone": [START, *block(TextBlock(), TextDelta("\ud83d")), END, STOP],
    "a block that says it is not finished": [START, *block(unfinished()), END, STOP],
    "a gap": [START, *block(TextBlock(), TextDelta("a"), index=1), END, STOP],
    "an index again": [START, *TEXT, *TEXT, END, STOP],
    "no stop of a block": [START, *TEXT[:-1], END, STOP],
    "no stop of a block, nor a stop_reason before": [START, *TEXT[:-1], STOP],
    "two blocks at once": [START, TEXT[0], ContentBlockStartEvent(1, TextBlock()), *TEXT[1:], ContentBlockStopEvent(1), END, STOP],
    "arguments under their attribute's name": [
        START, *block(ToolUseBlock("t", "f", extra={"input_json": "x"}), InputJSONDelta("{}")), END, STOP,
    ],
    "a signature of a wrong kind, and one": [
        START, *block(ThinkingBlock(extra={"signature": 5}), SignatureDelta("s")), END, STOP,
    ],
    "an index that is None": [START, ContentBlockDeltaEvent(None, TextDelta("lost")), *TEXT, END, STOP],
    "a stop without an index": [START, ContentBlockStopEvent(None), END, STOP],
    "a text that is None": [START, *block(TextBlock(), TextDelta(None)), END, STOP],
    "a field that JSON can't hold": [START, *TEXT, MessageDeltaEvent(MessageDelta("end_turn", extra={"a": object()})), STOP],
    "a dict for other fields that is empty": [
        MessageStartEvent(Message(id="m", extra={})), *block(UnknownBlock("new", extra={})),
        MessageDeltaEvent(MessageDelta("end_turn", extra={"a": 1})), STOP,
    ],
    "a block that goes on in the next": [START, *TEXT[:-1], *block(TextBlock(), TextDelta("c"), index=1), END, STOP],
    "a delta without a block": [START, TEXT[1], END, STOP],
    "a delta for another block": [START, TEXT[0], ContentBlockDeltaEvent(1, TextDelta("a")), TEXT[-1], END, STOP],
    "a delta after the stop": [START, *TEXT, TEXT[1], END, STOP],
    "a stop without a block": [START, TEXT[-1], END, STOP],
    "a stop of another block": [START, *TEXT[:-1], ContentBlockStopEvent(1), END, STOP],
    "an index below 0": [START, ContentBlockStopEvent(-1), END, STOP],
    "a block after the stop_reason": [START, END, *TEXT, STOP],
    "a block after the stop_reason that does not stop": [START, END, *TEXT[:-1], STOP],
    "a stop_reason inside a block": [START, *TEXT[:-1], END, TEXT[-1], STOP],
    "a delta after the final count": [START, END, MessageDeltaEvent(MessageDelta(stop_sequence="x")), STOP],
    "a count after the stop_reason": [START, END, MessageDeltaEvent(MessageDelta(), Usage(output_tokens=7)), STOP],
    "a message_delta inside a block": [START, *TEXT[:-1], MessageDeltaEvent(MessageDelta(), Usage(output_tokens=2)), TEXT[-1], END, STOP],
    "no count at the end": [START, *TEXT, MessageDeltaEvent(MessageDelta("end_turn")), STOP],
    "no stop_reason": [START, *TEXT, MessageDeltaEvent(MessageDelta()), STOP],
    "an empty stop_reason": [START, *TEXT, MessageDeltaEvent(MessageDelta("")), STOP],
    "a stop_reason in message_stop": [START, *TEXT, MessageStopEvent(extra={"stop_reason": "end_turn"})],
    "usage in message_stop": [START, *TEXT, END, MessageStopEvent(extra={"usage": {"output_tokens": 9}})],
    "usage beside the delta": [START, MessageDeltaEvent(MessageDelta("end_turn"), extra={"usage": {"output_tokens": 9}}), STOP],
    "unnamed fields": [START, MessageDeltaEvent(MessageDelta("end_turn", extra={"a": 1}), extra={"b": 2}), STOP],
    "counts that are reset": [START, MessageDeltaEvent(MessageDelta("end_turn"), Usage(input_tokens=0, cache_read_input_tokens=0)), STOP],
    "no usage at first": [MessageStartEvent(Message(id="msg_1")), END, STOP],
    "no usage at all": [MessageStartEvent(Message(id="msg_1")), MessageDeltaEvent(MessageDelta("end_turn")), STOP],
    "a stop_reason at first": [MessageStartEvent(msgspec.structs.replace(START.message, stop_reason="end_turn")), *TEXT, STOP],
    "an empty stop_reason at first": [MessageStartEvent(msgspec.structs.replace(START.message, stop_reason="")), *TEXT, END, STOP],
    "a stop_reason at first, and again": [
        MessageStartEvent(msgspec.structs.replace(START.message, stop_reason="end_turn")),
        MessageDeltaEvent(MessageDelta("end_turn")), STOP,
    ],
    "an empty stop_reason at first, and again": [
        MessageStartEvent(msgspec.structs.replace(START.message, stop_reason="")),
        MessageDeltaEvent(MessageDelta("")), STOP,
    ],
    "content at first, and nothing more": [MessageStartEvent(SAYING), END, STOP],
    "content at first": [MessageStartEvent(SAYING), *block(TextBlock(), TextDelta("b"), index=1), END, STOP],
    "a message_start again": [START, *TEXT, START, END, STOP],
    "another message inside": [START, *TEXT, MessageStartEvent(Message(id="msg_2")), END, STOP],
    "two messages": [START, *TEXT, END, STOP, MessageStartEvent(Message(id="msg_2")), *TEXT, END, STOP],
    "an event after the stop": [START, *TEXT, END, STOP, END],
    "two stops": [START, *TEXT, END, STOP, STOP],
    "an error": [START, *TEXT, ErrorEvent(ErrorDetail("overloaded_error", "busy")), STOP],
    "no message_start": [*TEXT, END, STOP],
    "a stop alone": [STOP],
    "no stop": [START, *TEXT, END],
}  # fmt: skip


def shown(accumulator):
    """All that can be asked of an accumulator (or a stream)."""
    return {
        "messages": [to_dict(message) for message in accumulator.messages],
        "content": [
            [(type(block), type(block.extra)) for block in message.content] for message in accumulator.messages
        ],
        "finished": [[block.is_finished for block in message.content] for message in accumulator.messages],
        "by index": [accumulator.finished(index) for index in range(-1, 4)],
        "outcome": accumulator.outcome,
        "deviations": accumulator.deviations,
        "unapplied": accumulator.unapplied,
        "usage_is_final": accumulator.usage_is_final,
        "event_count": accumulator.event_count,
        "block": accumulator.block if accumulator.block is None else to_dict(accumulator.block),
        "fault": describe(accumulator.fault),
    }


def at_once(events, **options):
    return applied(events, lambda accumulator: accumulator.extend(list(events)), **options)


def one_by_one(events, **options):
    return applied(events, lambda accumulator: [accumulator.add(event) for event in events], **options)


def applied(events, apply, **options):
    """What an accumulator shows after events. `raised` is what events that somebody made by hand can lead to."""
    accumulator = MessageAccumulator(**options)
    raised = None
    try:
        apply(accumulator)
    except StreamError as error:
        assert error is accumulator.fault
    except (AttributeError, TypeError) as error:
        raised = type(error)
    return shown(accumulator) | {"raised": raised}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("events", CASES.values(), ids=CASES)
def test_events_at_once_are_events_one_by_one(events, strict):
    assert at_once(events, strict=strict) == one_by_one(events, strict=strict)


@given(events=event_streams(), data=st.data())
def test_whatever_is_missing_doubled_or_moved(events, data):
    events = list(events)
    for _ in range(data.draw(st.integers(0, 2))):
        place, other = (data.draw(st.integers(0, len(events) - 1)) for _ in range(2))
        how = data.draw(st.sampled_from(["drop", "double", "swap"]))
        if how == "swap":
            events[place], events[other] = events[other], events[place]
        else:
            events[place : place + 1] = [] if how == "drop" and len(events) > 1 else [events[place]] * 2
    assert at_once(events) == one_by_one(events)


@pytest.mark.parametrize("events", CASES.values(), ids=CASES)
def test_the_limit_refuses_the_same_event(events):
    """Whatever the limit: at each event's end, and a byte below it."""
    size = 1
    for _ in range(len(events) + 1):
        refused = one_by_one(events, max_message_size=size)
        assert at_once(events, max_message_size=size) == refused
        if refused["outcome"] is Outcome.COMPLETE:
            break
        low, high = size, 1 << 16  # the next limit that lets more events through
        while high - low > 1:
            middle = (low + high) // 2
            more = one_by_one(events, max_message_size=middle)["event_count"] > refused["event_count"]
            low, high = (low, middle) if more else (middle, high)
        assert at_once(events, max_message_size=low) == one_by_one(events, max_message_size=low)
        size = high


@pytest.mark.parametrize("keep", ["all", "last"])
@pytest.mark.parametrize("before", [[], [TEXT[-1]], CASES["text"]], ids=["nothing", "a stray stop", "a message"])
def test_what_came_before_counts_too(before, keep):
    """A stray event makes a deviation, which counts for the limit, and so does a message."""
    options = {"keep": keep, "max_message_size": 4096}
    refused = set()
    for length in range(0, 3000, 100):
        events = [START, *block(TextBlock(), TextDelta("x" * length)), END, STOP]
        listed, one = MessageAccumulator(on_fault="keep", **options), MessageAccumulator(on_fault="keep", **options)
        for part in (before, events, CASES["text"]):
            listed.extend(list(part))
            for event in part:
                one.add(event)
        assert shown(listed) == shown(one)
        refused.add(one.event_count)
    assert len(refused) > 1  # some lengths are too much, at some event


@pytest.mark.parametrize("events", CASES.values(), ids=CASES)
def test_the_events_stay_as_they_are(events):
    """The message grows apart from the events that it was made of."""
    before = [repr(event) for event in events]
    for add in (
        lambda accumulator: accumulator.extend(list(events)),
        lambda accumulator: [*map(accumulator.add, events)],
    ):
        accumulator = MessageAccumulator(on_fault="keep")
        with suppress(AttributeError, TypeError):
            add(accumulator)
        for message in accumulator.messages:
            for part in (message, message.usage, *message.content):
                with suppress(
                    AttributeError, TypeError
                ):  # there is no usage, or the shared `extra` of those that have none
                    part.extra["mine"] = True
            message.content.clear()
        assert [repr(event) for event in events] == before


def test_what_is_finished_is_no_matter_of_the_callers_list():
    accumulator = MessageAccumulator()
    accumulator.extend([START, *TEXT, END, STOP])
    accumulator.message.content.clear()
    assert [accumulator.finished(index) for index in (-1, 0, 1)] == [False, True, False]
    accumulator.message.content += [TextBlock("mine"), TextBlock("too")]
    assert [accumulator.finished(index) for index in (-1, 0, 1)] == [False, True, False]


@given(stream=st.sampled_from(sorted(DEVIATION_CODES)).flatmap(deviating_streams))
def test_each_deviation(stream):
    events = events_of(stream.data)
    assert at_once(events) == one_by_one(events)


BY_HAND = {
    "halves of a character", "a half alone", "an index below 0", "an index that is None", "a stop without an index",
    "a text that is None", "a field that JSON can't hold", "a block that says it is not finished",
}  # fmt: skip


def read(body, verb):
    stream = MessageStream(on_fault="keep")
    getattr(stream, verb)(body)
    stream.receive_eof()
    return shown(stream)


@pytest.mark.parametrize("name", [name for name in CASES if name not in BY_HAND])
def test_a_body_at_once_is_its_events_one_by_one(name):
    frames = [encode_event(event) for event in CASES[name]]
    stream = MessageStream(on_fault="keep")
    for frame in frames:
        stream.receive_data(frame)
    stream.receive_eof()
    for verb in ("receive_data", "consume"):
        assert read(b"".join(frames), verb) == shown(stream)


@needs_corpus
@pytest.mark.parametrize("path", streams(), ids=lambda path: path.stem)
def test_captures(path):
    events = events_of(path.read_bytes())
    assert at_once(events) == one_by_one(events)
