"""The words of the protocol as types: events, deltas and usage. Blocks and messages are in `_message`.

All are msgspec Structs, told apart by `type`, as on the wire. Fields that a type does not name are kept in
`extra`; an event, delta or block of a type without a class of its own becomes an Unknown*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

import msgspec

from ._errors import short_repr

if TYPE_CHECKING:
    from ._message import ContentBlock, Message

    Extra = dict[str, Any]
    WireIndex = int
else:

    class Extra(dict):
        """The empty `extra`, one for all: a dict of its own for each of 100,000 deltas costs 6 MB.

        Its class is one that msgspec can't decode to, so that a wire field called `extra` is refused by
        the typed decoder and, like every other unknown field, read by the general one.
        """

        def _read_only(self, *args, **kwargs):
            raise TypeError("no extra fields here, and this dict is everybody's; set `extra` to one of your own")

        __setitem__ = __delitem__ = update = setdefault = pop = popitem = clear = __ior__ = _read_only

        def __reduce__(self):
            return "NO_EXTRA"

        def __deepcopy__(self, memo):
            return self

    WireIndex = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]

NO_EXTRA: Extra = Extra()


class WireStruct:
    """Base of all: fields that the wire carried and the type does not name are in `extra`."""

    __slots__ = ()
    __struct_fields__: ClassVar[tuple[str, ...]]
    __struct_encode_fields__: ClassVar[tuple[str, ...]]
    if TYPE_CHECKING:
        extra: Extra

    def __repr__(self) -> str:
        # Short, whatever the size: a message of megabytes ends up in logs and tracebacks.
        fields = []
        for name in self._shown():
            value = getattr(self, name)
            if name[0] != "_" and value is not None and (name != "extra" or value):
                fields.append(f"{name}={short_repr(value)}")
        return f"{type(self).__name__}({', '.join(fields)})"

    def _shown(self) -> tuple[str, ...]:
        return self.__struct_fields__


class Event(WireStruct, msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Base of events and deltas: they are complete and don't change."""

    extra: Extra = NO_EXTRA


class Part(WireStruct, msgspec.Struct, kw_only=True):
    """Base of messages and what they are made of: they grow while a stream is read."""

    extra: Extra = NO_EXTRA


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


class HalfTextDelta(TextDelta, frozen=True, tag="text_delta"):
    """A text delta with a lone surrogate: `text` is clean, `_raw` is what came, for joining."""

    _raw: str = ""


class HalfInputJSONDelta(InputJSONDelta, frozen=True, tag="input_json_delta"):
    """The same for tool arguments."""

    _raw: str = ""


class HalfThinkingDelta(ThinkingDelta, frozen=True, tag="thinking_delta"):
    """The same for thinking."""

    _raw: str = ""


class Usage(Part):
    """What the message cost, in tokens. Counts are cumulative; None is what was never said."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: dict[str, Any] | None = None
    output_tokens_details: dict[str, Any] | None = None
    server_tool_use: dict[str, Any] | None = None
    service_tier: str | None = None
    inference_geo: str | None = None
    iterations: list[Any] | None = None
    fallback_credit: dict[str, Any] | None = None


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
