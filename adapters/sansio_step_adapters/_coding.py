"""Content codings of HTTP, undone as a stream. No I/O."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol


def _optional(package: str) -> Any:
    """A package of the extra `codings`, None if it is not installed."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError:
        return None


brotli: Final = _optional("brotli")
zstandard: Final = _optional("zstandard")

# What one call to zlib may give back: bounds the memory that a bomb can take at any moment.
_PIECE: Final = 64 * 1024
# What a gzip member takes at least, a header and a trailer around nothing (RFC 1952 2.3).
_EMPTY_MEMBER: Final = 18


class CodingError(ValueError):
    """A coding that is not supported, or a body that is not in the coding that its header names."""


class Decoder(Protocol):
    """One coding: bytes in, plain bytes out in pieces; `whole` says whether the coded form has ended properly.

    `overhead` is what it has read beside the pieces: a body can be a million gzip members with nothing in them. The
    pieces come as they are asked for, and an empty one where `overhead` has grown.
    """

    overhead: int

    @property
    def whole(self) -> bool: ...

    def decode(self, data: bytes) -> Iterator[bytes]: ...


class _Gzip:
    """RFC 1952, with members one after the other."""

    def __init__(self) -> None:
        self.overhead = 0
        self._member = zlib.decompressobj(31)
        self._begun = False

    @property
    def whole(self) -> bool:
        return self._member.eof or not self._begun

    def decode(self, data: bytes) -> Iterator[bytes]:
        # After each member zlib copies all that is left, and a large piece can hold 100,000 of them.
        for start in range(0, len(data), _PIECE):
            yield from self._decode(data[start : start + _PIECE])

    def _decode(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member.eof:
                # Some servers pad the end with zeros (gzip(1) does on tape); anything else is a further member.
                data = data.lstrip(b"\0")
                if not data:
                    return
                self._member = zlib.decompressobj(31)
            self._begun = True
            yield from _decompressed(self._member, data)
            data = self._member.unused_data
            if self._member.eof:
                self.overhead += _EMPTY_MEMBER
                yield b""


class _Deflate:
    """RFC 1950, or bare RFC 1951 as some servers have it."""

    def __init__(self) -> None:
        self.overhead = 0
        self._head = b""
        self._stream: zlib._Decompress | None = None

    @property
    def whole(self) -> bool:
        return self._stream.eof if self._stream is not None else not self._head

    def decode(self, data: bytes) -> Iterator[bytes]:
        if self._stream is None:
            self._head += data
            if len(self._head) < 2:
                return
            data, (method, flags) = self._head, self._head[:2]
            # The zlib header: method 8 in the low half, and the two bytes a multiple of 31.
            wrapped = method & 0x0F == 8 and (method * 256 + flags) % 31 == 0
            self._stream = zlib.decompressobj(15 if wrapped else -15)
        if not self._stream.eof:
            yield from _decompressed(self._stream, data)


def _decompressed(stream: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    while True:
        before = stream.copy() if len(data) > 1 else None
        try:
            piece = stream.decompress(data, _PIECE)
        except zlib.error as error:
            if before is not None:
                # What zlib had decoded before the fault went with the error. Byte by byte it comes.
                for start in range(len(data)):
                    yield from _decompressed(before, data[start : start + 1])
            raise CodingError(f"the body is not in its content coding: {error}") from error
        if piece:
            yield piece
        data = stream.unconsumed_tail
        # After a full piece zlib may have more inside, though all the input is taken.
        if stream.eof or (not data and len(piece) < _PIECE):
            return


# The two below get a byte at a time: what they had decoded before a fault goes with it, and unlike zlib they can't be
# copied to try again. That is 4 microseconds for an event of 120 bytes.


class _Brotli:
    """RFC 7932, by the package `brotli`."""

    def __init__(self) -> None:
        self.overhead = 0
        self._stream = brotli.Decompressor()
        self._begun = False
        self.whole = True  # as long as nothing came, and once it has ended

    def decode(self, data: bytes) -> Iterator[bytes]:
        for place in range(len(data)):
            if self._begun and self.whole:
                return
            self._begun = True
            try:
                piece = self._stream.process(data[place : place + 1], output_buffer_limit=_PIECE)
                # Without input it gives what the limit has left inside. `can_accept_more_data` says too early that
                # nothing is left.
                while piece:
                    yield from _cut(piece)  # its buffer grows by doubling, past the limit
                    piece = b"" if self._stream.is_finished() else self._stream.process(b"", output_buffer_limit=_PIECE)
                self.whole = bool(self._stream.is_finished())
            except brotli.error as error:
                self.whole = False
                raise CodingError(f"the body is not in its content coding: {error}") from error


class _Zstd:
    """RFC 8878, by the package `zstandard`, with frames one after the other."""

    def __init__(self) -> None:
        self.overhead = 0
        # The memory that a server may ask of a reader (RFC 9659). A block is 128 KiB at most.
        self._coding = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024)
        self._frame = self._coding.decompressobj()
        self._begun = False

    @property
    def whole(self) -> bool:
        return not self._begun or bool(self._frame.eof)

    def decode(self, data: bytes) -> Iterator[bytes]:
        for place in range(len(data)):
            if self._frame.eof:
                self._frame = self._coding.decompressobj()
            self._begun = True
            try:
                piece = self._frame.decompress(data[place : place + 1])
            except zstandard.ZstdError as error:
                raise CodingError(f"the body is not in its content coding: {error}") from error
            yield from _cut(piece)
            if self._frame.eof:
                self.overhead += _EMPTY_MEMBER
                yield b""


def _cut(piece: bytes) -> Iterator[bytes]:
    for start in range(0, len(piece), _PIECE):
        yield piece[start : start + _PIECE]


_DECODERS: Final[dict[str, Callable[[], Decoder]]] = {
    "gzip": _Gzip,
    "x-gzip": _Gzip,
    "deflate": _Deflate,
    **({"br": _Brotli} if brotli is not None else {}),
    **({"zstd": _Zstd} if zstandard is not None else {}),
}
# The names of what can be undone here.
CODINGS: Final = tuple(_DECODERS)


def content_decoder(content_encoding: str) -> Decoder | None:
    """A decoder for the value of a content-encoding header; None if there is nothing to undo.

    gzip and deflate, and with the extra `codings` br and zstd. Raises CodingError for any other, and for more than one:
    302 bytes of `gzip, gzip, gzip` are 24 MB of empty members, and no server applies two.
    """
    names = [name.strip().lower() for name in content_encoding.split(",")]
    names = [name for name in names if name not in ("", "identity")]
    if not names:
        return None
    if len(names) > 1:
        raise CodingError(f"{len(names)} content codings one on the other")
    make = _DECODERS.get(names[0])
    if make is None:
        raise CodingError(f"content coding {names[0][:40]!r} is not supported")
    return make()
