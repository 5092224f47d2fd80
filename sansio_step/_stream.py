"""Bytes to the final message: all layers in one object, and as one-liners."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable

from ._accumulator import MAX_MESSAGE_SIZE, MessageAccumulator, Outcome
from ._decoder import EventDecoder
from ._deviations import ENTRY_SIZE, Deviation
from ._errors import ProtocolViolation, StreamError
from ._events import StreamEvent, UnknownDelta
from ._frames import MAX_EVENT_SIZE
from ._message import Message
from ._receiver import Receiver, as_bytes, slices

Bytes = bytes | bytearray | memoryview


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
    def deviations(self) -> list[Deviation]:
        """What departs from the protocol so far, in the order of the events."""
        both = self._decoder.deviations + self._accumulator.deviations
        return sorted(both, key=lambda deviation: deviation.event_number)

    @property
    def unapplied(self) -> list[tuple[int, UnknownDelta]]:
        """Deltas of types that have no class here, each with the index of its block."""
        return self._accumulator.unapplied

    def finished(self, index: int) -> bool:
        """Whether the block at a wire index has ended, by its stop, a stop_reason or message_stop."""
        return self._accumulator.finished(index)

    def result(self) -> Message:
        """The finished message.

        Raises, with what there is as `error.partial`: IncompleteStream where the message is not whole, or
        not yet; APIError where the server said that it failed; the fault where there is one.
        """
        return self._accumulator.result()

    def receive_data(self, data: Bytes) -> list[StreamEvent]:
        # One event a chunk, as servers flush them, does without the layers between.
        events = self._decoder.take_one(data) if self._fault is None else None
        if events is None:
            return super().receive_data(data)
        if events and self._decoder.plain and self._accumulator.take_one(events[0]):
            return events
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

    def read_chunk(self, data: bytes) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        for piece in slices(data):
            events += self._apply(self._decoder.read_chunk(piece))
            if self._fault is not None:
                break
        return events

    def read_end(self) -> list[StreamEvent]:
        events = self._apply(self._decoder.read_end())
        if self._fault is None:
            self._accumulator.receive_eof()
            self._fault = self._accumulator.fault
        return events

    def _apply(self, events: list[StreamEvent]) -> list[StreamEvent]:
        """Add events to the message; return those before the first fault, whichever layer found it."""
        accumulator, decoder = self._accumulator, self._decoder
        first = accumulator.event_count
        try:
            done = 0
            for number in decoder.new_entries():
                if first <= number < first + len(events):
                    accumulator.extend(events[done : number - first])
                    done = number - first
                    accumulator.reserve(ENTRY_SIZE)
            accumulator.extend(events[done:] if done else events)
        except StreamError as fault:
            number = accumulator.event_count
            fault.byte_offset = decoder.offset_of_event(number)
            # What the decoder read after this event was never read, however the bytes were cut.
            decoder.settle(upto=number + 1)
            self._fault = fault
            return events[: number - first]
        error = accumulator.api_error
        if error is not None and error.byte_offset is None and error.event_number is not None:
            error.byte_offset = decoder.offset_of_event(error.event_number)
        if decoder.fault is not None:
            self._fault = decoder.fault
            accumulator.fail(decoder.fault)
        return events


def parse(
    data_or_chunks: Bytes | Iterable[Bytes],
    *,
    strict: bool = False,
    max_event_size: int = MAX_EVENT_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
) -> Message:
    """The final message of a whole body, given as bytes or in chunks. Raises as `MessageStream.result` does."""
    stream = MessageStream(strict=strict, max_event_size=max_event_size, max_message_size=max_message_size)
    whole = isinstance(data_or_chunks, (bytes, bytearray, memoryview))
    chunks = slices(as_bytes(data_or_chunks)) if whole else data_or_chunks
    try:
        for chunk in _checked(chunks):  # type: ignore[arg-type]
            stream.receive_data(chunk)
        stream.receive_eof()
    except StreamError as error:
        if error is not stream.fault:
            raise  # of where the chunks come from, which broke off
        # `result` raises the fault, unless the message was whole before it.
    return stream.result()


def iter_events(
    chunks: Iterable[Bytes],
    *,
    strict: bool = False,
    max_event_size: int = MAX_EVENT_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
) -> Generator[StreamEvent, None, None]:
    """The events of a body that comes in chunks, from any iterable of bytes.

    Where the stream broke off or failed it raises, after the last event, what `MessageStream.result`
    would: a loop over events takes no cut stream for a whole one. TypeError for bytes instead of chunks.
    """
    stream = MessageStream(strict=strict, max_event_size=max_event_size, max_message_size=max_message_size)
    return _events(stream, _checked(chunks))


def aiter_events(
    chunks: AsyncIterable[Bytes],
    *,
    strict: bool = False,
    max_event_size: int = MAX_EVENT_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
) -> AsyncGenerator[StreamEvent, None]:
    """As `iter_events`, from any async iterable of bytes."""
    stream = MessageStream(strict=strict, max_event_size=max_event_size, max_message_size=max_message_size)
    return _aevents(stream, _async_checked(chunks))


def _events(stream: MessageStream, chunks: Iterable[Bytes]) -> Generator[StreamEvent, None, None]:
    for chunk in chunks:
        yield from stream.receive_data(chunk)
        if stream.fault is not None:
            raise stream.fault
    yield from stream.receive_eof()
    _raise_what_is_wrong(stream)


async def _aevents(stream: MessageStream, chunks: AsyncIterable[Bytes]) -> AsyncGenerator[StreamEvent, None]:
    async for chunk in chunks:
        for event in stream.receive_data(chunk):
            yield event
        if stream.fault is not None:
            raise stream.fault
    for event in stream.receive_eof():
        yield event
    _raise_what_is_wrong(stream)


def _raise_what_is_wrong(stream: MessageStream) -> None:
    if stream.fault is not None:
        raise stream.fault
    stream.result()


def _checked(chunks: Iterable[Bytes]) -> Iterable[Bytes]:
    if isinstance(chunks, str):
        raise TypeError("expected an iterable of bytes, not str: the body as it came, before any decoding")
    if isinstance(chunks, (bytes, bytearray, memoryview)):
        raise TypeError(f"expected an iterable of bytes, not {type(chunks).__name__} itself; parse() takes it whole")
    if hasattr(chunks, "__aiter__"):
        raise TypeError(f"expected an iterable of bytes, not {_kind(chunks)}, which is async: aiter_events() takes it")
    if not hasattr(chunks, "__iter__") and not hasattr(chunks, "__getitem__"):
        raise TypeError(f"expected an iterable of bytes, not {_kind(chunks)}{_iterator_of(chunks)}")
    return chunks


def _async_checked(chunks: AsyncIterable[Bytes]) -> AsyncIterable[Bytes]:
    if not hasattr(chunks, "__aiter__"):
        if isinstance(chunks, (bytes, bytearray, memoryview, str)):
            sync = " itself; parse() takes a whole body, as bytes"
        else:
            sync = (
                ", which is not async: iter_events() takes it" if hasattr(chunks, "__iter__") else _iterator_of(chunks)
            )
        raise TypeError(f"expected an async iterable of bytes, not {_kind(chunks)}{sync}")
    return chunks


def _kind(thing: object) -> str:
    return type(thing).__name__


def _iterator_of(response: object) -> str:
    """Which of a response's attributes gives its chunks, as HTTP libraries name them."""
    found = [
        f"{name}()"
        for name in ("aiter_bytes", "iter_bytes", "iter_content", "iter_any", "iter_chunked", "stream")
        if callable(getattr(response, name, None))
    ]
    if callable(getattr(getattr(response, "content", None), "iter_any", None)):
        found = ["content.iter_any()"]
    return f": pass the chunks of its body, as {' or '.join(found)} gives them" if found else ""
