"""The message and its content blocks: what a stream adds up to."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypeAlias

import msgspec

from ._errors import ToolInputError
from ._json import NotJSON, json_bytes, read_json, read_partial_json
from ._text import read_through
from ._types import Part, Usage


class Aside:
    """A value that a block carries beside its content: it takes no part in comparisons, nor in the wire's JSON."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Aside) or NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return Aside, (self.value,)


FINISHED = Aside(True)
UNFINISHED = Aside(False)
_NOT_PARSED = Aside(None)


class Block(Part, kw_only=True):
    """Base of content blocks.

    `_progress` tells whether the stream has said that the block is finished, `_parsed` keeps a tool's
    arguments once they were parsed, with the text they were parsed from.
    """

    _progress: Aside = FINISHED
    _parsed: Aside = _NOT_PARSED

    @property
    def _finished(self) -> bool:
        return bool(self._progress.value)


class TextBlock(Block, tag="text"):
    """Text for the reader, with what it cites."""

    type: ClassVar[Literal["text"]] = "text"
    text: str = ""
    citations: list[Any] | None = None


class ThinkingBlock(Block, tag="thinking"):
    """The model's thinking. It can be empty but for its signature, which a later request must repeat."""

    type: ClassVar[Literal["thinking"]] = "thinking"
    thinking: str = ""
    signature: str | None = None


class RedactedThinkingBlock(Block, tag="redacted_thinking"):
    """Thinking that only the server can read."""

    type: ClassVar[Literal["redacted_thinking"]] = "redacted_thinking"
    data: str | None = None


class ToolCallBlock(Block):
    """Base of the blocks that call a tool.

    `input_json` is the text of the arguments as it came in pieces, "" where none came. `input` is their
    value: parsed from `input_json` when first asked for, or what the block started with where no piece
    (or only empty ones) came. It raises ToolInputError where the text is no whole JSON object, and where
    the block is not finished: arguments that were cut short are never taken for finished ones.
    """

    id: str | None = None
    name: str | None = None
    input: dict[str, Any] = msgspec.field(default_factory=dict)
    input_json: str = ""
    caller: dict[str, Any] | None = None

    def _shown(self) -> tuple[str, ...]:
        return tuple(name for name in self.__struct_fields__ if name != ("input" if self.input_json else "input_json"))

    def partial_input(self) -> dict[str, Any]:
        """What the arguments say so far, for display: possibly less than was meant, never something else.

        Never raises. Objects, arrays and strings are closed where the text ends; a number or literal
        that could go on is left out. Each call reads the text from its start.
        """
        text = self.input_json
        if not text:
            return _started_with(self)
        value = read_partial_json(text)
        return value if isinstance(value, dict) else {}


class _InputField:
    """The descriptor of `ToolCallBlock.input`: see there."""

    def __init__(self, slot: Any) -> None:
        self.slot = slot

    def __get__(self, block: ToolCallBlock | None, owner: type | None = None) -> Any:
        if block is None:
            return self
        text = block.input_json
        if not block._finished:
            raise ToolInputError("the block is not finished", text, len(text))
        if not text:
            return self.slot.__get__(block)
        parsed = block._parsed.value
        if parsed is None or parsed[0] is not text:
            parsed = (text, _parse_input(text))
            block._parsed = Aside(parsed)
        return parsed[1]

    def __set__(self, block: ToolCallBlock, value: dict[str, Any]) -> None:
        self.slot.__set__(block, value)
        block.input_json = ""


def _started_with(block: ToolCallBlock) -> dict[str, Any]:
    value: dict[str, Any] = _INPUT.slot.__get__(block)
    return value


def _parse_input(text: str) -> dict[str, Any]:
    try:
        value, _ = read_json(json_bytes(text))
    except NotJSON as error:
        raise ToolInputError(f"broken tool input: {error.reason}", text, error.position) from None
    if not isinstance(value, dict):
        raise ToolInputError("tool input is no JSON object", text, 0)
    return value


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
    """Base of the results of tools that the server ran: whole in content_block_start."""

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
    """Another model goes on with the message. `from_` and `to` hold the models' names under "model"."""

    type: ClassVar[Literal["fallback"]] = "fallback"
    from_: dict[str, Any] | None = msgspec.field(default=None, name="from")
    to: dict[str, Any] | None = None


class UnknownBlock(Block):
    """A block of a type that has no class here; its fields are in `extra`."""

    type: str


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


class Message(Part):
    """One message of the assistant: the end of a stream, a non-streaming body, or the state in between.

    Every field can be missing on the wire, and is None then. `usage` is None until a count was given.
    """

    type: ClassVar[Literal["message"]] = "message"
    id: str | None = None
    role: str | None = None
    model: str | None = None
    content: list[ContentBlock] = msgspec.field(default_factory=list)
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None
    container: dict[str, Any] | None = None
    context_management: dict[str, Any] | None = None
    usage: Usage | None = None

    @property
    def text(self) -> str:
        """The text of all text blocks, joined without anything between."""
        return "".join(block.text for block in self.content if isinstance(block, TextBlock))

    @property
    def tool_uses(self) -> list[ToolUseBlock]:
        """The calls of the caller's own tools, in order."""
        return [block for block in self.content if isinstance(block, ToolUseBlock)]


# The fields that grow while a stream is read.
read_through(TextBlock, "text")
read_through(ThinkingBlock, "thinking")
read_through(ThinkingBlock, "signature")
read_through(ToolCallBlock, "input_json")
read_through(UnknownBlock, "extra")
read_through(Message, "content")
_INPUT = _InputField(vars(ToolCallBlock)["input"])
ToolCallBlock.input = _INPUT  # type: ignore[assignment]
