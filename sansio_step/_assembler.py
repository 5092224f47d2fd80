"""The blocks of one message, put together from starts, deltas and stops.

Blocks are found by the wire's index. An index can hold more than one block: if a delta does not fit the block
that it names, a further block of its own kind is opened after that one, so that no content is lost and
none lands where it does not belong.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from msgspec import to_builtins

from ._base import set_right
from ._decode import cut_text
from ._errors import shown
from ._events import APPENDED, CompactionDelta, ContentBlockDeltaEvent, Delta
from ._growing import Growing, GrowingFields, TextBuffer, raw_field
from ._json import NotJSON, has_halves, read_json
from ._message import (
    Block,
    CompactionBlock,
    ContentBlock,
    FallbackBlock,
    Message,
    TextBlock,
    ToolCallBlock,
    UnknownBlock,
)


class BlockList(Growing):
    """`Message.content` while blocks can still be added. The blocks are put in index order when the list is read."""

    __slots__ = ("blocks", "in_order", "lanes")

    def set_up(self) -> None:
        self.blocks: list[ContentBlock] = []
        self.lanes: dict[int, Lane] = {}
        self.in_order = True

    def current(self) -> list[ContentBlock]:
        if not self.in_order:
            self.blocks[:] = [opened.block for _, lane in sorted(self.lanes.items()) for opened in lane.all]
            self.in_order = True
        return self.blocks

    def plain(self) -> Any:
        return [to_builtins(block) for block in self.current()]

    def __copy__(self) -> Any:
        return [copy(block) for block in self.current()]


class OpenedBlock:
    """A block and how far it has come."""

    __slots__ = ("arguments", "block", "buffers", "has_pieces", "is_open", "prefilled", "signed")

    def __init__(self, block: Any, *, is_open: bool = True) -> None:
        self.block = block
        self.is_open = is_open
        self.signed = False  # a signature_delta has come
        self.has_pieces = False  # an input_json_delta has come; an unknown block can have a field of that name anyway
        self.arguments = ""  # the text that became the input of a block without a class; more of it may come late
        self.buffers: dict[str, TextBuffer] | None = None  # a dict for each of 800,000 blocks would take 50 MB
        # The fields that the start already filled, until a delta comes for them.
        self.prefilled = _prefilled(block)
        if is_open:
            block.set_finished(False)

    def fits(self, accepts: type[Block], field: str) -> bool:
        """Whether a delta can add to a field of this block. A block without a class can have no such field yet, or one
        of the right kind.
        """
        if not isinstance(self.block, UnknownBlock):
            return isinstance(self.block, accepts) or (field == "signature" and self.has_text(field))
        value = _fields(self.block).get(field)
        return value is None or isinstance(value, list if field == "citations" else str)

    def is_of(self, delta: Delta) -> bool:
        """Whether a delta of type X_delta has a block of type X here. A type can be megabytes, so nothing is joined."""
        return len(delta.type) == len(self.block.type) + len("_delta") and delta.type.startswith(self.block.type)

    def has_text(self, field: str) -> bool:
        """Whether the block has a string under that name, in a field of its class or in `extra`."""
        value = _fields(self.block).get(field) if self._is_extra(field) else raw_field(self.block, field)
        return isinstance(value, (str, TextBuffer)) and field != "input_json"  # which is not a field of the wire

    def _is_extra(self, field: str) -> bool:
        return field not in self.block.growing or isinstance(self.block, UnknownBlock)

    def buffer(self, field: str) -> TextBuffer:
        """The pieces of a text field. A text from the block's start is the first piece; a tool's input gives way."""
        buffers = self.buffers = self.buffers or {}
        buffer = buffers.get(field)
        if buffer is None:
            if self._is_extra(field):
                fields = raw_field(self.block, "extra")
                if not isinstance(fields, GrowingFields):
                    fields = GrowingFields.begin(fields)
                    self.block.extra = fields
                buffer = fields.buffers[field] = TextBuffer.begin(fields.fields.get(field) or self._text_before(field))
            else:
                buffer = TextBuffer.begin(raw_field(self.block, field) or "")
                set_right(self.block, field, buffer)
            buffers[field] = buffer
        return buffer

    def settle(self) -> None:
        """Replace the buffers with their text."""
        if self.buffers is None:
            return
        fields = raw_field(self.block, "extra")
        if isinstance(fields, GrowingFields):
            self.block.extra = fields.finish()
        for field, buffer in self.buffers.items():
            if not self._is_extra(field):
                setattr(self.block, field, buffer.finish())
        self.buffers = None

    def finish(self) -> None:
        self.is_open = False
        self.settle()
        self.block.set_finished(True)
        self.settle_arguments()

    def settle_arguments(self) -> None:
        """Make arguments that came in pieces for a block without a class its `input`, if they are whole.

        If they are not, the block counts as never finished, so that `to_param` leaves it out of later requests.
        """
        if not isinstance(self.block, UnknownBlock) or not self.has_pieces:
            return
        self.has_pieces = False  # until more come
        text = self.block.extra.get("input_json")
        if not text:
            return
        try:
            self.block.extra["input"] = read_json(text.encode()).value
        except NotJSON:
            self.block.set_finished(False)
        else:
            self.block.set_finished(True)
            self.arguments = text
            del self.block.extra["input_json"]

    def _text_before(self, field: str) -> str:
        return self.arguments if field == "input_json" else ""


def _prefilled(block: ContentBlock) -> tuple[str, ...]:
    if isinstance(block, ToolCallBlock):
        return ("input_json",) if block.input_json or block.partial_input() else ()
    if isinstance(block, UnknownBlock):
        # Deltas continue its texts without a deviation, whatever they are. Its input gives way to the one in pieces.
        return ("input_json",) if block.extra.get("input") else ()
    return tuple(name for name in APPENDED if getattr(block, name, None))


class Lane:
    """The blocks of one index. `all` holds them in order.

    Events can still change the block that the last content_block_start `named`, and the last `further` block of each
    kind after it. These are found by the class of blocks that their deltas fit.
    """

    __slots__ = ("all", "further", "named")

    def __init__(self, named: OpenedBlock) -> None:
        self.all = [named]
        self.named = named
        self.further: dict[type[Block], OpenedBlock] | None = None  # a dict for each of 800,000 blocks takes 50 MB

    def current(self) -> list[OpenedBlock]:
        return [self.named, *(self.further or {}).values()]


class BlockAssembler:
    """Applies block events to one message.

    `note(code, detail)` is told of deviations. It may raise in strict mode. `unapplied` gets the deltas that fit
    nowhere, each with its index.
    """

    def __init__(self, message: Message, note: Callable[[str, str], None], unapplied: list[tuple[int, Delta]]) -> None:
        self.last: ContentBlock | None = None
        """The block that the last event was applied to; None if it changed none."""
        self._message = message
        self._note = note
        self._unapplied = unapplied
        self._list: BlockList = BlockList.begin()
        self._lanes = self._list.lanes
        self._highest = -1
        self._open: dict[int, Lane] = {}
        self._growing: list[OpenedBlock] = []  # blocks with buffers, also finished ones for which more came
        for index, block in enumerate(message.content):
            self._add(index, _own(block), is_open=False)
        message.content = self._list

    def finished(self, index: int) -> bool:
        lane = self._lanes.get(index)
        return lane is not None and not any(opened.is_open for opened in lane.current())

    def start(self, index: int, block: ContentBlock) -> None:
        """Apply a content_block_start."""
        if index in self._lanes:
            self._note("index_reused", f"content_block_start for index {index}, which already has a block")
        self._note_gap(index)
        for opened in self._lanes[index].current() if index in self._lanes else ():
            opened.finish()
        block = _own(block)
        self._add(index, block, is_open=True)
        self.last = block
        if isinstance(block, FallbackBlock):
            model = (block.to or {}).get("model")
            if isinstance(model, str):
                set_right(self._message, "model", model)

    def add(self, event: ContentBlockDeltaEvent) -> TextBuffer | None:
        """Apply a content_block_delta. Returns the buffer for more text of this kind and index.

        The deltas that follow can be added to it without another look. It is None if each of them needs one.
        """
        index, delta = event.index, event.delta
        self.last = None
        if delta.grows is None:
            self._add_unknown(index, delta)
            return None
        cut = cut_text(delta)
        accepts, field, implied, by, _ = delta.grows
        opened, clean = self._target(index, field, accepts, implied)
        if opened is None:
            self._leave(index, delta)
            return None
        self.last = opened.block
        if field == "citations":
            _cite(opened.block, delta.citation)  # type: ignore[union-attr]
            return None
        if field == "content":
            _replace(opened.block, delta)  # type: ignore[arg-type]
            return None
        text = cut.raw if cut is not None else getattr(delta, str(by))
        if text and field in opened.prefilled:
            self._note("repeated_content", f"{field} in content_block_start and in deltas of block {index}")
            opened.prefilled = tuple(name for name in opened.prefilled if name != field)
            if isinstance(opened.block, ToolCallBlock):
                opened.buffer(field).pieces.clear()  # its input came as a string
        if text and field == "signature":
            if opened.signed:
                self._note("repeated_signature", f"more than one signature_delta for block {index}")
            opened.signed = True
        opened.has_pieces = opened.has_pieces or field == "input_json"
        buffer = self._append(opened, field, text)
        return buffer if clean and field not in opened.prefilled else None

    def _append(self, opened: OpenedBlock, field: str, text: str) -> TextBuffer:
        if opened.buffers is None:
            self._growing.append(opened)
        buffer = opened.buffer(field)
        if text:
            buffer.pieces.append(text)
            buffer.halves = buffer.halves or has_halves(text)
        return buffer

    def _add_unknown(self, index: int, delta: Delta) -> None:
        """Apply a delta of a type that has no class. An X_delta with one text adds it to a block of type X with one.

        `connector_text_delta` and its like, which nobody announced, do so. Any other unknown delta fits nowhere.
        """
        named = self._lanes[index].named if index in self._lanes else None
        field = delta.text_field
        if field is None or named is None or not named.is_of(delta) or not named.has_text(field):
            self._leave(index, delta)
            return
        if not named.is_open:
            self._note("delta_after_stop", f"{shown(delta.type, 200)} for block {index}, which is finished")
        cut = cut_text(delta)
        assert cut is not None
        self._append(named, field, cut.raw)
        self.last = named.block

    def _leave(self, index: int, delta: Delta) -> None:
        """Keep a delta that fits nowhere. Its block lacks something from now on."""
        self._unapplied.append((index, delta))
        if index in self._lanes:
            self._lanes[index].named.block.set_unapplied()

    def _target(
        self, index: int, field: str, accepts: type[Block], implied: type[Block]
    ) -> tuple[OpenedBlock | None, bool]:
        """The block to which a delta belongs, and whether it is the open block that the index names.

        None for a signature under a block that can have none: a thinking block of its own would hold a thought that
        nobody had.
        """
        lane = self._lanes.get(index)
        if lane is None:
            self._note("delta_without_block", f"{_a(field)} delta for block {index}, which was never opened")
            self._note_gap(index)
            return self._add(index, implied(), is_open=True), True
        named = lane.named
        fits = named.fits(accepts, field)
        if named.is_open and fits:
            return named, True
        last = (lane.further or {}).get(accepts) or (named if fits else None)
        if named.is_open or (last is None and field == "signature"):
            self._note(
                "delta_kind_mismatch", f"{_a(field)} delta for block {index}, a {shown(named.block.type, 200)} block"
            )
        else:
            self._note("delta_after_stop", f"{_a(field)} delta for block {index}, which is finished")
        if last is None and field == "signature":
            return None, False
        if last is not None and (last.is_open or field in APPENDED):
            return last, False
        return self._add(index, implied(), is_open=True, further=accepts), False

    def stop(self, index: int) -> None:
        """Apply a content_block_stop."""
        if index not in self._lanes:
            self._note("stop_without_block", f"content_block_stop for block {index}, which was never opened")
            self.last = None
            return
        self._finish(index)
        self.last = self._lanes[index].current()[-1].block

    def _finish(self, index: int) -> None:
        lane = self._open.pop(index, None)
        if lane is not None:
            for opened in lane.current():
                opened.finish()

    def unstopped(self) -> list[int]:
        """The indices of the blocks that were started and not stopped."""
        return [index for index, lane in self._open.items() if lane.named.is_open]

    def finish_all(self) -> None:
        """Finish every block, because the message has stopped."""
        for index in list(self._open):
            self._finish(index)

    def settle(self) -> None:
        """Replace every buffer, because nothing more comes. This includes the blocks that never finished."""
        for opened in self._growing:
            opened.settle()
            if not opened.is_open:
                opened.settle_arguments()
        self._growing.clear()
        self._message.content = self._list.current()

    def _note_gap(self, index: int) -> None:
        if index > self._highest + 1:
            self._note(
                "index_gap", f"index {index} after {self._highest}" if self._highest >= 0 else f"first index {index}"
            )

    def _add(self, index: int, block: Any, *, is_open: bool, further: type[Block] | None = None) -> OpenedBlock:
        """Add a block: the one that the index names from now on, or one after it for deltas of a `further` kind."""
        opened = OpenedBlock(block, is_open=is_open)
        lane = self._lanes.get(index)
        if lane is None:
            lane = self._lanes[index] = Lane(opened)
        else:
            lane.all.append(opened)
            if further is None:
                lane.named, lane.further = opened, None
            else:
                lane.further = {**(lane.further or {}), further: opened}
        if index < self._highest:
            self._list.in_order = False
        self._highest = max(index, self._highest)
        if self._list.in_order:
            self._list.blocks.append(block)
        if is_open:
            self._open[index] = lane
        return opened


def _a(field: str) -> str:
    return f"an {field}" if field == "input_json" else f"a {field}"


def _own(block: ContentBlock) -> ContentBlock:
    """A copy of an event's block that can grow without changing the event."""
    block = copy(block)
    if isinstance(block, UnknownBlock) and not block.extra:
        block.extra = {}
    return block


def _fields(block: Block) -> dict[str, Any]:
    """A block's `extra`. Growing texts in it are as they stood when they were read last."""
    fields = raw_field(block, "extra")
    return fields.fields if isinstance(fields, GrowingFields) else fields


def _cite(block: TextBlock | UnknownBlock, citation: Any) -> None:
    if isinstance(block, UnknownBlock):
        fields = _fields(block)
        fields["citations"] = fields.get("citations") or []
        fields["citations"].append(citation)
    else:
        if not block.citations:
            set_right(block, "citations", [])  # not the event's own list
        block.citations.append(citation)  # type: ignore[union-attr]


def _replace(block: CompactionBlock | UnknownBlock, delta: CompactionDelta) -> None:
    if isinstance(block, UnknownBlock):
        _fields(block).update(delta.extra, content=delta.content, encrypted_content=delta.encrypted_content)
    else:
        block.content, block.encrypted_content = delta.content, delta.encrypted_content
        if delta.extra:  # the beta's `signature` and `tool_changes`
            if not block.extra:
                block.extra = {}
            _fields(block).update(delta.extra)
