"""What one event shows, beside those before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sansio_step import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    InputJSONDelta,
    MessageDeltaEvent,
    MessageStartEvent,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    UnknownBlock,
    UnknownDelta,
    UnknownEvent,
    Usage,
)

from ._head_rules import shown

if TYPE_CHECKING:
    from ._observation import Observation

__all__ = ["EVENT_RULES", "output_count", "text_of"]

_HALF: Final = "\ufffd"


def text_of(event: StreamEvent) -> str:
    """The content that an event adds, often none."""
    if isinstance(event, ContentBlockDeltaEvent) and isinstance(
        event.delta, (TextDelta, InputJSONDelta, ThinkingDelta)
    ):
        return event.delta.piece
    return ""


def output_count(event: StreamEvent) -> int | None:
    """The count of output tokens that an event gives."""
    usage: Usage | None = None
    if isinstance(event, MessageStartEvent):
        usage = event.message.usage
    elif isinstance(event, MessageDeltaEvent):
        usage = event.usage
    return usage.output_tokens if usage is not None else None


def split_character(_: Observation, event: StreamEvent) -> str | None:
    """Each half of the character was decoded alone, by a server that turns tokens into text one by one."""
    text = text_of(event)
    return f"a piece of text is {shown(text)}" if text.startswith(_HALF) or text.endswith(_HALF) else None


def usage_shrinks(seen: Observation, event: StreamEvent) -> str | None:
    """Counts are cumulative: the last one stands, so that a smaller one loses tokens.

    Those of the input are not looked at: the first party itself lowers them, after a compaction or a fallback.
    """
    count, before = output_count(event), seen.output_tokens
    if count is None or before is None or count >= before or isinstance(event, MessageStartEvent):
        return None
    return f"output_tokens {before:,}, then {count:,}"


def unknown_type(_: Observation, event: StreamEvent) -> str | None:
    """The wire is open-ended, and the first party says so. It may also be a word misspelt."""
    if isinstance(event, UnknownEvent):
        return None if event.data is not None else f"event {shown(event.wire_type)}"
    if isinstance(event, ContentBlockDeltaEvent) and isinstance(event.delta, UnknownDelta):
        return f"delta {shown(event.delta.wire_type)}"
    if isinstance(event, ContentBlockStartEvent) and isinstance(event.content_block, UnknownBlock):
        return f"block {shown(event.content_block.wire_type)}"
    return None


EVENT_RULES: Final[dict[str, Callable[[Observation, StreamEvent], str | None]]] = {
    "split_character": split_character,
    "usage_shrinks": usage_shrinks,
    "unknown_type": unknown_type,
}
"""The rules by their codes: what each says of an event, before it counts among those that were seen."""
