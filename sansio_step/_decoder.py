"""Bytes to typed events."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import itemgetter
from typing import Any

from ._clean import convert_clean, decode_clean
from ._decode import (
    as_json_bytes,
    read_error,
    read_event,
    read_object,
)
from ._deviations import Deviation, DeviationLog, Note
from ._documents import documents, documents_before_cut, glued_events, glued_events_before_cut, json_object
from ._errors import LimitExceeded, ProtocolViolation, StreamError, quoted
from ._events import (
    KNOWN_EVENTS,
    ContentBlockDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
    PingEvent,
    StreamEvent,
    UnknownEvent,
)
from ._frames import MAX_EVENT_SIZE, Fields, read_fields, read_one, split_frames
from ._halves import HeldHalf, join_half
from ._json import CANT_DECODE, NotJSON, json_bytes, read_json
from ._quirks import check_name
from ._receiver import FrameReceiver
from ._runs import DELTA_HEAD, DeltaRun, cut_runs, decode_delta, decode_run, frames_of, join_run

_HEAD = len(DELTA_HEAD)

Data = str | bytes | bytearray | memoryview | Mapping[str, Any]
"""The data of a frame: its text, or the object that it was parsed to."""


_OF_NAMES = ("no_event_line", "foreign_data")
# Deviations of an event line. They don't count for an event that shares its frame, since the line is not its own.

# The names of events, and their event lines.
_NAMES: dict[type, bytes] = {cls: cls.type.encode() for cls in KNOWN_EVENTS}
_EVENT_LINES = {b"event: " + name: cls for cls, name in _NAMES.items()}


class EventDecoder(FrameReceiver[StreamEvent]):
    """Turns the bytes of a Messages stream into typed events, normally one for each dispatched frame.

    Known deviations of real servers are read all the same and listed in `deviations`; with `strict=True` each is a
    `ProtocolViolation`. Data that can't be read is a `DecodeError`, and an event over `max_event_size` bytes is a
    `LimitExceeded`. Each of these errors ends the reading; see `fault`.

    There are two ways through: runs of deltas written alike (`_runs`), and all other frames, one by one
    (`_read_others`). A chunk that is one delta, as servers flush them, has a third in `read_chunk`: it takes 0.6
    microseconds there, and 3 through the layers. A small chunk that is one frame of any other
    kind goes to `_read_one`, past `FrameReader.feed`: that takes a quarter less time, and without an event line half.
    """

    __slots__ = (
        "_between_messages",
        "_half",
        "_log",
        "_message",
        "_message_id",
        "_most_for_one",
        "_notes",
        "_placed",
        "_places",
        "_ready",
        "_ready_number",
        "is_clean",
        "sizes",
        "strict",
    )

    def __init__(self, *, strict: bool = False, max_event_size: int = MAX_EVENT_SIZE) -> None:
        super().__init__(max_event_size)
        self._most_for_one = min(max_event_size, 4096)  # a larger chunk is rarely just one event
        self.strict: bool = strict
        self._log = DeviationLog()
        self._ready: bytes | None = b""  # the frames read last, None if they were no bytes of a body
        self._ready_number = 0  # of their first event
        # For each frame of `_ready`, the number of the event after it and where it starts. Made when somebody asks, and
        # kept, because a slice of 500 errors asks 500 times.
        self._places: list[tuple[int, int | None]] | None = None
        self._placed: tuple[bytes, int] | None = None  # the `_ready` and `_ready_number` for which they were made
        self._notes: list[Note] = []  # of the events that were returned last
        self._message = 0  # which message of the body, for the deviations
        self._message_id: str | None = None
        self._between_messages = True  # no message is on its way
        self.sizes: dict[int, int] = {}
        """The bytes of the data of each event that was returned last, by event number. Runs of deltas are left out."""
        self.is_clean: bool = True
        """Whether what was read last has no fault and adds no entry to `deviations`."""
        self._half: HeldHalf | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} events={self._number} fault={self._fault!r}>"

    @property
    def deviations(self) -> list[Deviation]:
        """The deviations that show in one frame, so far, with one entry for each code and message."""
        self.settle()
        return self._log.entries()

    @property
    def is_fresh(self) -> bool:
        """Whether nothing was read yet."""
        return not (self._number or self._reader.taken or self._ended or self._fault)

    def new_entries(self) -> list[int]:
        """The numbers of those events returned last that add an entry to `deviations`, once for each entry."""
        if not self._notes or self._notes[-1].event_number < self._ready_number:
            return []
        first = {(note.message, note.code): note.event_number for note in reversed(self._notes)}
        return sorted(number for key, number in first.items() if not self._log.knows(key))

    def receive_data(self, data: bytes | bytearray | memoryview) -> list[StreamEvent]:
        """Take the next bytes and return the events that they complete, often none.

        Raises the fault of the stream (a `StreamError`), TypeError for anything but bytes, ValueError after
        `receive_eof`.
        """
        if data.__class__ is not bytes or self._fault is not None or self._ended:
            return super().receive_data(data)
        event = self.read_lone(data)
        if event is not None:
            return [event]
        events = self.read_other(data)
        return events if events or self._fault is None else self._stopped()

    def read_chunk(self, data: bytes) -> list[StreamEvent]:
        event = self.read_lone(data)
        return self.read_other(data) if event is None else [event]

    def read_lone(self, data: bytes) -> ContentBlockDeltaEvent | None:
        """The event of a chunk that is one delta in the usual form; None for any other chunk, of which nothing is read."""
        reader = self._reader
        if data[:_HEAD] != DELTA_HEAD or self._half is not None or not reader.idle or len(data) > self._most_for_one:
            return None
        payload, _, end = data[_HEAD:].partition(b"\n")
        if end != b"\n" or 13 in payload:
            return None
        try:
            event: ContentBlockDeltaEvent = decode_delta(payload)
        except CANT_DECODE:
            return None  # it needs a closer look
        reader.piece = self._ready = data
        reader.taken += len(data)
        self._ready_number = self._number
        self._number += 1
        self.is_clean = True
        return event

    def read_other(self, data: bytes) -> list[StreamEvent]:
        """Like `read_chunk`, for a chunk that `read_lone` has left."""
        if self._reader.idle and len(data) <= self._most_for_one:
            fields = read_one(data)
            if fields[1] is not None:
                return self._read_one(data, fields)
        return super().read_chunk(data)

    def read_joined(self, data: bytes) -> list[StreamEvent | DeltaRun]:
        """Like `read_chunk`, for callers who want no events: deltas in a row can come as one `DeltaRun`.

        There is no `DeltaRun` if what was read is not `is_clean`.
        """
        items: list[Any] = self._take(data, partial(self._read_ready, decode=join_run))
        if self.is_clean:
            return items
        return [event for item in items for event in (item.events() if isinstance(item, DeltaRun) else (item,))]

    def receive_frame(self, data: Data, event: str | None = None) -> list[StreamEvent]:
        """Take the data of one frame that came some other way, and return its events (some frames hold several).

        `data` is the text of the frame's data, or the JSON object that it was parsed to. `event` is its name: "message"
        or "" if it had none though its transport has names, None if the transport has no names (a WebSocket). The rules
        are those of `receive_data`: the same deviations, the same limit (for objects on their texts and values), and a
        fault that is raised at once or, if events came before it, by the next call. The `byte_offset` of its errors is
        None. TypeError for data or a name of another type, ValueError after `receive_eof`.
        """
        if self._fault is not None:
            return self._stopped()
        if self._ended:
            raise ValueError("receive_frame after receive_eof: one object reads one body")
        events = self.read_given([(None, (data, event))])
        return events if events or self._fault is None else self._stopped()

    def read_given(
        self,
        frames: Iterable[tuple[int | None, Any]],
        content_of: Callable[[Any], tuple[Data, str | None]] | None = None,
    ) -> list[StreamEvent]:
        """Like `receive_frame` for several frames, for a receiver on top of this one: it never raises a fault.

        Each frame comes with its place in the body. It is its data and name, or `content_of` gives these and may raise a
        fault.
        """
        if self._notes:
            self.settle()
        self._ready, self._ready_number = None, self._number
        self._places = places = []
        self.sizes = {}
        self.is_clean = True
        events: list[StreamEvent] = []
        for offset, frame in frames:
            try:
                data, event = frame if content_of is None else content_of(frame)
                self._read_given_one(data, event, events, is_limited=content_of is None)
            except StreamError as fault:
                self._fail(fault, offset)
            if self._fault is not None:
                self._fault.byte_offset = offset
                break
            places.append((self._number, offset))
        if self._fault is None:
            self.is_clean = not (self._notes and self.new_entries())
        return events

    def _read_given_one(self, data: Data, event: str | None, events: list[StreamEvent], *, is_limited: bool) -> None:
        if event is not None and not isinstance(event, str):
            raise TypeError(f"expected the name of the event as a str, not {type(event).__name__}")
        name = None if event in (None, "", "message") else event
        if not isinstance(data, (str, bytes)) and isinstance(data, Mapping):
            self._read_object(data, name, events, has_names=event is not None)
            return
        data = as_json_bytes(data)
        if is_limited and len(data) > self._reader.limit:
            raise LimitExceeded("max_event_size", self._reader.limit)
        if event is None:
            self._read_nameless(data, events)
        else:
            self._read_each(((json_bytes(name) if name else None, data, None, None, None),), events)

    def _read_one(self, data: bytes, fields: Fields) -> list[StreamEvent]:
        """Read a chunk that is exactly one frame."""
        self._reader.piece = self._ready = data
        self._reader.taken += len(data)
        self._ready_number = self._number
        self.sizes = {}
        if len(self._notes) > 16:
            self.settle()
        events: list[StreamEvent] = []
        self._read_each((fields,), events)
        if self._fault is None:
            self.is_clean = not self.new_entries()
        return events

    def deviations_before(self, number: int) -> list[Deviation]:
        """Like `deviations`, but only for the events before a number."""
        later = []
        for note in self._notes:
            rest = note.event_number + note.count - max(number, note.event_number)
            if rest > 0:
                later.append(Note(note.code, max(number, note.event_number), note.detail, note.message, rest))
            self._log.add(note, number)
        self._notes = later
        return self._log.entries()

    def settle(self, upto: int | None = None) -> None:
        """Count what was noted. Events from number `upto` on count as never read, because a fault came before them."""
        for note in self._notes:
            self._log.add(note, upto)
        self._notes.clear()

    def _read_ready(
        self, ready: bytes, decode: Callable[[list[bytes]], list[Any] | None] = decode_run
    ) -> list[StreamEvent]:
        if self._notes:
            self.settle()
        self._ready, self._ready_number = ready, self._number
        if self.sizes:
            self.sizes = {}
        # Frames that may be over the limit are measured one by one, and large frames are not copied once more.
        runs = cut_runs(ready) if len(ready) <= min(self._reader.limit, 65536) else [([], ready)]
        events: list[StreamEvent] = []
        for run, others in runs:
            # Deltas written alike take 0.3 microseconds each this way, and 0.8 the other way.
            if run and self._fault is None:
                decoded = decode(run) if self._half is None else None
                if decoded is None:
                    self._read_others(frames_of(run), events)
                else:
                    self._number += len(run)
                    events += decoded
            if others and self._fault is None:
                self._read_others(others, events)
        if self._fault is None:
            self.is_clean = not (self._notes and self.new_entries())
        return events

    def _read_others(self, ready: bytes, events: list[StreamEvent]) -> None:
        """Add the event of each frame, whatever its shape, up to one that can't be read."""
        start = 0
        # Clean frames of an event line and a data line: 0.8 microseconds each this way, and 1 by `_read_each`.
        if ready[:7] == b"event: " and len(ready) <= self._reader.limit:
            for frame in ready.split(b"\n\n")[:-1]:
                line, _, data = frame.partition(b"\ndata: ")
                cls = _EVENT_LINES.get(line)
                if cls is None or 10 in data or self._half is not None:
                    break
                event = decode_clean(data)
                if event is None or event.__class__ is not cls:
                    break
                self._add_clean(event, len(data), events)
                start += len(frame) + 2
        if start < len(ready):
            self._read_each(self._frames_in_limit(ready[start:]), events)

    def _read_each(self, frames: Iterable[Fields], events: list[StreamEvent]) -> None:
        """Add the event of each frame by its fields."""
        try:
            for name, data, _, _, bare in frames:
                if data is not None:
                    event = decode_clean(data)
                    if (
                        event is not None
                        and self._half is None
                        and (name == _NAMES[event.__class__] or (not name and self._is_unnamed_again(event)))
                    ):
                        self._add_clean(event, len(data), events)
                    else:
                        self._read_odd(name, data, event, events)
                if bare is not None:
                    self._read_documents(documents(bare), events)
        except StreamError as fault:
            self._fail(fault, self.offset_of_event(self._number))

    def _add_clean(self, event: StreamEvent, size: int, events: list[StreamEvent]) -> None:
        """Add an event of a clean frame whose data has so many bytes."""
        if event.__class__ is not ContentBlockDeltaEvent:
            self.sizes[self._number] = size
            self._follow(event)
        events.append(event)
        self._number += 1

    def _read_odd(
        self,
        name: bytes | None,
        data: bytes,
        event: StreamEvent | None,
        events: list[StreamEvent],
        *before: tuple[str, str],
    ) -> None:
        """Add the event of a frame that is not clean, with the deviations that were already seen in it.

        `event` is what the data alone says, if it is clean.
        """
        found = list(before)
        if type(event) is not ContentBlockDeltaEvent:
            self.sizes[self._number] = len(data)
        if event is None:
            glued = glued_events(data) if 10 in data else None
            if glued:
                self._read_glued(glued, events, found)
                return
            event = read_event(data, _shown(name), lambda code, detail: found.append((code, detail)))
        elif name != event.type.encode() and not (not name and not found and self._is_unnamed_again(event)):
            check_name(_shown(name), event.type, lambda code, detail: found.append((code, detail)))
        self._accept(event, found, events)

    def _read_nameless(self, data: bytes, events: list[StreamEvent]) -> None:
        """Add the events of a frame from a transport without names."""
        found: list[tuple[str, str]] = []
        event = decode_clean(data)
        if event is None:
            glued = glued_events(data) if 10 in data else None
            if glued:
                self._read_glued(glued, events, found)
                return
            event = read_event(data, None, lambda code, detail: found.append((code, detail)))
        self.sizes[self._number] = len(data)
        self._accept(event, [seen for seen in found if seen[0] != "no_event_line"], events)

    def _read_object(
        self, item: Mapping[str, Any], name: str | None, events: list[StreamEvent], *, has_names: bool
    ) -> None:
        """Add the event of a frame whose data was parsed already."""
        found: list[tuple[str, str]] = []
        event = convert_clean(item)
        if event is None:
            seen: list[tuple[str, str]] = []
            event = read_object(item, name, lambda code, detail: seen.append((code, detail)), limit=self._reader.limit)
            found = [note for note in seen if has_names or note[0] != "no_event_line"]
        elif has_names and name != event.type:
            check_name(name, event.type, lambda code, detail: found.append((code, detail)))
        self._accept(event, found, events)

    def _read_glued(self, glued: list[bytes], events: list[StreamEvent], found: list[tuple[str, str]]) -> None:
        """Add the events of a frame that holds several. Each has its own number, and the frame's offset."""
        found.append(("no_blank_line", f"no blank line between the events of a frame: {len(glued)} whole ones"))
        for data in glued:
            event = decode_clean(data)
            if event is None:
                seen: list[tuple[str, str]] = []
                event = read_event(data, None, lambda code, detail: seen.append((code, detail)))  # noqa: B023  # at once
                found += [(code, detail) for code, detail in seen if code not in _OF_NAMES]
            self.sizes[self._number] = len(data)
            self._accept(event, found, events)
            found = []

    def _read_documents(self, found: list[bytes], events: list[StreamEvent]) -> None:
        """Add an event for each document that stands in a frame without a field's name."""
        for data in found:
            text = data.decode("utf-8", "replace")
            wire = json_object(data) or {}
            event = read_error(wire) if wire.get("error") is not None else UnknownEvent("message", text)
            self._accept(event, [("bare_document", f"JSON where a field should be: {quoted(text, 60)}")], events)

    def _accept(self, event: StreamEvent, found: list[tuple[str, str]], events: list[StreamEvent]) -> None:
        """Add an event with its deviations."""
        self._follow(event)
        if found:
            self._note(found)
        if isinstance(event, ContentBlockDeltaEvent):
            event, self._half = join_half(event, self._half)
        elif not isinstance(event, (PingEvent, UnknownEvent)):
            self._half = None
        events.append(event)
        self._number += 1

    def _follow(self, event: StreamEvent) -> None:
        """Keep track of which message the events belong to, for the deviations."""
        if event.__class__ is MessageStartEvent:
            message_id = event.message.id
            if self._between_messages or message_id != self._message_id:
                self._message += 1
            self._between_messages = False
            self._message_id = message_id
        elif event.__class__ is MessageStopEvent:
            self._between_messages = True

    def _fail(self, error: StreamError, offset: int | None) -> None:
        super()._fail(error, offset)
        self.is_clean = False

    def _note(self, found: list[tuple[str, str]]) -> None:
        if self.strict:
            raise ProtocolViolation(*found[0])
        last = self._notes[-1] if self._notes else None
        if last is not None and len(found) == 1 and self._continues(last, found[0][0]):
            last.count += 1
            return
        for code, detail in found:
            self._notes.append(Note(code, self._number, detail, self._message))

    def _continues(self, last: Note, code: str) -> bool:
        """Whether the next event continues a row of events that deviate alike, in the same message."""
        return last.code == code and last.event_number + last.count == self._number and last.message == self._message

    def _is_unnamed_again(self, event: StreamEvent | None) -> bool:
        """Count an event that continues a row of events without an event line; tell whether it does.

        Some servers send all of their events so.
        """
        last = self._notes[-1] if self._notes else None
        # A message_start may begin another message.
        if last is None or isinstance(event, MessageStartEvent) or not self._continues(last, "no_event_line"):
            return False
        last.count += 1
        return True

    def offset_of_event(self, number: int) -> int | None:
        """The byte offset in the body of one of the events that were read last, None for a frame without a body."""
        ready, at = self._ready, self._ready_number
        if ready is not None and (self._placed is None or self._placed[0] is not ready or self._placed[1] != at):
            self._placed = ready, at
            if 13 in ready:  # a chunk that `_read_one` read as it came
                ready = b"\n".join(ready.splitlines()) + b"\n"
            made: list[tuple[int, int | None]] = []
            self._places = made
            for start, lines in split_frames(ready):
                at += _events_in(read_fields(b"\n".join(lines)))
                made.append((at, start))
        places = self._places or []
        place = bisect_right(places, number, key=itemgetter(0))
        found = places[place][1] if place < len(places) else None
        if ready is None:  # frames that came some other way
            return found
        # The end of the body makes an event of what is pending.
        return self._reader.pending_offset if found is None else self._reader.offset_of(found)

    def read_end(self) -> list[StreamEvent]:
        rest = self._reader.finish()
        self._ready, self._ready_number = b"", self._number
        self.is_clean = not rest
        if not rest:
            return []
        events: list[StreamEvent] = []
        try:
            if self._read_rest(rest, events):
                detail = f"the body ends inside an event: {quoted(rest[:240].decode('utf-8', 'replace'), 60)}"
                self._note([("unfinished_event", detail)])
        except StreamError as fault:
            self._fail(fault, self._reader.pending_offset)
        return events

    def _read_rest(self, rest: bytes, events: list[StreamEvent]) -> bool:
        """Add the events of the frame in which the body ends; tell whether one of them is cut."""
        name, data, _, _, bare = read_fields(rest)
        is_cut = False
        if data is not None and (_is_complete_json(data) or glued_events(data)):
            unterminated = ("unterminated_event", "the body ends without the blank line after its last event")
            self._read_odd(name, data, decode_clean(data), events, unterminated)
        elif data is not None:
            is_cut = True
            glued = glued_events_before_cut(data)
            if glued:
                self._read_glued(glued, events, [])
        found, more = documents_before_cut(bare) if bare is not None else ([], False)
        self._read_documents(found, events)
        if data is None and not found:
            is_cut = name is not None or rest[-1:] not in (b"", b"\n")
        return is_cut or more


def _events_in(frame: Fields) -> int:
    """How many events a frame was read as."""
    _, data, _, _, bare = frame
    count = 0 if bare is None else len(documents(bare))
    if data is not None:
        count += len(glued_events(data)) or 1
    return count


def _shown(name: bytes | None) -> str | None:
    # An empty event line means the default, like a missing one.
    return name.decode("utf-8", "replace") if name else None


def _is_complete_json(data: bytes) -> bool:
    """Whether a JSON text is whole at the end of the body. A number or literal could go on, so it never counts."""
    try:
        return isinstance(read_json(data, controls=True).value, (dict, list, str))
    except NotJSON:
        return False
