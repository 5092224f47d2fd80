"""What a server is asked: each question streamed and not, and requests that are wrong on purpose. Data, but for those."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sansio_step import MessageRequest

from .._reader import Wanted

__all__ = ["QUESTIONS", "WRONG", "Question", "Wrong"]

_TOOL: Final = {
    "name": "get_weather",
    "description": "The weather in a city, now.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


class Question(NamedTuple):
    """What is asked, and in how many tokens at most."""

    name: str
    text: str
    max_tokens: int
    tools: tuple[Mapping[str, Any], ...] = ()

    def fields(self) -> dict[str, Any]:
        """The request as the wire has it, but for the model."""
        fields: dict[str, Any] = {
            "max_tokens": self.max_tokens,
            "messages": [{"role": "user", "content": self.text}],
        }
        return fields | ({"tools": list(self.tools)} if self.tools else {})


QUESTIONS: Final = (
    Question("short text", "Say hello, in one short sentence.", 64),
    Question("tool call", "What is the weather in Hangzhou? Call the tool get_weather.", 256, (_TOOL,)),
    # Long enough for bursts to show, in characters of one to four bytes and emoji of several.
    Question("long text", "Tell a story of 300 words about tea, in English, then in Chinese, with emoji.", 600),
)


class Wrong(NamedTuple):
    """A request that is wrong: which field is set to what, or left out if that is None."""

    name: str
    field: str
    value: Any
    wanted: Wanted

    def spoil(self, request: MessageRequest) -> MessageRequest:
        """The request with its fault: the clients take it as they take any."""
        return _spoilt(request, self.field, self.value)


WRONG: Final = (
    Wrong("no model", "model", None, Wanted.MESSAGE),
    Wrong("max_tokens 0", "max_tokens", 0, Wanted.STREAM),
)


def _spoilt(request: MessageRequest, field: str, value: Any) -> MessageRequest:
    """A request that was right when it was checked, and is sent with a fault."""

    class Spoilt(MessageRequest):
        def replace(self, **changes: Any) -> MessageRequest:
            return _spoilt(super().replace(**changes), field, value)

        def to_dict(self) -> dict[str, Any]:
            wire = {name: each for name, each in super().to_dict().items() if name != field}
            return wire if value is None else {**wire, field: value}

    return Spoilt(**vars(request))
