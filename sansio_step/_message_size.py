"""What a message counts for: the bytes of its events, which `max_message_size` limits."""

from __future__ import annotations

from collections.abc import Mapping

from ._encode import to_json
from ._events import StreamEvent

MAX_MESSAGE_SIZE = 64 * 1024 * 1024

MESSAGE_SIZE = 1024
"""The bytes that a message counts for, besides those of its events. A body can carry endless messages of 60 bytes each,
and each takes a kilobyte of memory."""

DELTA_SIZE = 79
"""The bytes of a delta event's JSON around its text, as the first party writes it. A million deltas of one character
each are more than a megabyte."""


def event_size(event: StreamEvent, number: int, sizes: Mapping[int, int]) -> int:
    """The bytes of an event's JSON: as it came, if `sizes` has its number, else as it is written."""
    return sizes.get(number) or len(to_json(event))


def deltas_size(count: int, text: str) -> int:
    """The bytes of so many deltas whose texts, joined, are `text`. Half of a character counts three."""
    return count * DELTA_SIZE + (len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")))
