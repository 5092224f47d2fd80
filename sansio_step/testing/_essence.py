"""What two readers of one stream must agree on, however much they differ in all else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from .._errors import ToolInputError, short_repr
from .._message import Message, ToolUseBlock, Usage
from .._response import decode_message

_COUNTS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


class Essence(msgspec.Struct, frozen=True):
    """What a message says, what it wants done, why it ended and what it cost.

    `text` is that of all text blocks. `tool_calls` has the id, the name and the input of each call that the caller is to
    run; an input of None is that of a call whose arguments are broken or were cut, which nobody may run. `usage` has the
    four counts of tokens by their names, without those that are 0 or were never said.
    """

    text: str
    tool_calls: list[tuple[str | None, str | None, dict[str, Any] | None]]
    stop_reason: str | None
    usage: dict[str, int]

    def __repr__(self) -> str:
        # Two of them stand in the text of an AssertionError.
        shown = ", ".join(f"{name}={short_repr(getattr(self, name))}" for name in self.__struct_fields__)
        return f"Essence({shown})"


def essence(message: Message | Mapping[str, Any]) -> Essence:
    """What is essential of a message: two readers agree on a stream if the essences of their messages are equal.

    `message` is a Message, or the JSON object of one as another reader has it (`to_dict()` of the official SDK's, or a
    dict of your own with `content`, `stop_reason` and `usage`).

    All else is left out because readers differ in it without harm: fields that they don't know, null or absent, thinking,
    which they show or don't, a server's own tools. A count of 0 and one that was never said are the same to a bill, and
    readers fill one in for the other. What is kept is what a caller acts on: a wrong text is shown, a wrong call is run,
    a wrong stop_reason ends a loop or doesn't, a wrong count is paid.

    Raises TypeError for anything else, None among it, and what `decode_message` does if the object is no message.
    """
    if not isinstance(message, Message):
        if not isinstance(message, Mapping):
            raise TypeError(f"essence takes a Message or its JSON object, not {short_repr(message)}")
        message = decode_message(dict(message))
    usage = message.usage or Usage()
    counts = {name: getattr(usage, name) for name in _COUNTS}
    return Essence(
        text=message.text,
        tool_calls=[
            (block.id, block.name, _finished_input(block))
            for block in message.content
            if isinstance(block, ToolUseBlock)
        ],
        stop_reason=message.stop_reason,
        usage={name: count for name, count in counts.items() if count},
    )


def _finished_input(block: ToolUseBlock) -> dict[str, Any] | None:
    try:
        return block.input
    except ToolInputError:
        return None
