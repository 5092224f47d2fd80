"""`sansio-step parse`: bodies in, JSON out on stdout, what is wrong with them on stderr.

Both are written as UTF-8 bytes, whatever the locale is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final, NamedTuple

import msgspec

from sansio_step import (
    APIError,
    ErrorEvent,
    IncompleteStream,
    LimitExceeded,
    MessageStartEvent,
    MessageStream,
    Outcome,
    StreamError,
    StreamEvent,
    decode_message,
    to_json,
)

from .._captured import Body, Unreadable, has_field_lines, is_document
from .._reader import MAX_MESSAGE_SIZE, error_of
from ._terminal import escaped

__all__ = ["Options", "parse_bodies"]

_BOM: Final = b"\xef\xbb\xbf"


class Options(NamedTuple):
    """How `parse_bodies` reads and writes."""

    events: bool = False
    strict: bool = False
    pretty: bool = False
    quiet: bool = False


def parse_bodies(names: Iterable[str], options: Options) -> bool:
    """Parse each file (`-` is standard input); tell whether all of them were whole.

    What comes of one of several says which: `{"file":...,"outcome":...,"message":...}`, or `{"file":...,"event":...}`.
    """
    names = list(names)
    whole = [_Parser(name, options, named=len(names) > 1).parse() for name in names]
    return all(whole)


class _Parser:
    """One response body on its way from a file to stdout."""

    def __init__(self, name: str, options: Options, *, named: bool) -> None:
        self.body = Body(name)
        self.options = options
        # What the output says of where it comes from. A name can be of any bytes.
        self.file = os.fsencode(self.body.label).decode("utf-8", "backslashreplace") if named else None
        self.stream = MessageStream(strict=options.strict)
        # How each message stood when the next one began.
        self.outcomes: list[Outcome] = []
        self.number = 0  # of the next event
        self.whole = True

    def parse(self) -> bool:
        """Write what there is and say what is wrong; tell whether that is nothing."""
        pieces = (data for data, _ in self.body.pieces())
        try:
            first = next(pieces, b"")
            if is_document(first):
                self._parse_document(first, pieces)
            else:
                self.stream = MessageStream(decoder=self.body.decoder(strict=self.options.strict))
                self._parse_stream(chain([first], pieces))
        except Unreadable as error:
            self._complain(error)
        return self.whole

    def _parse_document(self, first: bytes, pieces: Iterator[bytes]) -> None:
        """A body that begins as a JSON object: the answer to a request without `stream`, or a note before events."""
        body = bytearray(first)
        for piece in pieces:
            body += piece
            if len(body) > MAX_MESSAGE_SIZE:
                self._complain(LimitExceeded("max_message_size", MAX_MESSAGE_SIZE))
                return
        if has_field_lines(body):
            self._parse_stream(iter([bytes(body)]))
        elif self.options.events:
            self._complain("a JSON document, which has no events")
        else:
            try:
                self._write(to_json(decode_message(bytes(body).removeprefix(_BOM))), Outcome.COMPLETE)
            except StreamError as error:
                self._complain(error)

    def _parse_stream(self, pieces: Iterator[bytes]) -> None:
        unreadable = None
        try:
            for piece in pieces:
                self._take(self._receive(piece))
            self._take(self.stream.receive_eof())
        except StreamError:
            pass  # `stream.fault` has it; the events before it were returned
        except Unreadable as error:
            unreadable = error  # what came before it is shown all the same
        if not self.options.events:
            outcomes = [*self.outcomes, self.stream.outcome]
            for number, message in enumerate(self.stream.messages):
                self._write(to_json(message), outcomes[number] if self.file is not None else None)
        self._judge(unreadable)

    def _receive(self, piece: bytes) -> list[StreamEvent]:
        if self.file is None:
            return self.stream.receive_data(piece)
        # How a message ended is known only until the next one begins.
        events = []
        outcome = self.stream.outcome
        for event in self.stream.iter_data(piece):
            events.append(event)
            if isinstance(event, MessageStartEvent) and len(self.stream.messages) > len(self.outcomes) + 1:
                self.outcomes.append(outcome)
            outcome = self.stream.outcome
        return events or self.stream.receive_data(b"")  # which raises a fault

    def _take(self, events: list[StreamEvent]) -> None:
        if self.options.events and events:
            self._write_events(events)
        for number, event in enumerate(events, self.number):
            if isinstance(event, ErrorEvent):
                error = error_of(event)
                error.event_number = number
                self._complain(error)
        self.number += len(events)

    def _judge(self, unreadable: Unreadable | None) -> None:
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
                error.byte_offset = self.body.size  # where the body ends
                self._complain(error if self.number else f"there is no event in these {self.body.size} bytes")
            except APIError:
                pass  # said when its event came

    def _write_events(self, events: list[StreamEvent]) -> None:
        lines = (to_json(event) for event in events)
        if self.file is not None:
            lines = (msgspec.json.encode({"file": self.file, "event": msgspec.Raw(line)}) for line in lines)
        _write(b"".join(line + b"\n" for line in lines))

    def _write(self, document: bytes, outcome: Outcome | None) -> None:
        """Write a message, and of one of several files where it comes from and how it ended."""
        if self.file is not None and outcome is not None:
            named = {"file": self.file, "outcome": outcome.value, "message": msgspec.Raw(document)}
            document = msgspec.json.encode(named)
        if self.options.pretty:
            document = msgspec.json.format(document, indent=2)
        _write(document + b"\n")

    def _complain(self, problem: object) -> None:
        self.whole = False
        self._say(f"error: {problem}")

    def _say(self, text: str) -> None:
        line = escaped(f"{self.body.label}: {text}".replace("\n", "\\n")) + "\n"
        sys.stderr.buffer.write(line.encode("utf-8", "surrogateescape"))
        sys.stderr.buffer.flush()


def _write(data: bytes) -> None:
    if sys.stdout.isatty():
        data = escaped(data.decode()).encode()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
