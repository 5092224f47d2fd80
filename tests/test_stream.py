"""MessageStream and the one-liners: the laws that hold across the layers."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import pickle
import sys
from contextlib import suppress
from functools import partial

import pytest

from sansio_step import (
    APIError,
    BedrockDecoder,
    ConnectionLost,
    ContentBlockDeltaEvent,
    DecodeError,
    ErrorEvent,
    EventDecoder,
    IncompleteStream,
    LimitExceeded,
    MessageAccumulator,
    MessageStream,
    Outcome,
    ProtocolViolation,
    SSEDecoder,
    StreamError,
    TextBlock,
    TextDelta,
    ToolInputError,
    UnknownEvent,
    aiter_events,
    iter_events,
    parse,
    to_dict,
    to_json,
    to_param,
)
from sansio_step._events import ErrorDetail

from .helpers import (
    MESSAGE_STOP,
    PING,
    TEXT,
    THINKING,
    TOOL,
    block_start,
    block_stop,
    delta,
    describe,
    frame,
    least,
    long_way,
    message_delta,
    message_start,
    partial_of,
    pieces,
    read,
    splits,
    text_block,
    tool_block,
    whole,
)

HELLO = text_block("Hel", "lo")
CUT = message_start() + block_start(TEXT) + delta(text="Hel")
BROKEN = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":\n\n'


async def chunks_of(*chunks):
    for chunk in chunks:
        yield chunk


def collect(iterator):
    """What an iterator yields, and the error that it ends in."""
    items = []
    try:
        for item in iterator:
            items.append(item)
    except StreamError as error:
        return items, error
    return items, None


def acollect(iterator):
    async def run():
        items = []
        try:
            async for item in iterator:
                items.append(item)
        except StreamError as error:
            return items, error
        return items, None

    return asyncio.run(run())


def test_a_whole_stream():
    """Events as they come, then the message; nothing to report."""
    stream = MessageStream(strict=True)
    kinds = [event.type for event in stream.receive_data(whole(HELLO))]
    assert kinds == ["message_start", "content_block_start", "content_block_delta", "content_block_delta",
                     "content_block_stop", "message_delta", "message_stop"]  # fmt: skip
    assert stream.outcome is Outcome.COMPLETE
    assert stream.receive_eof() == []
    message = stream.result()
    assert (message.text, message.stop_reason, message.usage.input_tokens, message.usage.output_tokens) == (
        "Hello", "end_turn", 3, 5,
    )  # fmt: skip
    assert (stream.deviations, stream.fault, stream.unapplied, stream.finished(0)) == ([], None, [], True)
    assert "complete" in repr(stream)


@pytest.mark.parametrize("body", [b"", b": only\n\n", CUT, message_start(), whole(HELLO) + message_start(id="msg_2")])
def test_a_cut_stream_is_truncated(body):
    """Neither message_stop nor stop_reason: no call but result raises, and that with what came."""
    stream = MessageStream()
    stream.receive_data(body)
    with pytest.raises(IncompleteStream, match="still on its way"):
        stream.result()
    assert stream.receive_eof() == []
    assert stream.outcome is Outcome.TRUNCATED
    with pytest.raises(IncompleteStream) as caught:
        stream.result()
    assert caught.value.partial is stream.message


def test_a_stream_that_fails():
    """An error event fails the message; what came before is the partial message."""
    error = frame("error", error={"type": "overloaded_error", "message": "busy", "x": 1}, request_id="req_1")
    body = CUT + error
    stream = MessageStream()
    assert stream.receive_data(body)[-1].error.extra == {"x": 1}
    assert stream.receive_eof() == []
    with pytest.raises(APIError) as caught:
        stream.result()
    one = caught.value
    assert (one.type, one.message, one.request_id, one.status, one.retryable) == (
        "overloaded_error", "busy", "req_1", None, True,
    )  # fmt: skip
    assert (stream.outcome, one.partial.text, one.event_number) == (Outcome.FAILED, "Hel", 3)
    # What follows does not revive it, but another message can.
    assert parse(body + delta(text="lo") + whole(HELLO)).text == "Hello"
    assert partial_of(body + delta(text="lo") + MESSAGE_STOP).text == "Hel"


def test_events_in_front_of_a_fault_come_first():
    """The list, then the fault with the next call, and with each later one; the message stays readable."""
    stream = MessageStream()
    assert len(stream.receive_data(CUT + BROKEN)) == 3
    fault = stream.fault
    assert describe(fault)[2:] == (3, len(CUT))
    assert isinstance(fault, DecodeError)
    for call in (
        lambda: stream.receive_data(whole(HELLO)),
        stream.receive_eof,
        stream.result,
        lambda: stream.receive_data(b"x"),
    ):
        with pytest.raises(DecodeError) as caught:
            call()
        assert caught.value is fault
    assert (fault.partial.text, stream.message.text, stream.outcome) == ("Hel", "Hel", Outcome.FAILED)


def test_a_fault_with_nothing_in_front_is_raised_at_once():
    """No empty list that means trouble."""
    for decoder in (MessageStream(), EventDecoder()):
        with pytest.raises(DecodeError):
            decoder.receive_data(BROKEN)
        assert decoder.fault is not None


def test_a_fault_behind_message_stop_leaves_the_message_whole():
    """Receive calls and iter_events raise it, result does not."""
    body = whole(HELLO) + BROKEN
    stream = MessageStream()
    assert len(stream.receive_data(body)) == 7
    with pytest.raises(DecodeError):
        stream.receive_eof()
    assert (stream.outcome, stream.result().text) == (Outcome.COMPLETE, "Hello")
    assert parse(body).text == "Hello"
    events, error = collect(iter_events([body]))
    assert (len(events), type(error)) == (7, DecodeError)


@pytest.mark.parametrize(
    "body", [message_start() + HELLO + message_delta(), whole(HELLO)[:-1], whole(HELLO) + b"event: x"]
)
def test_what_only_the_end_shows_in_strict_mode(body):
    """receive_eof raises nothing for it; it is kept in fault, and raised by result unless the message was whole."""
    stream = MessageStream(strict=True)
    stream.receive_data(body)
    complete = stream.outcome is Outcome.COMPLETE
    assert stream.receive_eof() == []
    assert isinstance(stream.fault, ProtocolViolation)
    with pytest.raises(ProtocolViolation):
        stream.receive_eof()
    if complete:
        assert stream.result().text == "Hello"
    else:
        with pytest.raises(ProtocolViolation):
            stream.result()
        assert stream.fault.partial.text == "Hello"


def test_a_violation_in_both_modes_is_no_matter_of_the_end():
    """A spliced message whose start the end completes is a fault like any other, raised at once if it is first."""
    stream = MessageStream()
    stream.receive_data(message_start() + message_start(id="msg_2")[:-1])
    with pytest.raises(ProtocolViolation, match=r"spliced.* inside 'msg_1'"):
        stream.receive_eof()


def test_an_error_event_says_where_it_stood():
    """The exception knows the number and the place of the event, however the body is cut."""
    front = message_start() + HELLO + PING
    body = front + frame("error", error={"type": "overloaded_error", "message": "later"}) + PING
    for chunks in ([body], pieces(body, 1), pieces(body, 50), [front, body[len(front) :]]):
        stream = MessageStream()
        for chunk in chunks:
            stream.receive_data(chunk)
        with pytest.raises(APIError, match="later") as caught:
            stream.result()
        assert (caught.value.event_number, caught.value.byte_offset) == (front.count(b"data: "), len(front))


def test_an_error_that_is_raised_again_and_again_does_not_grow():
    """Each time would add the frames it went through, with the chunks in them."""
    for reader in (MessageStream(max_event_size=10), EventDecoder(max_event_size=10), SSEDecoder(max_event_size=10)):
        for receive in (partial(reader.receive_data, b"x" * 100), reader.receive_eof):
            depths = []
            for _ in range(5):
                with pytest.raises(LimitExceeded) as caught:
                    receive()
                depths.append(len(caught.traceback))
            assert len(set(depths[1:])) == 1  # the first call is the one that finds it
    accumulator = MessageAccumulator()
    accumulator.add(ErrorEvent(ErrorDetail("a")))
    depths = set()
    for _ in range(3):
        with pytest.raises(APIError) as failed:
            accumulator.result()
        depths.add(len(failed.traceback))
    assert len(depths) == 1
    broken = MessageAccumulator(max_message_size=1)
    for first in (True, False, False):
        with pytest.raises(LimitExceeded) as over:
            broken.add(ContentBlockDeltaEvent(0, TextDelta("ab")))
        if not first:
            depths.add(len(over.traceback))
    assert len(depths) <= 2
    with pytest.raises(LimitExceeded) as over:
        broken.result()
    assert len(over.traceback) == 2


def test_the_first_fault_counts_whichever_layer_finds_it():
    """A message's fault at one event and a decoder's at a later one: the first, in any chunks; no later deviation."""
    late = frame("ping", _name="late") + BROKEN
    body = CUT + message_start(id="msg_2") + late
    expected = read(pieces(body, 1))
    assert expected["fault"][2:] == (3, len(CUT))
    assert expected["deviations"] == []
    for chunks in splits(body):
        assert read(chunks) == expected


@pytest.mark.parametrize("chunk", [1, 10, 10**6])
def test_max_message_size_counts_the_events(chunk):
    """The bytes of a body's events are bounded, those of all its messages together; the events before are kept."""
    body = whole(text_block(*["x" * 100] * 30), tool_block("[" * 50, index=1))
    size = least(body)
    assert read(pieces(body * 5, chunk), max_message_size=5 * size)["fault"] is None
    shown = read(pieces(body * 5, chunk), max_message_size=5 * size - 1)
    assert shown["fault"][0] is LimitExceeded
    assert len(shown["events"]) == 5 * body.count(b"\n\n") - 1
    assert shown["messages"][:4] == read([body * 4])["messages"]
    shown = read(pieces(body, chunk), max_message_size=size // 2)
    assert shown["fault"][0] is LimitExceeded
    assert "max_message_size" in shown["fault"][1]
    kept = shown["messages"][0]["content"][0]["text"]
    assert len(kept) == 100 * (len(shown["events"]) - 2)
    assert 0 < len(kept) < 3000
    for limits in ({"max_message_size": 50}, {"max_event_size": 50}):
        assert read([body], **limits)["events"] == []


def test_many_messages_stop_at_the_same_event():
    """The event that is too much for all messages together is the same however the body is cut, and is not applied.

    What stands before it is kept, and a message that was whole there is COMPLETE.
    """
    frames = [
        each
        for number in range(6)
        for each in (
            frame("message_start", _name=None, message={"id": f"msg_{number}"}), block_start({"type": "text"}), delta(text="a"),
            delta(1, text="b"), frame("content_block_stop", _name="stop", index=0), frame("message_delta", delta={"stop_reason": "s"}),
            frame("message_stop", new="x" * 30), frame("late", _name=None), frame("error", error="\ud800"),
        )
    ]  # fmt: skip
    body = b"".join(frames)
    per_message = len(frames) // 6
    smallest, largest = (least(b"".join(frames[: count * per_message])) for count in (3, 4))
    cuttings = [[body], frames, pieces(body, 1), pieces(body, 7), pieces(body, 64), pieces(body, 300)]
    refused = set()
    for limit in range(smallest - 1, largest, 41):
        shown = read([body], max_message_size=limit)
        kind, _, number, offset = shown["fault"]
        assert (kind, len(shown["events"]), offset) == (LimitExceeded, number, len(b"".join(frames[:number])))
        for chunks in cuttings[1:]:
            assert read(chunks, max_message_size=limit) == shown
        before = MessageStream()
        before.receive_data(b"".join(frames[:number]))
        assert shown["messages"] == list(map(to_dict, before.messages))
        assert shown["outcome"] is (Outcome.COMPLETE if before.outcome is Outcome.COMPLETE else Outcome.FAILED)
        with long_way():
            assert read(frames, max_message_size=limit) == shown
        refused.add(number % per_message)
    assert refused == set(range(per_message))  # the limit can be reached in each of these events


def test_limits_are_checked_in_characters_of_utf8():
    """A text of three-byte characters counts three times its length, in the long way and in the short ones."""
    body = whole(text_block(*["\u4f60" * 50] * 10))
    start = least(message_start() + block_start(TEXT))
    for chunks in ([body], pieces(body, 3), [part + b"\n\n" for part in body.split(b"\n\n")[:-1]]):
        for most, kept in ((start + 4 * (79 + 150), 4), (start + 4 * (79 + 150) - 1, 3)):
            shown = read(chunks, max_message_size=most)
            assert shown["fault"][0] is LimitExceeded
            assert shown["messages"][0]["content"][0]["text"] == "\u4f60" * 50 * kept


def test_a_message_over_its_limit_in_chunks_of_one_event():
    """The event that is too much is refused at once if it is the only one of its chunk."""
    stream = MessageStream(max_message_size=least(CUT) + 7 * (79 + 50) + 128)
    stream.receive_data(CUT)
    with pytest.raises(LimitExceeded) as caught:
        for _ in range(100):
            assert len(stream.receive_data(delta(text="x" * 50))) == 1
    assert stream.message.text == "Hel" + "x" * 7 * 50
    assert caught.value.byte_offset == len(CUT) + 7 * len(delta(text="x" * 50))


def test_the_place_of_a_fault_in_a_chunk_of_one_event():
    """Comments and CRLF before the event count in its place, in the short way too."""
    for front in (b"", b": c\r\n\r\n", b": c\n\n", b":\r\n"):
        chunk = front + delta(text="x" * 500).replace(b"\n", b"\r\n")
        stream = MessageStream(max_message_size=least(CUT) + 2 * 579 - 1)
        stream.receive_data(CUT)
        stream.receive_data(chunk)
        with pytest.raises(LimitExceeded) as caught:
            stream.receive_data(chunk)
        assert (caught.value.event_number, caught.value.byte_offset) == (4, len(CUT) + len(chunk) + len(front))


def test_an_event_that_the_end_completes_can_break_the_message():
    """The place of the fault is where the unterminated event starts."""
    stream = MessageStream()
    stream.receive_data(CUT + message_start(id="msg_2")[:-2])
    with pytest.raises(ProtocolViolation, match="spliced"):
        for _ in range(2):
            stream.receive_eof()
    assert stream.fault.byte_offset == len(CUT)


def test_size_of_an_event_that_is_deep():
    """An event at the limit of nesting is measured, too, if the stack is nearly used up."""
    event = UnknownEvent("x", extra={"a": json.loads("[" * 190 + "]" * 190)})

    def down(depth):
        return down(depth - 1) if depth else len(to_json(event))

    sizes = [down(sys.getrecursionlimit() - len(inspect.stack()) - room) for room in (120, 400)]
    assert sizes[1] == len('{"type":"x","a":') + 2 * 190 + 1
    assert abs(sizes[0] - sizes[1]) <= 190  # an empty list counts a byte less


def test_a_large_chunk_is_applied_in_slices():
    """A chunk of several hundred KB gives what small ones give, up to a fault in it."""
    body = whole(text_block(*["x" * 500] * 600))
    assert read([body]) == read(pieces(body, 1000))
    broken = body[:150_000].rpartition(b"event:")[0] + BROKEN + body
    assert read([broken]) == read(pieces(broken, 1000))
    assert read([broken])["fault"][3] == broken.index(BROKEN)


def test_bad_limits_are_refused():
    """A limit below one is the caller's error."""
    for options in ({"max_message_size": 0}, {"max_event_size": -1}):
        with pytest.raises(ValueError, match=next(iter(options))):
            MessageStream(**options)


def test_parse_takes_bytes_or_chunks():
    """The same message either way, whatever bytes-like type; text is a TypeError."""
    body = whole(HELLO)
    for given in (body, bytearray(body), memoryview(body), [body], iter(pieces(body, 3)), (bytearray(body),)):
        assert parse(given).text == "Hello"
    for wrong in ("text", ["text"]):
        with pytest.raises(TypeError):
            parse(wrong)
    with pytest.raises(IncompleteStream):
        parse([])


def test_iter_events_raises_after_the_last_event():
    """A cut, failed or broken stream: every event, then what result would raise; sync and async alike."""
    for body, count, error in ((whole(HELLO), 7, None), (CUT, 3, IncompleteStream), (CUT + BROKEN, 3, DecodeError),
                               (CUT + frame("error", error={}), 4, APIError), (BROKEN, 0, DecodeError)):  # fmt: skip
        for size in (1, 50, 10**6):
            for events, raised in (
                collect(iter_events(pieces(body, size))),
                acollect(aiter_events(chunks_of(*pieces(body, size)))),
            ):
                assert len(events) == count
                assert type(raised) is (type(None) if error is None else error)
    events, raised = collect(iter_events([whole(HELLO)[:-1]]))
    assert (len(events), raised) == (7, None)
    assert acollect(aiter_events(chunks_of(whole(HELLO)[:-1])))[0] == events


def test_iter_events_stops_at_the_fault():
    """No further chunk is asked for once the stream is broken."""

    def source():
        yield CUT + BROKEN
        raise AssertionError("asked for more")

    assert collect(iter_events(source()))[1].event_number == 3


def test_iter_events_wants_chunks():
    """Bytes in place of chunks would be read as numbers: a TypeError, at the call, that says what to do instead."""
    for wrong in (b"data: 1\n\n", "text", bytearray(), memoryview(b"")):
        kind = type(wrong).__name__
        instead = (
            ": the body as it came, before any decoding" if kind == "str" else r" itself; parse\(\) takes it whole"
        )
        for _ in range(2):
            with pytest.raises(TypeError, match=f"^expected an iterable of bytes, not {kind}{instead}$"):
                iter_events(wrong)
        with pytest.raises(TypeError, match=rf"^expected an async iterable of bytes, not {kind}\b"):
            aiter_events(wrong)
    for wrong in (b"", [b""]):
        with pytest.raises(TypeError):
            aiter_events(wrong)


class Response:
    """What HTTP libraries hand out: chunks by a method, and no iterable itself."""

    def iter_bytes(self):
        return iter([whole(HELLO)])

    async def aiter_bytes(self):
        yield whole(HELLO)


class Aiohttp:
    content = type("StreamReader", (), {"iter_any": lambda self: self})()


def test_what_is_no_chunks_says_what_to_do():
    """A response, an async source in a plain loop and the reverse: each TypeError names the way, in one line."""
    for wrong, call, words in (
        (
            Response(),
            iter_events,
            "not Response: pass the chunks of its body, as aiter_bytes() or iter_bytes() gives them",
        ),
        (
            Response(),
            aiter_events,
            "not Response: pass the chunks of its body, as aiter_bytes() or iter_bytes() gives them",
        ),
        (Aiohttp(), aiter_events, "not Aiohttp: pass the chunks of its body, as content.iter_any() gives them"),
        (chunks_of(b""), iter_events, "not async_generator, which is async: aiter_events() takes it"),
        ([b""], aiter_events, "not list, which is not async: iter_events() takes it"),
        (b"", aiter_events, "not bytes itself; parse() takes a whole body, as bytes"),
        (7, iter_events, "not int"),
    ):
        with pytest.raises(TypeError) as caught:
            call(wrong)
        assert str(caught.value).endswith(words)
        assert str(caught.value).startswith("expected an ")
    assert collect(iter_events(Response().iter_bytes()))[1] is None


@pytest.mark.parametrize("name", ["aiter_bytes", "iter_bytes", "iter_content", "iter_any", "iter_chunked", "stream"])
def test_a_response_is_told_by_the_method_that_gives_its_chunks(name):
    """As the HTTP libraries name it; an attribute that can't be called gives none."""
    response = type("Answer", (), {name: lambda self: iter(())})()
    for call in (iter_events, aiter_events):
        with pytest.raises(TypeError, match=rf"not Answer: pass the chunks of its body, as {name}\(\) gives them$"):
            call(response)
        with pytest.raises(TypeError, match="not Answer$"):
            call(type("Answer", (), {name: b""})())


def test_chunks_can_come_by_their_numbers():
    """As from a class of the old protocol, which has no `__iter__`."""
    chunks = type("Chunks", (), {"__getitem__": lambda self, number: [whole(HELLO)][number]})()
    assert collect(iter_events(chunks))[1] is None
    assert parse(chunks).text == "Hello"


def test_options_reach_every_door():
    """strict and the limits mean the same everywhere."""
    body = whole(HELLO) + frame("ping", _name="late")
    for strict, error in ((False, type(None)), (True, ProtocolViolation)):
        assert type(collect(iter_events([body], strict=strict))[1]) is error
        assert type(acollect(aiter_events(chunks_of(body), strict=strict))[1]) is error
    assert type(collect(iter_events([body], max_event_size=20))[1]) is LimitExceeded
    assert type(acollect(aiter_events(chunks_of(body), max_message_size=20))[1]) is LimitExceeded
    with pytest.raises(LimitExceeded):
        parse(body, max_event_size=20)


def test_each_limit_reaches_every_door():
    """max_event_size and max_message_size hold for the stream in each of the one-liners, and are not smaller there."""
    body = whole(HELLO)
    largest = max(map(len, body.split(b"\n\n"))) + 2

    async def arun(**options):
        async def source():
            yield body

        return [event async for event in aiter_events(source(), **options)]

    for name, enough in (("max_event_size", largest), ("max_message_size", least(body))):
        for run in (
            lambda **options: parse(body, **options),
            lambda **options: list(iter_events([body], **options)),
            lambda **options: asyncio.run(arun(**options)),
        ):
            run(**{name: enough})
            with pytest.raises(LimitExceeded) as caught:
                run(**{name: 100})
            assert (caught.value.name, caught.value.limit) == (name, 100)


def test_events_applied_one_by_one():
    """iter_data and iter_eof give what receive_data and receive_eof return; each event is applied when it is given."""
    stream = MessageStream()
    texts = [
        stream.message.text for _ in stream.iter_data(message_start() + HELLO + message_delta() + MESSAGE_STOP[:-1])
    ]
    assert texts == ["", "", "Hel", "Hello", "Hello", "Hello"]
    assert stream.outcome is Outcome.STREAMING
    assert [event.type for event in stream.iter_eof()] == ["message_stop"]
    assert (stream.outcome, stream.event_count, list(stream.iter_eof())) == (Outcome.COMPLETE, 7, [])
    with pytest.raises(ValueError, match="receive_data after receive_eof"):
        stream.iter_data(b"")
    broken = MessageStream()
    assert len(list(broken.iter_data(CUT + BROKEN))) == 3
    assert isinstance(broken.fault, DecodeError)
    for call in (lambda: broken.iter_data(b""), lambda: broken.iter_data(delta(text="x")), broken.iter_eof):
        with pytest.raises(DecodeError) as caught:
            call()
        assert caught.value is broken.fault
    with pytest.raises(TypeError, match="not str"):
        MessageStream().iter_data("text")


def test_why_there_is_no_result():
    """A stream that goes on, one that ended too early, one that failed: each says so, with the number of the next event."""
    stream = MessageStream()
    for reason, step in [
        ("the message is still on its way (event 0)", lambda: stream.receive_data(CUT)),
        ("the message is still on its way (event 3)", stream.receive_eof),
        ("the stream ended before the message did (event 3)", lambda: None),
    ]:
        with pytest.raises(IncompleteStream) as caught:
            stream.result()
        assert str(caught.value) == reason
        assert caught.value.partial is stream.message
        step()
    with pytest.raises(ValueError, match="^receive_data after receive_eof: one object reads one body$"):
        stream.receive_data(b"")


def test_the_message_after_a_failed_one_is_its_own():
    """An error ends its message; the next message of the body can be whole, and is what result gives."""
    body = CUT + frame("error", error={"type": "t", "message": "m"}) + whole(HELLO).replace(b"msg_1", b"msg_2")
    stream = MessageStream()
    stream.receive_data(body[: len(CUT) + 90])
    stream.receive_data(body[len(CUT) + 90 :])
    assert (stream.outcome, stream.result().id) == (Outcome.COMPLETE, "msg_2")
    stream.receive_data(message_start(id="msg_3"))
    with pytest.raises(IncompleteStream, match="still on its way"):
        stream.result()


def test_the_message_is_live():
    """One object from the first event on; its texts are up to date whenever they are read."""
    stream = MessageStream()
    assert stream.message is None
    stream.receive_data(CUT)
    message = stream.message
    assert (message.text, stream.finished(0), stream.finished(1)) == ("Hel", False, False)
    stream.receive_data(delta(text="lo"))
    assert (message.text, message.content[0].text, repr(message.content[0])) == (
        "Hello",
        "Hello",
        "TextBlock(text='Hello')",
    )
    assert message.content == [TextBlock("Hello")]
    stream.receive_data(block_stop() + message_delta() + MESSAGE_STOP)
    assert stream.result() is message is stream.message
    assert stream.messages == [message]


def test_a_live_message_can_be_copied():
    """Copies and pickles are of the moment; the stream goes on with its own."""
    stream = MessageStream()
    stream.receive_data(CUT + block_start(TOOL, 1) + delta(1, partial_json='{"a": [1, 2'))
    for twin in (copy.deepcopy(stream.message), pickle.loads(pickle.dumps(stream.message))):
        stream.receive_data(delta(text="lo"))
        assert twin.text == "Hel"
        assert twin.content[1].partial_input() == {"a": [1]}
        with pytest.raises(ToolInputError, match="not finished"):
            twin.content[1].input  # noqa: B018
        assert twin.content is not stream.message.content
        twin.content[0].text += "!"
        assert twin.text == "Hel!"
    message, block = copy.deepcopy([stream.message, stream.message.content[0]])
    assert message.content[0] is block  # as in what was copied


@pytest.mark.parametrize(
    "reader", [MessageStream, MessageAccumulator, EventDecoder, SSEDecoder], ids=lambda reader: reader.__name__
)
def test_what_reads_a_body_cannot_be_copied(reader):
    """A copy would share the buffers of the one that goes on: a TypeError that says what can be copied instead."""
    for twin_of in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=f"{reader.__name__} can't be copied or pickled.* messages can"):
            twin_of(reader())


def test_events_are_not_changed_by_the_message():
    """What the accumulator merges into is its own copy."""
    start = {**TEXT, "citations": [{"n": 1}]}
    usage = {"input_tokens": 3, "output_tokens": 1, "cost": 0}
    body = (
        message_start(content=[TEXT], extra_field=1, usage=usage) + block_start(start, 1) + delta(1, citation={"n": 2})
    )
    stream = MessageStream()
    events = stream.receive_data(body + block_start({"type": "memo", "citations": []}, 2) + delta(2, citation={}))
    stream.receive_data(delta(1, text="x") + message_delta(new=1, usage={"output_tokens": 5, "cost": 9}))
    assert stream.message.usage.extra == {"cost": 9}
    assert events[0].message.usage.extra == {"cost": 0}
    assert events[0].message.content == [TextBlock("")]
    assert events[0].message.extra == {"extra_field": 1}
    assert events[0].message.usage.output_tokens == 1
    assert events[1].content_block.citations == [{"n": 1}]
    assert events[3].content_block.extra == {"citations": []}
    assert stream.message.extra == {"extra_field": 1, "new": 1}


def test_short_ways_agree_with_the_general_way():
    """Every cutting of a rich body, in every shape, gives the same by the general way alone."""
    body = whole(
        HELLO, frame("ping", cost=1), block_start(THINKING, 1), delta(1, thinking="t\u4f60"), delta(1, signature="s"), block_stop(1),
        tool_block('{"a"', ":1}", index=2), frame("odd", a=1), block_start(TEXT, 3), delta(3, text="\ud83d"), delta(3, text="\ude00"),
        delta(3, text="x").replace(b'"x"', b'"x","new":1'), delta(3, citation={"u": 1}), block_stop(3),
    )  # fmt: skip
    unnamed = b"".join(line for line in body.splitlines(keepends=True) if not line.startswith(b"event:"))
    shapes = [body, body.replace(b"\n", b"\r\n"), unnamed, body.replace(b": ", b":"), body.replace(b"event:", b"id: 1\nevent:"),
              body.replace(b"event:", b": c\n\nevent:"), body.replace(b',"index"', b'\ndata: ,"index"'), body.replace(b"event: ping", b"event: pong"),
              body.replace(b'"index":2', b'\n"index":2')]  # fmt: skip
    cuttings = [[shape] for shape in shapes] + [pieces(shape, size) for shape in shapes for size in (1, 13, 200)]
    cuttings += [[part + b"\n\n" for part in shape.split(b"\n\n")[:-1]] for shape in shapes]
    options = ({}, {"strict": True}, {"max_event_size": 110}, {"max_message_size": 1724}, {"max_message_size": 2200})
    short = [read(chunks, **option) for chunks in cuttings for option in options]
    with long_way():
        assert [read(chunks, **option) for chunks in cuttings for option in options] == short


def test_accumulator_takes_events_from_anywhere():
    """add and extend, with the same numbers; a fault at once; nothing after the end or a fault."""
    events = EventDecoder().receive_data(whole(HELLO))
    one, many = MessageAccumulator(strict=True), MessageAccumulator(strict=True)
    for event in events:
        one.add(event)
    many.extend(iter(events))
    assert to_dict(one.result()) == to_dict(many.result()) == to_dict(parse(whole(HELLO)))
    many.receive_eof()
    many.receive_eof()
    with pytest.raises(ValueError, match="receive_eof"):
        many.add(events[0])
    spliced = EventDecoder().receive_data(CUT + message_start(id="msg_2"))
    broken = MessageAccumulator()
    with pytest.raises(ProtocolViolation) as caught:
        broken.extend(spliced)
    assert (caught.value.event_number, caught.value.byte_offset, broken.message.text) == (3, None, "Hel")
    with pytest.raises(ProtocolViolation):
        broken.add(events[0])
    with pytest.raises(TypeError, match="TextDelta"):
        MessageAccumulator().add(TextDelta("x"))
    assert "failed" in repr(broken)
    broken.receive_eof()
    assert broken.fault is caught.value


def test_subclassed_events_are_events():
    """A caller's own subclass of an event type is applied like it."""
    (event,) = EventDecoder().receive_data(message_start())

    class Tagged(type(event), frozen=True):
        pass

    accumulator = MessageAccumulator()
    accumulator.add(Tagged(event.message))
    assert accumulator.message.id == "msg_1"


def test_halves_in_the_callers_own_events_are_joined():
    """Events made by hand may hold halves of characters too; no lone one is shown."""
    accumulator = MessageAccumulator()
    accumulator.extend(EventDecoder().receive_data(CUT))
    accumulator.extend(
        [ContentBlockDeltaEvent(0, TextDelta(text)) for text in ("a", "b\ud83d", "\ude00c", "\ud83d", "d")]
    )
    assert accumulator.message.text == "Helab\U0001f600c\ufffdd"
    alone = MessageAccumulator()
    for event in [*EventDecoder().receive_data(CUT), ContentBlockDeltaEvent(0, TextDelta("\ude00"))]:
        alone.add(event)
    assert alone.message.text == "Hel\ufffd"


def test_an_error_of_the_source_is_its_own():
    """The source of the chunks can raise a StreamError too: parse raises that error itself, not a reading of it."""

    def source():
        yield CUT
        raise ConnectionLost("reset")

    with pytest.raises(ConnectionLost):
        parse(source())


def test_several_messages():
    """messages has all; message, outcome and result speak of the last."""
    second = whole(text_block("two")).replace(b"msg_1", b"msg_2")
    stream = MessageStream(strict=True)
    stream.receive_data(whole(HELLO) + second[:-60])
    assert stream.outcome is Outcome.STREAMING
    assert [message.text for message in stream.messages] == ["Hello", "two"]
    stream.receive_data(second[-60:])
    assert (stream.result().id, stream.outcome) == ("msg_2", Outcome.COMPLETE)


def test_usage_is_cumulative():
    """A later count replaces, null and absent keep what stood, unknown keys are kept."""
    body = (
        message_start(usage={"input_tokens": 9, "output_tokens": 1, "speed": "fast", "service_tier": "s"})
        + message_delta(None, usage={"output_tokens": 3, "input_tokens": None, "cost": 1, "speed": None})
        + message_delta(usage={"output_tokens": 5, "cost": 2, "cache_creation": {"a": 1}})
        + MESSAGE_STOP
    )
    assert to_dict(parse(body))["usage"] == {
        "input_tokens": 9, "output_tokens": 5, "speed": "fast", "service_tier": "s", "cost": 2, "cache_creation": {"a": 1},
    }  # fmt: skip


def test_later_message_deltas_take_nothing_away():
    """An empty delta, or one with nulls, keeps the stop_reason, and what else was said."""
    body = (
        message_start(new=1)
        + frame("message_delta", delta={"stop_reason": "refusal", "stop_details": {"a": 1}, "container": {"id": "c"}, "odd": 1},
                usage={"output_tokens": 1}, context_management={"edits": []}, top=[1])
        + frame("message_delta", delta={"stop_reason": None, "odd": None}, usage={}, context_management=None)
        + frame("message_delta", delta={}, usage={})
        + frame("message_stop", metrics={"n": 1})
    )  # fmt: skip
    message = to_dict(parse(body, strict=True))
    assert message == {
        "type": "message", "id": "msg_1", "role": "assistant", "model": "m", "content": [], "stop_reason": "refusal",
        "stop_sequence": None, "stop_details": {"a": 1}, "container": {"id": "c"}, "context_management": {"edits": []},
        "usage": {"input_tokens": 3, "output_tokens": 1}, "new": 1, "odd": 1, "top": [1], "metrics": {"n": 1},
    }  # fmt: skip


def test_a_fallback_block_changes_the_model():
    """The block's `to.model` is the message's model from then on."""
    start = {"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}}
    message = parse(whole(block_start(start), block_stop()))
    assert (message.model, message.content[0].from_, to_dict(message)["content"]) == ("b", {"model": "a"}, [start])
    assert parse(whole(block_start({"type": "fallback"}), block_stop())).model == "m"


def test_blocks_that_replace_and_collect():
    """Citations are appended in order, compaction replaces its content."""
    compaction = frame(
        "content_block_delta", index=1, delta={"type": "compaction_delta", "content": "c", "encrypted_content": "e"}
    )
    body = whole(
        block_start(TEXT), delta(text="a"), delta(citation={"n": 1}), delta(citation={"n": 2}), block_stop(),
        block_start({"type": "compaction", "content": None}, 1), compaction, block_stop(1),
    )  # fmt: skip
    assert to_dict(parse(body, strict=True))["content"] == [
        {"type": "text", "text": "a", "citations": [{"n": 1}, {"n": 2}]},
        {"type": "compaction", "content": "c", "encrypted_content": "e"},
    ]


def test_cut_arguments_are_never_finished_ones():
    """A tool call whose block or text is not whole raises; what it says so far is shown as such."""
    cut = message_start() + block_start(TOOL)
    for body in (cut, cut + delta(partial_json='{"city": "Par'), cut + delta(partial_json='{"city": "Paris"}')):
        block = partial_of(body).tool_uses[0]
        with pytest.raises(ToolInputError, match="not finished"):
            block.input  # noqa: B018
        assert to_dict(block)["input_json"] == block.input_json
        assert to_dict(block)["input"] == block.partial_input()
    block = parse(whole(tool_block('{"city": "Par'), stop_reason="max_tokens")).tool_uses[0]
    with pytest.raises(ToolInputError) as caught:
        block.input  # noqa: B018
    assert (caught.value.input_json, caught.value.position) == ('{"city": "Par', 13)
    assert isinstance(caught.value, ValueError)
    assert block.partial_input() == {"city": "Par"}


def test_bytes_without_an_event_change_no_block():
    stream = MessageStream()
    stream.receive_data(message_start() + block_start(TEXT) + delta(text="a"))
    assert stream.block is stream.message.content[0]
    stream.receive_data(PING)
    for nothing in (b"", b": a comment\n\n", b"event: pi"):
        assert stream.receive_data(nothing) == []
        assert stream.block is None


def test_the_block_of_deltas_after_something_else_in_one_chunk():
    stream = MessageStream()
    stream.receive_data(message_start() + block_start(TEXT) + delta(text="a"))
    stream.receive_data(PING + delta(text="b") + delta(text="c"))
    assert stream.block is stream.message.content[0]
    stream.receive_data(delta(text="d") + PING)
    assert stream.block is None


def test_what_an_iterator_gave_before_it_raised_is_applied():
    """No event is lost to an error after it."""
    accumulator = MessageAccumulator()
    with pytest.raises(IncompleteStream):
        accumulator.extend(iter_events([message_start() + block_start(TEXT), *[delta(text="word ")] * 100]))
    assert accumulator.event_count == 102
    assert accumulator.message.text == "word " * 100


def test_two_entries_of_one_event_count_twice_whichever_way_events_are_given():
    """A delta without an event line, and with half of a character, adds two entries to the deviations."""
    odd = delta(text="\ud83d").partition(b"\n")[2]
    body = message_start() + block_start(TEXT) + odd + delta(text="x") + block_stop() + message_delta() + MESSAGE_STOP
    for limit in range(1700, 2500, 16):
        expected = read([body], max_message_size=limit)
        events = iter_events([body], max_message_size=limit)
        given = []
        with suppress(StreamError):
            given += events
            given += events
        assert len(events.messages) == len(expected["messages"])
        assert (events.outcome, events.deviations) == (expected["outcome"], expected["deviations"]), limit


def test_the_place_of_an_error_that_came_by_a_frame_stays_unknown():
    stream = MessageStream()
    stream.receive_frame({"type": "message_start", "message": {}})
    stream.receive_frame({"type": "error", "error": {"type": "x", "message": "y"}})
    stream.receive_data(b": comment\n\n" * 3 + PING)
    with pytest.raises(APIError) as caught:
        stream.result()
    assert (caught.value.event_number, caught.value.byte_offset) == (1, None)


def test_a_decoder_of_ones_own():
    strict = MessageStream(decoder=EventDecoder(strict=True))
    with pytest.raises(ProtocolViolation, match="no_event_line"):
        strict.receive_data(b'data: {"type":"ping"}\n\n')
    ended = MessageStream(decoder=EventDecoder(strict=True))
    ended.receive_data(whole(text_block("Hi")).removesuffix(MESSAGE_STOP))
    assert ended.receive_eof() == []  # what only the end shows is kept
    assert isinstance(ended.fault, ProtocolViolation)
    for wrong in ("x", SSEDecoder()):
        kind = type(wrong).__name__
        with pytest.raises(TypeError, match=f"^expected an EventDecoder or a BedrockDecoder, not {kind}$"):
            MessageStream(decoder=wrong)
    for options in ({"strict": True}, {"max_event_size": 100}):
        with pytest.raises(ValueError, match="the decoder's own"):
            MessageStream(decoder=EventDecoder(), **options)
    used = EventDecoder()
    used.receive_data(b"x")
    half_read, ended_before = BedrockDecoder(), EventDecoder()
    half_read.receive_data(b"\0")
    ended_before.receive_eof()
    for decoder in (used, half_read, ended_before):
        with pytest.raises(ValueError, match="has read something already"):
            MessageStream(decoder=decoder)


def test_bytes_that_wait_are_read_before_those_that_are_given_one_by_one():
    """The three verbs mix: `iter_data` and `iter_eof` go on from where `consume` was."""
    body = whole(HELLO)
    for cut in range(len(body)):
        stream = MessageStream()
        stream.consume(body[:cut])
        given = [*stream.iter_data(body[cut:])]
        assert (len(given), stream.event_count) == (len(EventDecoder().receive_data(body)) - number_in(body[:cut]), 7)
        assert stream.result().text == "Hello"
    stream = MessageStream()
    stream.consume(body[:-1])
    assert [event.type for event in stream.iter_eof()] == ["message_stop"]
    assert stream.result().text == "Hello"


def number_in(body):
    return len(EventDecoder().receive_data(body)) if body else 0


def test_a_large_chunk_is_given_to_its_end():
    """It is read in slices, and each goes on where the last one ended."""
    body = whole(text_block(*"ab" * 1000))
    assert [*iter_events([body])] == MessageStream().receive_data(body)
    assert [*MessageStream().iter_data(body)] == MessageStream().receive_data(body)


def test_the_place_of_an_error_that_comes_first():
    """It is the error's own, also if more follows in the same chunk."""
    failed = frame("error", error={"type": "overloaded_error"})
    for before in (b"", PING, PING * 2):
        with pytest.raises(APIError) as caught:
            parse(before + failed + PING)
        assert (caught.value.event_number, caught.value.byte_offset) == (len(before) // len(PING), len(before))


def test_what_only_the_end_shows_is_among_the_deviations_of_a_loop():
    reader = iter_events([whole(HELLO) + b"event: x"])
    assert len([*reader]) == 7
    assert [found.code for found in reader.deviations] == ["unfinished_event"]


def test_a_block_whose_index_is_taken_is_finished():
    """Nothing more can come for it, so that it can be sent back."""
    stream = MessageStream()
    stream.receive_data(message_start() + block_start(TEXT) + delta(text="a") + block_start(TEXT) + delta(text="b"))
    assert [block.is_finished for block in stream.message.content] == [True, False]
    stream.receive_data(block_stop() + message_delta() + MESSAGE_STOP)
    assert [block.is_finished for block in stream.result().content] == [True, True]
    assert to_param(stream.message)["content"] == [{"type": "text", "text": text} for text in "ab"]
