"""Decoder and accumulator under any sequence of calls: legal and illegal events, ends, limits, use after either."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sansio_step import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    ErrorDetail,
    ErrorEvent,
    EventDecoder,
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
    encode_event,
    to_dict,
)

from .helpers import read

INDEXES = st.integers(0, 3)
BLOCKS = st.sampled_from(
    [TextBlock(""), TextBlock("a"), ThinkingBlock("", signature=""), ToolUseBlock(id="t", name="f"), UnknownBlock("x")]
)
DELTAS = st.sampled_from(
    [TextDelta(""), TextDelta("text"), ThinkingDelta("hm"), InputJSONDelta('{"a":'), InputJSONDelta("1}")]
    + [SignatureDelta("AB"), UnknownDelta("x", extra={"y": 1})]
)
OTHERS = st.sampled_from(
    [PingEvent(), UnknownEvent("x"), UnknownEvent("done", "[DONE]"), ErrorEvent(ErrorDetail("busy"))]
)
ENDED = {Outcome.COMPLETE, Outcome.TRUNCATED, Outcome.FAILED}


class Streams(RuleBasedStateMachine):
    """One body, read by a stream in pieces, by the two layers side by side, and after each step once more as a whole."""

    @initialize(
        strict=st.booleans(),
        limits=st.sampled_from([{}, {}, {"max_event_size": 150}, {"max_message_size": 1424}]),
    )
    def begin(self, strict, limits):
        self.options = {"strict": strict, **limits}
        self.stream = MessageStream(**self.options)
        self.decoder = EventDecoder(strict=strict, **{k: v for k, v in limits.items() if k == "max_event_size"})
        sizes = {k: v for k, v in limits.items() if k == "max_message_size"}
        self.accumulator = MessageAccumulator(strict=strict, **sizes)
        self.body = b""
        self.events = []
        self.outcomes = [Outcome.STREAMING]
        self.texts = {}
        self.fault = None
        self.ended = False

    def feed(self, data):
        if self.ended:
            with pytest.raises((ValueError, StreamError)):
                self.stream.receive_data(data)
            return
        if self.fault is not None:
            with pytest.raises(type(self.fault)) as caught:
                self.stream.receive_data(data)
            assert caught.value is self.fault
            return
        self.body += data
        try:
            got = self.stream.receive_data(data)
        except StreamError as fault:
            assert fault is self.stream.fault
            got = []
        self.apart(lambda: self.decoder.receive_data(data))
        self.note(got)

    def apart(self, step):
        """The same by the two layers, each with its own fault."""
        try:
            for event in step():
                self.accumulator.add(event)
        except StreamError:
            pass

    def note(self, got):
        self.events += got
        self.fault = self.stream.fault
        self.outcomes.append(self.stream.outcome)

    def send(self, event, size=None):
        wire = encode_event(event)
        for start in range(0, len(wire), size or len(wire)):
            self.feed(wire[start : start + (size or len(wire))])

    @rule(id=st.sampled_from(["m1", "m2", None]), whole=st.booleans(), size=st.sampled_from([None, 1, 30]))
    def message_start(self, id, whole, size):
        usage = Usage() if whole else None
        self.send(MessageStartEvent(Message(id=id, role="assistant", model="m", usage=usage)), size)

    @rule(index=INDEXES, block=BLOCKS)
    def block_start(self, index, block):
        self.send(ContentBlockStartEvent(index, block))

    @rule(index=INDEXES, delta=DELTAS, size=st.sampled_from([None, None, 7]))
    def block_delta(self, index, delta, size):
        self.send(ContentBlockDeltaEvent(index, delta), size)

    @rule(index=INDEXES)
    def block_stop(self, index):
        self.send(ContentBlockStopEvent(index))

    @rule(reason=st.sampled_from([None, "end_turn", "tool_use"]), tokens=st.sampled_from([None, 0, 7]))
    def message_delta(self, reason, tokens):
        self.send(MessageDeltaEvent(MessageDelta(stop_reason=reason), usage=Usage(output_tokens=tokens)))

    @rule()
    def message_stop(self):
        self.send(MessageStopEvent())

    @rule(event=OTHERS)
    def other(self, event):
        self.send(event)

    @rule(data=st.sampled_from([b"", b"\n", b"\r", b": keep-alive\n\n", b"id: 1\n", b"\xef\xbb\xbf", b"event: ping\n"]))
    def loose_bytes(self, data):
        self.feed(data)

    @rule(
        data=st.sampled_from(
            [b"data: {\n\n", b'data: {"type":1}\n\n', b'data: {"type":"content_block_stop","index":-1}\n\n']
        )
    )
    def broken(self, data):
        self.feed(data)

    @precondition(lambda self: not self.ended)
    @rule()
    def end(self):
        if self.fault is None:
            try:
                got = self.stream.receive_eof()
            except StreamError as fault:
                assert fault is self.stream.fault
                got = []
            self.apart(self.decoder.receive_eof)
            if self.accumulator.fault is None and self.decoder.fault is None:
                self.accumulator.receive_eof()
            self.ended = True
            self.note(got)
            return
        with pytest.raises(type(self.fault)):
            self.stream.receive_eof()

    @precondition(lambda self: self.ended)
    @rule()
    def end_again(self):
        if self.fault is None:
            assert self.stream.receive_eof() == []
        else:
            with pytest.raises(type(self.fault)):
                self.stream.receive_eof()

    @invariant()
    def cutting_never_shows(self):
        """Law 1: what was read so far is what the bytes so far, in one piece, are read as."""
        whole = MessageStream(**self.options)
        events = []
        try:
            events += whole.receive_data(self.body)
            if self.ended:
                events += whole.receive_eof()
        except StreamError:
            pass
        assert self.events == events
        assert str(self.stream.fault) == str(whole.fault)
        assert self.stream.outcome is whole.outcome
        assert self.stream.deviations == whole.deviations
        assert list(map(to_dict, self.stream.messages)) == list(map(to_dict, whole.messages))

    @invariant()
    def layers_agree(self):
        """The two layers by hand come to the same message and the same outcome."""
        if self.fault is None:
            assert self.accumulator.outcome is self.stream.outcome
            assert list(map(to_dict, self.accumulator.messages)) == list(map(to_dict, self.stream.messages))

    @invariant()
    def nothing_is_invented(self):
        """Law 3: a message is whole only if a stop said so, arguments only if their block is finished."""
        stream = self.stream
        kinds = [event.type for event in self.events]
        if stream.outcome is Outcome.COMPLETE:
            assert "message_stop" in kinds or stream.message.stop_reason is not None
            assert stream.result() is stream.message
        else:
            with pytest.raises(StreamError) as caught:
                stream.result()
            assert caught.value.partial is stream.message
        if stream.message is not None:
            for tool in stream.message.tool_uses:
                if not tool.is_finished:
                    with pytest.raises(ValueError, match="not finished"):
                        _ = tool.input

    @invariant()
    def nothing_is_taken_back(self):
        """Law 2: text only grows while its message is on its way."""
        message = self.stream.message
        if message is not None:
            now = message.text
            if self.texts.get(id(message), (None, ""))[0] is message:
                assert len(now) >= len(self.texts[id(message)][1])
            self.texts[id(message)] = (message, now)

    @invariant()
    def faults_stay(self):
        """Law 5: a fault is typed, says where, and is the last word. In strict mode no deviation is listed."""
        fault = self.stream.fault
        if fault is not None:
            assert isinstance(fault, StreamError)
            assert fault.event_number == len(self.events)
            assert isinstance(fault, LimitExceeded) == hasattr(fault, "limit")
        if self.options["strict"]:
            assert self.stream.deviations == []
        assert fault is None or not isinstance(fault, ProtocolViolation) or fault.code

    @invariant()
    def outcomes_go_one_way(self):
        """A message that ended stays ended; only a further message_start makes the outcome STREAMING again."""
        starts = sum(event.type == "message_start" for event in self.events)
        steps = sum(before in ENDED and after is Outcome.STREAMING for before, after in pairwise(self.outcomes))
        assert steps <= starts + 1

    def teardown(self):
        if getattr(self, "body", b""):
            pieces = [self.body[start : start + 5] for start in range(0, len(self.body), 5)]
            assert read(pieces, **self.options) == read([self.body], **self.options)


Streams.TestCase.settings = settings(max_examples=3 * settings.default.max_examples, stateful_step_count=40)
TestStreams = Streams.TestCase
