"""What happened in a captured body, event by event: when each came, which bytes it took, what it added to which block."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final, NamedTuple

import msgspec

from sansio_step import (
    APIError,
    ContentBlock,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    Delta,
    Deviation,
    ErrorEvent,
    LimitExceeded,
    MCPToolUseBlock,
    Message,
    MessageStartEvent,
    MessageStream,
    Outcome,
    PingEvent,
    ServerToolUseBlock,
    StreamError,
    StreamEvent,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
    decode_message,
    to_dict,
)

from .._captured import Body, Piece, Unreadable, has_field_lines, is_document
from .._reader import MAX_MESSAGE_SIZE
from ._foreign import START_SIZE, recognized

__all__ = ["BlockSeen", "EventSeen", "Gap", "Inspection", "inspect_body"]

# An event ends at a line end, so that feeding line by line tells which bytes it took.
_LINE: Final = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_MOST_GAPS: Final = 5
_MOST_EVENTS: Final = 1 << 20
"""Each is kept, with some 200 bytes, and a body of nothing but pings can be endless."""
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
    """One block, as its events tell it; that of a document has none."""

    def __init__(self, index: int, kind: str) -> None:
        self.index, self.kind = index, kind
        self.events: list[EventSeen] = []
        self.deltas = self.characters = 0

    @property
    def first(self) -> EventSeen | None:
        """The event that began it."""
        return self.events[0] if self.events else None

    @property
    def last(self) -> EventSeen | None:
        """The last event that was its own."""
        return self.events[-1] if self.events else None


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
        # Whether the body is the answer to a request without `stream`, and its message.
        self.is_document = False
        self.whole: Message | None = None

    @property
    def message(self) -> Message | None:
        """The last message, as far as it came."""
        return self.whole if self.is_document else self.stream.message

    @property
    def outcome(self) -> Outcome:
        """How the last message ended."""
        if self.is_document:
            return Outcome.FAILED if self.whole is None else Outcome.COMPLETE
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
        if usage is None or not usage.output_tokens or not self.usage_is_final or len(content) < 2:
            return None
        taken = content[-1] - content[0]
        return usage.output_tokens * 1e9 / taken if taken > 0 else None

    @property
    def usage_is_final(self) -> bool:
        """Whether the count of output tokens is the last one, not a placeholder or a part."""
        return self.is_document or self.stream.usage_is_final

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
            "file": self.body.name,
            "forms": self.body.forms,
            "is_document": self.is_document,
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
            "usage_is_final": self.usage_is_final,
            "blocks": [
                {
                    "index": block.index,
                    "type": block.kind,
                    "deltas": block.deltas,
                    "characters": block.characters,
                    "first_ns": block.first.ns if block.first is not None else None,
                    "last_ns": block.last.ns if block.last is not None else None,
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


def inspect_body(name: str, *, most_events: int = _MOST_EVENTS) -> Inspection:
    """Read a body by its name, so many events of it at most.

    What is wrong with it is in the inspection; Unreadable if nothing of it can be read.
    """
    seen = Inspection(Body(name))
    start = bytearray()  # as much as tells a foreign format
    pieces = _kept(seen.body.pieces(), start)
    begun = [piece for piece in [next(pieces, None)] if piece is not None]
    seen.stream = MessageStream(decoder=seen.body.decoder())
    try:
        if begun and is_document(begun[0][0]):
            begun += _rest(pieces)
            body = b"".join(data for data, _ in begun)
            if not has_field_lines(body):
                _read_document(seen, body)
                return seen
        _read_stream(seen, chain(begun, pieces), most_events)
    except (StreamError, Unreadable) as error:
        seen.error = str(error)
        answered = isinstance(error, APIError) or seen.message is not None or seen.body.is_aws
        foreign = None if answered else recognized(bytes(start))
        if foreign is not None:
            seen.error = str(foreign.said_of(error))
    return seen


def _kept(pieces: Iterator[Piece], start: bytearray) -> Iterator[Piece]:
    """The pieces, of which the first bytes are kept."""
    for data, ns in pieces:
        if len(start) < START_SIZE:
            start += data[: START_SIZE - len(start)]
        yield data, ns


def _rest(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The pieces of a document, which is read as one."""
    left = MAX_MESSAGE_SIZE
    for data, ns in pieces:
        left -= len(data)
        if left < 0:
            raise LimitExceeded("max_message_size", MAX_MESSAGE_SIZE)
        yield data, ns


def _read_document(seen: Inspection, body: bytes) -> None:
    seen.is_document = True
    seen.body.forms.append("JSON document")
    seen.whole = decode_message(body)
    for index, block in enumerate(seen.whole.content):
        one = BlockSeen(index, block.type)
        one.characters = _size_of(block)
        seen.blocks.append(one)


def _read_stream(seen: Inspection, pieces: Iterable[Piece], most_events: int) -> None:
    start = place = 0
    ns = None
    open_blocks: dict[int, BlockSeen] = {}
    for data, ns in pieces:
        for line in _LINE.findall(data):
            place += len(line)
            events = seen.stream.receive_data(line)
            for event in events:
                _note(seen, open_blocks, event, start, place, ns)
            if len(seen.events) >= most_events:
                seen.error = f"only the first {most_events:,} events are shown"
                return
            if events:
                start = place
    for event in seen.stream.receive_eof():
        _note(seen, open_blocks, event, start, place, ns)
    seen.stream.result()


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
    if isinstance(event, MessageStartEvent):
        for place, given in enumerate(event.message.content):
            _add_block(seen, blocks, place, given.type, given, one)
    if isinstance(event, PingEvent) or index is None:
        return
    block = blocks.get(index)
    if isinstance(event, ContentBlockStartEvent):
        _add_block(seen, blocks, index, event.content_block.type, event.content_block, one)
        return
    if block is None:
        block = _add_block(seen, blocks, index, kind.removesuffix("_delta"))
    block.events.append(one)
    if isinstance(event, ContentBlockDeltaEvent):
        block.deltas += 1
        block.characters += len(text)


def _add_block(
    seen: Inspection,
    blocks: dict[int, BlockSeen],
    index: int,
    kind: str,
    given: ContentBlock | None = None,
    first: EventSeen | None = None,
) -> BlockSeen:
    """A block begins, with what it was given at once."""
    block = blocks[index] = BlockSeen(index, kind)
    block.characters = _size_of(given) if given is not None else 0
    block.events += [first] if first is not None else []
    seen.blocks.append(block)
    return block


def _size_of(block: ContentBlock) -> int:
    """The characters of its text, of its arguments as JSON, or of all of it as JSON, for results and their like."""
    if isinstance(block, (ToolUseBlock, ServerToolUseBlock, MCPToolUseBlock)):
        arguments = block.partial_input()
        return len(msgspec.json.encode(arguments).decode()) if arguments else len(block.input_json)
    if isinstance(block, (TextBlock, ThinkingBlock)):
        return len(_text_of(block))
    return len(msgspec.json.encode(block).decode())


def _text_of(holder: Delta | ContentBlock) -> str:
    """What a delta adds, or a block of text has."""
    for name in ("text", "thinking", "partial_json"):
        text = getattr(holder, name, None)
        if isinstance(text, str):
            return text
    return ""
