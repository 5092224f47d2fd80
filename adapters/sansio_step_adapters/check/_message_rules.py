"""What a whole message shows, be it from a stream or a document."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sansio_step import Message, ToolInputError, ToolUseBlock

from ._head_rules import shown

if TYPE_CHECKING:
    from ._observation import Observation

__all__ = ["MESSAGE_RULES", "STOP_REASONS"]

STOP_REASONS: Final = frozenset(
    {
        *("end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal"),
        *("model_context_window_exceeded", "compaction"),
    }
)
# After these a call's arguments may be cut: the model was.
_CUTTING: Final = frozenset({"max_tokens", "model_context_window_exceeded", "refusal"})
_OF_DOCUMENTS: Final = ("id", "role", "model", "stop_reason", "usage")


def bare_message(seen: Observation, message: Message) -> str | None:
    """A document's fields have no event that could still bring them."""
    missing = [name for name in _OF_DOCUMENTS if getattr(message, name) is None]
    return None if seen.is_stream or not missing else f"without {', '.join(missing)}"


def no_id(seen: Observation, message: Message) -> str | None:
    """A call without an id gets no result: `tool_result` names it by that."""
    if not message.id and seen.is_stream:
        return "the message has none"
    calls = [block for block in message.content if isinstance(block, ToolUseBlock) and not block.id]
    return f"the call of {shown(calls[0].name)} has none" if calls else None


def repeated_tool_id(_: Observation, message: Message) -> str | None:
    """Results can't be told apart, and the next request is refused."""
    ids = [block.id for block in message.content if isinstance(block, ToolUseBlock) and block.id]
    twice = next((one for place, one in enumerate(ids) if one in ids[:place]), None)
    return None if twice is None else f"two calls have the id {shown(twice)}"


def broken_tool_input(_: Observation, message: Message) -> str | None:
    """The arguments are neither whole nor said to be cut."""
    if message.stop_reason in _CUTTING:
        return None
    for block in message.content:
        if isinstance(block, ToolUseBlock):
            try:
                block.input  # noqa: B018, it is parsed when it is asked for
            except ToolInputError as error:
                return f"{shown(block.name)}: {error}"
    return None


def no_final_usage(seen: Observation, message: Message) -> str | None:
    """What stands before the stop_reason is a placeholder or a running count, and bills are made of it."""
    if not seen.usage_is_final:
        return "no count of output tokens came with the stop_reason or after it"
    count = message.usage.output_tokens if message.usage is not None else None
    # Content that the start brings, as after a call from code, is no output of this message.
    came = seen.has_deltas or not seen.is_stream
    return "0 output tokens for some content" if count == 0 and message.content and came else None


def wrong_stop_reason(_: Observation, message: Message) -> str | None:
    """Agents go on or stop by this word."""
    if message.stop_reason == "tool_use" and not message.tool_uses:
        return "tool_use without a call"
    return "end_turn after a call" if message.stop_reason == "end_turn" and message.tool_uses else None


def unknown_stop_reason(_: Observation, message: Message) -> str | None:
    """The set is open, but most clients branch on those that it has."""
    reason = message.stop_reason
    return None if reason is None or reason in STOP_REASONS else shown(reason)


MESSAGE_RULES: Final[dict[str, Callable[[Observation, Message], str | None]]] = {
    "bare_message": bare_message,
    "no_id": no_id,
    "repeated_tool_id": repeated_tool_id,
    "broken_tool_input": broken_tool_input,
    "no_final_usage": no_final_usage,
    "wrong_stop_reason": wrong_stop_reason,
    "unknown_stop_reason": unknown_stop_reason,
}
"""The rules by their codes: what each says of a message that is whole."""
