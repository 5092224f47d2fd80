"""Bytes to the final message: all layers in one object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from ._accumulator import MAX_MESSAGE_SIZE, MessageAccumulator, Outcome
from ._body_start import START_SIZE, describe
from ._chunks import Bytes
from ._decoder import EventDecoder
from ._deviations import ENTRY_SIZE, Deviation
from ._errors import IncompleteStream, ProtocolViolation, StreamError
from ._events import Delta, StreamEvent, UnknownEvent
from ._frames import MAX_EVENT_SIZE
from ._message import ContentBlock, Message
from ._receiver import Receiver, as_bytes, slices
from ._response import decode_message


class MessageStream(Receiver[StreamEvent]):
    """`EventDecoder` and `MessageAccumulator` in one: what most people embed.

    Feed each chunk to `receive_data` and use the events that it returns, call `receive_eof` when the body
    has ended, then `result()` for the final message. A stream that ended early shows in `outcome` and
    raises in `result()`; `receive_eof` does not raise for it. A fault after the last message_stop is
    raised by the receive calls and leaves the message COMPLETE.
    """

    def __init__(
        self,
        *,
        strict: bool = False,
        max_event_size: int = MAX_EVENT_SIZE,
        max_message_size: int = MAX_MESSAGE_SIZE,
    ) -> None:
        super().__init__()
        self._decoder = EventDecoder(strict=strict, max_event_size=max_event_size)
        self._accumulator = MessageAccumulator(strict=strict, max_message_size=max_message_size)
        self._start = b""  # of the body
        # What came before any message and was no event, but a text that the decoder made one of.
        self._documents = 0
        self._document: Message | None = None  # the last of these that is a whole message
        self._is_ahead = False  # the decoder has read events that are not applied yet

    def __repr__(self) -> str:
        accumulator = self._accumulator
        return f"<MessageStream {accumulator.outcome.value} events={accumulator.event_count} fault={self._fault!r}>"

    @property
    def message(self) -> Message | None:
        """The message so far, one live object; None before the first. Of several, the last."""
        return self._accumulator.message

    @property
    def messages(self) -> list[Message]:
        """All messages of the body, the one on its way among them."""
        return self._accumulator.messages

    @property
    def outcome(self) -> Outcome:
        """The state of the last message."""
        return self._accumulator.outcome

    @property
    def block(self) -> ContentBlock | None:
        """The block that the last event was applied to, if that was a content_block_* event; else None.

        It is right after gaps and reused indices, too, when `message.content[event.index]` is another one.
        """
        return self._accumulator.block

    @property
    def usage_is_final(self) -> bool:
        """Whether an output count came with the stop_reason or after it; until then it is a running count."""
        return self._accumulator.usage_is_final

    @property
    def event_count(self) -> int:
        """How many events were applied; the number of the next."""
        return self._accumulator.event_count

    @property
    def deviations(self) -> list[Deviation]:
        """What departs from the protocol so far, in the order of the events."""
        upto = self._accumulator.event_count if self._is_ahead else self._accumulator.event_count + 1
        found = self._decoder.deviations_before(upto)
        return sorted(found + self._accumulator.deviations, key=lambda deviation: deviation.event_number)

    @property
    def unapplied(self) -> list[tuple[int, Delta]]:
        """Deltas that fit nowhere, each with the index of its block."""
        return self._accumulator.unapplied

    def finished(self, index: int) -> bool:
        """Whether the block at a wire index has ended, by its stop, a stop_reason or message_stop."""
        return self._accumulator.finished(index)

    def result(self) -> Message:
        """The finished message.

        Raises, with what there is as `error.partial`: IncompleteStream if the message is not whole, or
        not yet; APIError if the server said that it failed; the fault if there is one.

        If the body was no event stream, the text of the IncompleteStream says what it starts with and which function
        reads it; `error.partial` is the message of a body that was one in JSON.
        """
        try:
            return self._accumulator.result()
        except IncompleteStream as error:
            # Documents are given as events, too: they don't make the body a stream.
            if self._ended and self.event_count == self._documents:
                reason = describe(self._start, is_message=self._document is not None)
                if reason is not None:
                    other = IncompleteStream(reason)
                    other.event_number, other.partial = error.event_number, self._document
                    raise other from None
            raise

    def receive_data(self, data: Bytes) -> list[StreamEvent]:
        # One event a chunk, as servers flush them, does without the layers between.
        events = self._decoder.take_one(data) if self._fault is None else None
        if events is None:
            return super().receive_data(data)
        if events and (self._decoder.plain or self._is_usual(events)) and self._accumulator.take_one(events[0]):
            return events
        if len(self._start) < START_SIZE:
            self._remember(data)
        events = self._apply(events)
        if not events and self._fault is not None:
            raise self._fault.with_traceback(None)
        return events

    def receive_eof(self) -> list[StreamEvent]:
        """Say that the body has ended and return what that completes, often nothing.

        An early end is no error here: see `outcome`, and `result()`. What only the end shows in strict
        mode is kept in `fault`.
        """
        fault = self._fault
        try:
            return super().receive_eof()
        except ProtocolViolation:
            if fault is not None or not self._decoder.strict:
                raise
            return []

    def _is_usual(self, events: list[StreamEvent]) -> bool:
        """Whether a chunk was one event with nothing to be said of it, or only what was said before."""
        return len(events) == 1 and self._decoder.fault is None and not self._decoder.new_entries()

    def iter_data(self, data: Bytes) -> Iterator[StreamEvent]:
        """The events that `receive_data` would return, each applied only when it is given.

        So everything that the stream shows is as of the event given last, however many these bytes hold. Iterate to the
        end before anything else is received. A fault after the last event is not raised but kept in `fault`; the next
        call raises it.
        """
        events = self._decoder.take_one(data) if self._fault is None else None
        if events is None:
            if self._fault is not None or self._ended:
                super().receive_data(b"")  # raises
            return self._iter_pieces(data if data.__class__ is bytes else as_bytes(data))
        if events and self._decoder.plain and self._accumulator.take_one(events[0]):
            return iter(events)
        self._remember(data)
        return self._iter_applied(events)

    def iter_eof(self, *, broken: bool = False) -> Iterator[StreamEvent]:
        """The events that `receive_eof` would return, given in the same way.

        `broken` says that the transport broke off. In strict mode the event that it cut is then no violation, since the
        server did not end the body there.
        """
        if self._fault is not None or self._ended:
            return iter(super().receive_eof())
        self._ended = True
        return self._iter_end(broken=broken)

    def _iter_pieces(self, data: bytes) -> Iterator[StreamEvent]:
        # How the bytes are cut changes nothing, so the decoder can read one event after another. It is then ahead of the
        # message only if several events share a frame.
        for piece in slices(data):
            self._remember(piece)
            yield from self._iter_applied(self._decoder.read_chunk(piece))
            if self._fault is not None:
                return

    def _iter_applied(self, events: Sequence[StreamEvent]) -> Iterator[StreamEvent]:
        entries = set(self._decoder.new_entries())
        take_one = self._accumulator.take_one
        self._is_ahead = True
        for event in events:
            if entries or not take_one(event):
                number = self._accumulator.event_count
                self._add((event,), [number] if number in entries else [])
                if self._fault is not None:
                    break
            yield event
        self._is_ahead = False
        if self._fault is None:
            self._take_fault()

    def _iter_end(self, *, broken: bool) -> Iterator[StreamEvent]:
        if not (broken and self._decoder.strict):
            yield from self._iter_applied(self._decoder.read_end())
        self._end_message()

    def read_chunk(self, data: bytes) -> list[StreamEvent]:
        self._remember(data)
        events: list[StreamEvent] = []
        for piece in slices(data):
            events += self._apply(self._decoder.read_chunk(piece))
            if self._fault is not None:
                break
        return events

    def read_end(self) -> list[StreamEvent]:
        events = self._apply(self._decoder.read_end())
        self._end_message()
        return events

    def _end_message(self) -> None:
        if self._fault is None:
            self._accumulator.receive_eof()
            self._fault = self._accumulator.fault

    def _apply(self, events: list[StreamEvent]) -> list[StreamEvent]:
        """Add events to the message; return those before the first fault, whichever layer found it."""
        first = self._accumulator.event_count
        self._add(events, self._decoder.new_entries())
        if self._fault is not None:
            return events[: self._accumulator.event_count - first]
        self._take_fault()
        return events

    def _add(self, events: Sequence[StreamEvent], entries: list[int]) -> None:
        """Add events to the message, up to one at fault.

        `entries` are the numbers of the events that add an entry to the deviations.
        """
        accumulator, decoder = self._accumulator, self._decoder
        first = accumulator.event_count
        try:
            done = 0
            for number in entries:
                if first <= number < first + len(events):
                    accumulator.extend(events[done : number - first], sizes=decoder.sizes)
                    done = number - first
                    accumulator.reserve(ENTRY_SIZE)
            accumulator.extend(events[done:] if done else events, sizes=decoder.sizes)
        except StreamError as fault:
            number = accumulator.event_count
            fault.byte_offset = decoder.offset_of_event(number)
            # What the decoder read after this event was never read, however the bytes were cut.
            decoder.settle(upto=number + 1)
            self._fault = fault
            return
        error = accumulator.api_error
        if error is not None and error.byte_offset is None and error.event_number is not None:
            error.byte_offset = decoder.offset_of_event(error.event_number)
        if accumulator.message is None:
            self._look_for_documents(events)

    def _take_fault(self) -> None:
        """After its last event is applied, the decoder's fault is that of the stream."""
        if self._decoder.fault is not None:
            self._fault = self._decoder.fault
            self._accumulator.fail(self._decoder.fault)

    def _remember(self, data: Bytes) -> None:
        if len(self._start) < START_SIZE:
            self._start += data[: START_SIZE - len(self._start)]

    def _look_for_documents(self, events: Sequence[StreamEvent]) -> None:
        for event in events:
            if isinstance(event, UnknownEvent) and event.data is not None:
                self._documents += 1
                if len(event.data) <= self._accumulator.max_message_size:
                    with suppress(StreamError):  # it is another text
                        self._document = decode_message(event.data)
