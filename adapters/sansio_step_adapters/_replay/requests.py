"""What a request says, and what is wrong with it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sansio_step import MessageRequest

__all__ = ["Refused", "last_text", "read_request", "request_from_wire", "token_count"]

_PARAMETERS: Final = [
    parameter
    for parameter in inspect.signature(MessageRequest).parameters.values()
    if parameter.kind is parameter.KEYWORD_ONLY
]
_NEEDED: Final = [parameter.name for parameter in _PARAMETERS if parameter.default is parameter.empty]
# The wire has no fields of these two names: one stands in `output_config`, the other is all that is not listed.
_LISTED: Final = {parameter.name for parameter in _PARAMETERS} - {"effort", "extra"}
_EFFORTS: Final = ("low", "medium", "high")  # others, which other vendors have, are for `extra` to take


class Refused(Exception):
    """A request that is answered by an error, with its status and words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def read_request(body: bytes, *, counting: bool = False) -> MessageRequest:
    """The request of a body. `max_tokens` may be missing where tokens are counted. Raises Refused."""
    try:
        fields = json.loads(body.decode())
        if not isinstance(fields, dict):
            raise Refused(400, "the request is no JSON object")
        return request_from_wire({"max_tokens": 1, **fields} if counting else fields)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Refused(400, f"the request is no JSON: {error}") from error
    except (ValueError, TypeError) as error:
        raise Refused(400, str(error)) from error
    except RecursionError:
        raise Refused(400, "the request is nested too deep") from None


def request_from_wire(fields: Mapping[str, Any]) -> MessageRequest:
    """The request that the wire's JSON object stands for; a ValueError or TypeError says why it stands for none.

    `output_config.effort` is `effort`. Fields that are no arguments of MessageRequest are its `extra`.
    """
    for name in _NEEDED:
        if name not in fields:
            raise ValueError(f"{name}: it is missing")
    arguments = {name: value for name, value in fields.items() if name in _LISTED}
    extra = {name: value for name, value in fields.items() if name not in _LISTED}
    match extra.get("output_config"):
        case {"effort": str(effort), **others} if effort in _EFFORTS and not others:
            del extra["output_config"]
            arguments["effort"] = effort
    return MessageRequest(**arguments, extra=extra or None)


def last_text(request: MessageRequest) -> str:
    """The text of the user's last turn, results of tools among it; "" if it has none."""
    turns = [turn for turn in request.messages if turn["role"] == "user"]
    return "\n".join(_texts(turns[-1]["content"])) if turns else ""


def token_count(text: bytes) -> int:
    """A guess that is the same each time: a token for each four bytes, at least one."""
    return max(1, len(text) // 4)


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
        return
    for block in content if isinstance(content, (list, tuple)) else ():
        match block:
            case {"type": "text", "text": str(text)}:
                yield text
            case {"type": "tool_result", "content": result}:
                yield from _texts(result)
