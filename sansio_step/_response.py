"""Responses that are not streams: whole messages and errors."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from ._decode import as_json_bytes, read_message
from ._decoder import EventDecoder
from ._encode import to_dict
from ._errors import APIError, DecodeError, StreamError, ToolInputError, quoted, short_repr
from ._events import ErrorDetail, ErrorEvent, StreamEvent, UnknownEvent
from ._json import NotJSON, read_json
from ._message import Message, ToolCallBlock
from ._parsed import parsed_json
from ._quirks import error_detail

JSON = dict[str, Any]
Headers = Mapping[str, str] | Mapping[bytes, bytes] | Iterable[tuple[str, str]] | Iterable[tuple[bytes, bytes]]

_BOM = "\ufeff".encode()
_GZIP = b"\x1f\x8b"
_MOST_OF_GZIP = 256 * 1024
# In bytes, both before and after decompression. An error takes some hundred, but 1 MiB of gzip can hold 1 GiB, or
# 50,000 empty members. The worst 256 KiB take 0.1 seconds.

# The headers of the first party, and StepFun's.
_REQUEST_ID_HEADERS = ("request-id", "x-request-id", "x-trace-id")


def decode_message(body: str | bytes | bytearray | memoryview | Mapping[str, Any]) -> Message:
    """The message of a non-streaming response body, or of the object parsed from it, as `model_dump()` gives one too.

    Raises DecodeError, or APIError for an error's envelope. The body's `type` must be "message". A body without a type
    is a message if it has `content`.

    A call that has both `input` and `input_json` is one whose arguments were cut or broken, as `to_dict` writes it: its
    `input` raises again.
    """
    wire = read_object(body, "body")
    if wire.get("type") == "error" or (wire.get("error") is not None and wire.get("content") is None):
        raise error_of(wire)
    kind = wire.get("type")
    if kind != "message" and (kind is not None or wire.get("content") is None):
        raise DecodeError(
            f"the body is not a message: its type is {quoted(kind, 300) if isinstance(kind, str) else short_repr(kind)}"
        )
    message = read_message(wire)
    for block in message.content:
        if isinstance(block, ToolCallBlock) and isinstance(block.extra.get("input_json"), str):
            _unfinish(block, is_over=message.stop_reason is not None)
    return message


def _unfinish(call: ToolCallBlock, *, is_over: bool) -> None:
    """Give a call the text of its arguments back, if it is one that was cut. Else the field is somebody else's, and stays."""
    text, view = call.extra["input_json"], call.input
    call.input_json = text
    try:
        _ = call.input
        whole = True
    except ToolInputError:
        whole = False
    if call.partial_input() != view or (whole and is_over):
        call.input = view
        return
    call.extra = {key: value for key, value in call.extra.items() if key != "input_json"}
    if whole:
        call.set_finished(False)


def read_object(data: str | bytes | bytearray | memoryview | Mapping[str, Any], what: str) -> JSON:
    """The JSON object of a document, as a text or parsed. Raises DecodeError, which names the document as `what`."""
    if isinstance(data, Mapping):
        return parsed_json(data).value  # type: ignore[no-any-return]  # a dict for a mapping
    try:
        wire = read_json(as_json_bytes(data).removeprefix(_BOM), controls=True).value
    except NotJSON as error:
        raise DecodeError(f"{error.reason} at character {error.position} of the {what}") from None
    if not isinstance(wire, dict):
        raise DecodeError(f"the {what} is not a JSON object")
    return wire


def decode_error(status: int, headers: Headers, body: str | bytes | bytearray | memoryview) -> APIError:
    """The error of a response with an error status, whatever its body is.

    The body can be the first party's envelope or a barer one (StepFun's has no outer type), in JSON or as the first
    error event of an event stream. If it is neither, its first characters are the message. The request id is the
    body's. If the body has none, it is that of the header `request-id`, `x-request-id` or `X-Trace-Id` (names in any
    case, str or bytes).

    A body in gzip is read too, since gateways pass such bodies on without their Content-Encoding. A body that is broken
    or cut is read up to that place, and never further than 256 KiB.
    """
    data = as_json_bytes(body)
    data = (_decompressed(data) if data.startswith(_GZIP) else data).removeprefix(_BOM)
    found = {_text(name).lower(): _text(value) for name, value in _pairs(headers)}
    request_id = next((found[name] for name in _REQUEST_ID_HEADERS if name in found), None)
    start = data.lstrip()[:4004].decode("utf-8", "replace").strip()
    start = f"{start[:1000]}..." if len(start) > 1000 else start
    return error_of(_envelope_in(data) or {}, status=status, request_id=request_id, body=start or None)


def api_error(event: ErrorEvent) -> APIError:
    """The exception for an error event of a stream."""
    return error_of(to_dict(event))


def error_event(error: StreamError | None) -> ErrorEvent:
    """The error event of a stream that says why it failed: an APIError in its own words, any other as an `api_error`."""
    if not isinstance(error, APIError):
        return ErrorEvent(ErrorDetail("api_error", "the stream failed" if error is None else str(error)))
    said = error.extra.get("error", {})
    if error.details is not None:
        said = {**said, "details": error.details}
    if error.code is not None and (error.details or {}).get("error_code") != error.code:
        said = {**said, "code": error.code}
    envelope = {key: value for key, value in error.extra.items() if key != "error"}
    return ErrorEvent(ErrorDetail(error.type, error.message, extra=said), error.request_id, extra=envelope)


def error_of(
    wire: JSON, *, status: int | None = None, request_id: str | None = None, body: str | None = None
) -> APIError:
    """The exception for an error's envelope. Each attribute is read from the error object, or else from beside it.

    `body` is the message if the envelope has no words of its own.
    """
    error = {} if wire.get("error") is None else dict(error_detail(wire, lambda code, detail: None))
    # The types "error" and "message" name an envelope. Any other type there names the failure.
    envelope = {
        key: value
        for key, value in wire.items()
        if key != "error" and not (key == "type" and value in ("error", "message"))
    }

    def taken(key: str, *kinds: type) -> Any:
        for place in (error, envelope):
            value = place.get(key)
            if type(value) in kinds and value != "":
                del place[key]
                if type(envelope.get(key)) is type(value) and envelope[key] == value:
                    del envelope[key]  # said twice, as in an ErrorEvent that came without an error object
                return value
        return None

    kind = taken("type", str)
    message = taken("message", str)
    if message is None and (kind is None or wire.get("error") is None):
        message = body
    details = taken("details", dict)
    code = (details or {}).get("error_code")
    if type(code) not in (str, int) or code == "":
        code = taken("code", str, int)
    request_id = taken("request_id", str) or request_id
    extra = {**envelope, "error": error} if error else envelope
    return APIError(kind, message, code=code, details=details, extra=extra, request_id=request_id, status=status)


def _envelope_in(data: bytes) -> JSON | None:
    """The JSON object of an error's body, None if there is none."""
    try:
        wire = read_json(data, controls=True).value
    except NotJSON:
        return _envelope_of_stream(data)
    return wire if isinstance(wire, dict) else None


def _envelope_of_stream(data: bytes) -> JSON | None:
    """The first error event of an event stream, or else its first event of an unknown type with a message."""
    decoder = EventDecoder()
    events: list[StreamEvent] = []
    try:
        events += decoder.receive_data(data)
        events += decoder.receive_eof()
    except StreamError:
        pass  # the events before the fault still count
    errors: list[StreamEvent] = [event for event in events if isinstance(event, ErrorEvent)]
    errors += [event for event in events if isinstance(event, UnknownEvent) and event.extra.get("message")]
    return to_dict(errors[0]) if errors else None


def _decompressed(data: bytes) -> bytes:
    """The text in gzip members, up to a cut or a fault; the data itself if they hold no text."""
    plain = bytearray()
    member = zlib.decompressobj(31)
    try:
        # Each call gets one byte. A call that meets a fault loses what it decoded before the fault, and after each
        # member zlib copies all the rest of its input.
        for at in range(min(len(data), _MOST_OF_GZIP)):
            if member.eof:
                member = zlib.decompressobj(31)
            plain += member.decompress(data[at : at + 1], _MOST_OF_GZIP - len(plain))
            if len(plain) == _MOST_OF_GZIP:
                break
    except zlib.error:
        pass
    return bytes(plain) or data


def _pairs(headers: Headers) -> Iterable[tuple[str | bytes, str | bytes]]:
    return headers.items() if isinstance(headers, Mapping) else headers


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
