"""From a source of chunks to events and the message: the one-liners, and the readers that they return."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Iterator
from contextlib import nullcontext, suppress
from types import TracebackType
from typing import NoReturn, SupportsIndex

from ._chunks import Bytes, check_async_chunks, check_chunks
from ._deviations import Deviation
from ._errors import APIError, IncompleteStream, StreamError
from ._events import Delta, StreamEvent
from ._frames import MAX_EVENT_SIZE
from ._json_deltas import JSONDelta
from ._live_input import LiveInput
from ._message import ContentBlock, Message
from ._message_size import MAX_MESSAGE_SIZE
from ._receiver import as_bytes, refuse_copy, slices
from ._states import Outcome
from ._stream import MessageStream


class _Reader:
    """What the two readers share: everything except how they wait for a chunk and close the source.

    Source means the iterator over the chunks.
    """

    def __init__(self, stream: MessageStream) -> None:
        self._stream = stream
        self._waiting: Iterator[StreamEvent] = iter(())  # the events of the last chunk
        self._given: StreamEvent | None = None  # the event given last
        self._live: LiveInput | None = None
        self._source_ended = False
        self._source_closed = False
        self._over = False  # no further event will be given
        self._error: StreamError | None = None  # what iterating raises once it is over
        self._traceback: TracebackType | None = None
        self._transport_error: Exception | None = None

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        refuse_copy(self)

    def __repr__(self) -> str:
        closed = " closed" if self._over else ""
        return f"<{type(self).__name__} {self.outcome.value} events={self._stream.event_count}{closed}>"

    @property
    def message(self) -> Message | None:
        """The message so far, one live object; None before the first. If there are several, it is the last."""
        return self._stream.message

    @property
    def block(self) -> ContentBlock | None:
        """The block that the event given last was applied to, if that was a content_block_* event; else None."""
        return self._stream.block

    @property
    def tool_input(self) -> list[JSONDelta]:
        """What the event given last says of a tool call's arguments, often nothing. `block` is the call.

        A string shows in pieces as it grows, a number or key as soon as it can grow no more. After the place at which
        arguments are broken there is nothing more, and `block.input` raises. It costs nothing as long as nobody asks.
        """
        if self._live is None:
            self._live = LiveInput()
        return self._live.deltas(self._given, self._stream.block)

    @property
    def messages(self) -> list[Message]:
        """All messages of the body, including the one on its way."""
        return self._stream.messages

    @property
    def outcome(self) -> Outcome:
        """The state of the last message."""
        return self._stream.outcome

    @property
    def deviations(self) -> list[Deviation]:
        """What departs from the protocol so far, in the order of the events."""
        return self._stream.deviations

    @property
    def unapplied(self) -> list[tuple[int, Delta]]:
        """Deltas that fit nowhere, each with the index of its block."""
        return self._stream.unapplied

    @property
    def usage_is_final(self) -> bool:
        """Whether an output count came with the stop_reason or after it; until then it is a running count."""
        return self._stream.usage_is_final

    @property
    def transport_error(self) -> Exception | None:
        """What the source of the chunks raised, also if the message was whole by then and nothing is raised for it."""
        return self._transport_error

    def result(self) -> Message:
        """The finished message.

        Raises, with what there is as `error.partial`: IncompleteStream if the message is not whole, or not yet, with
        what the source raised as its cause; the error of a source that raised a StreamError; APIError if the server
        said that it failed; the fault if there is one.
        """
        if self._error is not None and self.outcome is not Outcome.COMPLETE:
            self._raise_error()
        return self._stream.result()

    def _end(self, broken: Exception | None = None) -> None:
        """The source has given its last chunk, or raised `broken` instead of one."""
        self._source_ended = True
        self._transport_error = broken
        self._waiting = self._stream.iter_eof(broken=broken is not None)

    def _settle(self) -> None:
        """No event comes after those that waited: settle what is raised from now on."""
        self._over = True
        self._error = find_error(self._stream, self._transport_error)
        if self._error is not None and self._error is self._transport_error:
            self._traceback = self._error.__traceback__  # it says where in the source it comes from

    def _give_up(self) -> None:
        """Give no further event: the caller does not want them, or a chunk was no bytes."""
        if self._over:
            return
        self._over = True
        self._waiting = iter(())
        self._error = find_error(self._stream, None)
        if isinstance(self._error, IncompleteStream):
            closed = IncompleteStream("the reader was closed before the message ended")
            closed.event_number, closed.partial = self._error.event_number, self._error.partial
            self._error = closed

    def _raise_error(self) -> None:
        if self._error is not None:
            # An error that is raised again and again would keep the call frames of each time.
            raise self._error.with_traceback(self._traceback)

    def _keep(self, error: Exception) -> None:
        """An error of closing the source is no reason to take the message away, or to hide another error."""
        self._transport_error = self._transport_error or error


class MessageReader(_Reader):
    """Iterates over the events of a body that comes in chunks, and knows the message so far.

        with iter_events(response.iter_bytes()) as events:
            for event in events:
                print(event, events.block)
        message = events.result()

    Everything that it shows is as of the event given last; an event that waits in the same chunk does not show yet.
    After the last event, iterating raises what `result()` would if the stream broke off or failed, and the fault if
    there is one. An exception of the source ends the body: it becomes the cause of an IncompleteStream, or, if a
    stop_reason had come, only `transport_error`. A StreamError of the source is raised itself.

    The end, an error, `close()` and leaving the `with` block all close the source. Iterating a second time goes on
    from there; after the end it stops at once, or raises the same error again. After a `close()` before the end of the
    message it raises IncompleteStream, so that no loop can take that message for a whole one.
    """

    def __init__(
        self,
        chunks: Iterable[Bytes],
        *,
        strict: bool = False,
        max_event_size: int = MAX_EVENT_SIZE,
        max_message_size: int = MAX_MESSAGE_SIZE,
    ) -> None:
        super().__init__(MessageStream(strict=strict, max_event_size=max_event_size, max_message_size=max_message_size))
        self._source = iter(check_chunks(chunks))

    def __iter__(self) -> MessageReader:
        return self

    def __next__(self) -> StreamEvent:
        for event in self._waiting:
            self._given = event
            return event
        while not self._over:
            if self._source_ended or self._stream.fault is not None:
                self._settle()
                try:
                    self._close_source()
                except Exception as error:  # noqa: BLE001  # of any kind, as the source is
                    self._keep(error)
                break
            try:
                chunk = next(self._source)
            except StopIteration:
                self._end()
            except Exception as error:  # noqa: BLE001  # whatever it is, the stream broke off
                self._end(error)
            else:
                try:
                    self._waiting = self._stream.iter_data(chunk)
                except TypeError:
                    self.close()
                    raise
            for event in self._waiting:
                self._given = event
                return event
        self._raise_error()
        raise StopIteration

    def __enter__(self) -> MessageReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # The caller's own exception is what counts, if there is one.
        with suppress(Exception) if error is not None else nullcontext():
            self.close()

    def close(self) -> None:
        """Give no further event and close the source, if it has a `close`. Closing twice does nothing."""
        self._give_up()
        self._close_source()

    def _close_source(self) -> None:
        if not self._source_closed:
            self._source_closed = True
            close_source(self._source)


class AsyncMessageReader(_Reader):
    """As `MessageReader`, over an async iterable of chunks.

    If waiting for a chunk is cancelled, nothing is lost: you can iterate on, if the source goes on after that.
    """

    def __init__(
        self,
        chunks: AsyncIterable[Bytes],
        *,
        strict: bool = False,
        max_event_size: int = MAX_EVENT_SIZE,
        max_message_size: int = MAX_MESSAGE_SIZE,
    ) -> None:
        super().__init__(MessageStream(strict=strict, max_event_size=max_event_size, max_message_size=max_message_size))
        self._source = aiter(check_async_chunks(chunks))

    def __aiter__(self) -> AsyncMessageReader:
        return self

    async def __anext__(self) -> StreamEvent:
        for event in self._waiting:
            self._given = event
            return event
        while not self._over:
            if self._source_ended or self._stream.fault is not None:
                self._settle()
                try:
                    await self._close_source()
                except Exception as error:  # noqa: BLE001  # of any kind, as the source is
                    self._keep(error)
                break
            try:
                chunk = await anext(self._source)
            except StopAsyncIteration:
                self._end()
            except Exception as error:  # noqa: BLE001  # whatever it is, the stream broke off
                self._end(error)
            else:
                if self._over:
                    break  # another task has closed it meanwhile
                try:
                    self._waiting = self._stream.iter_data(chunk)
                except TypeError:
                    await self.aclose()
                    raise
            for event in self._waiting:
                self._given = event
                return event
        self._raise_error()
        raise StopAsyncIteration

    async def __aenter__(self) -> AsyncMessageReader:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(Exception) if error is not None else nullcontext():
            await self.aclose()

    async def aclose(self) -> None:
        """Give no further event and close the source, if it has an `aclose`. Closing twice does nothing."""
        self._give_up()
        await self._close_source()

    async def _close_source(self) -> None:
        if not self._source_closed:
            aclose = getattr(self._source, "aclose", None)
            if aclose is not None:
                await aclose()  # a generator in which another task waits refuses: the next call closes it then
            self._source_closed = True


def parse(
    data_or_chunks: Bytes | Iterable[Bytes],
    *,
    strict: bool = False,
    max_event_size: int = MAX_EVENT_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
) -> Message:
    """The final message of a whole body, given as bytes or in chunks.

    Raises as `MessageReader.result` does: what the source of the chunks raises is the cause of an IncompleteStream,
    unless a stop_reason had come. TypeError for anything but bytes.
    """
    stream = MessageStream(strict=strict, max_event_size=max_event_size, max_message_size=max_message_size, keep="last")
    whole = isinstance(data_or_chunks, (bytes, bytearray, memoryview))
    source = iter(slices(as_bytes(data_or_chunks)) if whole else check_chunks(data_or_chunks))  # type: ignore[arg-type]
    broken: Exception | None = None
    try:
        while stream.fault is None:
            try:
                chunk = next(source)
            except StopIteration:
                break
            except Exception as error:  # noqa: BLE001  # whatever it is, the stream broke off
                broken = error
                break
            try:
                stream.consume(chunk)
            except StreamError:
                break  # the stream keeps it
    finally:
        with suppress(Exception):  # the message is here, or a better error
            close_source(source)
    if stream.fault is None:
        for _ in stream.iter_eof(broken=broken is not None):
            pass
    fault = find_error(stream, broken)
    if fault is not None and stream.outcome is not Outcome.COMPLETE:
        raise fault
    return stream.result()


def iter_events(
    chunks: Iterable[Bytes],
    *,
    strict: bool = False,
    max_event_size: int = MAX_EVENT_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
) -> MessageReader:
    """The events of a body that comes in chunks, from any iterable of bytes.

    If the stream broke off or failed, iterating raises after the last event what `MessageReader.result` would: a loop
    over events takes no cut stream for a whole one. TypeError for bytes instead of chunks.
    """
    return MessageReader(chunks, strict=strict, max_event_size=max_event_size, max_message_size=max_message_size)


def aiter_events(
    chunks: AsyncIterable[Bytes],
    *,
    strict: bool = False,
    max_event_size: int = MAX_EVENT_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
) -> AsyncMessageReader:
    """As `iter_events`, from any async iterable of bytes."""
    return AsyncMessageReader(chunks, strict=strict, max_event_size=max_event_size, max_message_size=max_message_size)


def close_source(source: Iterator[Bytes]) -> None:
    """Close the iterator over the chunks, if it can be closed."""
    close = getattr(source, "close", None)
    if close is not None:
        close()


def find_error(stream: MessageStream, broken: Exception | None) -> StreamError | None:
    """What is wrong with a stream that ended, or that `broken` ended; None if its message is whole."""
    error = stream.fault
    if error is None:
        try:
            stream.result()
        except StreamError as raised:
            error = raised
    if broken is None or error is None or isinstance(error, APIError):
        return error
    if isinstance(error, IncompleteStream) and isinstance(broken, StreamError):
        if broken.partial is None:
            broken.partial = error.partial
        return broken
    error.__cause__ = broken
    return error
