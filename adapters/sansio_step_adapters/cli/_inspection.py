"""What happened in a captured body, event by event: when each came, which bytes it took, what it added to which block."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from sansio_step import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    Delta,
    Deviation,
    ErrorEvent,
    Message,
    MessageStream,
    Outcome,
    PingEvent,
    StreamError,
    StreamEvent,
    to_dict,
)

from .._captured import Body, Unreadable

__all__ = ["BlockSeen", "EventSeen", "Gap", "Inspection", "inspect_body"]

# An event ends at a line end, so that feeding line by line tells which bytes it took.
_LINE: Final = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_MOST_GAPS: Final = 5
# A silence of less than this part of the whole is none that anybody looks for.
_GAP_PART: Final = 0.05


class EventSeen(NamedTuple):
    """One event: its kind (a delta's, of a delta), its block, the bytes from `start` to `end`, when it came."""

    number: int
    kind: str
    block: int | None
    start: int
    end: int
    ns: int | None
    text: str
    """What it adds, or says."""


class BlockSeen:
    """One block, as its events tell it."""

    def __init__(self, index: int, kind: str, first: EventSeen) -> None:
        self.index, self.kind = index, kind
        self.events = [first]
        self.deltas = self.characters = 0


class Gap(NamedTuple):
    """A silence: nanoseconds, and the event that ended it."""

    ns: int
    before: int


class Inspection:
    """All that is to be said of a body. Times are nanoseconds from the request on, None if they are not known."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.stream = MessageStream()
        self.events: list[EventSeen] = []
        self.blocks: list[BlockSeen] = []
        self.error: str | None = None

    @property
    def message(self) -> Message | None:
        """The last message, as far as it came."""
        return self.stream.message

    @property
    def outcome(self) -> Outcome:
        """How the last message ended."""
        return self.stream.outcome

    @property
    def deviations(self) -> list[tuple[Deviation, EventSeen | None]]:
        """What departs from the protocol, each with the first event that shows it, if one does."""
        events = self.events
        return [
            (deviation, events[deviation.event_number] if deviation.event_number < len(events) else None)
            for deviation in self.stream.deviations
        ]

    @property
    def pings(self) -> int:
        """How many there are."""
        return sum(event.kind == "ping" for event in self.events)

    @property
    def is_timed(self) -> bool:
        """Whether it is known when things came."""
        return bool(self.events) and self.events[0].ns is not None

    @property
    def first_event_ns(self) -> int | None:
        """When the first event that is no ping came."""
        return next((event.ns for event in self.events if event.kind != "ping"), None)

    @property
    def first_content_ns(self) -> int | None:
        """When the first content came."""
        return next((event.ns for event in self.events if event.block is not None and event.text), None)

    @property
    def tokens_per_second(self) -> float | None:
        """The output tokens over the time in which content came, if both are known."""
        message = self.message
        usage = message.usage if message is not None else None
        content = [event.ns for event in self.events if event.text and event.block is not None and event.ns is not None]
        if usage is None or not usage.output_tokens or not self.stream.usage_is_final or len(content) < 2:
            return None
        taken = content[-1] - content[0]
        return usage.output_tokens * 1e9 / taken if taken > 0 else None

    @property
    def gaps(self) -> list[Gap]:
        """The longest silences, in their order: those of a twentieth of the whole time or more."""
        times = [event.ns for event in self.events if event.ns is not None]
        if not times or times[-1] == 0:
            return []
        gaps = [Gap(ns - before, number) for number, (before, ns) in enumerate(zip([0, *times], times, strict=False))]
        long = [gap for gap in gaps if gap.ns >= times[-1] * _GAP_PART]
        longest = sorted(long, reverse=True)[:_MOST_GAPS]
        return sorted(longest, key=lambda gap: gap.before)

    def to_dict(self) -> dict[str, Any]:
        """All of it as a JSON object."""
        message = self.message
        usage = message.usage if message is not None else None
        return {
            "file": self.body.label.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"),
            "forms": self.body.forms,
            "status": self.body.status,
            "bytes": self.body.size,
            "outcome": self.outcome.value,
            "error": self.error,
            "events": len(self.events),
            "pings": self.pings,
            "first_event_ns": self.first_event_ns,
            "first_content_ns": self.first_content_ns,
            "tokens_per_second": self.tokens_per_second,
            "usage": to_dict(message).get("usage") if message is not None and usage is not None else None,
            "blocks": [
                {
                    "index": block.index,
                    "type": block.kind,
                    "deltas": block.deltas,
                    "characters": block.characters,
                    "first_ns": block.events[0].ns,
                    "last_ns": block.events[-1].ns,
                }
                for block in self.blocks
            ],
            "gaps": [gap._asdict() for gap in self.gaps],
            "deviations": [
                {
                    "code": deviation.code,
                    "event": deviation.event_number,
                    "start": event.start if event is not None else None,
                    "end": event.end if event is not None else None,
                    "count": deviation.count,
                    "detail": deviation.detail,
                }
                for deviation, event in self.deviations
            ],
            "message": to_dict(message) if message is not None else None,
        }


def inspect_body(name: str) -> Inspection:
    """Read a body by its name. What is wrong with it is in the inspection; Unreadable if nothing of it can be read."""
    seen = Inspection(Body(name))
    pieces = seen.body.pieces()
    first = next(pieces, None)
    seen.stream = stream = MessageStream(decoder=seen.body.decoder())
    start = place = 0
    ns = None
    open_blocks: dict[int, BlockSeen] = {}
    try:
        for data, ns in _with_first(first, pieces):
            for line in _LINE.findall(data):
                place += len(line)
                events = stream.receive_data(line)
                for event in events:
                    _note(seen, open_blocks, event, start, place, ns)
                if events:
                    start = place
        for event in stream.receive_eof():
            _note(seen, open_blocks, event, start, place, ns)
        stream.result()
    except (StreamError, Unreadable) as error:
        seen.error = str(error)
    return seen


def _with_first(first: tuple[bytes, int | None] | None, rest: Iterator[tuple[bytes, int | None]]) -> Iterator[Any]:
    if first is not None:
        yield first
        yield from rest


def _note(
    seen: Inspection, blocks: dict[int, BlockSeen], event: StreamEvent, start: int, end: int, ns: int | None
) -> None:
    kind: str = event.type
    index: int | None = None
    text = ""
    if isinstance(event, ContentBlockDeltaEvent):
        kind, index, text = event.delta.type, event.index, _text_of(event.delta)
    elif isinstance(event, (ContentBlockStartEvent, ContentBlockStopEvent)):
        index = event.index
    elif isinstance(event, ErrorEvent):
        text = event.error.message or ""
    one = EventSeen(len(seen.events), kind, index, start, end, ns, text)
    seen.events.append(one)
    if isinstance(event, PingEvent) or index is None:
        return
    block = blocks.get(index)
    if block is None or isinstance(event, ContentBlockStartEvent):
        kind = event.content_block.type if isinstance(event, ContentBlockStartEvent) else kind.removesuffix("_delta")
        block = blocks[index] = BlockSeen(index, kind, one)
        seen.blocks.append(block)
    else:
        block.events.append(one)
    if isinstance(event, ContentBlockDeltaEvent):
        block.deltas += 1
        block.characters += len(text)


def _text_of(delta: Delta) -> str:
    for name in ("text", "thinking", "partial_json"):
        text = getattr(delta, name, None)
        if isinstance(text, str):
            return text
    return ""
