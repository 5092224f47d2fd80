"""The assistant's turn for the next request, made from a message that was received.

Servers refuse some of the things that servers send. A turn that is refused once is refused in every later request of
its conversation, so it holds only what servers take back.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, Literal, get_args

from ._encode import to_dict
from ._errors import ToolInputError, short_repr
from ._message import (
    CompactionBlock,
    ContentBlock,
    Message,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    ToolUseBlock,
    UnknownBlock,
    answer_start,
)

JSON = dict[str, Any]
Thinking = Literal["signed", "all", "none"]
BrokenInput = Literal["drop", "wrap"]

# The fields that requests take, and their kinds. Gateways that write every block from one struct add the empty fields
# of all other blocks (`"id": ""` on a text), and servers refuse each field that they don't know.
_TAKEN: Final[dict[str, dict[str, type]]] = {
    "text": {"text": str, "citations": list, "cache_control": dict},
    "thinking": {"thinking": str, "signature": str},
    "tool_use": {"id": str, "name": str, "input": dict, "caller": dict, "toolset_name": str, "cache_control": dict},
}
_NOTHING_IF_EMPTY: Final = frozenset({"citations", "caller", "toolset_name", "cache_control"})

# The fields that requests take in citations. Responses add a `file_id` to the first three.
_DOCUMENT: Final = ("type", "cited_text", "document_index", "document_title")
_CITATIONS: Final[dict[str, tuple[str, ...]]] = {
    "char_location": (*_DOCUMENT, "start_char_index", "end_char_index"),
    "page_location": (*_DOCUMENT, "start_page_number", "end_page_number"),
    "content_block_location": (*_DOCUMENT, "start_block_index", "end_block_index"),
    "search_result_location": (
        "type", "cited_text", "search_result_index", "source", "title", "start_block_index", "end_block_index",
    ),
    "web_search_result_location": ("type", "cited_text", "encrypted_index", "title", "url"),
}  # fmt: skip

# Blocks that only the server can judge. It refuses a block that lacks a part, and a block of a model that declined.
_OPAQUE: Final = (ThinkingBlock, RedactedThinkingBlock, UnknownBlock)


def to_param(message: Message, *, thinking: Thinking = "signed", broken_input: BrokenInput = "drop") -> dict[str, Any]:
    """The assistant turn for the next request: `{"role": "assistant", "content": [...]}`, with what servers take back.

    - Only finished blocks go back, so that the caller can continue from a message that broke off. A call whose
      arguments were still coming is left out, whatever `broken_input` says: nobody knows what it was going to be.
    - Texts of nothing but blanks are left out, because servers refuse them.
    - `thinking`: "signed" leaves out thinking without a signature, which the first party refuses. "all" sends it too,
      unless it is empty: DeepSeek and Kimi refuse a tool turn without it. "none" leaves out all thinking, redacted
      thinking too, for servers that don't know it (StepFun lists no such block).
    - `broken_input`: "drop" leaves out finished calls whose arguments are not a JSON object. "wrap" sends such a call
      with the input `{"INVALID_JSON": "<the text>"}`, as Anthropic advises, so that the caller's error result for it
      has its call. The result of a server's tool is left out if its call is.
    - The blocks before the last fallback block come from a model that declined to go on. Of these, Anthropic takes back
      texts, fallback blocks, and calls of a server's tools with their results. Thinking, calls of the caller's tools
      and unknown blocks are left out there. `Message.tool_uses` leaves out the same calls: nobody should run them or
      send results for them.
    - Thinking and unknown blocks that hold less than the server sent (`has_unapplied`) are left out. So are tool_use
      and compaction blocks with nothing in them, such as those that an empty delta opens.
    - Text, thinking and tool_use blocks, and citations of known types, go back with the fields that requests have for
      them. Other blocks go back as they came.

    JSON values are shared with the message, not copied. Raises ValueError if no block can be sent back (servers refuse
    an empty turn; the error says why), and for any other `thinking` or `broken_input`. Raises TypeError for anything
    but a message.
    """
    if not isinstance(message, Message):
        raise TypeError(f"expected a message, not {type(message).__name__}")
    _check_choice("thinking", thinking, get_args(Thinking))
    _check_choice("broken_input", broken_input, get_args(BrokenInput))
    blocks = message.content
    answer = answer_start(blocks)
    reasons = [
        _why_not(block, thinking, broken_input) or (_why_declined(block) if position < answer else None)
        for position, block in enumerate(blocks)
    ]
    _keep_pairs(blocks, reasons, answer)
    content = [_sent(block) for block in _kept(blocks, reasons)]
    if not content:
        left_out = ", ".join(f"{reason} ({count})" for reason, count in Counter(reasons).items())
        raise ValueError(f"no block of the message can be sent back: {left_out or 'it has none'}")
    return {"role": "assistant", "content": content}  # whatever role the message names


def _check_choice(name: str, choice: object, choices: tuple[str, ...]) -> None:
    if choice not in choices:
        *most, last = map(repr, choices)
        raise ValueError(f"{name}: {short_repr(choice)} is not {', '.join(most)} or {last}")


# --- what is left out ------------------------------------------------------------------------------------


def _why_not(block: ContentBlock, thinking: Thinking, broken_input: BrokenInput) -> str | None:
    """Why a block can't be sent back, wherever it stands; None if it can."""
    reason = None
    if not block.is_finished:
        reason = "unfinished block"
    elif block.has_unapplied and isinstance(block, _OPAQUE):
        reason = "incomplete block"
    elif isinstance(block, TextBlock):
        reason = None if block.text.strip() else "blank text"
    elif isinstance(block, (ThinkingBlock, RedactedThinkingBlock)):
        reason = _why_no_thinking(block, thinking)
    elif isinstance(block, ToolCallBlock):
        reason = _why_no_call(block, broken_input)
    elif isinstance(block, CompactionBlock):
        full = block.content or block.encrypted_content or any(block.extra.values())
        reason = None if full else "empty compaction"
    return reason


def _why_no_thinking(block: ThinkingBlock | RedactedThinkingBlock, thinking: Thinking) -> str | None:
    if thinking == "none":
        return "thinking"
    if isinstance(block, RedactedThinkingBlock) or block.signature:
        return None
    if not block.thinking:
        return "empty thinking"
    return None if thinking == "all" else "unsigned thinking"


def _why_no_call(block: ToolCallBlock, broken_input: BrokenInput) -> str | None:
    try:
        arguments = block.input
    except ToolInputError:
        return "broken call" if broken_input == "drop" else None
    empty = isinstance(block, ToolUseBlock) and not (block.id or block.name or arguments)
    return "empty call" if empty else None


def _why_declined(block: ContentBlock) -> str | None:
    return "declined block" if isinstance(block, (*_OPAQUE, ToolUseBlock)) else None


def _keep_pairs(blocks: list[ContentBlock], reasons: list[str | None], answer: int) -> None:
    """Leave out the declined calls of a server's tools that have no result, and the results of calls that are left out.

    A model that answered may leave a call open (pause_turn). Its next turn then begins with the result.
    """
    answered = _ids(_kept(blocks, reasons), "tool_use_id")
    for position, block in enumerate(blocks[:answer]):
        if isinstance(block, ToolCallBlock) and _text(block, "id") not in answered:
            reasons[position] = "declined block"
    left_out = _ids(blocks, "id") - _ids(_kept(blocks, reasons), "id")
    for position, block in enumerate(blocks):
        if _text(block, "tool_use_id") in left_out:
            reasons[position] = "result without its call"


def _kept(blocks: list[ContentBlock], reasons: list[str | None]) -> list[ContentBlock]:
    return [block for block, reason in zip(blocks, reasons, strict=True) if reason is None]


def _ids(blocks: list[ContentBlock], field: str) -> set[str]:
    return {found for block in blocks if (found := _text(block, field))}


def _text(block: ContentBlock, field: str) -> str | None:
    """The text of a field, whether the block's class has the field or not."""
    value = getattr(block, field, None) or block.extra.get(field)
    return value if isinstance(value, str) else None


# --- what is sent ----------------------------------------------------------------------------------------


def _sent(block: ContentBlock) -> JSON:
    wire = to_dict(block)
    if isinstance(block, ToolCallBlock):
        try:
            wire["input"] = block.input
        except ToolInputError as error:
            wire["input"] = {"INVALID_JSON": error.input_json}
            del wire["input_json"]
    taken = _TAKEN.get(block.type)
    if taken is None:
        return wire
    sent: JSON = {"type": block.type}
    for name, kind in taken.items():
        value = wire.get(name)
        if isinstance(value, kind) and (value or name not in _NOTHING_IF_EMPTY):
            sent[name] = value
    if "citations" in sent:
        sent["citations"] = [_cited(citation) for citation in sent["citations"]]
    return sent


def _cited(citation: Any) -> Any:
    kind = citation.get("type") if isinstance(citation, dict) else None
    taken = _CITATIONS.get(kind) if isinstance(kind, str) else None
    return citation if taken is None else {name: citation[name] for name in taken if name in citation}
