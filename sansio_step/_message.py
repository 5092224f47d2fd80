"""The message, its content blocks and its usage: what a stream adds up to."""

from __future__ import annotations

from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypeVar, get_args, overload

import msgspec

from ._base import Extra, Part
from ._errors import StreamError
from ._growing import Copied, raw_field, read_through
from ._tool_input import Arguments, InputField, InputJSONField, convert_input

T = TypeVar("T")


class Usage(Copied, Part, forbid_unknown_fields=True):
    """What the message cost, in tokens. Counts are cumulative. A count that was never given is None."""

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


class _Unseen:
    """The default of a block's private fields, whose other value is UNSET.

    msgspec encodes neither a default nor UNSET, so the JSON of a block never shows these fields. The two values are
    equal, because comparisons must not depend on how a block was read.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return other is self or other is msgspec.UNSET or NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> str:
        return "_UNSEEN"

    def __repr__(self) -> str:
        return "UNSEEN"


_UNSEEN = _Unseen()


class Block(Copied, Part, kw_only=True):
    """Base of content blocks. A block that a stream opened is not finished until the stream says so."""

    _progress: Any = _UNSEEN  # UNSET while more of the block may come
    _unapplied: Any = _UNSEEN  # UNSET after a delta for the block could not be applied

    @property
    def is_finished(self) -> bool:
        """Whether nothing more belongs to the block, because it was stopped (by its own stop, a stop_reason or
        message_stop) or made by hand.
        """
        return self._progress is not msgspec.UNSET

    def set_finished(self, finished: bool) -> None:
        """Say whether the block is finished. This is for code that builds blocks from a stream."""
        self._progress = _UNSEEN if finished else msgspec.UNSET

    @property
    def has_unapplied(self) -> bool:
        """Whether a delta for the block could not be applied, so that it holds less than the server sent."""
        return self._unapplied is msgspec.UNSET

    def set_unapplied(self) -> None:
        """Say that a delta for the block could not be applied. This is for code that builds blocks from a stream."""
        self._unapplied = msgspec.UNSET


class TextBlock(Block, tag="text"):
    """Text for the reader, with its citations."""

    type: ClassVar[Literal["text"]] = "text"
    mutable: ClassVar[tuple[str, ...]] = ("citations", "extra")
    text: str = msgspec.field(default_factory=str)
    citations: list[Any] | None = None


class ThinkingBlock(Block, tag="thinking"):
    """The model's thinking. It can be empty except for its signature, which a later request must repeat."""

    type: ClassVar[Literal["thinking"]] = "thinking"
    thinking: str = msgspec.field(default_factory=str)
    signature: str | None = None


class RedactedThinkingBlock(Block, tag="redacted_thinking"):
    """Thinking that only the server can read."""

    type: ClassVar[Literal["redacted_thinking"]] = "redacted_thinking"
    data: str | None = None


def _no_input() -> dict[str, Any]:
    # This is not `dict` itself, because msgspec leaves out an empty field whose default factory is `dict`.
    return {}


class ToolCallBlock(Block):
    """Base of the blocks that call a tool.

    `input_json` is the text of the arguments as it came in pieces, "" if none came. `input` is their value: it is
    parsed from `input_json` when first asked for, or is what the block started with if no piece (or only empty ones)
    came. It raises ToolInputError if the text is not a whole JSON object or the block is not finished, so that
    arguments that were cut short are never taken for finished ones.
    """

    id: str | None = None
    name: str | None = None
    input: dict[str, Any] = msgspec.field(default_factory=_no_input)
    input_json: str = ""
    caller: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if raw_field(self, "input_json"):
            self.input_json = raw_field(self, "input_json")  # assigned, so that `input` is read from it

    def _shown_fields(self) -> tuple[str, ...]:
        # The fields that can be read without an error and without work.
        hidden = "input" if self.input_json or not self.is_finished else "input_json"
        return tuple(name for name in self.__struct_fields__ if name != hidden)

    @overload
    def input_as(self, type: type[T]) -> T: ...
    @overload
    def input_as(self, type: Any) -> Any: ...
    def input_as(self, type: Any) -> Any:
        """The finished input as a type that msgspec knows: a Struct, a dataclass, a TypedDict, a union of these.

        Raises ToolInputError as `input` does. It also raises it, with the `path` at fault, if the input is not of that
        type. Raises TypeError for a type that msgspec refuses.
        """
        return convert_input(self.input, self.input_json, type)

    def partial_input(self) -> dict[str, Any]:
        """The arguments so far, for display: possibly less than the model meant, but never anything else.

        Never raises. Objects, arrays and strings are closed at the end of the text. A number or literal that could go
        on is left out. If the text breaks, this is what came before that.

        A call reads what came since the last one, and copies the entries of the objects and arrays that are still open.
        So what it returned does not change, but finished parts are shared by all calls: don't change them. The string
        that is growing is copied, too, if what the last call returned is still held.
        """
        held: dict[str, Any] | Arguments = raw_field(self, "input")
        return held.current() if isinstance(held, Arguments) else held


class ToolUseBlock(ToolCallBlock, tag="tool_use"):
    """A call of one of the caller's own tools."""

    type: ClassVar[Literal["tool_use"]] = "tool_use"


class ServerToolUseBlock(ToolCallBlock, tag="server_tool_use"):
    """A call of a tool that the server runs."""

    type: ClassVar[Literal["server_tool_use"]] = "server_tool_use"


class MCPToolUseBlock(ToolCallBlock, tag="mcp_tool_use"):
    """A call of a tool of an MCP server."""

    type: ClassVar[Literal["mcp_tool_use"]] = "mcp_tool_use"
    server_name: str | None = None


class ToolResultBlock(Block):
    """Base of the results of tools that the server ran. They come whole in content_block_start."""

    tool_use_id: str | None = None
    content: Any = None
    caller: dict[str, Any] | None = None
    is_error: bool | None = None


class WebSearchToolResultBlock(ToolResultBlock, tag="web_search_tool_result"):
    """`content` is a list of results, or an error object."""

    type: ClassVar[Literal["web_search_tool_result"]] = "web_search_tool_result"


class WebFetchToolResultBlock(ToolResultBlock, tag="web_fetch_tool_result"):
    """`content` is the fetched document, or an error object."""

    type: ClassVar[Literal["web_fetch_tool_result"]] = "web_fetch_tool_result"


class CodeExecutionToolResultBlock(ToolResultBlock, tag="code_execution_tool_result"):
    """`content` is the output of the code."""

    type: ClassVar[Literal["code_execution_tool_result"]] = "code_execution_tool_result"


class BashCodeExecutionToolResultBlock(ToolResultBlock, tag="bash_code_execution_tool_result"):
    """`content` is the output of the command."""

    type: ClassVar[Literal["bash_code_execution_tool_result"]] = "bash_code_execution_tool_result"


class TextEditorCodeExecutionToolResultBlock(ToolResultBlock, tag="text_editor_code_execution_tool_result"):
    """`content` is what the editor did or showed."""

    type: ClassVar[Literal["text_editor_code_execution_tool_result"]] = "text_editor_code_execution_tool_result"


class ToolSearchToolResultBlock(ToolResultBlock, tag="tool_search_tool_result"):
    """`content` refers to the tools that were found."""

    type: ClassVar[Literal["tool_search_tool_result"]] = "tool_search_tool_result"


class MCPToolResultBlock(ToolResultBlock, tag="mcp_tool_result"):
    """`content` is what the MCP server's tool returned."""

    type: ClassVar[Literal["mcp_tool_result"]] = "mcp_tool_result"


class AdvisorToolResultBlock(ToolResultBlock, tag="advisor_tool_result"):
    """`content` is the advice."""

    type: ClassVar[Literal["advisor_tool_result"]] = "advisor_tool_result"


class MCPToolListingBlock(Block, tag="mcp_tool_listing"):
    """The tools of an MCP server; its fields are in `extra`."""

    type: ClassVar[Literal["mcp_tool_listing"]] = "mcp_tool_listing"


class ContainerUploadBlock(Block, tag="container_upload"):
    """A file in the server's container."""

    type: ClassVar[Literal["container_upload"]] = "container_upload"
    file_id: str | None = None


class CompactionBlock(Block, tag="compaction"):
    """A summary in place of earlier turns."""

    type: ClassVar[Literal["compaction"]] = "compaction"
    content: str | None = None
    encrypted_content: str | None = None


class FallbackBlock(Block, tag="fallback"):
    """Another model continues the message. `from_` and `to` hold the models' names under "model"."""

    type: ClassVar[Literal["fallback"]] = "fallback"
    from_: dict[str, Any] | None = msgspec.field(default=None, name="from")
    to: dict[str, Any] | None = None


class UnknownBlock(Block):
    """A block of a type that has no class here; its fields are in `extra`. Compare its `wire_type`."""

    if TYPE_CHECKING:
        # Type checkers see a Literal, so that comparing the `type` of a union narrows it. With a str here, every
        # comparison could be true of this class. At run time it is the wire's own word.
        type: ClassVar[Literal["unknown block"]]

        def __init__(self, type: str, *, extra: Extra = ...) -> None: ...

    else:
        type: str

    @property
    def wire_type(self) -> str:
        """The type as the wire has it, for comparisons. Type checkers see `type` as a Literal."""
        return str(self.type)


ContentBlock: TypeAlias = (
    TextBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | ToolUseBlock
    | ServerToolUseBlock
    | MCPToolUseBlock
    | WebSearchToolResultBlock
    | WebFetchToolResultBlock
    | CodeExecutionToolResultBlock
    | BashCodeExecutionToolResultBlock
    | TextEditorCodeExecutionToolResultBlock
    | ToolSearchToolResultBlock
    | MCPToolResultBlock
    | AdvisorToolResultBlock
    | MCPToolListingBlock
    | ContainerUploadBlock
    | CompactionBlock
    | FallbackBlock
    | UnknownBlock
)


def _no_content() -> list[ContentBlock]:
    return []


def answer_start(content: list[ContentBlock]) -> int:
    """The position of the last fallback block, 0 if there is none.

    The blocks before it come from a model that declined to go on. Nobody should run the calls among them.
    """
    return max((position for position, block in enumerate(content) if isinstance(block, FallbackBlock)), default=0)


class Message(Copied, Part, tag="message"):
    """One message of the assistant: the end of a stream, a non-streaming body, or the state in between.

    Every field can be missing on the wire, and is None then. `usage` is None until a count is given.
    """

    type: ClassVar[Literal["message"]] = "message"
    id: str | None = None
    role: str | None = None
    model: str | None = None
    content: list[ContentBlock] = msgspec.field(default_factory=_no_content)
    # These two are written even if they are null, as in `to_dict`.
    stop_reason: str | None = msgspec.field(default_factory=NoneType)
    stop_sequence: str | None = msgspec.field(default_factory=NoneType)
    stop_details: dict[str, Any] | None = None
    container: dict[str, Any] | None = None
    context_management: dict[str, Any] | None = None
    usage: Usage | None = None
    growing: ClassVar[tuple[str, ...]] = ("content",)
    mutable: ClassVar[tuple[str, ...]] = ("usage", "extra")

    @property
    def text(self) -> str:
        """The text of all text blocks, joined without anything between them."""
        return "".join(block.text for block in self.content if isinstance(block, TextBlock))

    @property
    def tool_uses(self) -> list[ToolUseBlock]:
        """The calls of the caller's own tools, in order.

        The calls before the last fallback block are left out, because they come from a model that declined to go on.
        """
        content = self.content
        return [block for block in content[answer_start(content) :] if isinstance(block, ToolUseBlock)]


# These fields can grow while a stream is read. Deltas of types that nobody knows yet can add to any text of a block.
read_through(Message, "content")
read_through(Block, "extra")
for _cls in (*get_args(ContentBlock), ToolCallBlock, ToolResultBlock):
    for _name in vars(_cls).keys() & {*_cls.__struct_fields__} - {"input", "input_json"}:
        read_through(_cls, _name)
for _cls in get_args(ContentBlock):
    _cls.growing = tuple(name for name in _cls.__struct_fields__ if name[0] != "_" and name != "input")
read_through(ToolCallBlock, "input", InputField)
read_through(ToolCallBlock, "input_json", InputJSONField)

# An error can carry a message, but its module can't import the class. `typing.get_type_hints` would not find the name
# there.
StreamError.__annotations__["partial"] = Message | None
