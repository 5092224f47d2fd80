"""Messages that a stream or a response body can add up to."""

from __future__ import annotations

from collections.abc import Collection
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
from ._values import JSON, Dials, counts, extras, json_objects, json_values, names, texts

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


def messages(
    *,
    kinds: Collection[str] | None = None,
    unknown: bool = True,
    broken_input: bool = True,
    nul: bool = True,
    max_text: int | None = None,
    max_number: int | None = None,
) -> st.SearchStrategy[Message]:
    """Any message that a legal stream can build: every kind of block, unknown ones too, unknown fields, text of any
    script and size, numbers at their limits, arguments that max_tokens cut short.

    A tool call has its arguments as `input`, as after a start with all of them, or as `input_json`, as after deltas.

    A consumer that can't take all of that turns some of it down. `kinds` are the only types of blocks, by the names that
    the wire has for them (`["text", "tool_use"]`). Without `unknown` there are no unknown blocks, fields and stop
    reasons, nor objects of any content in fields that the API leaves open (`container`, `caller`, `iterations`); what the
    result of a server's tool holds stays any JSON. Without `broken_input` the arguments of each call are a JSON object,
    without `nul` no text or key has U+0000. `max_text` bounds a text, in characters, and `max_number` each integer, in
    either direction (2**53 - 1 for JavaScript, 2**63 - 1 for Go).

    ValueError for a kind that no block has, and for a bound below 0.
    """
    for name, bound in (("max_text", max_text), ("max_number", max_number)):
        if bound is not None and bound < 0:
            raise ValueError(f"{name} is {bound}, must be at least 0")
    return _messages(_known_kinds(kinds), Dials(unknown, broken_input, nul, max_text, max_number))


def _known_kinds(kinds: Collection[str] | None) -> frozenset[str] | None:
    if kinds is None:
        return None
    if isinstance(kinds, str):
        raise TypeError(f"kinds is the text {kinds!r}, must be a collection of texts")
    for kind in kinds:
        if kind not in BLOCKS:
            raise ValueError(f"{kind!r} is no type of a block; there are: {', '.join(sorted(BLOCKS))}")
    return frozenset(kinds)


@st.composite
def _messages(draw: st.DrawFn, kinds: frozenset[str] | None, dials: Dials) -> Message:
    # The number is drawn first, without a list strategy, so that Hypothesis can drop any block of a failing example,
    # not only the last.
    blocks = _blocks(kinds, dials)
    most = 4 if kinds is None or kinds else 0
    content = [draw(blocks) for _ in range(draw(st.integers(0, most)))]
    model = draw(names())
    for block in content:
        if isinstance(block, FallbackBlock) and block.to is not None:
            model = block.to["model"]
    reasons = st.sampled_from(_STOP_REASONS)
    return Message(
        id=draw(names()),
        role="assistant",
        model=model,
        content=content,
        stop_reason=draw(reasons | names() if dials.unknown else reasons),
        stop_sequence=draw(st.none() | texts(dials)),
        stop_details=draw(_open_objects(dials)),
        container=draw(_open_objects(dials)),
        context_management=draw(_open_objects(dials)),
        usage=draw(_usages(dials)),
        extra=draw(extras(Message, dials=dials)),
    )


@cache
def _rarely(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), st.none(), st.none(), values)


@cache
def _open_objects(dials: Dials) -> st.SearchStrategy[Any]:
    """An object whose fields the API leaves open, rarely; a consumer that knows fields by their names gets none."""
    return _rarely(json_objects(dials)) if dials.unknown else st.none()


@cache
def _usages(dials: Dials) -> st.SearchStrategy[Usage]:
    count = st.none() | counts(dials)
    return st.builds(
        Usage,
        input_tokens=count,
        output_tokens=count,
        cache_creation_input_tokens=count,
        cache_read_input_tokens=count,
        cache_creation=_open_objects(dials),
        output_tokens_details=_rarely(st.fixed_dictionaries({"thinking_tokens": counts(dials)})),
        server_tool_use=_rarely(st.fixed_dictionaries({"web_search_requests": counts(dials)})),
        service_tier=_rarely(names()),
        inference_geo=_rarely(names()),
        iterations=_rarely(st.lists(json_objects(dials), max_size=2)) if dials.unknown else st.none(),
        fallback_credit=_open_objects(dials),
        extra=extras(Usage, dials=dials),
    )


@cache
def _blocks(kinds: frozenset[str] | None, dials: Dials) -> st.SearchStrategy[Any]:
    """Blocks of these types, of any without. Groups of types are as frequent as single ones, so that texts are, too."""

    def wanted(cls: type[Any]) -> bool:
        return kinds is None or cls.type in kinds

    groups: list[st.SearchStrategy[Any]] = []
    if wanted(TextBlock):
        groups.append(_texts(dials))
    calls = tuple(filter(wanted, _TOOL_CALLS))
    if calls:
        groups.append(_tool_calls(calls, dials))
    if wanted(ThinkingBlock):
        groups.append(_thinking(dials))
    if kinds is None and dials.unknown:
        groups.append(_unknown_blocks(dials))
    results = tuple(filter(wanted, _TOOL_RESULTS))
    if results:
        groups.append(st.sampled_from(results).flatmap(lambda cls: _tool_results(cls, dials)))
    others = [strategy for cls, strategy in _others(dials).items() if wanted(cls)]
    if others:
        groups.append(st.one_of(others))
    return st.one_of(groups)


@cache
def _texts(dials: Dials) -> st.SearchStrategy[TextBlock]:
    cited = {"type": st.just("char_location"), "cited_text": texts(dials)}
    if dials.unknown:
        citation = st.fixed_dictionaries(cited) | json_objects(dials)
    else:
        places = {name: counts(dials) for name in ("document_index", "start_char_index", "end_char_index")}
        citation = st.fixed_dictionaries({**cited, **places, "document_title": st.none() | texts(dials)})
    return st.builds(
        TextBlock,
        text=texts(dials),
        citations=st.none() | st.lists(citation, max_size=2),
        extra=extras(TextBlock, dials=dials),
    )


@cache
def _thinking(dials: Dials) -> st.SearchStrategy[ThinkingBlock]:
    return st.builds(
        ThinkingBlock,
        thinking=texts(dials),
        signature=st.none() | st.text("ABC+/=", max_size=8),
        extra=extras(ThinkingBlock, dials=dials),
    )


@st.composite
def _tool_calls(draw: st.DrawFn, classes: tuple[type[ToolCallBlock], ...], dials: Dials) -> ToolCallBlock:
    cls = draw(st.sampled_from(classes))
    arguments = draw(json_objects(dials))
    block = cls(
        id=draw(names()),
        name=draw(names()),
        caller=draw(_open_objects(dials)),
        extra=draw(extras(cls, dials=dials)),
    )
    if isinstance(block, MCPToolUseBlock):
        block.server_name = draw(names())
    if draw(st.booleans()):
        block.input_json = json_text(draw, arguments)
        if dials.broken_input and draw(st.sampled_from((False, False, False, True))):
            block.input_json = block.input_json[: draw(st.integers(1, len(block.input_json) - 1))]
    else:
        block.input = arguments
    return block


def json_text(draw: st.DrawFn, value: JSON) -> str:
    """A JSON object as some server would write it."""
    separators = draw(st.sampled_from(JSON_SPACINGS))
    return dumps(value, separators=separators, ensure_ascii=draw(st.booleans()))


@cache
def _tool_results(cls: type[ToolResultBlock], dials: Dials) -> st.SearchStrategy[Any]:
    return st.builds(
        cls,
        tool_use_id=st.none() | names(),
        content=json_values(dials) | st.lists(json_objects(dials), max_size=2),
        caller=_open_objects(dials),
        is_error=_rarely(st.booleans()),
        extra=extras(cls, dials=dials),
    )


@cache
def _others(dials: Dials) -> dict[type[Any], st.SearchStrategy[Any]]:
    model = st.fixed_dictionaries({"model": names()})
    return {
        RedactedThinkingBlock: st.builds(
            RedactedThinkingBlock,
            data=st.none() | texts(dials),
            extra=extras(RedactedThinkingBlock, dials=dials),
        ),
        ContainerUploadBlock: st.builds(
            ContainerUploadBlock,
            file_id=st.none() | names(),
            extra=extras(ContainerUploadBlock, dials=dials),
        ),
        MCPToolListingBlock: st.builds(MCPToolListingBlock, extra=extras(MCPToolListingBlock, dials=dials)),
        CompactionBlock: st.builds(
            CompactionBlock,
            content=st.none() | texts(dials),
            encrypted_content=st.none() | texts(dials),
            extra=extras(CompactionBlock, dials=dials),
        ),
        FallbackBlock: st.builds(
            FallbackBlock,
            from_=st.none() | json_objects(dials) if dials.unknown else model,
            to=st.none() | model if dials.unknown else model,
            extra=extras(FallbackBlock, dials=dials),
        ),
    }


@st.composite
def _unknown_blocks(draw: st.DrawFn, dials: Dials) -> UnknownBlock:
    extra: JSON = draw(json_objects(dials))
    # A block of a future kind may well grow as today's do.
    if draw(st.booleans()):
        extra["text"] = draw(texts(dials))
    if draw(st.booleans()):
        extra["input"] = draw(json_objects(dials))
    extra.pop("type", None)
    return UnknownBlock(draw(names().filter(lambda name: name not in BLOCKS)), extra=extra)
