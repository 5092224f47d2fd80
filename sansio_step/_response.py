"""What stands around a stream: bodies that are no stream, error responses, the turn for the next request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ._decode import as_json_bytes, read_error, read_message
from ._encode import to_dict
from ._errors import APIError, DecodeError, ToolInputError, quoted, short_repr
from ._events import ErrorEvent
from ._json import NotJSON, read_json
from ._message import Message, TextBlock, ThinkingBlock, ToolCallBlock

Headers = Mapping[str, str] | Mapping[bytes, bytes] | Iterable[tuple[str, str]] | Iterable[tuple[bytes, bytes]]

# The first party's, and StepFun's.
_BOM = "\ufeff".encode()
_REQUEST_ID_HEADERS = ("request-id", "x-request-id", "x-trace-id")


def decode_message(body: str | bytes | bytearray | memoryview) -> Message:
    """The message of a non-streaming response body. Raises DecodeError, or APIError for an error's envelope.

    The body's `type` is "message"; where it has none, its `content` tells that it is one.
    """
    try:
        wire, _ = read_json(as_json_bytes(body).removeprefix(_BOM))
    except NotJSON as error:
        raise DecodeError(f"{error.reason} at character {error.position} of the body") from None
    if not isinstance(wire, dict):
        raise DecodeError("the body is no JSON object")
    if wire.get("type") == "error" or (wire.get("error") is not None and wire.get("content") is None):
        raise api_error(read_error(wire))
    kind = wire.get("type")
    if kind != "message" and (kind is not None or wire.get("content") is None):
        raise DecodeError(
            f"the body is no message: its type is {quoted(kind, 300) if isinstance(kind, str) else short_repr(kind)}"
        )
    return read_message(wire)


def decode_error(status: int, headers: Headers, body: str | bytes | bytearray | memoryview) -> APIError:
    """The error of a response with an error status, whatever its body is.

    Reads the first party's envelope and StepFun's, which has no outer type; a body that is neither gives
    its first characters as the message. The request id is the body's, else that of the headers
    `request-id`, `x-request-id` or `X-Trace-Id` (names in any case, str or bytes).
    """
    data = as_json_bytes(body).removeprefix(_BOM)
    found = {_text(name).lower(): _text(value) for name, value in _pairs(headers)}
    request_id = next((found[name] for name in _REQUEST_ID_HEADERS if name in found), None)
    try:
        wire, _ = read_json(data)
        event = read_error(wire) if isinstance(wire, dict) else None
    except (NotJSON, DecodeError):
        event = None
    if event is None or (event.error.type is None and event.error.message is None):
        start = data.lstrip()[:4004].decode("utf-8", "replace").strip()
        start = f"{start[:1000]}..." if len(start) > 1000 else start
        return APIError(None, start or None, request_id=request_id, status=status)
    return api_error(event, status=status, request_id=request_id)


def api_error(event: ErrorEvent, *, status: int | None = None, request_id: str | None = None) -> APIError:
    """The exception for an error event or envelope."""
    return APIError(event.error.type, event.error.message, request_id=event.request_id or request_id, status=status)


def to_param(message: Message) -> dict[str, Any]:
    """The assistant turn for the next request: `{"role": ..., "content": [...]}`.

    Only what a server takes back: finished blocks, so that a message which broke off can be replayed; no
    thinking without its signature, no tool call whose arguments are broken, no empty text.
    TypeError for anything but a message.
    """
    if not isinstance(message, Message):
        raise TypeError(f"expected a message, not {type(message).__name__}")
    content = [to_dict(block) for block in message.content if block.is_finished and _can_be_sent(block)]
    return {"role": "assistant", "content": content}  # whatever the server called itself


def _can_be_sent(block: object) -> bool:
    if isinstance(block, TextBlock):
        return bool(block.text)
    if isinstance(block, ThinkingBlock):
        return bool(block.signature)
    if isinstance(block, ToolCallBlock):
        try:
            return isinstance(block.input, dict)
        except ToolInputError:
            return False
    return True


def _pairs(headers: Headers) -> Iterable[tuple[str | bytes, str | bytes]]:
    return headers.items() if isinstance(headers, Mapping) else headers


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
