"""Events that are just as the first party sends them, read in one call of msgspec.

msgspec refuses anything odd (an unknown field, a missing field, a count that is not an integer). That goes to `_decode`,
which says what is odd about it. This way message_start takes 1.1 instead of 5.8 microseconds, a block's start 0.5
instead of 3.1, and message_delta 0.8 instead of 5.2. Streams of 40 events consist of little else.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import msgspec

from ._events import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    MessageDelta,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
    PingEvent,
    StreamEvent,
    WireIndex,
)
from ._json import CANT_DECODE, MAX_NESTING, has_halves
from ._message import ContentBlock, Message, TextBlock, ThinkingBlock, ToolUseBlock, Usage


class _Clean(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", gc=False):
    @abstractmethod
    def made(self) -> Any:
        """The same in the type that callers know."""


class _CleanMessage(_Clean, tag="message"):
    id: str
    role: str
    model: str
    content: tuple[()]
    usage: Usage
    stop_reason: str | None = None
    stop_sequence: str | None = None

    def made(self) -> Message:
        return Message(id=self.id, role=self.role, model=self.model, content=[], usage=self.usage,
                       stop_reason=self.stop_reason or None, stop_sequence=self.stop_sequence)  # fmt: skip


class _CleanText(_Clean, tag="text"):
    text: str
    citations: list[Any] | None = None

    def made(self) -> ContentBlock:
        return TextBlock(self.text, self.citations)


class _CleanThinking(_Clean, tag="thinking"):
    thinking: str
    signature: str | None = None

    def made(self) -> ContentBlock:
        return ThinkingBlock(self.thinking, self.signature)


class _CleanToolUse(_Clean, tag="tool_use"):
    id: str
    name: str
    input: dict[str, Any]

    def made(self) -> ContentBlock:
        return ToolUseBlock(self.id, self.name, self.input)


class _CleanMessageStart(_Clean, tag="message_start"):
    message: _CleanMessage

    def made(self) -> StreamEvent:
        return MessageStartEvent(self.message.made())


class _CleanBlockStart(_Clean, tag="content_block_start"):
    index: WireIndex
    content_block: _CleanText | _CleanThinking | _CleanToolUse

    def made(self) -> StreamEvent:
        return ContentBlockStartEvent(self.index, self.content_block.made())


class _CleanMessageDelta(_Clean, tag="message_delta"):
    delta: MessageDelta
    usage: Usage

    def made(self) -> StreamEvent:
        delta = self.delta
        if delta.stop_reason == "":  # it means null, see `without_empty_reason`
            delta = msgspec.structs.replace(delta, stop_reason=None)
        return MessageDeltaEvent(delta, self.usage)


_decode_clean = msgspec.json.Decoder(
    _CleanMessageStart
    | _CleanBlockStart
    | _CleanMessageDelta
    | ContentBlockDeltaEvent
    | ContentBlockStopEvent
    | MessageStopEvent
    | PingEvent
).decode


def decode_clean(data: bytes) -> StreamEvent | None:
    """The event of a frame's data if all of it is as the first party sends it, else None."""
    try:
        event = _decode_clean(data)
    except UnicodeDecodeError:
        # Bytes that are not UTF-8 are U+FFFD, and the rest can still be clean. The general way takes 12 times as long.
        return decode_clean(data.decode("utf-8", "replace").encode())
    except CANT_DECODE:
        return None
    if not isinstance(event, _Clean):
        return event  # type: ignore[no-any-return]
    # msgspec's own bound on nesting moves with the caller's stack, so that deep values are left to the general way.
    if len(data) > 2 * MAX_NESTING and data.count(b"{") + data.count(b"[") > MAX_NESTING:
        return None
    return event.made()  # type: ignore[no-any-return]


_LIGHT: dict[str, Any] = {
    cls.type: cls for cls in (ContentBlockDeltaEvent, ContentBlockStopEvent, MessageStopEvent, PingEvent)
}
# The events without values of any shape, which would have to be checked.


def convert_clean(item: Mapping[str, Any]) -> StreamEvent | None:
    """The event of a parsed object if it is one of `_LIGHT`, as the first party sends it; else None.

    A delta takes 0.4 microseconds this way, and 7 by `read_object`.
    """
    kind = item.get("type")
    cls = _LIGHT.get(kind) if kind.__class__ is str else None
    if cls is None:
        return None
    try:
        event: Any = msgspec.convert(item, cls)
    except CANT_DECODE:
        return None
    if cls is ContentBlockDeltaEvent:
        text: str = event.delta.piece
        if not text.isascii() and has_halves(text):
            return None
    return event  # type: ignore[no-any-return]
