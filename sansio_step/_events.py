"""What a stream carries: events, and the deltas in them.

All are msgspec Structs, told apart by `type`, as on the wire. Fields that a type does not name are kept in
`extra`; an event or delta of a type without a class of its own becomes an Unknown*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

import msgspec

from ._base import Event, Extra
from ._message import ContentBlock, Message, Usage

if TYPE_CHECKING:
    WireIndex = int
else:
    WireIndex = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class TextDelta(Event, frozen=True, tag="text_delta"):
    """More text for a text block."""

    type: ClassVar[Literal["text_delta"]] = "text_delta"
    text: str


class InputJSONDelta(Event, frozen=True, tag="input_json_delta"):
    """More of a tool's arguments: a piece of JSON text, cut anywhere, possibly empty."""

    type: ClassVar[Literal["input_json_delta"]] = "input_json_delta"
    partial_json: str


class ThinkingDelta(Event, frozen=True, tag="thinking_delta"):
    """More text for a thinking block."""

    type: ClassVar[Literal["thinking_delta"]] = "thinking_delta"
    thinking: str


class SignatureDelta(Event, frozen=True, tag="signature_delta"):
    """The signature of a thinking block."""

    type: ClassVar[Literal["signature_delta"]] = "signature_delta"
    signature: str


class CitationsDelta(Event, frozen=True, tag="citations_delta"):
    """One more citation for a text block, as the JSON object that came."""

    type: ClassVar[Literal["citations_delta"]] = "citations_delta"
    citation: dict[str, Any]


class CompactionDelta(Event, frozen=True, tag="compaction_delta"):
    """The content of a compaction block; it replaces what stood there."""

    type: ClassVar[Literal["compaction_delta"]] = "compaction_delta"
    content: str | None = None
    encrypted_content: str | None = None


class UnknownDelta(Event, frozen=True):
    """A delta of a type that has no class here; its fields are in `extra`."""

    type: str


Delta: TypeAlias = (
    TextDelta | InputJSONDelta | ThinkingDelta | SignatureDelta | CitationsDelta | CompactionDelta | UnknownDelta
)

if TYPE_CHECKING:
    _WireDelta: TypeAlias = Delta
else:
    # The deltas that msgspec decodes itself. The others hold JSON of any shape or have no tag; they are rare,
    # and the general decoder looks at them more closely.
    _WireDelta = TextDelta | InputJSONDelta | ThinkingDelta | SignatureDelta


class Half:
    """A delta with a lone surrogate: its text is clean, `raw` is what came, for joining with its neighbours.

    `raw` is no field of the Struct: JSON can't carry it, and it is nobody's business but the decoder's.
    """

    __slots__ = ()
    if TYPE_CHECKING:
        extra: Extra
        raw: str
        __struct_fields__: ClassVar[tuple[str, ...]]

    @classmethod
    def made(cls, text: str, raw: str, extra: Extra) -> Any:
        """A delta of this class that shows `text`."""
        delta = cls(text, extra=extra)  # type: ignore[call-arg]  # the Struct's own, which this is mixed into
        vars(delta)["raw"] = raw
        return delta

    def __copy__(self) -> Any:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).made, (getattr(self, self.__struct_fields__[0]), self.raw, self.extra)


class HalfTextDelta(Half, TextDelta, frozen=True, tag="text_delta", gc=True, dict=True):
    """A text delta with a lone surrogate."""


class HalfInputJSONDelta(Half, InputJSONDelta, frozen=True, tag="input_json_delta", gc=True, dict=True):
    """The same for tool arguments."""


class HalfThinkingDelta(Half, ThinkingDelta, frozen=True, tag="thinking_delta", gc=True, dict=True):
    """The same for thinking."""


class MessageDelta(Event, frozen=True):
    """What a message_delta says of the message. None is left unsaid, and changes nothing."""

    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None
    container: dict[str, Any] | None = None


class ErrorDetail(Event, frozen=True):
    """The server's words about a failure."""

    type: str | None = None
    message: str | None = None


class MessageStartEvent(Event, frozen=True, tag="message_start"):
    """A message begins; `message` is normally empty but for its id, model and first usage."""

    type: ClassVar[Literal["message_start"]] = "message_start"
    message: Message


class ContentBlockStartEvent(Event, frozen=True, tag="content_block_start"):
    """A block begins; `content_block` is normally empty, results of server tools come whole."""

    type: ClassVar[Literal["content_block_start"]] = "content_block_start"
    index: int
    content_block: ContentBlock


class ContentBlockDeltaEvent(Event, frozen=True, tag="content_block_delta"):
    """More for the block at `index`."""

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
    """An event of a type that has no class here; its fields are in `extra`.

    `data` is the text of one that is no JSON object (`[DONE]`), None for all others.
    """

    type: str
    data: str | None = None


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
