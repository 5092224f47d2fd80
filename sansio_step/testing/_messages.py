"""Messages that a stream or a response body can add up to."""

from __future__ import annotations

from functools import cache
from json import dumps
from typing import Any

from hypothesis import strategies as st

from .._decode import BLOCKS
from .._message import (
    AdvisorToolResultBlock,
    BashCodeExecutionToolResultBlock,
    CodeExecutionToolResultBlock,
    CompactionBlock,
    ContainerUploadBlock,
    ContentBlock,
    FallbackBlock,
    MCPToolListingBlock,
    MCPToolResultBlock,
    MCPToolUseBlock,
    Message,
    RedactedThinkingBlock,
    ServerToolUseBlock,
    TextBlock,
    TextEditorCodeExecutionToolResultBlock,
    ThinkingBlock,
    ToolCallBlock,
    ToolResultBlock,
    ToolSearchToolResultBlock,
    ToolUseBlock,
    UnknownBlock,
    Usage,
    WebFetchToolResultBlock,
    WebSearchToolResultBlock,
)
from ._values import JSON, counts, extras, json_objects, json_values, names, texts

_STOP_REASONS = (
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "refusal",
    "model_context_window_exceeded",
    "content_filter",
)
_TOOL_CALLS: tuple[type[ToolCallBlock], ...] = (ToolUseBlock, ServerToolUseBlock, MCPToolUseBlock)
_TOOL_RESULTS: tuple[type[ToolResultBlock], ...] = (
    WebSearchToolResultBlock,
    WebFetchToolResultBlock,
    CodeExecutionToolResultBlock,
    BashCodeExecutionToolResultBlock,
    TextEditorCodeExecutionToolResultBlock,
    ToolSearchToolResultBlock,
    MCPToolResultBlock,
    AdvisorToolResultBlock,
)
JSON_SPACINGS = ((",", ":"), (", ", ": "), (" , ", " :\t"))


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """Any message that a legal stream can build: every kind of block, unknown ones too, unknown fields, text of any
    script and size, numbers at their limits, arguments that max_tokens cut short.

    A tool call has its arguments as `input`, as after a start with all of them, or as `input_json`, as after deltas.
    """
    # The number is drawn first, without a list strategy, so that Hypothesis can drop any block of a failing example,
    # not only the last.
    content = [draw(_blocks()) for _ in range(draw(st.integers(0, 4)))]
    model = draw(names())
    for block in content:
        if isinstance(block, FallbackBlock) and block.to is not None:
            model = block.to["model"]
    return Message(
        id=draw(names()),
        role="assistant",
        model=model,
        content=content,
        stop_reason=draw(st.sampled_from(_STOP_REASONS) | names()),
        stop_sequence=draw(st.none() | texts()),
        stop_details=draw(_rarely(json_objects())),
        container=draw(_rarely(json_objects())),
        context_management=draw(_rarely(json_objects())),
        usage=draw(_usages()),
        extra=draw(extras(Message)),
    )


@cache
def _rarely(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), st.none(), st.none(), values)


@cache
def _usages() -> st.SearchStrategy[Usage]:
    count = st.none() | counts()
    return st.builds(
        Usage,
        input_tokens=count,
        output_tokens=count,
        cache_creation_input_tokens=count,
        cache_read_input_tokens=count,
        cache_creation=_rarely(json_objects()),
        output_tokens_details=_rarely(st.fixed_dictionaries({"thinking_tokens": counts()})),
        server_tool_use=_rarely(st.fixed_dictionaries({"web_search_requests": counts()})),
        service_tier=_rarely(names()),
        inference_geo=_rarely(names()),
        iterations=_rarely(st.lists(json_objects(), max_size=2)),
        fallback_credit=_rarely(json_objects()),
        extra=extras(Usage),
    )


@cache
def _blocks() -> st.SearchStrategy[ContentBlock]:
    return st.one_of(
        _texts(),
        _tool_calls(),
        _thinking(),
        _unknown_blocks(),
        st.sampled_from(_TOOL_RESULTS).flatmap(_tool_results),
        _others(),
    )


@cache
def _texts() -> st.SearchStrategy[TextBlock]:
    citation = st.fixed_dictionaries({"type": st.just("char_location"), "cited_text": texts()}) | json_objects()
    return st.builds(
        TextBlock, text=texts(), citations=st.none() | st.lists(citation, max_size=2), extra=extras(TextBlock)
    )


@cache
def _thinking() -> st.SearchStrategy[ThinkingBlock]:
    return st.builds(
        ThinkingBlock,
        thinking=texts(),
        signature=st.none() | st.text("ABC+/=", max_size=8),
        extra=extras(ThinkingBlock),
    )


@st.composite
def _tool_calls(draw: st.DrawFn) -> ToolCallBlock:
    cls = draw(st.sampled_from(_TOOL_CALLS))
    arguments = draw(json_objects())
    block = cls(
        id=draw(names()),
        name=draw(names()),
        caller=draw(_rarely(json_objects())),
        extra=draw(extras(cls)),
    )
    if isinstance(block, MCPToolUseBlock):
        block.server_name = draw(names())
    if draw(st.booleans()):
        block.input_json = json_text(draw, arguments)
        if draw(st.sampled_from((False, False, False, True))):
            block.input_json = block.input_json[: draw(st.integers(1, len(block.input_json) - 1))]
    else:
        block.input = arguments
    return block


def json_text(draw: st.DrawFn, value: JSON) -> str:
    """A JSON object as some server would write it."""
    separators = draw(st.sampled_from(JSON_SPACINGS))
    return dumps(value, separators=separators, ensure_ascii=draw(st.booleans()))


@cache
def _tool_results(cls: type[ToolResultBlock]) -> st.SearchStrategy[Any]:
    return st.builds(
        cls,
        tool_use_id=st.none() | names(),
        content=json_values() | st.lists(json_objects(), max_size=2),
        caller=_rarely(json_objects()),
        is_error=_rarely(st.booleans()),
        extra=extras(cls),
    )


@cache
def _others() -> st.SearchStrategy[Any]:
    return st.one_of(
        st.builds(RedactedThinkingBlock, data=st.none() | texts(), extra=extras(RedactedThinkingBlock)),
        st.builds(ContainerUploadBlock, file_id=st.none() | names(), extra=extras(ContainerUploadBlock)),
        st.builds(MCPToolListingBlock, extra=extras(MCPToolListingBlock)),
        st.builds(
            CompactionBlock,
            content=st.none() | texts(),
            encrypted_content=st.none() | texts(),
            extra=extras(CompactionBlock),
        ),
        st.builds(
            FallbackBlock,
            from_=st.none() | json_objects(),
            to=st.none() | st.fixed_dictionaries({"model": names()}),
            extra=extras(FallbackBlock),
        ),
    )


@st.composite
def _unknown_blocks(draw: st.DrawFn) -> UnknownBlock:
    extra: JSON = draw(json_objects())
    # A block of a future kind may well grow as today's do.
    if draw(st.booleans()):
        extra["text"] = draw(texts())
    if draw(st.booleans()):
        extra["input"] = draw(json_objects())
    extra.pop("type", None)
    return UnknownBlock(draw(names().filter(lambda name: name not in BLOCKS)), extra=extra)
