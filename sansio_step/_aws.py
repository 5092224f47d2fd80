"""Frames of `application/vnd.amazon.eventstream`, in which Bedrock streams: bytes to frames, and back.

A frame is, with all numbers big-endian: the length of the frame and that of its headers in 4 bytes each, the CRC-32 of
those 8 bytes; the headers; the payload; the CRC-32 of all before it. A header is the length of its name in 1 byte, the
name, its type in 1 byte, and the value: nothing for true and false; 1, 2, 4 or 8 bytes of integer; 8 bytes of
milliseconds since 1970; 16 bytes of UUID; or 2 bytes of length and so many bytes.
(Amazon's "Event stream encoding" in the documentation of Transcribe, and the same in the Smithy specification.)
"""

from __future__ import annotations

import struct
from datetime import datetime, timedelta, timezone
from typing import TypeAlias
from uuid import UUID
from zlib import crc32

import msgspec

from ._errors import DecodeError, LimitExceeded, StreamError, quoted, short_repr
from ._frames import MAX_EVENT_SIZE
from ._receiver import Receiver

MAX_HEADERS_SIZE = 128 * 1024
# The format's own limit. Headers of 3 bytes each take fifty times their bytes as a dict.

_PRELUDE = struct.Struct(">III")
_CHECKSUM = struct.Struct(">I")
_SMALLEST = _PRELUDE.size + _CHECKSUM.size
_LENGTH = struct.Struct(">H")
_MOST_OF_A_NAME = 255
_MOST_OF_A_VALUE = 32767
# What AWS documents. Two bytes could say twice as much, and a frame that does is read.

_TRUE, _FALSE, _BYTE, _SHORT, _INTEGER, _LONG, _BYTES, _STRING, _TIMESTAMP, _UUID = range(10)
_INTEGERS = {
    _BYTE: struct.Struct(">b"),
    _SHORT: struct.Struct(">h"),
    _INTEGER: struct.Struct(">i"),
    _LONG: struct.Struct(">q"),
}
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)

AWSHeader: TypeAlias = bool | int | bytes | str | datetime | UUID


class AWSFrame(msgspec.Struct, frozen=True):
    """One frame. The value of a header is a bool, int, bytes, str, UUID or a datetime in UTC, by the type that it has.

    AWS's own headers begin with a colon: `:message-type` is "event", "exception" or "error"; `:event-type` or
    `:exception-type` names it; `:content-type` is that of the payload.
    """

    headers: dict[str, AWSHeader]
    payload: bytes = b""

    def __repr__(self) -> str:
        return f"AWSFrame(headers={short_repr(self.headers)}, payload={short_repr(self.payload)})"


class AWSFrameDecoder(Receiver[AWSFrame]):
    """Bytes of an `application/vnd.amazon.eventstream` to `AWSFrame`s, as `SSEDecoder` reads a text/event-stream.

    Both checksums of each frame are compared. A wrong one, and lengths or headers that make no sense, are a
    `DecodeError`. `max_event_size` bounds the bytes of one frame: the fault for a larger one is `LimitExceeded`, raised
    when its length is known and before it is buffered. `event_number` and `byte_offset` of a fault are those of its
    frame. A frame that the end of the body cuts off is discarded; `pending` shows it.
    """

    def __init__(self, *, max_event_size: int = MAX_EVENT_SIZE) -> None:
        if max_event_size < 1:
            raise ValueError(f"max_event_size is {max_event_size}, must be at least 1")
        super().__init__()
        self._limit = max_event_size
        self._pending = bytearray()
        self._offset = 0  # of the first pending byte in the body
        self._needed = _PRELUDE.size  # the bytes without which nothing more can be read: a prelude, then its frame
        self._number = 0  # of the next frame
        self.offsets: list[int] = []
        """Where in the body each of the frames begins that were returned last."""

    def __repr__(self) -> str:
        return f"<AWSFrameDecoder frames={self._number} fault={self._fault!r}>"

    @property
    def pending(self) -> int:
        """How many bytes of an unfinished frame have come. After `receive_eof` they are those that the end cut off."""
        return len(self._pending)

    @property
    def pending_offset(self) -> int:
        """Where in the body the unfinished frame begins."""
        return self._offset

    def read_chunk(self, data: bytes) -> list[AWSFrame]:
        self.offsets = []
        if self._pending:
            self._pending += data
            if len(self._pending) < self._needed:
                return []
            data = bytes(self._pending)
            self._pending.clear()
        frames: list[AWSFrame] = []
        start = 0
        try:
            while len(data) - start >= self._needed:
                if self._needed == _PRELUDE.size:
                    self._needed = _frame_size(data[start : start + _PRELUDE.size], self._limit)
                else:
                    frames.append(_read_frame(memoryview(data)[start : start + self._needed]))
                    self.offsets.append(self._offset + start)
                    start += self._needed
                    self._needed = _PRELUDE.size
                    self._number += 1
        except StreamError as fault:
            fault.event_number = self._number
            fault.byte_offset = self._offset + start
            self._fault = fault
        else:
            self._pending += data[start:]
            self._offset += start
        return frames

    def read_end(self) -> list[AWSFrame]:
        return []


def _frame_size(prelude: bytes, limit: int) -> int:
    """The size in bytes of the frame with this prelude. Raises DecodeError or LimitExceeded."""
    size, headers_size, checksum = _PRELUDE.unpack(prelude)
    if crc32(prelude[: -_CHECKSUM.size]) != checksum:
        raise DecodeError(f"no AWS frame begins with {short_repr(prelude)}: the checksum of its lengths is wrong")
    if headers_size > MAX_HEADERS_SIZE or headers_size + _SMALLEST > size:
        raise DecodeError(f"a frame of {size} bytes can't have {headers_size} bytes of headers")
    if size > limit:
        raise LimitExceeded("max_event_size", limit)
    return int(size)


def _read_frame(frame: memoryview) -> AWSFrame:
    end = len(frame) - _CHECKSUM.size
    _, headers_size, _ = _PRELUDE.unpack_from(frame)
    (checksum,) = _CHECKSUM.unpack_from(frame, end)
    if crc32(frame[:end]) != checksum:
        raise DecodeError("the checksum of a frame is wrong")
    headers_end = _PRELUDE.size + headers_size
    return AWSFrame(_read_headers(bytes(frame[_PRELUDE.size : headers_end])), bytes(frame[headers_end:end]))


def _read_headers(data: bytes) -> dict[str, AWSHeader]:
    headers: dict[str, AWSHeader] = {}
    at = 0
    try:
        while at < len(data):
            name_end = at + 1 + data[at]
            name = data[at + 1 : name_end].decode()
            if name in headers:
                raise DecodeError(f"two headers are called {quoted(name, 80)}")
            headers[name], at = _read_value(name, data[name_end], data, name_end + 1)
    except UnicodeDecodeError:
        raise DecodeError("a header is not UTF-8") from None
    except (IndexError, struct.error):
        raise DecodeError("the headers end inside one") from None
    return headers


def _read_value(name: str, kind: int, data: bytes, at: int) -> tuple[AWSHeader, int]:
    """The value of a header, and where the next header begins."""
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if kind in _INTEGERS:
        return _INTEGERS[kind].unpack_from(data, at)[0], at + _INTEGERS[kind].size
    if kind == _TIMESTAMP:
        (milliseconds,) = _INTEGERS[_LONG].unpack_from(data, at)
        try:
            return _EPOCH + milliseconds * _MILLISECOND, at + 8
        except OverflowError:
            raise DecodeError(f"header {quoted(name, 80)} is no time: {milliseconds} ms since 1970") from None
    if kind == _UUID:
        start, end = at, at + 16
    elif kind in (_BYTES, _STRING):
        start = at + _LENGTH.size
        end = start + _LENGTH.unpack_from(data, at)[0]
    else:
        raise DecodeError(f"header {quoted(name, 80)} has the unknown type {kind}")
    if end > len(data):
        raise IndexError
    value = data[start:end]
    if kind == _UUID:
        return UUID(bytes=value), end
    return value if kind == _BYTES else value.decode(), end


def encode_aws_frame(frame: AWSFrame) -> bytes:
    """The bytes of a frame, with its checksums. Decoding gives an equal frame back.

    The type of a header is that of its value; an int is an "integer" of 4 bytes, or a "long" of 8 if it has to be.
    Raises ValueError for what the format can't carry: a name of more than 255 bytes, a value of more than 32,767, an
    integer of more than 64 bits, a time without a zone or with a part of a millisecond, headers of more than 128 KiB
    or a frame of more than 16 MiB. Raises TypeError for a value of any other type, and for anything but an AWSFrame.
    """
    if not isinstance(frame, AWSFrame):
        raise TypeError(f"expected an AWSFrame, not {type(frame).__name__}")
    if not isinstance(frame.payload, bytes) or not all(isinstance(name, str) for name in frame.headers):
        raise TypeError("the payload of an AWSFrame is bytes, and the names of its headers are str")
    headers = b"".join(_header(name, value) for name, value in frame.headers.items())
    size = _SMALLEST + len(headers) + len(frame.payload)
    if len(headers) > MAX_HEADERS_SIZE:
        raise ValueError(f"{len(headers)} bytes of headers, more than {MAX_HEADERS_SIZE}")
    if size > MAX_EVENT_SIZE:
        raise ValueError(f"a frame of {size} bytes, more than {MAX_EVENT_SIZE}")
    lengths = _PRELUDE.pack(size, len(headers), 0)[: -_CHECKSUM.size]
    body = b"".join((lengths, _CHECKSUM.pack(crc32(lengths)), headers, frame.payload))
    return body + _CHECKSUM.pack(crc32(body))


def _header(name: str, value: AWSHeader) -> bytes:
    written = name.encode()
    if len(written) > _MOST_OF_A_NAME:
        raise ValueError(f"a header's name of {len(written)} bytes, more than {_MOST_OF_A_NAME}")
    kind, data = _value(name, value)
    return b"".join((bytes((len(written),)), written, bytes((kind,)), data))


def _value(name: str, value: AWSHeader) -> tuple[int, bytes]:
    """The type and the bytes of a header's value."""
    if isinstance(value, bool):
        return _TRUE if value else _FALSE, b""
    if isinstance(value, int):
        kind = _INTEGER if -(2**31) <= value < 2**31 else _LONG
        if not -(2**63) <= value < 2**63:
            raise ValueError(f"header {quoted(name, 80)} is an integer of more than 64 bits")
        return kind, _INTEGERS[kind].pack(value)
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError(f"header {quoted(name, 80)} is a time without a zone")
        milliseconds, rest = divmod(value - _EPOCH, _MILLISECOND)
        if rest:
            raise ValueError(f"header {quoted(name, 80)} is a time with a part of a millisecond")
        return _TIMESTAMP, _INTEGERS[_LONG].pack(milliseconds)
    if isinstance(value, UUID):
        return _UUID, value.bytes
    if not isinstance(value, (bytes, str)):
        raise TypeError(f"header {quoted(name, 80)} is a {type(value).__name__}")
    kind, data = (_BYTES, value) if isinstance(value, bytes) else (_STRING, value.encode())
    if len(data) > _MOST_OF_A_VALUE:
        raise ValueError(f"header {quoted(name, 80)} has {len(data)} bytes, more than {_MOST_OF_A_VALUE}")
    return kind, _LENGTH.pack(len(data)) + data
