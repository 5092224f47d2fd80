"""Bytes to the final message: all layers in one object.

A chunk that comes here goes to `_decoder`, which makes events of it. `_accumulator` knows which message an event
belongs to, and `_assembler` which block. The block's text grows there, in a `TextBuffer` that `Message.text` reads.
(If all events of a message come at once, `_whole` builds it, and nothing needs to grow.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

from ._accumulator import Keep, MessageAccumulator, OnFault
from ._body_start import START_SIZE, describe
from ._chunks import Bytes
from ._decoder import Data, EventDecoder
from ._deviations import ENTRY_SIZE, Deviation
from ._errors import IncompleteStream, ProtocolViolation, StreamError
from ._events import Delta, StreamEvent, UnknownEvent
from ._frames import MAX_EVENT_SIZE
from ._message import ContentBlock, Message
from ._message_size import MAX_MESSAGE_SIZE
from ._receiver import SLICE, Receiver, as_bytes, slices
from ._response import decode_message
from ._runs import DeltaRun
from ._states import Outcome

Item = TypeVar("Item", bound=StreamEvent | DeltaRun)

_MOST_UNREAD = 1024
# The most pieces that wait in `consume`. Without this bound, 28 KiB in pieces of two bytes would take 600 KB.


class MessageStream(Receiver[StreamEvent]):
    """`EventDecoder` and `MessageAccumulator` in one: what most people embed.

    Feed each chunk to `receive_data` and use the events that it returns, call `receive_eof` when the body has ended,
    then `result()` for the final message. If you want no events, feed the chunks to `consume` instead; one stream can
    take both calls. A stream that ended early shows in `outcome` and raises in `result()`; `receive_eof` does not raise
    for it. A fault after the last message_stop is raised by the receive calls and leaves the message COMPLETE.

    `keep="last"` forgets a message as soon as the next one begins. `on_fault="keep"` is for observers: a fault is kept
    in `fault`, only `result` raises it, and everything after it is ignored. `decoder` reads another format than
    text/event-stream: it is a BedrockDecoder, with its own `strict` and `max_event_size`, and belongs to the stream from
    then on. Raises TypeError for any other object, ValueError if it has read something already.
    """

    __slots__ = (
        "_accumulator",
        "_decoder",
        "_document",
        "_documents",
        "_is_ahead",
        "_raises",
        "_start",
        "_unread",
        "_unread_size",
    )

    def __init__(
        self,
        *,
        strict: bool = False,
        max_event_size: int = MAX_EVENT_SIZE,
        max_message_size: int = MAX_MESSAGE_SIZE,
        keep: Keep = "all",
        on_fault: OnFault = "raise",
        decoder: EventDecoder | None = None,
    ) -> None:
        super().__init__()
        if decoder is None:
            decoder = EventDecoder(strict=strict, max_event_size=max_event_size)
        elif not isinstance(decoder, EventDecoder):
            raise TypeError(f"expected an EventDecoder or a BedrockDecoder, not {type(decoder).__name__}")
        elif strict or max_event_size != MAX_EVENT_SIZE:
            raise ValueError("strict and max_event_size are the decoder's own: give them to it")
        elif not decoder.is_fresh:
            raise ValueError("the decoder has read something already: one object reads one body")
        self._decoder = decoder
        self._accumulator = MessageAccumulator(strict=decoder.strict, max_message_size=max_message_size, keep=keep)
        self._raises = on_fault == "raise"
        if not self._raises and on_fault != "keep":
            raise ValueError(f'on_fault is {on_fault!r}, must be "raise" or "keep"')
        self._unread: list[bytes] | None = None  # the pieces that wait in `consume`
        self._unread_size = 0
        self._start = b""  # of the body, until a message begins
        # How many texts came before any message, as UnknownEvents. A body of nothing else was no event stream.
        self._documents = 0
        self._document: Message | None = None  # the last of them that is a whole message in JSON
        self._is_ahead = False  # the decoder has read events that are not applied yet

    def __repr__(self) -> str:
        return f"<MessageStream {self.outcome.value} events={self.event_count} fault={self._fault!r}>"

    @property
    def message(self) -> Message | None:
        """The message so far, one live object; None before the first. If there are several, it is the last."""
        return self._read().message

    @property
    def messages(self) -> list[Message]:
        """The messages of the body that are kept, including the one on its way."""
        return self._read().messages

    @property
    def outcome(self) -> Outcome:
        """The state of the last message."""
        return self._read().outcome

    @property
    def fault(self) -> StreamError | None:
        """The error that ended the reading, None until then."""
        if self._unread:
            self._read()
        return self._fault

    @property
    def block(self) -> ContentBlock | None:
        """The block that the last event was applied to, if that was a content_block_* event; else None.

        It is right after gaps and reused indices, too, when `message.content[event.index]` is another one.
        """
        return self._read().block

    @property
    def usage_is_final(self) -> bool:
        """Whether an output count came with the stop_reason or after it; until then it is a running count."""
        return self._read().usage_is_final

    @property
    def event_count(self) -> int:
        """How many events were applied; the number of the next."""
        return self._read().event_count

    @property
    def deviations(self) -> list[Deviation]:
        """What departs from the protocol so far, in the order of the events."""
        accumulator = self._read()
        upto = accumulator.event_count if self._is_ahead else accumulator.event_count + 1
        found = self._decoder.deviations_before(upto)
        return sorted(found + accumulator.deviations, key=lambda deviation: deviation.event_number)

    @property
    def unapplied(self) -> list[tuple[int, Delta]]:
        """Deltas that fit nowhere, each with the index of its block."""
        return self._read().unapplied

    def finished(self, index: int) -> bool:
        """Whether the block at a wire index has ended, by its stop, a stop_reason or message_stop.

        False if none began.
        """
        return self._read().finished(index)

    def result(self) -> Message:
        """The finished message.

        Raises, with what there is as `error.partial`: IncompleteStream if the message is not whole, or
        not yet; APIError if the server said that it failed; the fault if there is one.

        If the body was no event stream, the IncompleteStream says what it starts with and which function reads it. If
        it was a whole message in JSON, `error.partial` is that message.
        """
        try:
            return self._read().result()
        except IncompleteStream as error:
            # Documents become events too, but they don't make the body a stream.
            if self._ended and self.event_count == self._documents:
                reason = describe(self._start, is_message=self._document is not None)
                if reason is not None:
                    other = IncompleteStream(reason)
                    other.event_number, other.partial = error.event_number, self._document
                    raise other from None
            raise

    def receive_frame(self, data: Data, event: str | None = None) -> list[StreamEvent]:
        """Take one frame that came some other way, as `EventDecoder.receive_frame` does, and raise as it does."""
        self._read()
        if self._fault is not None:
            return self._stopped()
        if self._ended:
            raise ValueError("receive_frame after receive_eof: one object reads one body")
        events = self._apply(self._decoder.read_given([(None, (data, event))]))
        return events if events or self._fault is None else self._stopped()

    def consume(self, data: Bytes) -> None:
        """Take the next bytes, for those who want the message and no events.

        Small pieces wait until there are some 28 KiB of them, and are then read together, so that one event a chunk
        costs no more than a whole body does. Every attribute and every other call reads what waits before it answers. A
        Message that you hold stays as it is until then.

        Raises the fault of the stream in the call that reads it and in each later one; TypeError for anything but bytes,
        ValueError after `receive_eof`.
        """
        if self._fault is not None or self._ended:
            self.receive_data(data)  # raises, unless faults are kept
            return
        unread = self._unread
        if unread is None:
            unread = self._unread = []
        piece = data if data.__class__ is bytes else as_bytes(data)
        unread.append(piece)
        self._unread_size += len(piece)
        if self._unread_size >= SLICE or len(unread) >= _MOST_UNREAD:
            self._read()
            if self._fault is not None:
                self._stopped()

    def _read(self) -> MessageAccumulator:
        """Read what waits in `consume`, and return the accumulator as of then."""
        if self._unread:
            data = self._unread[0] if len(self._unread) == 1 else b"".join(self._unread)
            self._unread.clear()
            self._unread_size = 0
            for piece in slices(data):
                if self._fault is None:
                    self._remember(piece)
                    self._apply(self._decoder.read_joined(piece))
        return self._accumulator

    def receive_data(self, data: Bytes) -> list[StreamEvent]:
        """Take the next bytes and return the events that they complete, often none.

        Raises the fault of the stream (a `StreamError`) if no event came before it, and in each later call; TypeError
        for anything but bytes, ValueError after `receive_eof`.
        """
        if data.__class__ is not bytes or self._fault is not None or self._unread or self._ended or len(data) > SLICE:
            return super().receive_data(data)
        # Small chunks, of one event or one packet, skip `Receiver`.
        event = self._decoder.read_lone(data)
        if event is not None:
            if self._accumulator.take(event):
                return [event]
            events: list[StreamEvent] = [event]
        else:
            events = self._decoder.read_other(data)
            if self._decoder.is_clean and (
                self._accumulator.take_several(events) if events else self._accumulator.message is not None
            ):
                return events  # nearly all: deltas that continue a block, or nothing yet
        self._remember(data)
        events = self._apply(events)
        return events if events or self._fault is None else self._stopped()

    def read_chunk(self, data: bytes) -> list[StreamEvent]:
        self._read()
        events: list[StreamEvent] = []
        for piece in slices(data):
            if self._fault is None:
                self._remember(piece)
                events += self._apply(self._decoder.read_chunk(piece))
        return events

    def _stopped(self) -> list[StreamEvent]:
        return super()._stopped() if self._raises else []

    def receive_eof(self) -> list[StreamEvent]:
        """Say that the body has ended and return what that completes, often nothing.

        An early end is no error here: see `outcome`, and `result()`. In strict mode, a violation that only the end shows
        is kept in `fault`. A fault in the bytes before the end is raised, even if they waited in `consume`.
        """
        self._read()
        fault = self._fault
        try:
            return super().receive_eof()
        except ProtocolViolation:
            if fault is not None or not self._decoder.strict:
                raise
            return []

    def iter_data(self, data: Bytes) -> Iterator[StreamEvent]:
        """The events that `receive_data` would return, each applied only when it is given.

        So everything that the stream shows is as of the event given last, however many events these bytes hold. Iterate
        to the end before you feed anything else. A fault after the last event is not raised but kept in `fault`; the
        next call raises it.
        """
        self._read()
        if self._fault is not None or self._ended:
            return iter(self.receive_data(b""))  # raises, unless faults are kept
        return self._iter_pieces(data if data.__class__ is bytes else as_bytes(data))

    def iter_eof(self, *, broken: bool = False) -> Iterator[StreamEvent]:
        """The events that `receive_eof` would return, given in the same way.

        `broken` says that the transport broke off. In strict mode the event that it cut is then no violation, since the
        server did not end the body there.
        """
        self._read()
        if self._fault is not None or self._ended:
            return iter(self.receive_eof())
        self._ended = True
        return self._iter_end(broken=broken)

    def _iter_pieces(self, data: bytes) -> Iterator[StreamEvent]:
        # The decoder reads one piece at a time. It is ahead of the message only if several events share a frame.
        for piece in slices(data):
            self._remember(piece)
            yield from self._iter_applied(self._decoder.read_chunk(piece))
            if self._fault is not None:
                return

    def _iter_applied(self, events: Sequence[StreamEvent]) -> Iterator[StreamEvent]:
        entries = self._decoder.new_entries()
        take = self._accumulator.take
        self._is_ahead = True
        for event in events:
            if entries or not take(event):
                number = self._accumulator.event_count
                self._add((event,), [entry for entry in entries if entry == number])
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

    def read_end(self) -> list[StreamEvent]:
        events = self._decoder.read_end()
        if events or not self._decoder.is_clean:
            events = self._apply(events)
        self._end_message()
        return events

    def _end_message(self) -> None:
        if self._fault is None:
            self._accumulator.receive_eof()
            self._fault = self._accumulator.fault

    def _apply(self, events: list[Item]) -> list[Item]:
        """Add events to the message; return those before the first fault, whichever layer found it."""
        first = self._accumulator.event_count
        is_clean = self._decoder.is_clean
        self._add(events, [] if is_clean else self._decoder.new_entries())
        if self._fault is not None:
            return events[: self._accumulator.event_count - first]
        self._decoder.sizes.clear()
        if not is_clean:
            self._take_fault()
        return events

    def _add(self, events: Sequence[StreamEvent | DeltaRun], entries: list[int]) -> None:
        """Add events to the message, up to one at fault.

        `entries` are the numbers of the events that add an entry to the deviations.
        """
        accumulator, decoder = self._accumulator, self._decoder
        first = accumulator.event_count
        try:
            done = 0
            for number in entries:
                if first <= number < first + len(events):
                    accumulator.extend(events[done : number - first], sizes=decoder.sizes)  # type: ignore[arg-type]
                    done = number - first
                    accumulator.reserve(ENTRY_SIZE)
            accumulator.extend(events[done:] if done else events, sizes=decoder.sizes)  # type: ignore[arg-type]
        except StreamError as fault:
            number = accumulator.event_count
            fault.byte_offset = decoder.offset_of_event(number)
            # What the decoder read after this event was never read, however the bytes were cut.
            decoder.settle(upto=number + 1)
            self._fault = fault
            return
        error = accumulator.api_error
        if error is not None and error.byte_offset is None and (error.event_number or 0) >= first:
            error.byte_offset = decoder.offset_of_event(error.event_number or 0)
        if accumulator.message is None:
            self._look_for_documents(events)
        else:
            self._start = b""

    def _take_fault(self) -> None:
        """After its last event is applied, the decoder's fault is that of the stream."""
        if self._decoder.fault is not None:
            self._fault = self._decoder.fault
            self._accumulator.fail(self._decoder.fault)

    def _remember(self, data: Bytes) -> None:
        if len(self._start) < START_SIZE and self._accumulator.message is None:
            self._start += data[: START_SIZE - len(self._start)]

    def _look_for_documents(self, events: Sequence[StreamEvent | DeltaRun]) -> None:
        for event in events:
            if isinstance(event, UnknownEvent) and event.data is not None:
                self._documents += 1
                if len(event.data) <= self._accumulator.max_message_size:
                    with suppress(StreamError):  # it is another text
                        self._document = decode_message(event.data)
