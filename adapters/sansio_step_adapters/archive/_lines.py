"""Files to blocks of plain bytes, and blocks to lines."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any, Final, NamedTuple

import pyarrow as pa

__all__ = ["DamagedFile", "Line", "WatchedFile", "blocks_of", "cut_lines"]

_BLOCK: Final = 1024 * 1024
_PIECE: Final = 64 * 1024
_HEAD: Final = 64 * 1024
# What is kept of a line that is too long: its id may stand there.


class DamagedFile(Exception):
    """A file can't be read from here on."""


class Line(NamedTuple):
    """A line without its end. Of one that is too long, `data` is the first 64 KiB."""

    number: int
    data: bytes
    size: int
    is_too_long: bool = False
    fault: str | None = None  # why the file can't be read after it; data is what came of a line before


class WatchedFile:
    """A file that remembers the error of a read, because pyarrow has an OSError for broken data as well.

    Data that is broken stays broken: it is a row. A network that is broken may be whole at the next try.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        """Read as the file does."""
        try:
            return self._file.read(size)
        except Exception as error:
            self.error = error
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def blocks_of(file: WatchedFile, coding: str | None) -> Iterator[bytes]:
    """The plain bytes of a file from where it stands.

    `coding` is "gzip", "zstd" or None. Raises DamagedFile, after all that can be read before the damage, and what the
    file raises.
    """
    if coding == "gzip":
        yield from _gunzip(file)
    elif coding == "zstd":
        yield from _unzstd(file)
    else:
        yield from _read(file, _BLOCK)


def _read(file: WatchedFile | pa.NativeFile, size: int) -> Iterator[bytes]:
    while block := file.read(size):
        yield block


def _gunzip(file: WatchedFile) -> Iterator[bytes]:
    """The text of all gzip members in a file."""
    member = None
    for data in _read(file, _PIECE):
        plain = b""
        while data or len(plain) == _BLOCK:
            if member is None:
                data = data.lstrip(b"\0")  # noqa: PLW2901, tapes and copiers pad with zeros
                if not data:
                    break
                member = zlib.decompressobj(31)
            before = member.copy()
            try:
                # 64 KiB of gzip can hold 64 MiB.
                plain = member.decompress(data, _BLOCK)
            except zlib.error as error:
                # The call that meets the damage loses what it had decoded before.
                yield _up_to_damage(before, data)
                raise DamagedFile(f"broken gzip: {error}") from None
            yield plain
            if member.eof:
                data, member, plain = member.unused_data, None, b""  # noqa: PLW2901
            else:
                data = member.unconsumed_tail  # noqa: PLW2901
    if member is not None:
        raise DamagedFile("the gzip stream is cut short")


def _up_to_damage(member: zlib._Decompress, data: bytes) -> bytes:
    plain = bytearray()
    with contextlib.suppress(zlib.error):  # this is the byte
        for byte in data:
            plain += member.decompress(bytes((byte,)))
    return bytes(plain)


def _unzstd(file: WatchedFile) -> Iterator[bytes]:
    """The text of all zstd frames in a file."""
    start = file.tell()
    size = 0
    try:
        for block in _read(pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd"), _PIECE):
            size += len(block)
            yield block
    except (pa.ArrowException, OSError) as error:
        if file.error is not None:
            raise file.error from None
        # The call that meets the damage loses what it had decoded before.
        file.seek(start)
        again = pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd")
        for at in range(0, size, _PIECE):
            again.read(min(_PIECE, size - at))
        yield from _bytes_up_to_damage(again)
        raise DamagedFile(f"broken zstd: {error}") from None


def _bytes_up_to_damage(stream: pa.NativeFile) -> Iterator[bytes]:
    with contextlib.suppress(pa.ArrowException, OSError):  # this is the byte
        while byte := stream.read(1):
            yield byte


def cut_lines(blocks: Iterable[bytes], limit: int) -> Iterator[Line]:
    """The lines of some blocks, counted from 0. What is damaged after them is the last one's `fault`.

    A line of more than `limit` bytes is skipped up to its end, in bounded memory, and counts as one.
    """
    number = size = 0
    parts: list[bytes] = []

    def line(end: bytes = b"", fault: str | None = None) -> Line:
        data = b"".join([*parts, end]) if parts else end
        whole = size + len(end)
        return (
            Line(number, data[:_HEAD], whole, True, fault) if whole > limit else Line(number, data, whole, False, fault)
        )

    try:
        for block in blocks:
            first, *others = block.split(b"\n")
            if others:
                yield line(first)
                number += 1
                parts, size = [], 0
                first = others.pop()
                for other in others:
                    yield line(other)
                    number += 1
            size += len(first)
            parts.append(first)
            if size > limit:
                parts = [b"".join(parts)[:_HEAD]]
    except DamagedFile as error:
        yield line(fault=str(error))
        return
    if size:
        yield line()
