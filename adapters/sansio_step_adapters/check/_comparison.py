"""One question's two answers, the stream and the document: they differ in words, and must not in shape."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from sansio_step import Message, ToolUseBlock, to_dict

from ._findings import Tally
from ._head_rules import shown
from ._message_rules import STOP_REASONS

__all__ = ["COMPARISONS", "compare"]

# What stands before the part of an id that is drawn: msg_, toolu_, chatcmpl-, call_00_.
_PREFIX: Final = re.compile(r"[A-Za-z]*[_-]?")


def _stop_reason(message: Message) -> str:
    return shown(message.stop_reason or "none")


def _blocks(message: Message) -> str:
    return ", ".join(sorted({block.type for block in message.content})) or "none"


def _usage(message: Message) -> str:
    return ", ".join(sorted(to_dict(message).get("usage") or ())) or "none"


def _ids(message: Message) -> str:
    calls = [block for block in message.content if isinstance(block, ToolUseBlock)]
    ids = {"message": message.id, **({"call": calls[0].id} if calls else {})}
    return ", ".join(f"{what} {_form(one)}" for what, one in ids.items())


def _form(one: str | None) -> str:
    if not one:
        return "none"
    prefix = _PREFIX.match(one)
    assert prefix is not None, "the pattern matches the empty text"
    return f"{prefix[0]}..." if prefix[0].endswith(("_", "-")) else "without a prefix"


def _model(message: Message) -> str:
    return shown(message.model or "none")


COMPARISONS: Final[dict[str, Callable[[Message], str]]] = {
    "stop_reason_differs": _stop_reason,
    "blocks_differ": _blocks,
    "usage_differs": _usage,
    "ids_differ": _ids,
    "model_differs": _model,
}
"""What must be the same in both, by the code that says that it is not."""


def compare(streamed: Message, whole: Message, tally: Tally, mask: Callable[[str], str]) -> None:
    """Add what differs. A model that samples can end another answer for another reason: that is no difference of shape."""
    for code, shape_of in COMPARISONS.items():
        one, other = shape_of(streamed), shape_of(whole)
        by_chance = code == "stop_reason_differs" and _says_why(streamed, whole) and _said(streamed) != _said(whole)
        if one != other and not by_chance:
            tally.add(code, mask(f"{one} in the stream, {other} in the document"))


def _says_why(*messages: Message) -> bool:
    return all(message.stop_reason in STOP_REASONS for message in messages)


def _said(message: Message) -> tuple[object, ...]:
    return message.text, [call.input_json or str(call.input) for call in message.tool_uses]
