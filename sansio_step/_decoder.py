"""Bytes to typed events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, repeat
from operator import itemgetter
from typing import Annotated

import msgspec

from ._blocks import MAX_EVENT_SIZE, join_lines, match_usual, read_blocks, read_fields, split_blocks, with_lf
from ._codec import check_name, cut_text, read_event
from ._deviations import Deviation, DeviationLog, Note
from ._errors import ProtocolViolation, StreamError, quoted
from ._events import (
    ContentBlockDeltaEvent,
    ContentBlockStopEvent,
    MessageStartEvent,
    MessageStopEvent,
    PingEvent,
    StreamEvent,
    UnknownEvent,
)
from ._json import NotJSON, has_halves, join_halves, read_json
from ._receiver import BlockReceiver

_DELTA_LINES = b"event: content_block_delta\ndata: "
_DELTA_HEAD = len(_DELTA_LINES)
_NEXT_DELTA = b"\n\n" + _DELTA_LINES


class _NoOtherType(msgspec.Struct, tag="\0"):
    # Alone in a decoder, a tagged struct may lack its tag; in a union it may not. Its own tag can come, its field can't.
    never: Annotated[int, msgspec.Meta(gt=1, lt=1)]


_decode_delta = msgspec.json.Decoder(ContentBlockDeltaEvent | _NoOtherType).decode
_Plain = ContentBlockDeltaEvent | ContentBlockStopEvent | PingEvent
_decode_plain: Callable[[bytes | memoryview], _Plain] = msgspec.json.Decoder(_Plain).decode
_EVENT_LINES: dict[type, bytes] = {
    cls: cls.type.encode() for cls in (ContentBlockDeltaEvent, ContentBlockStopEvent, PingEvent)
}
_NEVER_PLAIN = frozenset((b"message_start", b"content_block_start", b"message_delta", b"message_stop"))
_CANT_DECODE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class EventDecoder(BlockReceiver[StreamEvent]):
    """Bytes of a Messages stream to typed events, one for each dispatched frame.

    What real servers do differently is read all the same and listed in `deviations`; with `strict=True` it
    is a `ProtocolViolation`. What can't be read is a `DecodeError`, an event over `max_event_size` bytes a
    `LimitExceeded`. Either ends the reading; see `fault`.
    """

    # `bytes.split` takes 98 instead of 169 nanoseconds an event where fewer than 30,000 bytes are left (CPython sets up
    # another search for each hit in more).
    _SLICE = 28 * 1024

    def __init__(self, *, strict: bool = False, max_event_size: int = MAX_EVENT_SIZE) -> None:
        super().__init__(max_event_size)
        self.strict = strict
        self._log = DeviationLog()
        self._ready: bytes | bytearray = b""  # the blocks read last, and the number of their first event
        self._ready_number = 0
        self._notes: list[Note] = []  # of the events that were returned last
        self._message = 0  # which message of the body, for the deviations
        self._message_id: str | None = None
        self._stopped = True  # no message is on its way
        self._most_for_one = min(max_event_size, 4096)  # a larger chunk is rarely one event: not worth the look
        self._half: tuple[int, type, str] | None = None  # the last delta ended in half a surrogate pair

    def __repr__(self) -> str:
        return f"<EventDecoder events={self._number} fault={self._fault!r}>"

    @property
    def deviations(self) -> list[Deviation]:
        """The deviations that show in one frame, so far: one entry for each code and message."""
        self._settle()
        return self._log.entries()

    def new_entries(self) -> list[int]:
        """The numbers of those events, of the ones returned last, that add an entry to `deviations`; one for each."""
        if not self._notes:
            return []
        first = {(note.message, note.code): note.event_number for note in reversed(self._notes)}
        return sorted(number for key, number in first.items() if not self._log.knows(key))

    def receive_data(self, data: bytes | bytearray | memoryview) -> list[StreamEvent]:
        if not self._reader.idle:
            return [] if self._reader.hold(data) else super().receive_data(data)
        event = self._decode_one(data)
        return super().receive_data(data) if event is None else [event]

    def _decode_one(self, data: bytes | bytearray | memoryview) -> StreamEvent | None:
        """The event of a chunk that is just one plain event, as servers flush them; None where it is not. The reader
        is idle.

        0.6 microseconds, where the way through the layers takes 3.
        """
        if self._half is not None or type(data) is not bytes or len(data) > self._most_for_one:
            return None
        block = with_lf(data) if 13 in data else data
        if block[-2:] != b"\n\n":
            return None
        event: StreamEvent | None
        payload: bytes | None = None
        # Slices and searches for a byte take 60 and 20 nanoseconds, cutting into lines 120 and their list as much again.
        if block[:_DELTA_HEAD] == _DELTA_LINES:
            payload = block[_DELTA_HEAD:-2]
            if 10 in payload:
                payload = join_lines(payload)
        if payload is not None:
            try:
                event = _decode_delta(payload)
            except _CANT_DECODE:
                return None
        else:
            event = self._decode_one_usual(block)
            if event is None:
                return None
        reader = self._reader
        reader.raw = data
        reader.consumed += len(data)
        self._ready = data
        self._ready_number = self._number
        self._number += 1
        return event

    def _decode_one_usual(self, block: bytes) -> StreamEvent | None:
        """The same for the other shapes of a block: 1.6 microseconds."""
        name, data, _, _ = match_usual(block)
        if data is None:
            return None
        try:
            event: StreamEvent = _decode_plain(data)
        except _CANT_DECODE:
            return None
        return event if name == _EVENT_LINES[type(event)] or (not name and self._is_unnamed_again()) else None

    def _settle(self, upto: int | None = None) -> None:
        """Count what was noted. Events from number `upto` on count as never read: a fault stands in front."""
        for note in self._notes:
            self._log.add(note, upto)
        self._notes.clear()

    def _read_blocks(self, ready: bytes | bytearray) -> list[StreamEvent]:
        """The short way: runs of delta frames in the common shape are cut and decoded in C.

        All else goes the general way, and so does a run in which msgspec finds anything to object to.
        0.4 microseconds an event, where the general way takes 1.2.
        """
        if self._notes:
            self._settle()
        self._ready = ready
        self._ready_number = self._number
        if isinstance(ready, bytearray) or len(ready) > self._reader.limit:
            return self._read_general(ready)
        pieces = (b"\n\n" + ready).split(_NEXT_DELTA)
        pieces[-1] = pieces[-1][:-2]
        first = pieces.pop(0)
        # A piece with a line end is more than the one data line of a delta: other lines, or other events.
        # Joined they are searched in a third of the time.
        if not first and 10 not in b"".join(pieces):
            return self._read_run(pieces)
        odd = [number for number, piece in enumerate(pieces) if 10 in piece]
        if len(odd) * 4 >= len(pieces) and odd:
            pieces, odd = _in_one_line(pieces, pieces[odd[0]])
        if len(odd) * 4 >= len(pieces):
            # Another shape throughout, with comments or ids: runs of two or three would be slower than none.
            return self._read_shaped(ready)
        events = self._read_general(first[2:] + b"\n\n") if first else []
        start = 0
        for stop in (*odd, len(pieces)):
            run = pieces[start:stop]
            others = b""
            if stop < len(pieces):
                payload, _, others = pieces[stop].partition(b"\n\n")
                if 10 in payload:
                    others = _DELTA_LINES + pieces[stop]
                else:
                    run.append(payload)
            if self._fault is None and run:
                events += self._read_run(run)
            if self._fault is None and others:
                events += self._read_other(others)
            start = stop + 1
        return events

    def _read_run(self, run: list[bytes]) -> list[StreamEvent]:
        """The events of frames that are deltas by their event line, given the data of each."""
        if self._half is None:
            try:
                events = list(map(_decode_delta, run))
            except _CANT_DECODE:
                pass
            else:
                self._number += len(events)
                return events
        lines = [data.replace(b"\n", b"\ndata: ") for data in run]
        return self._read_general(_DELTA_LINES + _NEXT_DELTA.join(lines) + b"\n\n")

    def _read_other(self, others: bytes) -> list[StreamEvent]:
        """What stands between runs, without its last blank line: mostly a single ping or content_block_stop.

        1.1 microseconds for that, where the general way takes 5.
        """
        event_line, _, data = others.partition(b"\ndata: ")
        if 10 not in data and self._half is None:
            try:
                event = _decode_plain(data)
            except _CANT_DECODE:
                pass
            else:
                if event_line == b"event: " + _EVENT_LINES[type(event)]:
                    self._number += 1
                    return [event]
        return self._read_general(others + b"\n\n")

    def _read_shaped(self, ready: bytes) -> list[StreamEvent]:
        """The events of blocks in another shape: several lines of data, comments or ids in each."""
        events: list[StreamEvent] = []
        for name, blocks in groupby(read_blocks(ready), key=itemgetter(0)):
            data = [fields[1] for fields in blocks if fields[1] is not None]
            if not name:
                # The first of a row without event lines is noted, the others are counted.
                self._read_frames(zip(repeat(name), data[:1]), events)
                data = data[1:]
            run = self._read_alike(name, data)
            if run:
                events += run
            elif self._fault is None:
                self._read_frames(zip(repeat(name), data), events)
            if self._fault is not None:
                break
        return events

    def _read_alike(self, name: bytes | None, data: Iterable[bytes | memoryview]) -> Sequence[StreamEvent]:
        """The events of frames with the same event line, or all without one; none if they need a closer look."""
        if self._half is not None or self._fault is not None or (name and name != b"content_block_delta"):
            return ()
        try:
            run: list[StreamEvent] = list(map(_decode_delta if name else _decode_plain, data))
        except _CANT_DECODE:
            return ()
        if not name and not self._is_unnamed_again(len(run)):
            return ()
        self._number += len(run)
        return run

    def _read_general(self, region: bytes | bytearray) -> list[StreamEvent]:
        """The events of blocks in any shape, one by one."""
        events: list[StreamEvent] = []
        blocks = self._blocks_in_limit(region)
        self._read_frames(((name, data) for name, data, _, _ in blocks if data is not None), events)
        return events

    def _read_frames(
        self, frames: Iterable[tuple[bytes | None, bytes | memoryview]], events: list[StreamEvent]
    ) -> None:
        """Add the event of each frame, up to one that can't be read."""
        for name, data in frames:
            try:
                events.append(self._read_frame(name, data))
            except StreamError as fault:
                self._fail(fault, self._offset_of_event(self._number))
                break
            self._number += 1

    def _read_frame(self, name: bytes | None, data: bytes | memoryview, *before: tuple[str, str]) -> StreamEvent:
        """The event of one frame, with the deviations that were already seen in it."""
        found = list(before)
        event: StreamEvent | None
        try:
            # An attempt that has to fail costs 1.5 microseconds.
            event = None if name in _NEVER_PLAIN else _decode_plain(data)
        except _CANT_DECODE:
            event = None
        if event is None:
            event = read_event(bytes(data), _shown(name), lambda code, detail: found.append((code, detail)))
        else:
            alone = self._half is None and not before
            if alone and (name == _EVENT_LINES[type(event)] or (not name and self._is_unnamed_again())):
                return event
            check_name(_shown(name), event.type, lambda code, detail: found.append((code, detail)))
        if isinstance(event, MessageStartEvent):
            self._begin(event.message.id)
        if found:
            self._note(found)
        if isinstance(event, ContentBlockDeltaEvent):
            return self._join_halves(event)
        if isinstance(event, MessageStopEvent):
            self._stopped = True
        if not isinstance(event, (PingEvent, UnknownEvent)):
            self._half = None
        return event

    def _note(self, found: list[tuple[str, str]]) -> None:
        if self.strict:
            raise ProtocolViolation(*found[0])
        for code, detail in found:
            self._notes.append(Note(code, self._number, detail, self._message))

    def _is_unnamed_again(self, number: int = 1) -> bool:
        """Count some more of a row of events without an event line, as some servers send all of theirs."""
        last = self._notes[-1] if self._notes else None
        if (
            last is None
            or last.code != "no_event_line"
            or last.event_number + last.count != self._number
            or last.message != self._message
        ):
            return False
        last.count += number
        return True

    def _offset_of_event(self, number: int) -> int:
        """Where in the body one of the events that were read last stood."""
        ready = bytes(self._ready)
        if 13 in ready:  # a chunk that was read as it came
            ready = b"\n".join(ready.splitlines()) + b"\n"
        dispatched = (start for start, lines in split_blocks(ready) if read_fields(lines)[1] is not None)
        for at, start in enumerate(dispatched, self._ready_number):
            if at == number:
                return self._reader.offset_of(start)
        return self._reader.pending_offset  # the end of the body made an event of what was pending

    def _begin(self, message_id: str | None) -> None:
        if self._stopped or message_id != self._message_id:
            self._message += 1
        self._stopped = False
        self._message_id = message_id

    def _join_halves(self, event: ContentBlockDeltaEvent) -> StreamEvent:
        """Show a character whose halves came in two deltas whole, in the second of them."""
        held, self._half = self._half, None
        cut = cut_text(event.delta)
        if cut is None or (held is None and not has_halves(cut.raw)):
            return event
        text = cut.raw
        if held is not None and held[:2] == (event.index, cut.kind):
            text = held[2] + text
        if "\ud800" <= text[-1:] <= "\udbff":
            self._half = (event.index, cut.kind, text[-1])
        return cut.shown_as(event, join_halves(text, hold_back=True))

    def _finish(self) -> list[StreamEvent]:
        rest = self._reader.finish()
        self._ready = b""
        name, data, _, _ = read_fields(rest.split(b"\n"))
        if data is not None and _is_whole(data):
            unterminated = ("unterminated_event", "the body ends without the blank line behind its last event")
            try:
                event = self._read_frame(name, data, unterminated)
            except StreamError as fault:
                self._fail(fault, self._reader.pending_offset)
                return []
            self._number += 1
            return [event]
        if data is not None or name is not None or rest[-1:] not in (b"", b"\n"):
            detail = f"the body ends inside an event: {quoted(rest[:240].decode('utf-8', 'replace'), 60)}"
            if self.strict:
                self._fail(ProtocolViolation("unfinished_event", detail), self._reader.pending_offset)
            else:
                self._notes.append(Note("unfinished_event", self._number, detail, self._message))
        return []


def _in_one_line(pieces: list[bytes], odd: bytes) -> tuple[list[bytes], list[int]]:
    """The data of delta frames that are all written like `odd`, in another shape; and which of them are not, or more.

    Servers write the same comment behind each event, or all their data in several lines. 0.6 microseconds an event,
    where the pattern for all shapes takes 1.1.
    """
    if keep_alive := _keep_alive(odd):
        pieces = [piece.removesuffix(keep_alive) for piece in pieces]
        return pieces, [number for number, piece in enumerate(pieces) if 10 in piece]
    joined = list(map(join_lines, pieces))
    others = [number for number, data in enumerate(joined) if data is None]
    return [piece if data is None else data for piece, data in zip(pieces, joined, strict=True)], others


def _keep_alive(piece: bytes) -> bytes:
    """The comment that stands alone behind a data line, with the blank line in front of it; b"" if there is none."""
    _, blank, rest = piece.partition(b"\n\n")
    return blank + rest if rest[:1] == b":" and 10 not in rest else b""


def _shown(name: bytes | None) -> str | None:
    # An empty event line means the default, as none does.
    return name.decode("utf-8", "replace") if name else None


def _is_whole(data: bytes | memoryview) -> bool:
    """Whether JSON ends where the body does. Of a number or literal that can't be told."""
    try:
        return isinstance(read_json(bytes(data))[0], (dict, list, str))
    except NotJSON:
        return False
