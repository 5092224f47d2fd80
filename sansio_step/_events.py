"""What a stream carries: events, and the deltas in them.

All are msgspec Structs, told apart by `type`, as on the wire. Fields that a type does not name are kept in
`extra`; an event or delta of a type without a class of its own becomes an Unknown*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, TypeAlias, Union, get_args

import msgspec

from ._base import Event, Extra
from ._message import (
    Block,
    CompactionBlock,
    ContentBlock,
    Message,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    ToolUseBlock,
    Usage,
)

MAX_INDEX = 2**31 - 1

if TYPE_CHECKING:
    WireIndex = int
else:
    WireIndex = Annotated[int, msgspec.Meta(ge=0, le=MAX_INDEX)]


class Grows(NamedTuple):
    """What a delta does to the message. All that reads and applies deltas is derived from this."""

    fits: type[Block]
    """The blocks that it fits."""
    field: str
    """Their field to which it adds."""
    opens: type[Block]
    """The block that it opens if there is none."""
    by: str | None
    """The delta's own field with what it adds, by which a delta without a type is known. None if it can be absent."""
    appends: bool = True
    """Whether what it adds is text, which is appended to the block's."""


class BlockDelta(Event, frozen=True):
    """Base of deltas. A new delta needs a class, a place in the union `Delta`, and an export.

    `text_field` names the field whose text a server can cut anywhere, even inside a character. Runs of such deltas
    are read together. It is None for all other deltas. If a class names such a field, it is the first of the class, and
    `piece` is that text.

    Readers need no more than that. `message_events` writes what a delta brings with the start of its block, unless its
    module says how it comes in deltas.
    """

    grows: ClassVar[Grows | None] = None
    text_field: ClassVar[str | None] = None
    if TYPE_CHECKING:

        @property
        def piece(self) -> str: ...


class TextDelta(BlockDelta, frozen=True, tag="text_delta"):
    """More text for a text block."""

    type: ClassVar[Literal["text_delta"]] = "text_delta"
    grows: ClassVar[Grows] = Grows(TextBlock, "text", TextBlock, "text")
    text_field: ClassVar[str] = "text"
    text: str


class InputJSONDelta(BlockDelta, frozen=True, tag="input_json_delta"):
    """More of a tool's arguments: a piece of JSON text, cut anywhere, possibly empty."""

    type: ClassVar[Literal["input_json_delta"]] = "input_json_delta"
    grows: ClassVar[Grows] = Grows(ToolCallBlock, "input_json", ToolUseBlock, "partial_json")
    text_field: ClassVar[str] = "partial_json"
    partial_json: str


class ThinkingDelta(BlockDelta, frozen=True, tag="thinking_delta"):
    """More text for a thinking block."""

    type: ClassVar[Literal["thinking_delta"]] = "thinking_delta"
    grows: ClassVar[Grows] = Grows(ThinkingBlock, "thinking", ThinkingBlock, "thinking")
    text_field: ClassVar[str] = "thinking"
    thinking: str


class SignatureDelta(BlockDelta, frozen=True, tag="signature_delta"):
    """The signature of a thinking block."""

    type: ClassVar[Literal["signature_delta"]] = "signature_delta"
    grows: ClassVar[Grows] = Grows(ThinkingBlock, "signature", ThinkingBlock, "signature")
    signature: str


class CitationsDelta(BlockDelta, frozen=True, tag="citations_delta"):
    """One more citation for a text block, as the JSON object that came."""

    type: ClassVar[Literal["citations_delta"]] = "citations_delta"
    grows: ClassVar[Grows] = Grows(TextBlock, "citations", TextBlock, "citation", appends=False)
    citation: dict[str, Any]


class CompactionDelta(BlockDelta, frozen=True, tag="compaction_delta"):
    """The content of a compaction block. It replaces any earlier content."""

    type: ClassVar[Literal["compaction_delta"]] = "compaction_delta"
    grows: ClassVar[Grows] = Grows(CompactionBlock, "content", CompactionBlock, None, appends=False)
    content: str | None = None
    encrypted_content: str | None = None


class UnknownDelta(BlockDelta, frozen=True):
    """A delta of a type that has no class here; its fields are in `extra`. Compare its `wire_type`."""

    if TYPE_CHECKING:
        # Type checkers see a Literal, so that comparing the `type` of a union narrows it. With a str here, every
        # comparison could be true of this class. At run time it is the wire's own word.
        type: ClassVar[Literal["unknown delta"]]

        def __init__(self, type: str, *, extra: Extra = ...) -> None: ...

    else:
        type: str

    @property
    def wire_type(self) -> str:
        """The type as the wire has it, for comparisons. Type checkers see `type` as a Literal."""
        return str(self.type)

    @property
    def text_field(self) -> str | None:  # type: ignore[override]
        """The name of its one field, if that is a string. It is then more text for a block that has such a field."""
        names = [name for name, value in self.extra.items() if value is not None]
        return names[0] if len(names) == 1 and isinstance(self.extra[names[0]], str) else None

    def with_text(self, text: str) -> Any:
        """The same delta with another text in its `text_field`."""
        return UnknownDelta(self.type, extra={**self.extra, str(self.text_field): text})


Delta: TypeAlias = (
    TextDelta | InputJSONDelta | ThinkingDelta | SignatureDelta | CitationsDelta | CompactionDelta | UnknownDelta
)

TEXT_DELTAS: tuple[Any, ...] = tuple(cls for cls in get_args(Delta) if cls.grows is not None and cls.grows.appends)
"""The deltas that append text to a field."""

if TYPE_CHECKING:
    _WireDelta: TypeAlias = Delta
else:
    # msgspec decodes these itself. The other deltas hold JSON of any shape or have no tag. They are rare, and `_decode`
    # looks at them more closely.
    _WireDelta = Union[TEXT_DELTAS]  # noqa: UP007  # of a tuple


for _cls in TEXT_DELTAS:
    # The same slot under one name, so that runs are joined without a look at their kind.
    _cls.piece = vars(_cls)[_cls.grows.by]

CUT_ANYWHERE: frozenset[Any] = frozenset(cls for cls in get_args(Delta) if isinstance(cls.text_field, str))
"""The deltas that have a `text_field`."""

for _cls in CUT_ANYWHERE:
    assert _cls.__struct_fields__[0] == _cls.text_field, f"{_cls.__name__}(text) would set another field"

APPENDED: tuple[str, ...] = tuple(cls.grows.field for cls in TEXT_DELTAS)
"""The fields of blocks to which deltas append text."""


class MessageDelta(Event, frozen=True):
    """What a message_delta says about the message. A field that is None was not stated and changes nothing."""

    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None
    container: dict[str, Any] | None = None


IN_DELTA: tuple[str, ...] = tuple(name for name in MessageDelta.__struct_fields__ if name != "extra")
"""The fields of a message that message_delta states in its `delta`."""


class ErrorDetail(Event, frozen=True):
    """The server's words about a failure."""

    type: str | None = None
    message: str | None = None


class MessageStartEvent(Event, frozen=True, tag="message_start"):
    """A message begins. `message` is normally empty except for its id, role, model and first usage."""

    type: ClassVar[Literal["message_start"]] = "message_start"
    message: Message


class ContentBlockStartEvent(Event, frozen=True, tag="content_block_start"):
    """A block begins. `content_block` is normally empty, but results of server tools come whole."""

    type: ClassVar[Literal["content_block_start"]] = "content_block_start"
    index: int
    content_block: ContentBlock


class ContentBlockDeltaEvent(Event, frozen=True, tag="content_block_delta"):
    """More content for the block at `index`."""

    type: ClassVar[Literal["content_block_delta"]] = "content_block_delta"
    index: WireIndex
    delta: _WireDelta


class ContentBlockStopEvent(Event, frozen=True, tag="content_block_stop"):
    """The block at `index` is finished."""

    type: ClassVar[Literal["content_block_stop"]] = "content_block_stop"
    index: WireIndex


class MessageDeltaEvent(Event, frozen=True, tag="message_delta"):
    """Why the message stopped, and what it cost so far."""

    type: ClassVar[Literal["message_delta"]] = "message_delta"
    delta: MessageDelta
    usage: Usage | None = None
    context_management: dict[str, Any] | None = None


class MessageStopEvent(Event, frozen=True, tag="message_stop"):
    """The message is whole."""

    type: ClassVar[Literal["message_stop"]] = "message_stop"


class PingEvent(Event, frozen=True, tag="ping"):
    """The server is still there."""

    type: ClassVar[Literal["ping"]] = "ping"


class ErrorEvent(Event, frozen=True, tag="error"):
    """The server failed, possibly after a status of 200 and half a message."""

    type: ClassVar[Literal["error"]] = "error"
    error: ErrorDetail
    request_id: str | None = None


class UnknownEvent(Event, frozen=True):
    """An event of a type that has no class here; its fields are in `extra`. Compare its `wire_type`.

    `data` is its text if that is not a JSON object (`[DONE]`), or is a document without a field's name; else None.
    """

    if TYPE_CHECKING:
        # Type checkers see a Literal, so that comparing the `type` of a union narrows it. With a str here, every
        # comparison could be true of this class. At run time it is the wire's own word.
        type: ClassVar[Literal["unknown event"]]

        def __init__(self, type: str, data: str | None = None, *, extra: Extra = ...) -> None: ...

    else:
        type: str
    data: str | None = None

    @property
    def wire_type(self) -> str:
        """The type as the wire has it, for comparisons. Type checkers see `type` as a Literal."""
        return str(self.type)


StreamEvent: TypeAlias = (
    MessageStartEvent
    | ContentBlockStartEvent
    | ContentBlockDeltaEvent
    | ContentBlockStopEvent
    | MessageDeltaEvent
    | MessageStopEvent
    | PingEvent
    | ErrorEvent
    | UnknownEvent
)

KNOWN_EVENTS: tuple[Any, ...] = tuple(cls for cls in get_args(StreamEvent) if cls is not UnknownEvent)
"""The events that have a class of their own."""
