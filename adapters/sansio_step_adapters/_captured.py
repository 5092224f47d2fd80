"""Captured bodies, in whatever form they were saved: plain, as `curl -i` writes them, compressed, as a recording.

What is plain, and what isn't, shows in the first bytes: not in a name, nor in a header. `curl -i --compressed` keeps a
content-encoding that it has undone.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias
from zlib import crc32

from sansio_step import BedrockDecoder, EventDecoder

from ._coding import CODINGS, CodingError, content_decoder
from .record import Recording, read_recording

__all__ = ["Body", "Piece", "Unreadable", "has_field_lines", "is_beside", "is_document"]

Piece: TypeAlias = "tuple[bytes, int | None]"

_TIMES: Final = ".times.jsonl"
_CHUNK: Final = 64 * 1024
_MAX_HEAD: Final = 64 * 1024
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_STATUS_LINE: Final = re.compile(rb"HTTP/[0-9.]+ ([0-9]{3})")
_MAGIC: Final = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_AWS_PRELUDE: Final = 12
_BOM: Final = b"\xef\xbb\xbf"
# A line of an event stream, which no line of a JSON text begins like.
_FIELD_LINE: Final = re.compile(rb"[\r\n](?:data|event|id|retry):")
# Text in any of the forms that a plain body has.
_PLAIN: Final = (b":", b"data", b"event", b"id", b"retry", b"{", b"[", b"<", b"\n", b"\r", b" ", _BOM)


class Unreadable(Exception):
    """A body that can't be opened or read to its end, with the reason."""


def is_beside(name: str, names: Container[str]) -> bool:
    """Whether a file has the times of a recording whose body is among `names`, so that it is no capture itself."""
    stem = name.removesuffix(_TIMES)
    return stem != name and (stem in names or f"{stem}.sse" in names)


class Body:
    """A body by its name; `-` is standard input. `pieces` reads it, once; all else is known as it is read.

    A recording is named by either of its files, or without their endings, and its pieces have the nanoseconds at which
    they came.
    """

    def __init__(self, name: str) -> None:
        self.label = "<stdin>" if name == "-" else name
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.recording: Recording | None = None
        # How it was saved, in words, from the outside in.
        self.forms: list[str] = []
        # Of the bytes that `pieces` has given.
        self.size = 0
        self.is_aws = False
        self._name = name

    @property
    def name(self) -> str:
        """The label as text that any encoding of Unicode carries. A file's name can be of any bytes."""
        return self.label.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

    def pieces(self) -> Iterator[Piece]:
        """The decoded bytes as they come, each with its time if that is known. Raises Unreadable after what came."""
        try:
            source = _Source(self._raw())
            self._read_heads(source)
            plain = _Source(self._decoded(source))
            start = plain.start(_may_be_aws)
            self.is_aws = _is_aws(start)
            if self.is_aws:
                self.forms.append("AWS frames")
            for data, ns in plain:
                self.size += len(data)
                yield data, ns
        except CodingError as error:
            raise Unreadable(str(error)) from error
        except OSError as error:
            raise Unreadable(error.strerror or str(error)) from error
        except ValueError as error:  # times that are none
            raise Unreadable(str(error)) from error

    def decoder(self, *, strict: bool = False) -> EventDecoder:
        """A decoder for what the body is; ask after the first piece."""
        return BedrockDecoder(strict=strict) if self.is_aws else EventDecoder(strict=strict)

    def _raw(self) -> Iterator[Piece]:
        if self._name == "-":
            yield from ((data, None) for data in _read(sys.stdin.buffer))
            return
        path = Path(self._name)
        if path.name.endswith(_TIMES):
            path = path.with_name(path.name.removesuffix(_TIMES))
        if not path.exists() and path.with_name(path.name + ".sse").exists():
            path = path.with_name(path.name + ".sse")
        with open(path, "rb") as file:  # noqa: PTH123, any name that the system takes
            if path.name.endswith(".sse"):
                try:
                    self.recording = read_recording(path)
                except FileNotFoundError:
                    pass
                else:
                    self.forms.append("recording")
                    self.status, self.headers = self.recording.status, self.recording.headers
                    yield from _timed(file, self.recording)
                    return
            yield from ((data, None) for data in _read(file))

    def _read_heads(self, source: _Source) -> None:
        """Take the heads before the body: those of 1xx responses, redirects and tunnels come first."""
        while source.start(_may_be_head).startswith(b"HTTP/"):
            start = source.start(lambda start: len(start) < _MAX_HEAD and _HEAD_END.search(start) is None)
            status, end = _STATUS_LINE.match(start), _HEAD_END.search(start)
            if status is None or end is None:
                return
            if "curl -i" not in self.forms:
                self.forms.append("curl -i")
            self.status = int(status[1])
            lines = start[: end.start()].decode("latin-1").splitlines()[1:]
            pairs = (line.partition(":") for line in lines)
            self.headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
            source.skip(end.end())

    def _decoded(self, source: _Source) -> Iterator[Piece]:
        coding = self._coding(source.start(_may_be_magic))
        if not coding:
            yield from source
            return
        self.forms.append(coding)
        decoder = content_decoder(coding)
        assert decoder is not None
        for data, ns in source:
            for piece in decoder.decode(data):
                yield piece, ns
        if not decoder.whole:
            raise CodingError(f"the body ends inside its content coding, {coding}")

    def _coding(self, start: bytes) -> str:
        for magic, coding in _MAGIC.items():
            if start.startswith(magic):
                if coding not in CODINGS:
                    raise CodingError(f'the body is in {coding}, which needs: pip install "sansio-step[codings]"')
                return coding
        named = self.headers.get("content-encoding", "").strip().lower()
        is_plain = not start or start.startswith(_PLAIN) or named in ("identity", *_MAGIC.values(), "x-gzip")
        return "" if is_plain else named


def is_document(start: bytes) -> bool:
    """Whether a body begins as a JSON object. No line of an event stream that says something does."""
    return start.removeprefix(_BOM).lstrip().startswith(b"{")


def has_field_lines(body: bytes | bytearray) -> bool:
    """Whether a body that begins as a JSON object is an event stream all the same, with a note before its events."""
    return _FIELD_LINE.search(body) is not None


class _Source:
    """Pieces, of which the first can be looked at before they are taken."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._pieces = iter(pieces)
        self._held: deque[Piece] = deque()

    def start(self, undecided: Callable[[bytes], bool]) -> bytes:
        """The first bytes: as many as have come, and more of them as long as they decide nothing."""
        start = b"".join(data for data, _ in self._held)
        while not start or undecided(start):
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._held.append(piece)
            start += piece[0]
        return start

    def skip(self, size: int) -> None:
        """Take so many bytes that were looked at."""
        while size:
            data, ns = self._held.popleft()
            if len(data) > size:
                self._held.appendleft((data[size:], ns))
            size -= min(size, len(data))

    def __iter__(self) -> Iterator[Piece]:
        while self._held:
            yield self._held.popleft()
        yield from self._pieces


def _may_be_head(start: bytes) -> bool:
    return len(start) < len(b"HTTP/") and b"HTTP/".startswith(start)


def _may_be_magic(start: bytes) -> bool:
    return any(len(start) < len(magic) and magic.startswith(start) for magic in _MAGIC)


def _may_be_aws(start: bytes) -> bool:
    # A frame of at most 16 MiB: no text begins with such a byte.
    return start[0] <= 1 and len(start) < _AWS_PRELUDE


def _is_aws(start: bytes) -> bool:
    """Whether the prelude of a frame begins the body: two lengths, and the CRC32 of these 8 bytes."""
    return start[8:_AWS_PRELUDE] == crc32(start[:8]).to_bytes(4, "big")


def _read(file: BinaryIO) -> Iterator[bytes]:
    """The bytes as they come: a pipe gives what is there, without waiting for more."""
    while chunk := file.read1(_CHUNK):  # type: ignore[attr-defined]  # every buffered file has it
        yield chunk


def _timed(file: BinaryIO, recording: Recording) -> Iterator[Piece]:
    """The reads of a recording. One can be larger than what is read here at once."""
    if not recording.reads:
        yield from ((data, None) for data in _read(file))
    starts = [*(offset for offset, _ in recording.reads[1:]), None]
    place = 0
    for (_, ns), end in zip(recording.reads, starts, strict=False):
        while end is None or place < end:
            chunk = file.read(_CHUNK if end is None else min(_CHUNK, end - place))
            if not chunk:
                break
            place += len(chunk)
            yield chunk, ns
