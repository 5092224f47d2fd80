"""Bedrock's streams: the events of the Messages API in the frames of AWS."""

from __future__ import annotations

from typing import Any

import msgspec

from ._aws import AWSFrame, AWSFrameDecoder
from ._decoder import EventDecoder
from ._errors import DecodeError, ProtocolViolation
from ._events import StreamEvent
from ._frames import MAX_EVENT_SIZE
from ._json import CANT_DECODE, NotJSON, json_bytes, read_json, write_json
from ._runs import DeltaRun


class _Chunk(msgspec.Struct):
    """The payload of a chunk. Its other field, `p`, pads it, so that nobody can tell its text by its length."""

    data: bytes = msgspec.field(name="bytes")


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


class BedrockDecoder(EventDecoder):
    """Bytes of Bedrock's `invoke-model-with-response-stream` to typed events, under the same rules as `EventDecoder`.

    A frame called `chunk` holds one event of the Messages API, in base64. An exception is an ErrorEvent with the
    exception's name as its type, and a frame of any other name is an event of that name. Frames have no event lines, so
    `no_event_line` never shows. Both checksums of each frame are compared. `max_event_size` bounds the bytes of a frame.
    `byte_offset` of a fault is where its frame begins.
    """

    __slots__ = ("_frames",)

    def __init__(self, *, strict: bool = False, max_event_size: int = MAX_EVENT_SIZE) -> None:
        super().__init__(strict=strict, max_event_size=max_event_size)
        self._frames = AWSFrameDecoder(max_event_size=max_event_size)

    @property
    def is_fresh(self) -> bool:
        """Whether nothing was read yet."""
        return super().is_fresh and not self._frames.pending

    def read_lone(self, data: bytes) -> None:
        """None: a frame of AWS's is never just a line."""

    def read_other(self, data: bytes) -> list[StreamEvent]:
        frames = self._frames.read_chunk(data)
        events = self.read_given(zip(self._frames.offsets, frames, strict=True), _content_of)
        fault = self._frames.fault
        if fault is not None and self._fault is None:
            self._fail(fault, fault.byte_offset)
        return events

    def read_joined(self, data: bytes) -> list[StreamEvent | DeltaRun]:
        return list(self.read_chunk(data))

    def read_end(self) -> list[StreamEvent]:
        pending = self._frames.pending
        if pending:
            try:
                self._note([("unfinished_event", f"the body ends inside a frame: {pending} bytes of it")])
            except ProtocolViolation as fault:
                self._fail(fault, self._frames.pending_offset)
        return []


def _content_of(frame: AWSFrame) -> tuple[bytes, str | None]:
    """The JSON of the event in a frame, and its name. Raises DecodeError."""
    headers = frame.headers
    kind, name = headers.get(":message-type"), headers.get(":event-type")
    if kind in ("exception", "error"):
        return json_bytes(write_json({"type": "error", "error": _error_of(frame)})), "error"
    if name != "chunk":
        return frame.payload, name if isinstance(name, str) else None
    try:
        return _decode_chunk(frame.payload).data, None
    except CANT_DECODE as error:
        raise DecodeError(f"a chunk without an event: {error}") from None


def _error_of(frame: AWSFrame) -> dict[str, Any]:
    """The error object for an exception, which AWS names in a header and describes in a payload or in another header."""
    headers = frame.headers
    try:
        said = read_json(frame.payload, controls=True).value
    except NotJSON:
        said = None
    text = frame.payload.decode("utf-8", "replace")
    error: dict[str, Any] = dict(said) if isinstance(said, dict) else {"message": text} if text else {}
    if headers.get(":error-message") is not None:
        error.setdefault("message", str(headers[":error-message"]))
    name = headers.get(":exception-type", headers.get(":error-code"))
    if name is not None and error.setdefault("type", str(name)) != str(name):
        error.setdefault("code", str(name))  # the payload has a type of its own
    return error
