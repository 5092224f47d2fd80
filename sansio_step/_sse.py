"""Blocks to events: `text/event-stream` by the WHATWG rules, to the letter, for any use of the format."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import repeat

import msgspec

from ._blocks import MAX_EVENT_SIZE, join_lines, match_usual, read_fields, split_usual_text, with_lf
from ._errors import short_repr
from ._receiver import BlockReceiver


class ServerSentEvent(msgspec.Struct, frozen=True, gc=False):
    """One dispatched event. `id` is the last event id as of the dispatch, not only this event's own."""

    data: str
    event: str = "message"
    id: str = ""

    def __repr__(self) -> str:
        data, event, last_id = map(short_repr, (self.data, self.event, self.id))
        return f"ServerSentEvent(data={data}, event={event}, id={last_id})"


# The shape that nearly every server sends: one event line, one data line, a space in each. 0.3 microseconds
# an event where all usual shapes together take 0.5; two at the start, or one that is all, tell whether it is worth the try.
# Only the start of a line is one here: of a line full of event names each would be a start otherwise.
_COMMON = re.compile(r"^event: (.+)\ndata: (.*)\n\n", re.MULTILINE)
_COMMON_START = re.compile(r"event: .+\ndata: .*\n\n(?:\Z|event: .+\ndata: .*\n\n)")
_KEEP_ALIVE = re.compile(r"\n\n(?::.*\n\n)+")


class SSEDecoder(BlockReceiver[ServerSentEvent]):
    """Bytes of any text/event-stream to `ServerSentEvent`s.

    `max_event_size` bounds the bytes of one event (each line end counts as one, comments not at all):
    over it the fault is `LimitExceeded`. `last_event_id` and `retry` are what a client needs to
    reconnect. An event that the end of the body cuts off is discarded, as the standard says.
    """

    def __init__(self, *, max_event_size: int = MAX_EVENT_SIZE) -> None:
        super().__init__(max_event_size)
        self._most_for_one = min(max_event_size, 4096)  # a larger chunk is rarely one event: not worth the look
        self._retry: bytes | None = None
        self.last_event_id: str = ""
        # What stands in front of the data of the last event that was a chunk, and its name: mostly the next one's too.
        self._head = b"data: "
        self._event_name = "message"

    def receive_data(self, data: bytes | bytearray | memoryview) -> list[ServerSentEvent]:
        """As `Receiver.receive_data`, with a short way for a chunk that is just one event, as servers flush them.

        0.5 microseconds, where the way through the layers takes 2.
        """
        reader = self._reader
        if not reader.idle:
            return [] if reader.hold(data) else super().receive_data(data)
        if data.__class__ is not bytes or len(data) > self._most_for_one:
            return super().receive_data(data)
        block = with_lf(data) if 13 in data else data
        start = len(self._head)
        value: bytes | None = None
        if block[:start] == self._head and block[-2:] == b"\n\n":
            value = block[start:-2]
            if 10 in value:
                value = join_lines(value)
        if value is not None:
            try:
                text = value.decode()  # a third of the time that a call with an error handler takes
            except UnicodeDecodeError:
                text = _text(value)
        else:
            name, usual, last_id, _ = match_usual(block)
            if usual is None:
                return super().receive_data(data)
            text = _text(usual)
            if last_id is not None:
                self.last_event_id = _text(last_id)
            self._event_name = _text(name or b"") or "message"
            self._head = (b"event: %b\ndata: " % name) if name else b"data: "
        reader.raw = data
        reader.consumed += len(data)
        self._number += 1
        return [ServerSentEvent(text, self._event_name, self.last_event_id)]

    def __repr__(self) -> str:
        last_id = short_repr(self.last_event_id)
        return f"<SSEDecoder events={self._number} last_event_id={last_id} fault={self._fault!r}>"

    @property
    def retry(self) -> int | None:
        """The reconnection time in milliseconds that the stream asked for last, None where it never did."""
        # A retry line counts as soon as it is complete, even where its block never will be. Digits become
        # a number only here: of a hostile stream's million digits that is work nobody may ask for.
        waiting = bytes(self._reader.pending).split(b"\n")[:-1]
        digits = read_fields(waiting)[3] or self._retry
        return None if digits is None else _to_int(digits)

    def _read_blocks(self, ready: bytes | bytearray) -> list[ServerSentEvent]:
        if isinstance(ready, bytearray) or len(ready) > self._reader.limit:
            return self._interpret(ready)
        text = _text(ready)
        if not _COMMON_START.match(text):
            text = _without_keep_alives(text)
        if _COMMON_START.match(text):
            gaps_and_fields = _COMMON.split(text)
            if not any(gaps_and_fields[::3]):
                names, data = gaps_and_fields[1::3], gaps_and_fields[2::3]
                self._number += len(data)
                return list(map(ServerSentEvent, data, names, repeat(self.last_event_id)))
        usual = split_usual_text(text)
        if usual is None:
            return self._interpret(ready)
        ids, names, data = usual
        events = list(map(ServerSentEvent, data, [name or "message" for name in names], self._carry_ids(ids)))
        self._number += len(events)
        return events

    def _carry_ids(self, ids: list[str | None]) -> Iterable[str]:
        """The last event id at each of some events."""
        if not any(ids) and "" not in ids:
            return repeat(self.last_event_id)
        last = self.last_event_id
        carried = []
        for own in ids:
            last = last if own is None else own
            carried.append(last)
        self.last_event_id = last
        return carried

    def _interpret(self, ready: bytes | bytearray) -> list[ServerSentEvent]:
        """Blocks of any shape."""
        events = []
        for name, data, last_id, retry in self._blocks_in_limit(ready):
            if last_id is not None:
                self.last_event_id = _text(last_id)
            if retry is not None:
                self._retry = retry
            if data is not None:
                events.append(ServerSentEvent(_text(data), _text(name or b"message"), self.last_event_id))
                self._number += 1
        return events

    def _finish(self) -> list[ServerSentEvent]:
        *lines, _ = self._reader.finish().split(b"\n")
        self._retry = read_fields(lines)[3] or self._retry
        return []


def encode_sse(event: ServerSentEvent) -> bytes:
    """The bytes of one event: an `event:` line unless it is the default, an `id:` line if there is one, its data.

    Decoding gives the same event back. ValueError for what the format can't carry: a CR in `data` (it
    would come back as LF), an empty `event` or a line end in it, a line end or NUL in `id`. TypeError for all else.
    """
    if not isinstance(event, ServerSentEvent):
        raise TypeError(f"expected a ServerSentEvent, not {type(event).__name__}")
    if "\r" in event.data:
        raise ValueError("data with a carriage return can't be carried by an event stream")
    if not event.event or "\r" in event.event or "\n" in event.event:
        raise ValueError(f"event {event.event!r} is empty or has a line end")
    if any(mark in event.id for mark in "\r\n\0"):
        raise ValueError(f"line end or NUL in id {event.id!r}")
    lines = [] if event.event == "message" else [f"event: {event.event}\n"]
    if event.id:
        lines.append(f"id: {event.id}\n")
    lines += [f"data: {line}\n" for line in event.data.split("\n")]
    return "".join((*lines, "\n")).encode()


def _without_keep_alives(text: str) -> str:
    """Blocks without the comments that stand between them: those like the first, since servers write the same one again."""
    text = text.lstrip("\n")  # behind a comment that two chunks share its blank line comes first
    keep_alive = _KEEP_ALIVE.search(text, 0, 1024)
    return text if keep_alive is None else f"\n\n{text}".replace(keep_alive[0], "\n\n")[2:]


def _text(data: bytes | memoryview) -> str:
    # The standard's UTF-8 decode: one U+FFFD for each maximal part that can't be read.
    return str(data, "utf-8", "replace")


def _to_int(digits: bytes) -> int:
    """`int` of ASCII digits without Python's limit of 4,300."""
    if len(digits) <= 4000:
        return int(digits)
    half = len(digits) // 2
    value: int = _to_int(digits[:-half]) * 10**half + _to_int(digits[-half:])
    return value
