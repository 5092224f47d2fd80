"""What the decoders have in common: two verbs, one body, and a fault that never swallows events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, NoReturn, SupportsIndex, TypeVar

from ._errors import LimitExceeded, StreamError
from ._frames import Fields, FrameReader, fields_of_frames, read_fields, split_frames, without_blank_lines

Item = TypeVar("Item")


def refuse_copy(self: object) -> NoReturn:
    """The `__reduce_ex__` of objects that read one body: copies would share its buffers and spoil each other."""
    name = type(self).__name__
    raise TypeError(f"{name} can't be copied or pickled because it reads one body; its events and messages can")


class Receiver(ABC, Generic[Item]):
    """Takes the bytes of one body, in pieces of any size, and returns what they complete.

    Items that are complete before a fault are returned. The fault can then be read as `fault`, and the next
    call and each later one raise it. A fault with nothing before it is raised at once.
    """

    __slots__ = (
        "__weakref__",
        "_ended",
        "_fault",
    )

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        refuse_copy(self)

    def __init__(self) -> None:
        self._fault: StreamError | None = None
        self._ended = False

    @property
    def fault(self) -> StreamError | None:
        """The error that ended the reading, None until then."""
        return self._fault

    def receive_data(self, data: bytes | bytearray | memoryview) -> list[Item]:
        """Take the next bytes and return what is now complete, often nothing.

        Raises the fault of the stream (a `StreamError`), TypeError for anything but bytes, ValueError
        after `receive_eof`.
        """
        if self._fault is not None:
            return self._stopped()
        if self._ended:
            raise ValueError("receive_data after receive_eof: one object reads one body")
        items = self.read_chunk(data if data.__class__ is bytes else as_bytes(data))
        return items if items or self._fault is None else self._stopped()

    def receive_eof(self) -> list[Item]:
        """Say that the body has ended and return what that completes, often nothing. A second call returns []."""
        if self._fault is not None:
            return self._stopped()
        if self._ended:
            return []
        self._ended = True
        items = self.read_end()
        return items if items or self._fault is None else self._stopped()

    def _stopped(self) -> list[Item]:
        """Raise the fault, in the call that met it and in each later one."""
        assert self._fault is not None
        # An error that is raised again and again would keep the call frames of each time, and each chunk in them.
        raise self._fault.with_traceback(None)

    @abstractmethod
    def read_chunk(self, data: bytes) -> list[Item]:
        """Like `receive_data`, for a receiver on top of this one: it sets `fault` and never raises it."""

    @abstractmethod
    def read_end(self) -> list[Item]:
        """Like `receive_eof`, under the same rule."""


class FrameReceiver(Receiver[Item]):
    """A receiver that reads the frames of a text/event-stream, one item for each dispatched event."""

    __slots__ = (
        "_number",
        "_reader",
    )

    def __init__(self, max_event_size: int) -> None:
        super().__init__()
        self._reader = FrameReader(max_event_size)
        self._number = 0  # of the next dispatched event

    def read_chunk(self, data: bytes) -> list[Item]:
        if self._reader.hold(data):
            return []
        if len(data) <= SLICE:
            return self._take(data)
        items: list[Item] = []
        for piece in slices(data):
            items += self._take(piece)
            if self._fault is not None:
                break
        return items

    def _take(self, data: bytes, read: Callable[[bytes], list[Item]] | None = None) -> list[Item]:
        """Read a piece of at most SLICE bytes, its whole frames by `read` instead of `_read_ready`, if it is given."""
        reader = self._reader
        ready = reader.feed(data)
        items = (read or self._read_ready)(ready) if ready else []
        if len(reader.pending) > reader.limit and self._fault is None:
            self._fail(LimitExceeded("max_event_size", reader.limit), reader.pending_offset)
        return items

    def _frames_in_limit(self, ready: bytes) -> Iterable[Fields]:
        """The fields of each frame up to the first over the limit, which fails as it would have while pending."""
        limit = self._reader.limit
        return self._measured(ready, limit) if len(ready) > limit else fields_of_frames(without_blank_lines(ready))

    def _measured(self, ready: bytes, limit: int) -> Iterator[Fields]:
        for start, lines in split_frames(ready):
            if sum(map(len, lines)) + len(lines) + 1 > limit:
                self._fail(LimitExceeded("max_event_size", limit), self._reader.offset_of(start))
                return
            yield read_fields(b"\n".join(lines))

    def _fail(self, error: StreamError, offset: int | None) -> None:
        error.event_number = self._number
        error.byte_offset = offset
        self._fault = error
        self._reader.finish()  # nothing of the event at fault counts, not even its retry line

    @abstractmethod
    def _read_ready(self, ready: bytes) -> list[Item]:
        """The items of whole frames, given as `FrameReader.feed` returns them. Sets the fault and never raises it."""


SLICE = 28 * 1024
# `bytes.split` takes 98 instead of 169 nanoseconds an event if fewer than 30,000 bytes are left (with more, CPython
# sets up another search for each hit). Objects made from a slice are still in the cache when they are used, and a body
# that is given whole needs no second copy of itself.


def slices(data: bytes) -> Iterable[bytes]:
    """Cut a chunk into the pieces that are read one at a time."""
    if len(data) <= SLICE:
        return (data,)
    return (data[start : start + SLICE] for start in range(0, len(data), SLICE))


def as_bytes(data: object) -> bytes:
    """The bytes of a bytes-like object; TypeError for anything else, a str above all."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"expected bytes, bytearray or memoryview, not {type(data).__name__}")
