"""The arguments of tool calls as they arrive: what each event of a stream says of them."""

from __future__ import annotations

from contextlib import suppress
from sys import maxsize

from ._errors import ToolInputError
from ._events import ContentBlockDeltaEvent, InputJSONDelta, StreamEvent
from ._growing import TextBuffer, raw_field
from ._halves import appended_text
from ._json_deltas import JSONDelta
from ._json_reader import JSONReader
from ._message import ContentBlock, ToolCallBlock


class LiveInput:
    """Reads the arguments of each call on, one event after the other, as soon as somebody asks.

    Asked again about the same event, it says the same. Events that nobody asks about are read, but say nothing.
    """

    def __init__(self) -> None:
        # By block: its reader, until its value is finished, and the characters that it was given.
        self._reading: dict[int, tuple[JSONReader | None, int]] = {}
        self._event: StreamEvent | None = None
        self._deltas: list[JSONDelta] = []

    def deltas(self, event: StreamEvent | None, block: ContentBlock | None) -> list[JSONDelta]:
        """What an event, which was applied last and to this block, says of a call's arguments. Often nothing."""
        if event is not self._event:
            self._event = event
            self._deltas = self._read(event, block)
        return self._deltas

    def _read(self, event: StreamEvent | None, block: ContentBlock | None) -> list[JSONDelta]:
        if not (isinstance(event, ContentBlockDeltaEvent) and isinstance(event.delta, InputJSONDelta)):
            return []
        text = raw_field(block, "input_json") if isinstance(block, ToolCallBlock) else None
        if not isinstance(text, TextBuffer):
            return []
        reader, length = self._reading.get(id(block)) or (JSONReader(max_size=maxsize), 0)  # the stream has limits
        unread = text.since(length)
        earlier = len(unread) - len(appended_text(event.delta) or "")
        deltas: list[JSONDelta] = []
        if reader is not None:
            with suppress(ToolInputError):  # the block's `input` says it
                if earlier > 0:
                    reader.receive_text(unread[:earlier])
                deltas = reader.receive_text(unread[max(earlier, 0) :])
            if reader.is_finished or reader.fault is not None:
                reader = None  # its value takes many times the bytes of its text
        self._reading[id(block)] = reader, length + len(unread)
        return deltas
