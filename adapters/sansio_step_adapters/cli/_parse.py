"""`sansio-step parse`: bodies in, JSON out on stdout, what is wrong with them on stderr.

Both are written as UTF-8 bytes, whatever the locale is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final, NamedTuple

import msgspec

from sansio_step import (
    APIError,
    ErrorEvent,
    IncompleteStream,
    Message,
    MessageStream,
    StreamError,
    StreamEvent,
    decode_message,
    to_json,
)

from .._reader import error_of
from ._terminal import escaped

__all__ = ["Options", "parse_bodies"]

_CHUNK: Final = 64 * 1024
_BOM: Final = b"\xef\xbb\xbf"


class Options(NamedTuple):
    """How `parse_bodies` reads and writes."""

    events: bool = False
    strict: bool = False
    pretty: bool = False
    quiet: bool = False


class _Unreadable(Exception):
    """A file that can't be opened or read, with the system's reason."""


def parse_bodies(names: Iterable[str], options: Options) -> bool:
    """Parse each file (`-` is standard input); tell whether all of them were whole."""
    whole = [_Body(name, options).parse() for name in names]
    return all(whole)


class _Body:
    """One response body on its way from a file to stdout."""

    def __init__(self, name: str, options: Options) -> None:
        self.name = name
        self.label = "<stdin>" if name == "-" else name
        self.options = options
        self.stream = MessageStream(strict=options.strict)
        self.size = 0
        self.number = 0  # of the next event
        self.whole = True

    def parse(self) -> bool:
        """Write what there is and say what is wrong; tell whether that is nothing."""
        try:
            chunks = self._chunks()
            first = next(chunks, b"")
            if _is_document(first):
                self._parse_document(b"".join([first, *chunks]))
            else:
                self._parse_stream(first, chunks)
        except _Unreadable as error:
            self._complain(error)
        return self.whole

    def _parse_document(self, body: bytes) -> None:
        """A body that is one JSON object: the answer to a request without `stream`."""
        if self.options.events:
            self._complain("a JSON document, which has no events")
            return
        try:
            self._write_messages([decode_message(body.removeprefix(_BOM))])
        except StreamError as error:
            self._complain(error)

    def _parse_stream(self, first: bytes, chunks: Iterator[bytes]) -> None:
        unreadable = None
        try:
            self._receive(first)
            for chunk in chunks:
                self._receive(chunk)
            self._take(self.stream.receive_eof())
        except StreamError:
            pass  # `stream.fault` has it; the events before it were returned
        except _Unreadable as error:
            unreadable = error  # what came before it is shown all the same
        if not self.options.events:
            self._write_messages(self.stream.messages)
        self._judge(unreadable)

    def _receive(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self._take(self.stream.receive_data(chunk))

    def _take(self, events: list[StreamEvent]) -> None:
        if self.options.events and events:
            _write(b"".join(to_json(event) + b"\n" for event in events))
        for number, event in enumerate(events, self.number):
            if isinstance(event, ErrorEvent):
                error = error_of(event)
                error.event_number = number
                self._complain(error)
        self.number += len(events)

    def _judge(self, unreadable: _Unreadable | None) -> None:
        """Say what is wrong with a stream, now that it is over."""
        if not self.options.quiet:
            for deviation in self.stream.deviations:
                self._say(f"warning: {deviation}")
        if self.stream.fault is not None:
            self._complain(self.stream.fault)
        elif unreadable is not None:
            self._complain(unreadable)
        else:
            try:
                self.stream.result()
            except IncompleteStream as error:
                error.byte_offset = self.size  # where the body ends
                self._complain(error if self.number else f"there is no event in these {self.size} bytes")
            except APIError:
                pass  # said when its event came

    def _chunks(self) -> Iterator[bytes]:
        """The file's bytes as they come: a pipe gives what is there, without waiting for more."""
        try:
            if self.name == "-":
                yield from _read(sys.stdin.buffer)
            else:
                with open(self.name, "rb") as file:  # noqa: PTH123, any name that the system takes
                    yield from _read(file)
        except OSError as error:
            raise _Unreadable(error.strerror or str(error)) from error

    def _write_messages(self, messages: list[Message]) -> None:
        for message in messages:
            document = to_json(message)
            if self.options.pretty:
                document = msgspec.json.format(document, indent=2)
            _write(document + b"\n")

    def _complain(self, problem: object) -> None:
        self.whole = False
        self._say(f"error: {problem}")

    def _say(self, text: str) -> None:
        line = escaped(f"{self.label}: {text}".replace("\n", "\\n")) + "\n"
        sys.stderr.buffer.write(line.encode("utf-8", "surrogateescape"))
        sys.stderr.buffer.flush()


def _read(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read1(_CHUNK):  # type: ignore[attr-defined]  # every buffered file has it
        yield chunk


def _is_document(start: bytes) -> bool:
    """Whether a body begins as a JSON object. No line of an event stream that says something does."""
    return start.removeprefix(_BOM).lstrip().startswith(b"{")


def _write(data: bytes) -> None:
    if sys.stdout.isatty():
        data = escaped(data.decode()).encode()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
