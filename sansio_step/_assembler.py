"""The blocks of one message, put together from starts, deltas and stops.

Blocks are found by the wire's index. An index can hold more than one block: if a delta does not fit the block
that it names, a further block of its own kind is opened after that one, so that no content is lost and
none lands where it does not belong.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol

from msgspec import to_builtins

from ._base import set_right
from ._errors import shown
from ._events import APPENDED, CitationsDelta, CompactionDelta, Delta
from ._growing import Growing, GrowingFields, TextBuffer, raw_field
from ._json import NotJSON, read_json
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

    __slots__ = ("blocks", "closed", "in_order", "open")

    def set_up(self) -> None:
        self.blocks: list[ContentBlock] = []
        # By index: the lanes of blocks that are open, and of blocks that were closed.
        self.open: dict[int, Lane] = {}
        self.closed: dict[int, Lane] | None = None
        self.in_order = True

    def current(self) -> list[ContentBlock]:
        if not self.in_order:
            lanes = {**self.open, **(self.closed or {})}
            self.blocks[:] = [opened.block for _, lane in sorted(lanes.items()) for opened in lane.all]
            self.in_order = True
        return self.blocks

    def plain(self) -> Any:
        return [to_builtins(block) for block in self.current()]

    def __copy__(self) -> Any:
        return [block.__copy__() for block in self.current()]


class OpenedBlock:
    """A block and how far it has come."""

    __slots__ = ("arguments", "block", "growing", "has_pieces", "is_open", "others", "prefilled", "signed")

    def __init__(self, block: Any, *, is_open: bool = True) -> None:
        self.block = block
        self.is_open = is_open
        self.signed = False  # a signature_delta has come
        self.has_pieces = False  # an input_json_delta has come; an unknown block can have a field of that name anyway
        self.arguments = ""  # the text that became the `input` of a block without a class; more of it may come later
        # Most blocks have one growing text. A dict for each would take 224 bytes.
        self.growing: tuple[str, TextBuffer] | None = None
        self.others: dict[str, TextBuffer] | None = None
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
        if self.growing is not None and self.growing[0] == field:
            return self.growing[1]
        if self.others is not None and field in self.others:
            return self.others[field]
        buffer: TextBuffer
        if self._is_extra(field):
            fields = raw_field(self.block, "extra")
            if not isinstance(fields, GrowingFields):
                fields = GrowingFields.begin(fields)
                self.block.extra = fields
            buffer = TextBuffer.begin(fields.fields.get(field) or self._text_before(field))
            fields.buffers[field] = buffer
        else:
            buffer = TextBuffer.begin(raw_field(self.block, field) or "")
            set_right(self.block, field, buffer)
        if self.growing is None:
            self.growing = field, buffer
        else:
            self.others = self.others or {}
            self.others[field] = buffer
        return buffer

    def settle(self) -> None:
        """Replace the buffers with their text."""
        if self.growing is None:
            return
        for field, buffer in (self.growing, *(self.others or {}).items()):
            if not self._is_extra(field):
                setattr(self.block, field, buffer.finish())
            elif isinstance(raw_field(self.block, "extra"), GrowingFields):  # all such fields are in it
                self.block.extra = raw_field(self.block, "extra").finish()
        self.growing = self.others = None

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
        return ("input_json",) if raw_field(block, "input") else ()
    if isinstance(block, UnknownBlock):
        # Deltas continue its texts without a deviation, whatever they are. Its input gives way to the one in pieces.
        return ("input_json",) if block.extra.get("input") else ()
    return tuple([name for name in _appended(type(block)) if raw_field(block, name)])


@cache
def _appended(cls: Any) -> tuple[str, ...]:
    """The fields of a class of blocks to which deltas append text."""
    return tuple(name for name in APPENDED if name in cls.__struct_fields__)


class Lane:
    """The blocks of one index. `all` holds them in order.

    Events can still change the block that the last content_block_start `named`, and the last `further` block of each
    kind after it. These are found by the class of blocks that their deltas fit.
    """

    __slots__ = ("first", "further", "later", "named")

    def __init__(self, named: OpenedBlock) -> None:
        self.first = named
        self.named = named
        # A list and a dict for each of 800,000 blocks would take 100 MB.
        self.later: list[OpenedBlock] | None = None
        self.further: dict[type[Block], OpenedBlock] | None = None

    @property
    def all(self) -> list[OpenedBlock]:
        return [self.first, *(self.later or ())]

    def add(self, opened: OpenedBlock, further: type[Block] | None) -> None:
        """Add a block: the one that the index names from now on, or one after it for deltas of a `further` kind."""
        self.later = self.later or []
        self.later.append(opened)
        if further is None:
            self.named, self.further = opened, None
        else:
            self.further = self.further or {}
            self.further[further] = opened

    def current(self) -> list[OpenedBlock]:
        return [self.named] if self.further is None else [self.named, *self.further.values()]


class Host(Protocol):
    """What a `BlockAssembler` reports to."""

    def note(self, code: str, detail: str) -> None:
        """Hear of a deviation, before it changes anything. May raise in strict mode."""

    def leave(self, index: int, delta: Delta) -> None:
        """Hear of a delta that fits nowhere, with its index."""


class BlockAssembler:
    """Applies block events to one message.

    The `host` is told of deviations and of deltas that fit nowhere.
    """

    __slots__ = (
        "_highest",
        "_host",
        "_late",
        "_list",
        "_message",
        "_open",
        "last",
    )

    def __init__(self, message: Message, host: Host) -> None:
        self.last: ContentBlock | None = None
        """The block that the last event was applied to; None if it changed none."""
        self._message = message
        self._host = host
        self._list: BlockList = BlockList.begin()
        self._highest = -1
        self._open = self._list.open
        self._late: list[OpenedBlock] | None = None  # finished blocks for which more came
        for index, block in enumerate(message.content):
            self._add(index, own_copy(block), is_open=False)
        message.content = self._list

    def finished(self, index: int) -> bool:
        lane = self._lane(index)
        return lane is not None and not any(opened.is_open for opened in lane.current())

    @property
    def all_finished(self) -> bool:
        """Whether no block can grow without a deviation."""
        return not self._open

    def start(self, index: int, block: ContentBlock) -> None:
        """Apply a content_block_start."""
        lane = self._lane(index)
        if lane is not None:
            self._host.note("index_reused", f"content_block_start for index {index}, which already has a block")
        if index > self._highest + 1:
            self._note_gap(index)
        for opened in lane.current() if lane is not None else ():
            opened.finish()
        block = own_copy(block)
        self._add(index, block, is_open=True)
        self.last = block
        if isinstance(block, FallbackBlock):
            model = (block.to or {}).get("model")
            if isinstance(model, str):
                set_right(self._message, "model", model)

    def add(self, index: int, delta: Delta, text: str | None) -> TextBuffer | None:
        """Apply the delta of a content_block_delta, which appends `text`, or none if that is None.

        Returns the buffer for more text of this kind and index. The deltas that follow can be added to it without
        another look. It is None if each of them needs one.
        """
        self.last = None
        if delta.grows is None:
            self._add_unknown(index, delta, text)
            return None
        accepts, field, implied, _, _ = delta.grows
        lane = self._open.get(index)
        if lane is not None and lane.named.is_open and isinstance(lane.named.block, accepts):
            opened, clean = lane.named, True  # as in every legal stream
        else:
            found, clean = self._target(index, field, accepts, implied)
            if found is None:
                self._leave(index, delta)
                return None
            opened = found
        self.last = opened.block
        if text is None:
            if isinstance(delta, CitationsDelta):
                _cite(opened.block, delta.citation)
            else:
                _replace(opened.block, delta)  # type: ignore[arg-type]
            return None
        if opened.prefilled and text and field in opened.prefilled:
            self._host.note("repeated_content", f"{field} in content_block_start and in deltas of block {index}")
            opened.prefilled = tuple(name for name in opened.prefilled if name != field)
            if isinstance(opened.block, ToolCallBlock):
                opened.buffer(field).last = ""  # its input came as a string
        if text and field == "signature":
            if opened.signed:
                self._host.note("repeated_signature", f"more than one signature_delta for block {index}")
            opened.signed = True
        opened.has_pieces = opened.has_pieces or field == "input_json"
        buffer = self._append(opened, field, text)
        return buffer if clean and field not in opened.prefilled else None

    def _append(self, opened: OpenedBlock, field: str, text: str) -> TextBuffer:
        if opened.growing is None and not opened.is_open:
            self._late = self._late or []
            self._late.append(opened)
        buffer = opened.buffer(field)
        if text:
            buffer.append(text)
        return buffer

    def _add_unknown(self, index: int, delta: Delta, text: str | None) -> None:
        """Apply a delta of a type that has no class. An X_delta with one text adds it to a block of type X with one.

        `connector_text_delta` and its like, which nobody announced, do so. Any other unknown delta fits nowhere.
        """
        lane = self._lane(index)
        named = lane.named if lane is not None else None
        field = delta.text_field
        if text is None or field is None or named is None or not named.is_of(delta) or not named.has_text(field):
            self._leave(index, delta)
            return
        if not named.is_open:
            self._host.note("delta_after_stop", f"{shown(delta.type, 200)} for block {index}, which is finished")
        self._append(named, field, text)
        self.last = named.block

    def _leave(self, index: int, delta: Delta) -> None:
        """Keep a delta that fits nowhere. Its block lacks something from now on."""
        self._host.leave(index, delta)
        lane = self._lane(index)
        if lane is not None:
            lane.named.block.set_unapplied()

    def _target(
        self, index: int, field: str, accepts: type[Block], implied: type[Block]
    ) -> tuple[OpenedBlock | None, bool]:
        """The block to which a delta belongs, and whether it is the open block that the index names.

        None for a signature under a block that can have none: a thinking block of its own would hold a thought that
        nobody had.
        """
        lane = self._lane(index)
        if lane is None:
            self._host.note("delta_without_block", f"{_a(field)} delta for block {index}, which was never opened")
            if index > self._highest + 1:
                self._note_gap(index)
            return self._add(index, implied(), is_open=True), True
        named = lane.named
        fits = named.fits(accepts, field)
        if named.is_open and fits:
            return named, True
        last = (lane.further or {}).get(accepts) or (named if fits else None)
        if named.is_open or (last is None and field == "signature"):
            self._host.note(
                "delta_kind_mismatch", f"{_a(field)} delta for block {index}, a {shown(named.block.type, 200)} block"
            )
        else:
            self._host.note("delta_after_stop", f"{_a(field)} delta for block {index}, which is finished")
        if last is None and field == "signature":
            return None, False
        if last is not None and (last.is_open or field in APPENDED):
            return last, False
        return self._add(index, implied(), is_open=True, further=accepts), False

    def stop(self, index: int) -> None:
        """Apply a content_block_stop."""
        lane = self._lane(index)
        if lane is None:
            self._host.note("stop_without_block", f"content_block_stop for block {index}, which was never opened")
            self.last = None
            return
        if index in self._open:
            self._finish(index)
        self.last = lane.current()[-1].block

    def _finish(self, index: int) -> None:
        lane = self._open.pop(index)
        self._close(index, lane)
        for opened in lane.current():
            opened.finish()

    def _lane(self, index: int) -> Lane | None:
        lane = self._open.get(index)
        closed = self._list.closed
        return lane if lane is not None or closed is None else closed.get(index)

    def _close(self, index: int, lane: Lane) -> None:
        if self._list.closed is None:
            self._list.closed = {}
        self._list.closed[index] = lane

    def unstopped(self) -> list[int]:
        """The indices of the blocks that were started and not stopped."""
        return [index for index, lane in self._open.items() if lane.named.is_open]

    def finish_all(self) -> None:
        """Finish every block, because the message has stopped."""
        for index in list(self._open):
            self._finish(index)

    def settle(self) -> None:
        """Replace every buffer, because nothing more comes. This includes the blocks that never finished."""
        for lane in self._open.values():
            for opened in lane.current():
                opened.settle()
        for opened in self._late or ():
            opened.settle()
            opened.settle_arguments()
        self._late = None
        self._message.content = self._list.current()
        self._host = _NOBODY  # no further event is applied; a way back would leave each stream to the cycle collector

    def _note_gap(self, index: int) -> None:
        after = f"index {index} after {self._highest}" if self._highest >= 0 else f"first index {index}"
        self._host.note("index_gap", after)

    def _add(self, index: int, block: Any, *, is_open: bool, further: type[Block] | None = None) -> OpenedBlock:
        """Add a block: the one that the index names from now on, or one after it for deltas of a `further` kind."""
        opened = OpenedBlock(block, is_open=is_open)
        lane = self._lane(index)
        if lane is None:
            lane = Lane(opened)
        else:
            lane.add(opened, further)
        if index < self._highest:
            self._list.in_order = False
        self._highest = max(index, self._highest)
        if self._list.in_order:
            self._list.blocks.append(block)
        if is_open:
            self._open[index] = lane
        else:
            self._close(index, lane)
        return opened


class _Nobody:
    """The host of a message that has ended."""

    def note(self, code: str, detail: str) -> None:
        """Say nothing."""

    def leave(self, index: int, delta: Delta) -> None:
        """Keep nothing."""


_NOBODY = _Nobody()


def _a(field: str) -> str:
    return f"an {field}" if field == "input_json" else f"a {field}"


def own_copy(block: ContentBlock) -> ContentBlock:
    """A copy of an event's block that can grow without changing the event."""
    block = block.__copy__()
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
