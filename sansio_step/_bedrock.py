"""Bedrock's streams: the events of the Messages API in the frames of AWS."""

from __future__ import annotations

from typing import Any

import msgspec

from ._aws import AWSFrame, AWSFrameDecoder
from ._decoder import EventDecoder
from ._deviations import Deviation
from ._documents import json_object
from ._errors import DecodeError, ProtocolViolation, StreamError
from ._events import StreamEvent
from ._frames import MAX_EVENT_SIZE
from ._json import CANT_DECODE, NotJSON, json_bytes, read_json, write_json
from ._receiver import Receiver


class _Chunk(msgspec.Struct):
    """The payload of a chunk. Its other field, `p`, pads it, so that nobody can tell its text by its length."""

    data: bytes = msgspec.field(name="bytes")


class _Typed(msgspec.Struct):
    type: str


_decode_chunk = msgspec.json.Decoder(_Chunk).decode
_decode_typed = msgspec.json.Decoder(_Typed).decode


class BedrockDecoder(Receiver[StreamEvent]):
    """Bytes of Bedrock's `invoke-model-with-response-stream` to typed events, under the same rules as `EventDecoder`.

    A frame called `chunk` holds one event of the Messages API, in base64. An exception is an ErrorEvent with the
    exception's name as its type, and a frame of any other name an event of that name. Frames have no event lines, so
    that none is missing. Both checksums of each frame are compared. `max_event_size` bounds the bytes of a frame.
    `byte_offset` of a fault is where its frame begins.
    """

    def __init__(self, *, strict: bool = False, max_event_size: int = MAX_EVENT_SIZE) -> None:
        super().__init__()
        self._frames = AWSFrameDecoder(max_event_size=max_event_size)
        # Base64 and its frame are larger than the event in them, but for a name of megabytes, which is written twice.
        self._events = EventDecoder(strict=strict, max_event_size=2 * max_event_size)
        self._count = 0
        self._unfinished: list[Deviation] = []

    def __repr__(self) -> str:
        return f"<BedrockDecoder events={self._count} fault={self._fault!r}>"

    @property
    def deviations(self) -> list[Deviation]:
        """The deviations that show in one frame, so far, with one entry for each code and message."""
        return self._events.deviations + self._unfinished

    def read_chunk(self, data: bytes) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        frames = self._frames.read_chunk(data)
        for frame, offset in zip(frames, self._frames.offsets, strict=True):
            events += self._read_frame(frame, offset)
            if self._fault is not None:
                return events
        fault = self._frames.fault
        if fault is not None:
            self._fail(fault, fault.byte_offset)
        return events

    def _read_frame(self, frame: AWSFrame, offset: int) -> list[StreamEvent]:
        try:
            name, document = _content_of(frame)
        except DecodeError as fault:
            self._fail(fault, offset)
            return []
        events = self._events.read_chunk(_as_event_stream(name, document))
        self._count += len(events)
        if self._events.fault is not None:
            self._fail(self._events.fault, offset)
        return events

    def _fail(self, fault: StreamError, offset: int | None) -> None:
        fault.event_number = self._count
        fault.byte_offset = offset
        self._fault = fault

    def read_end(self) -> list[StreamEvent]:
        if self._frames.pending:
            code, detail = "unfinished_event", f"the body ends inside a frame: {self._frames.pending} bytes of it"
            if self._events.strict:
                self._fail(ProtocolViolation(code, detail), self._frames.pending_offset)
            else:
                self._unfinished.append(Deviation(code, self._count, detail, 1))
        return []


def _content_of(frame: AWSFrame) -> tuple[str | None, bytes]:
    """The name and the JSON of the event in a frame. Raises DecodeError."""
    headers = frame.headers
    kind, name = headers.get(":message-type"), headers.get(":event-type")
    if kind in ("exception", "error"):
        return "error", json_bytes(write_json({"type": "error", "error": _error_of(frame)}))
    if name != "chunk":
        return name if isinstance(name, str) else None, frame.payload
    try:
        data = _decode_chunk(frame.payload).data
    except CANT_DECODE as error:
        raise DecodeError(f"a chunk without an event: {error}") from None
    return _type_of(data), data


def _type_of(document: bytes) -> str | None:
    """The type of an event, None if it has none. What is wrong with it is for the decoder of events to say."""
    try:
        return _decode_typed(document).type
    except CANT_DECODE:
        kind = (json_object(document) or {}).get("type")
        return kind if isinstance(kind, str) else None


def _error_of(frame: AWSFrame) -> dict[str, Any]:
    """The error object for an exception, which AWS names in a header and describes in a payload or in another header."""
    headers = frame.headers
    try:
        said = read_json(frame.payload, controls=True).value
    except NotJSON:
        said = None
    text = frame.payload.decode("utf-8", "replace") or headers.get(":error-message")
    error: dict[str, Any] = said if isinstance(said, dict) else {} if text is None else {"message": str(text)}
    name = headers.get(":exception-type", headers.get(":error-code"))
    return error if name is None else {**error, "type": str(name)}


def _as_event_stream(name: str | None, document: bytes) -> bytes:
    """The frame of a text/event-stream with the same event."""
    line = b"" if not name or "\n" in name or "\r" in name else b"event: %b\n" % name.encode("utf-8", "replace")
    return line + b"".join(b"data: %b\n" % part for part in document.splitlines() or [b""]) + b"\n"
