"""A message that comes whole, in one list of events: it is built at once, without anything that can grow.

A short answer mostly comes this way, and so does each one of an archive or a test. Most of its cost arises once: its
message, its blocks, its end. From bytes to message, a stream of 34 events takes 62 microseconds this way, and 91 event
by event.

It builds only streams of the usual shape. For anything else the accumulator applies the events one by one. Nothing has
been changed then, so that limits, deviations and faults are found at the event that they belong to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ._assembler import own_copy
from ._base import set_right
from ._events import (
    CUT_ANYWHERE,
    TEXT_DELTAS,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
    PingEvent,
)
from ._growing import raw_field
from ._json import has_halves, join_halves
from ._message import ContentBlock, FallbackBlock, Message, ToolCallBlock
from ._message_size import MESSAGE_SIZE, deltas_size, event_size
from ._runs import DeltaRun
from ._updates import has_final_count, is_reset, merge_usages, restate, usages_of

_TEXT_DELTAS = frozenset(TEXT_DELTAS)


class Whole(NamedTuple):
    """A message that has stopped."""

    message: Message
    size: int
    event_count: int
    block_count: int
    usage_is_final: bool


def build_whole(events: Sequence[Any], first: int, sizes: Mapping[int, int]) -> Whole | None:
    """The message of events from message_start to message_stop, None if anything about them is unusual.

    `first` is the number of the first event. `sizes` holds the bytes of events by their number, if they are known.
    """
    start, stop = events[0], events[-1]
    if start.__class__ is not MessageStartEvent or stop.__class__ is not MessageStopEvent or stop.extra:
        return None
    message: Message = start.message.__copy__()
    if message.content != [] or message.stop_reason:
        return None
    message.stop_reason = None
    size = MESSAGE_SIZE + event_size(start, first, sizes)
    number = first  # of the event
    usage_is_final = False
    content: list[ContentBlock] = []
    block: Any = None  # the open one
    index = -1  # its own
    rows: list[tuple[Any, list[str]]] = []  # the rows of its deltas: each a kind and its texts
    kind: Any = None  # of the last row
    for event in events[1:-1]:
        number += 1
        cls = event.__class__
        if cls is ContentBlockDeltaEvent:
            delta = event.delta
            if block is None or event.index != index:
                return None
            if delta.__class__ is kind:
                rows[-1][1].append(delta.piece)
            elif delta.__class__ in _TEXT_DELTAS:
                kind = delta.__class__
                rows.append((kind, [delta.piece]))
            else:
                return None
        elif cls is DeltaRun:
            if block is None or event.index != index:
                return None
            if event.kind is not kind:
                kind = event.kind
                rows.append((kind, []))
            rows[-1][1].extend(event.texts)
            number += len(event.texts) - 1
        elif cls is ContentBlockStartEvent:
            if block is not None or event.index != len(content) or isinstance(event.content_block, FallbackBlock):
                return None
            block = own_copy(event.content_block)
            content.append(block)
            index, rows, kind = event.index, [], None
            size += event_size(event, number, sizes)
        elif cls is ContentBlockStopEvent:
            filled = _fill(block, rows) if block is not None and event.index == index else None
            if filled is None:
                return None
            size += filled
            block = None
        elif cls is MessageDeltaEvent:
            usages = usages_of(event)
            if block is not None or any(is_reset(message.usage, usage) for usage in usages):
                return None
            restate(message, event)
            merge_usages(message, usages)
            usage_is_final = usage_is_final or has_final_count(message, usages)
            size += event_size(event, number, sizes)
        elif cls is not PingEvent:
            return None
    if block is not None or message.stop_reason is None:
        return None
    message.content = content
    size += event_size(stop, number + 1, sizes)
    return Whole(message, size, number + 2 - first, len(content), usage_is_final)


def _fill(block: Any, rows: list[tuple[Any, list[str]]]) -> int | None:
    """Give a block the texts of its deltas.

    Returns the bytes that they count for, None if they don't fit the block, or add to a text that it has.
    """
    if not block.is_finished or (rows and isinstance(block, ToolCallBlock) and raw_field(block, "input")):
        return None
    size = 0
    for kind, texts in rows:
        fits, field = kind.grows[:2]
        if not isinstance(block, fits) or raw_field(block, field) or (len(texts) > 1 and kind not in CUT_ANYWHERE):
            return None
        text = "".join(texts)
        size += deltas_size(len(texts), text)
        # The caller's own events can have halves of characters.
        set_right(block, field, join_halves(text) if has_halves(text) else text)
    return size
