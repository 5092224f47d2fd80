"""The one-liners: readers that know their message, sources that break off, bodies that are no stream."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import pickle
import struct
import zlib
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_step import (
    APIError,
    AsyncMessageReader,
    ConnectionLost,
    DecodeError,
    IncompleteStream,
    LimitExceeded,
    MessageReader,
    MessageStream,
    Outcome,
    ProtocolViolation,
    StreamError,
    aiter_events,
    iter_events,
    parse,
    to_dict,
)
from sansio_step.testing import chunked, damaged, deviating_streams, event_streams, wire_bytes

from .helpers import (
    MESSAGE_STOP,
    PING,
    TEXT,
    THINKING,
    block_start,
    block_stop,
    delta,
    describe,
    frame,
    least,
    message_delta,
    message_start,
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
FAILED = CUT + frame("error", error={"type": "overloaded_error", "message": "busy"})


class Source:
    """Gives chunks, sync and async, then raises if it has something to raise; counts how often it is closed."""

    def __init__(self, *chunks, error=None, close_error=None):
        self.chunks = list(chunks)
        self.error = error
        self.close_error = close_error
        self.closed = 0

    def __iter__(self):
        return self

    def __next__(self):
        if self.chunks:
            return self.chunks.pop(0)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        raise StopIteration

    def close(self):
        self.closed += 1
        if self.close_error is not None:
            raise self.close_error


class AsyncSource(Source):
    __iter__ = None

    def __aiter__(self):
        return self

    async def __anext__(self):
        try:
            return Source.__next__(self)
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self):
        Source.close(self)

    close = None


class Both:
    """A reader, sync or async, with one sync face."""

    def __init__(self, is_async, *chunks, error=None, close_error=None, **options):
        self.source = (AsyncSource if is_async else Source)(*chunks, error=error, close_error=close_error)
        self.reader = (aiter_events if is_async else iter_events)(self.source, **options)
        self.is_async = is_async

    def __iter__(self):
        return self

    def __next__(self):
        if not self.is_async:
            return next(self.reader)
        try:
            return asyncio.run(self.reader.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self):
        return asyncio.run(self.reader.aclose()) if self.is_async else self.reader.close()

    def rest(self):
        """The events that are left, and the error after them."""
        events = []
        try:
            events.extend(iter(self.__next__, None))
        except StreamError as error:
            return events, error
        return events, None


either = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


def shown(reader):
    """All that a reader or a stream shows of the message, as values."""
    return {
        "messages": list(map(to_dict, reader.messages)),
        "message": None if reader.message is None else to_dict(reader.message),
        "block": None if reader.block is None else to_dict(reader.block),
        "outcome": reader.outcome,
        "deviations": reader.deviations,
        "unapplied": list(reader.unapplied),
        "usage_is_final": reader.usage_is_final,
    }


def history(body):
    """What is shown after each event of a body that comes byte by byte, so that no event can come too early."""
    stream = MessageStream()
    found = []
    with contextlib.suppress(StreamError):
        for byte in pieces(body, 1):
            found += [(event, shown(stream)) for event in stream.receive_data(byte)]
    return found


# --- as of the event given last ----------------------------------------------------------------------------------

UNNAMED = b"".join(
    line for line in whole(HELLO, tool_block('{"a"', ":1}", index=1)).splitlines(keepends=True) if line[:5] != b"event"
)
ODD = b"".join(
    (
        message_start(), delta(text="no start"), block_start(TEXT, 2), delta(2, text="a"), delta(2, text="\ud83d"), delta(2, text="\ude00"),
        delta(2, text="\ud83d"), delta(2, text="x"), delta(2, thinking="not here"), block_start(TEXT, 2), delta(2, text="b"), PING,
        frame("content_block_delta", index=2, delta={"type": "new_delta", "n": 1}), frame("odd", _name="even"), message_delta(None),
        frame("content_block_delta", index=2, delta={"type": "new_delta", "n": 2}), block_stop(2), message_delta(), MESSAGE_STOP,
        frame("ping", _name="late"), whole(HELLO).replace(b"msg_1", b"msg_2"),
    )
)  # fmt: skip
THOUGHT = block_start(THINKING, 1) + delta(1, thinking="t") + block_stop(1)
COMMENTS = whole(HELLO, THOUGHT).replace(b"event:", b": c\n\n:\nevent:")
BODIES = {
    "plain": whole(HELLO, tool_block('{"a"', ":1}", index=1)),
    "unnamed": UNNAMED,
    "odd": ODD,
    "comments": COMMENTS,
    "blank lines": whole(HELLO).replace(b"\n\n", b"\n\n\n\n\n"),
    "CRLF": ODD.replace(b"\n", b"\r\n"),
    "CR": ODD.replace(b"\n", b"\r"),
    "mixed": whole(HELLO).replace(b"\n\n", b"\n\r\n").replace(b"event", b"\r\nevent"),
    "failed": FAILED,
    "broken": CUT + BROKEN,
}
SHARED_FRAME = CUT + delta(text="a")[:-1] + b'{"a":1}\n\n' + delta(text="b") + message_delta() + MESSAGE_STOP


@either
@pytest.mark.parametrize("name", BODIES)
def test_all_is_as_of_the_event_given_last(name, is_async):
    """However many events a chunk holds: message, block, outcome and counted deviations are those after this event."""
    body = BODIES[name]
    expected = history(body)
    chunkings = [[body], pieces(body, 7), pieces(body, 64), pieces(body, 1460)]
    if not is_async:
        chunkings += [pieces(body, 1), [bytearray(body[:300]), memoryview(body[300:])]]
    for chunks in chunkings:
        both = Both(is_async, *chunks)
        for event, then in expected:
            assert next(both) == event
            assert shown(both.reader) == then
        with contextlib.suppress(StreamError):
            assert next(both, None) is None


@given(
    st.data(),
    deviating_streams().map(lambda stream: stream.data) | event_streams().flatmap(wire_bytes).flatmap(damaged),
)
def test_whatever_comes_shows_as_of_the_event_given_last(data, body):
    """The same for streams of every deviation, and for damaged ones."""
    reader = iter_events(data.draw(st.just([body]) | chunked(body)))
    stream = MessageStream()
    with contextlib.suppress(StreamError):
        for byte in pieces(body, 1):
            events = stream.receive_data(byte)
            assert list(islice(reader, len(events))) == events
            if events and stream.fault is None:
                assert shown(reader) == shown(stream)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_counts_are_those_so_far(line_end):
    """A deviation of every event has been met once after the first event, twice after the second, in any cutting."""
    body = b"".join((message_start(), *[PING] * 4)).replace(b"event: ping\n", b": c\n")
    body = body.replace(b"event: message_start\n", b"").replace(b"\n", line_end)
    for chunks in splits(body):
        reader = iter_events(chunks)
        counts = [[(each.code, each.count) for each in reader.deviations] for _ in islice(reader, 5)]
        assert counts == [[("no_event_line", number)] for number in range(1, 6)]


GLUED = (whole(HELLO).replace(b"\n\nevent: ", b"\nevent: ")).replace(b"event: message_start\n", b"")
GLUED = b"\n".join(line for line in GLUED.split(b"\n") if not line.startswith(b"event:"))


def test_events_that_share_a_frame_show_one_by_one():
    """Without a blank line between them the decoder reads them at once; they are applied, and deviate, in turn."""
    kinds = [json.loads(line[6:])["type"] for line in GLUED.split(b"\n") if line]
    bare = GLUED.replace(b'"usage":{"output_tokens":5},', b"").replace(b',"usage":{"output_tokens":5}', b"")
    for chunks in ([bare], pieces(bare, 1), pieces(bare, 50)):
        reader = iter_events(chunks)
        seen = []
        for event in reader:
            codes = [deviation.code for deviation in reader.deviations]
            seen.append((event.type, reader.message.text, reader.outcome, codes))
        assert [each[0] for each in seen] == kinds
        assert [each[1] for each in seen] == ["", "", "Hel", "Hello", "Hello", "Hello", "Hello"]
        assert [each[2] for each in seen] == [Outcome.STREAMING] * 6 + [Outcome.COMPLETE]
        # The usage is missing in the sixth.
        assert [each[3] for each in seen] == [["no_blank_line"]] * 5 + [["no_blank_line", "bare_message_delta"]] * 2


@pytest.mark.parametrize("looks", [False, True])
def test_a_fault_among_events_that_share_a_frame(looks):
    """The same events, error and deviations as the stream's own, whether or not somebody looks meanwhile."""
    lines = GLUED.split(b"\n")
    spliced = message_start(id="msg_2").split(b"\n")[1]
    later = [line.replace(b'"usage"', b'"other"') for line in lines[4:]]  # deviates, but comes too late
    body = b"\n".join([*lines[:4], spliced, *later])
    expected = read([body])
    assert [each.code for each in expected["deviations"]] == ["no_blank_line"]
    assert expected["fault"][0] is ProtocolViolation
    reader = iter_events([body])
    events = []
    with pytest.raises(ProtocolViolation) as caught:
        for event in reader:
            events.append(event)
            if looks:
                shown(reader)
    assert (events, describe(caught.value)) == (expected["events"], expected["fault"])
    assert (reader.deviations, reader.outcome) == (expected["deviations"], Outcome.FAILED)


@pytest.mark.parametrize("body", [*BODIES.values(), SHARED_FRAME], ids=[*BODIES, "shared frame"])
@pytest.mark.parametrize("options", [{}, {"strict": True}, {"max_event_size": 110}, {"max_message_size": 1900}])
def test_a_reader_gives_what_the_stream_gives(body, options):
    """The same events, then the same error, in any cutting."""
    expected = read([body], **options)
    wrong = expected["fault"]
    if wrong is None and expected["outcome"] is not Outcome.COMPLETE:
        stream = MessageStream(**options)
        stream.receive_data(body)
        stream.receive_eof()
        with pytest.raises(StreamError) as caught:
            stream.result()
        wrong = describe(caught.value)
    chunkings = splits(body) if len(body) < 700 else [[body], *(pieces(body, size) for size in (1, 7, 50, 200))]
    for chunks in chunkings:
        both = Both(False, *chunks, **options)
        events, error = both.rest()
        assert (events, describe(error)) == (expected["events"], wrong)
        assert both.reader.deviations == expected["deviations"]
        assert both.reader.outcome is expected["outcome"]


def test_the_message_is_live():
    """One object, whose text grows with the events that are given and not with those that wait."""
    reader = iter_events([CUT + delta(text="lo")])
    next(reader)
    message = reader.message
    texts = [(event.type, message.text) for event in islice(reader, 3)]
    assert texts == [("content_block_start", ""), ("content_block_delta", "Hel"), ("content_block_delta", "Hello")]
    assert reader.message is message is reader.messages[0]
    assert reader.block is message.content[0]


@either
def test_the_block_is_right_after_gaps_and_reused_indices(is_async):
    """An index that skips or comes again is no place in `content`; `block` is the block that was meant."""
    both = Both(is_async, ODD)
    texts = {event.index: both.reader.block.text for event in both if event.type == "content_block_stop"}
    assert texts == {2: "b", 0: "Hello"}


# --- iterating, closing ------------------------------------------------------------------------------------------


@either
def test_iterating_again_goes_on(is_async):
    """A second loop continues where the first broke off, in the middle of a chunk; after the end it stops at once."""
    both = Both(is_async, whole(HELLO) + PING)
    first = [next(both).type, next(both).type]
    rest, error = both.rest()
    assert (first, len(rest), error) == (["message_start", "content_block_start"], 6, None)
    assert both.rest() == ([], None)
    assert both.reader.result().text == "Hello"
    assert both.source.closed == 1


@either
@pytest.mark.parametrize(
    ("body", "error"), [(CUT, IncompleteStream), (CUT + BROKEN, DecodeError), (FAILED, APIError), (whole() + BROKEN, DecodeError)]
)  # fmt: skip
def test_an_error_is_raised_by_each_later_loop(body, error, is_async):
    """No second loop over a broken stream looks like the end of a whole one."""
    both = Both(is_async, body)
    events, raised = both.rest()
    assert (len(events), type(raised)) == (body.count(b"\n\n") - (error is DecodeError), error)
    assert both.rest() == ([], raised)
    assert both.source.closed == 1
    both.close()
    assert both.rest() == ([], raised)
    if both.reader.outcome is not Outcome.COMPLETE:
        with pytest.raises(error) as caught:
            both.reader.result()
        assert caught.value is raised
    else:
        assert both.reader.result() is both.reader.message


@either
def test_closing(is_async):
    """It closes the source, once, drops the events that wait, and lets no loop take what came for a whole message."""
    both = Both(is_async, CUT + HELLO, MESSAGE_STOP)
    name = "AsyncMessageReader" if is_async else "MessageReader"
    assert repr(both.reader) == f"<{name} streaming events=0>"
    next(both)
    for _ in range(2):
        both.close()
    assert both.source.closed == 1
    assert repr(both.reader) == f"<{name} streaming events=1 closed>"
    for _ in range(2):
        events, error = both.rest()
        assert (events, type(error), error.partial.content) == ([], IncompleteStream, [])
        assert str(error) == "the reader was closed before the message ended (event 1)"
    with pytest.raises(IncompleteStream, match="closed"):
        both.reader.result()
    assert both.source.chunks == [MESSAGE_STOP]


@either
@pytest.mark.parametrize(("body", "error"), [(whole(HELLO), None), (FAILED, APIError)])
def test_closing_after_the_message(body, error, is_async):
    """A message that is whole stays so, one that failed stays failed."""
    both = Both(is_async, body, PING)
    for _ in range(body.count(b"\n\n")):
        next(both)
    both.close()
    events, raised = both.rest()
    assert (events, type(raised)) == ([], type(None) if error is None else error)
    if error is None:
        assert both.reader.result().text == "Hello"


@either
def test_what_closes_the_source(is_async):
    """The end, a fault, a wrong chunk and the `with` block, whatever ends that."""
    for chunks in ([whole(HELLO)], [CUT + BROKEN], [BROKEN], [CUT]):
        both = Both(is_async, *chunks)
        both.rest()
        assert both.source.closed == 1
    both = Both(is_async, CUT, "text")
    with pytest.raises(TypeError, match="not str"):
        both.rest()
    assert both.source.closed == 1

    for leave in (None, KeyboardInterrupt()):
        both = Both(is_async, whole(HELLO))
        with contextlib.suppress(KeyboardInterrupt):
            if is_async:
                asyncio.run(enter(both.reader, leave))
            else:
                with both.reader as entered:
                    assert entered is both.reader
                    next(entered)
                    if leave is not None:
                        raise leave
        assert both.source.closed == 1


async def enter(reader, leave):
    async with reader as entered:
        assert entered is reader
        await anext(entered)
        if leave is not None:
            raise leave


def test_a_generator_is_closed_at_once():
    """Its `finally` runs when the reader is closed, while somebody still holds the generator."""
    ended = []

    def source():
        try:
            yield CUT
            yield MESSAGE_STOP
        finally:
            ended.append("sync")

    async def asource():
        try:
            yield CUT
            yield MESSAGE_STOP
        finally:
            ended.append("async")

    async def run():
        held = asource()
        async with contextlib.aclosing(aiter_events(held)) as events:
            async for _ in events:
                break
        assert ended == ["sync", "async"]

    held = source()
    with contextlib.closing(iter_events(held)) as events:
        next(events)
    assert ended == ["sync"]
    asyncio.run(run())


@either
def test_a_source_without_close(is_async):
    """Not every iterator can be closed."""

    class Bare:
        def __init__(self):
            self.chunks = iter([CUT])

        def __iter__(self):
            return self.chunks

        def __aiter__(self):
            return self

        async def __anext__(self):
            return next(self.chunks)

    if is_async:
        asyncio.run(aiter_events(Bare()).aclose())
    else:
        iter_events([CUT]).close()


@either
def test_what_closing_raises(is_async):
    """Of the caller's own close it is the caller's; at the end it takes no message away and hides no error."""
    reason = OSError("can't close")
    both = Both(is_async, CUT, close_error=reason)
    next(both)
    with pytest.raises(OSError, match="can't close"):
        both.close()
    whole_one = Both(is_async, whole(HELLO), close_error=reason)
    assert whole_one.rest()[1] is None
    assert (whole_one.reader.result().text, whole_one.reader.transport_error) == ("Hello", reason)
    lost = OSError("reset")
    broken = Both(is_async, CUT, error=lost, close_error=reason)
    assert broken.rest()[1].__cause__ is lost
    assert broken.reader.transport_error is lost
    assert parse(Source(whole(HELLO), close_error=reason)).text == "Hello"


def test_parse_closes_its_source():
    """At the end and at a fault, after which it asks for no further chunk."""
    for chunks, left in (([whole(HELLO)], 0), ([CUT], 0), ([CUT + BROKEN, PING], 1), ([CUT, "text", PING], 1)):
        source = Source(*chunks)
        with contextlib.suppress(StreamError, TypeError):
            parse(source)
        assert (source.closed, len(source.chunks)) == (1, left)


@pytest.mark.parametrize(
    ("body", "count", "error"),
    [(CUT + BROKEN, 3, DecodeError), (CUT + delta(text="a")[:-1] + b'{"a":1}\n\n', 4, ProtocolViolation)],
    ids=["in its own frame", "after an event in the same frame"],
)
def test_no_chunk_is_asked_for_after_a_fault(body, count, error):
    """The next one may take minutes to come."""
    both = Both(False, body, error=AssertionError("asked for more"), strict=True)
    events, raised = both.rest()
    assert (len(events), type(raised)) == (count, error)
    assert both.source.error is not None


@pytest.mark.parametrize("make", [lambda: iter_events([CUT]), lambda: aiter_events(AsyncSource(CUT))])
def test_a_reader_cannot_be_copied(make):
    """As with all that reads one body; what it gave can."""
    for twin_of in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="MessageReader can't be copied or pickled"):
            twin_of(make())


def test_a_reader_is_its_own_iterator():
    """So that `next`, `zip` and a second loop all take from the same."""
    reader, areader = iter_events([whole(HELLO)]), aiter_events(AsyncSource())
    assert iter(reader) is reader
    assert aiter(areader) is areader
    assert (type(reader), type(areader)) == (MessageReader, AsyncMessageReader)


# --- sources that break off --------------------------------------------------------------------------------------

PARTS = [message_start(), block_start(TEXT), delta(text="half"), block_stop(), message_delta(), MESSAGE_STOP]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("is_async", [False, True, None], ids=["sync", "async", "parse"])
def test_a_source_that_raises(is_async, strict):
    """Before any stop_reason: IncompleteStream from the error, with what came. After it the message is whole.

    In strict mode a missing message_stop is a violation as ever; an event that the transport cut is none.
    """
    body = b"".join(PARTS)
    reason_at = len(b"".join(PARTS[:5]))
    for upto in (*range(0, len(body), 11), reason_at - 3, reason_at - 1, reason_at, len(body) - 1, len(body)):
        lost = OSError("reset")
        reader, error = read_broken(is_async, body[:upto], lost, strict)
        # An event without its blank line is read at the end, if its JSON is whole; in strict mode it is not.
        has_reason = upto >= (reason_at if strict else reason_at - 2)
        is_whole = upto >= (len(body) if strict else len(body) - 2)
        if not has_reason:
            assert type(error) is IncompleteStream
            assert error.__cause__ is lost
            kept = read([body[: upto if not strict else body.rfind(b"\n\n", 0, upto) + 2]])["messages"]
            assert ([] if error.partial is None else [to_dict(error.partial)]) == kept
        elif strict and not is_whole:
            assert (type(error), error.code) == (ProtocolViolation, "no_message_stop")
            assert error.__cause__ is lost
        else:
            assert error is None
        if reader is not None:
            assert reader.transport_error is lost
            if not has_reason:
                assert reader.outcome is Outcome.TRUNCATED
                with pytest.raises(IncompleteStream) as caught:
                    reader.result()
                assert caught.value is error
            elif error is None:
                assert (reader.outcome, reader.result().text) == (Outcome.COMPLETE, "half")
                assert ("no_message_stop" in [each.code for each in reader.deviations]) == (not is_whole)


def read_broken(is_async, body, error, strict=False):
    """The reader of a source that raises, if there is one, and what comes of it."""
    if is_async is not None:
        both = Both(is_async, body, error=error, strict=strict)
        return both.reader, both.rest()[1]
    try:
        parse(Source(body, error=error), strict=strict)
    except StreamError as raised:
        return None, raised
    return None, None


@pytest.mark.parametrize("is_async", [False, True, None], ids=["sync", "async", "parse"])
def test_a_stream_error_of_the_source_stays_itself(is_async):
    """With `partial` filled in, unless it has one; after a stop_reason it is no error."""
    reader, error = read_broken(is_async, CUT, lost := ConnectionLost("reset"))
    assert error is lost
    if reader is not None and not is_async:
        reader.close()
        with pytest.raises(ConnectionLost):
            reader.result()
    assert lost.partial.text == "Hel"
    own = ConnectionLost("reset")
    own.partial = parse(whole(HELLO))
    _, error = read_broken(is_async, CUT, own)
    assert error is own
    assert own.partial.text == "Hello"
    reader, error = read_broken(is_async, whole(HELLO)[: -len(MESSAGE_STOP)], lost := ConnectionLost("reset"))
    assert (error, lost.partial) == (None, None)
    assert reader is None or (reader.transport_error, reader.result().text) == (lost, "Hello")


def test_a_stream_error_of_the_source_says_where_it_comes_from():
    """Raised again and again it keeps the source's call frames, and does not grow."""

    def source():
        yield CUT
        raise ConnectionLost("reset")

    reader = iter_events(source())
    depths = set()
    for _ in range(3):
        with pytest.raises(ConnectionLost) as caught:
            list(reader)
        depths.add(len(caught.traceback))
        assert "source" in [entry.name for entry in caught.traceback]
    assert len(depths) == 1


@pytest.mark.parametrize("is_async", [False, True, None], ids=["sync", "async", "parse"])
def test_a_server_that_failed_before_its_source_did(is_async):
    """What the server said is the reason, and the transport's end no news."""
    _, error = read_broken(is_async, FAILED, OSError("reset"))
    assert (type(error), error.message, error.__cause__) == (APIError, "busy", None)
    _, error = read_broken(is_async, CUT + BROKEN, OSError("reset"))
    assert (type(error), error.__cause__) == (DecodeError, None)


@either
@pytest.mark.parametrize("error", [KeyboardInterrupt(), GeneratorExit(), SystemExit()], ids=lambda error: type(error).__name__)  # fmt: skip
def test_what_is_no_exception_passes_through(error, is_async):
    """It is none of the stream's, and changes nothing: a source that can go on is read on."""

    class Resumes(AsyncSource if is_async else Source):
        pass

    async def step(reader):
        try:
            return await anext(reader)
        except BaseException as caught:
            return caught

    source = Resumes(CUT, error=error)
    reader = (aiter_events if is_async else iter_events)(source)
    if is_async:
        steps = [asyncio.run(step(reader)) for _ in range(4)]
        assert steps[3] is error
    else:
        for _ in range(3):
            next(reader)
        with pytest.raises(type(error)) as caught:
            next(reader)
        assert caught.value is error
    assert (source.closed, reader.outcome, reader.transport_error) == (0, Outcome.STREAMING, None)
    source.chunks.append(delta(text="lo") + whole()[len(message_start()) :])
    both = Both.__new__(Both)
    both.reader, both.is_async = reader, is_async
    assert (len(both.rest()[0]), reader.result().text) == (3, "Hello")
    with pytest.raises(type(error)):
        parse(Source(CUT, error=error))


def test_cancelling_loses_nothing():
    """A wait for a chunk that is cancelled can be taken up again."""

    class Slow(AsyncSource):
        wakes = None

        async def __anext__(self):
            if not self.chunks:
                return await asyncio.wait_for(self.wakes.get(), None)
            return await super().__anext__()

    async def run():
        source = Slow(CUT)
        source.wakes = asyncio.Queue()
        reader = aiter_events(source)
        for _ in range(3):
            await anext(reader)
        waits = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
        assert (source.closed, reader.outcome) == (0, Outcome.STREAMING)
        source.wakes.put_nowait(delta(text="lo"))
        event = await anext(reader)
        assert (event.delta.text, reader.message.text) == ("lo", "Hello")

    asyncio.run(run())


def test_closing_while_another_task_waits():
    """The task that waits for a chunk gets no event any more, and no end that looks good."""

    class Waiting(AsyncSource):
        async def __anext__(self):
            await self.gate.wait()
            return await super().__anext__()

    async def run():
        source = Waiting(whole(HELLO))
        source.gate = asyncio.Event()
        reader = aiter_events(source)
        waits = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        await reader.aclose()
        source.gate.set()
        with pytest.raises(IncompleteStream, match="closed"):
            await waits
        assert (source.closed, reader.message) == (1, None)

    asyncio.run(run())


@either
def test_a_wrong_chunk_passes_through(is_async):
    """A str or a number among the chunks is a TypeError, and what the source itself gets wrong is not taken for it."""
    for wrong in ("text", 7, None):
        both = Both(is_async, CUT, wrong)
        with pytest.raises(TypeError, match=f"not {type(wrong).__name__}"):
            both.rest()
        assert type(both.rest()[1]) is IncompleteStream
        with pytest.raises(TypeError, match=f"not {type(wrong).__name__}"):
            parse(Source(CUT, wrong))
    own = TypeError("of the source")
    for error in (Both(is_async, CUT, error=own).rest()[1], read_broken(None, CUT, own)[1]):
        assert (type(error), error.__cause__) == (IncompleteStream, own)


# --- bodies that are no stream -----------------------------------------------------------------------------------

MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "content": [{"type": "text", "text": "hello"}]}
DOCUMENT = json.dumps(MESSAGE).encode()
AWS = struct.pack(">II", 100, 20)
AWS += struct.pack(">I", zlib.crc32(AWS)) + b"\x0b:event-type\x07\x00\x05chunk" + b"x" * 60
PAGE = b"<!doctype html>\n<html><title>502 Bad Gateway</title></html>\n"
GZIP = zlib.compressobj(wbits=31)
GZIP = GZIP.compress(whole(HELLO)) + GZIP.flush()
NO_STREAM = {
    "an HTML page": (PAGE, repr(PAGE.decode()), "decode_error reads the body of an error response"),
    "XML or HTML": (
        b" \n<Error><Code>AccessDenied</Code></Error>",
        "'<Error><Code>AccessDenied</Code></Error>'",
        "decode_error reads the body of an error response",
    ),
    **{
        f"an HTML page{' ' * number}": (
            start + b">",
            f"'{start.decode()}>'",
            "decode_error reads the body of an error response",
        )
        for number, start in enumerate((b"<!DOCTYPE HTML", b"<html", b"<Head", b"<body"), 1)
    },
    "a whole message in JSON": (DOCUMENT, f"{DOCUMENT[:60].decode()!r}...", "decode_message reads it"),
    "a JSON document": (
        DOCUMENT[:-1],
        f"{DOCUMENT[:60].decode()!r}...",
        "decode_message reads a message, decode_error an error",
    ),
    "a JSON document ": (b"[]", "'[]'", "decode_message reads a message, decode_error an error"),
    "still compressed (gzip)": (GZIP, f"{GZIP[:16]!r}...", "undo its Content-Encoding first"),
    "still compressed (zstd)": (
        b"\x28\xb5\x2f\xfd\x24\x05",
        r"b'(\xb5/\xfd$\x05'",
        "undo its Content-Encoding first",
    ),
    "still compressed (zstd) ": (
        b"\x28\xb5\x2f\xfd" + bytes(12),
        repr(b"\x28\xb5\x2f\xfd" + bytes(12)),
        "undo its Content-Encoding first",
    ),
    "still compressed (zstd)  ": (
        b"\x28\xb5\x2f\xfd" + bytes(13),
        repr(b"\x28\xb5\x2f\xfd" + bytes(12)) + "...",
        "undo its Content-Encoding first",
    ),
    "an AWS event stream (application/vnd.amazon.eventstream)": (
        AWS,
        f"{AWS[:16]!r}...",
        "MessageStream(decoder=BedrockDecoder()) reads Bedrock's, AWSFrameDecoder any",
    ),
    "": (
        b"upstream connect error\x1b[31m\n",
        r"'upstream connect error\x1b[31m\n'",
        "decode_error reads the body of an error response",
    ),
    # No fields, and they will be none.
    **{
        " " * (number + 1): (start, ascii(start.decode()), "decode_error reads the body of an error response")
        for number, start in enumerate((b"da\n", b"dataX\n", b"data \n", b"\x0c[]", b"\x0b<a>"))
    },
}


@pytest.mark.parametrize("what", NO_STREAM)
def test_a_body_that_is_no_stream_says_so(what):
    """What it is, its first bytes on one line, and what reads it: the same however it is cut, at each door."""
    body, start, door = NO_STREAM[what]
    texts = set()
    for chunks in splits(body):
        stream = MessageStream()
        for chunk in chunks:
            assert len(stream.receive_data(chunk)) <= 1
        with pytest.raises(IncompleteStream, match="still on its way"):
            stream.result()
        stream.receive_eof()
        with pytest.raises(IncompleteStream) as caught:
            stream.result()
        texts.add(str(caught.value))
    (text,) = texts
    but = f" but {what.strip()}" if what.strip() else ""
    assert caught.value.reason == f"the body is no event stream{but}: it starts with {start}; {door}"
    assert len(text.splitlines()) == 1
    assert stream.outcome is Outcome.TRUNCATED
    for is_async in (False, True):
        assert str(Both(is_async, *pieces(body, 9)).rest()[1]) == text
    with pytest.raises(IncompleteStream) as caught:
        parse(body)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    "body", [b"", b"\n", b"\r\n\r\n", b"\xef\xbb\xbf", b"\xef\xbb", b"da", b": a comment\n", b"data\n"]
)
def test_too_little_to_tell(body):
    """It may have been the start of an event stream, so nothing is said of another door."""
    with pytest.raises(IncompleteStream) as caught:
        parse(body)
    assert "no event stream" not in str(caught.value)


@pytest.mark.parametrize("document", [DOCUMENT, b"\xef\xbb\xbf" + DOCUMENT, json.dumps(MESSAGE, indent=1).encode() + b"\n", b'{"a":1}\n' + DOCUMENT])  # fmt: skip
def test_a_whole_message_for_a_stream(document):
    """It is no message of the stream, but the error has it."""
    for chunks in splits(document):
        both = Both(False, *chunks)
        _, error = both.rest()
        assert (type(error), error.partial.text) == (IncompleteStream, "hello")
        assert str(error).endswith("decode_message reads it (event 1)") or document[:4] == b'{"a"'
        assert both.reader.message is None
    with pytest.raises(IncompleteStream) as caught:
        both.reader.result()
    assert caught.value is error


def test_the_last_of_several_whole_messages():
    """As with messages that are streamed."""
    with pytest.raises(IncompleteStream) as caught:
        parse(DOCUMENT + b"\n\n" + DOCUMENT.replace(b"hello", b"bye") + b"\n\ndata: [DONE]\n\n")
    assert caught.value.partial.text == "bye"


def test_a_frame_a_chunk_shows_the_same_start():
    """A frame that is read in a short way counts among the first bytes, too."""
    frames = [b'{"a":1}\n\n', b"data: [DONE]\n\n", b"data: [DONE]\n\n", b'{"b":2}\n\n']
    texts = set()
    for chunks in ([b"".join(frames)], frames):
        for run in (lambda: parse(chunks), lambda: list(iter_events(chunks))):  # noqa: B023  # at once
            with pytest.raises(IncompleteStream, match="a JSON document: it starts with") as caught:
                run()
            texts.add(str(caught.value))
    assert len(texts) == 1


def test_a_whole_message_beside_a_stream():
    """The streamed message is the result, and one that broke off is not replaced by the document."""
    for body in (DOCUMENT + b"\n\n" + whole(text_block("x")), whole(text_block("x")) + DOCUMENT + b"\n\n"):
        assert parse(body).text == "x"
    with pytest.raises(IncompleteStream, match="ended before") as caught:
        parse(DOCUMENT + b"\n\n" + CUT)
    assert caught.value.partial.text == "Hel"
    with pytest.raises(APIError):
        parse(DOCUMENT + b"\n\n" + frame("error", error={}))


def test_a_document_over_the_limit_is_not_kept():
    """`max_message_size` holds for the message that an error would carry, too."""
    document = DOCUMENT.replace(b"hello", b"hello" * 100)
    with pytest.raises(IncompleteStream, match="decode_message") as caught:
        parse(document, max_message_size=len(document) - 1)
    assert caught.value.partial is None
    with pytest.raises(IncompleteStream) as caught:
        parse(document, max_message_size=len(document))
    assert caught.value.partial.text == "hello" * 100


@pytest.mark.parametrize("body", [b"", b"\n \r\n", b": c\n\n", b"data", b"dat", b"even", b"retry: 1\n\n", b"id", b"event: x", b"data: {\"ty",
                                  b"\xef\xbb", b"\xef\xbb\xbfdata: [DONE]\n\n", PING, PING + b"{}\n\n", b'{"a":1}\n\n' + PING, b"event:\rdata", b"event\rdata", b"data\r\n"])  # fmt: skip
def test_an_event_stream_without_a_message_is_one(body):
    """Comments, fields and the start of one are no other kind of body."""
    for chunks in ([body], pieces(body, 1)):
        with pytest.raises(IncompleteStream, match="^the stream ended before the message did"):
            parse(chunks)


def test_the_error_of_a_large_body_is_short():
    """Of megabytes the first characters are shown, in any script."""
    for start in (b"<", "\u4f60".encode()):
        with pytest.raises(IncompleteStream) as caught:
            parse(start * 1_000_000)
        assert len(str(caught.value)) < 250
        assert start.decode() * 20 in str(caught.value)


def test_an_error_document():
    """With `error` it is what the server said; cut short, it says what would read it."""
    body = b'{"error": {"type": "invalid_request_error", "message": "no"}}'
    with pytest.raises(APIError, match="no"):
        parse(body)
    with pytest.raises(IncompleteStream, match=r"a JSON document.*; decode_error reads"):
        parse(body[:-1])


def test_the_source_of_a_body_that_is_no_stream_can_break_off():
    """Both are said: what came, and what ended it."""
    _, error = read_broken(False, PAGE, lost := OSError("reset"))
    assert error.__cause__ is lost
    assert "HTML" in str(error)


# --- limits ------------------------------------------------------------------------------------------------------


def test_a_limit_is_met_at_its_event():
    """The events before one that is too much are given and applied, from one chunk as from many."""
    body = whole(text_block(*["x" * 50] * 20))
    limit = least(body) - 500
    expected = read([body], max_message_size=limit)
    for chunks in ([body], pieces(body, 1), pieces(body, 100)):
        both = Both(False, *chunks, max_message_size=limit)
        events, error = both.rest()
        assert (events, describe(error)) == (expected["events"], expected["fault"])
        assert isinstance(error, LimitExceeded)
        assert to_dict(both.reader.message) == expected["messages"][0]


def test_deviations_count_for_the_limit():
    """An entry in `deviations` takes room as in the stream, whichever event of a run is the first to deviate."""
    body = whole(text_block(*"abcdef")).replace(b"event: content_block_delta", b"event: odd")
    body = body.replace(b"event: odd", b"event: content_block_delta", 3)
    smallest = least(body) - 700
    for limit in range(smallest, smallest + 701, 50):
        expected = read([body], max_message_size=limit)
        for chunks in ([body], pieces(body, 1), pieces(body, 100)):
            events, error = Both(False, *chunks, max_message_size=limit).rest()
            assert (events, describe(error)) == (expected["events"], expected["fault"])


def test_the_callers_own_error_leaves_the_with_block():
    """If the source can't be closed either, that is no reason to hide what went wrong in the block."""
    with pytest.raises(KeyError), iter_events(Source(CUT, close_error=OSError("stuck"))):
        raise KeyError

    async def use():
        async with aiter_events(AsyncSource(CUT, close_error=OSError("stuck"))):
            raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(use())


def test_a_generator_that_is_waited_for_is_closed_by_the_next_call():
    """It refuses to be closed while another task waits in it, and is not forgotten for that."""
    closed = []

    async def use():
        never = asyncio.Event()

        async def source():
            try:
                yield CUT
                await never.wait()
            finally:
                closed.append(True)

        reader = aiter_events(source())
        for _ in range(3):
            await anext(reader)
        waiting = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            await reader.aclose()
        waiting.cancel()
        await asyncio.wait([waiting])
        await reader.aclose()

    asyncio.run(use())
    assert closed == [True]
