"""`sansio-step parse`: bodies in, JSON out on stdout, what is wrong with them on stderr.

Both are written as UTF-8 bytes, whatever the locale is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import Final

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
from ._foreign import START_SIZE, recognized
from ._names import Named, find_files
from ._progress import Progress
from ._terminal import escaped
from .arguments.parse import ParseArguments

__all__ = ["run"]

_UNREADABLE: Final = "unreadable"
# What is called so in a folder was meant as a capture, whatever it holds.
_CAPTURE_NAME: Final = re.compile(r"\.sse(\.\w+)?$")

_BOM: Final = b"\xef\xbb\xbf"


def run(arguments: ParseArguments) -> bool:
    """Parse each file (`-` is standard input), those of folders and globs too; tell whether all of them were whole.

    A whole message is written as it is. One that isn't stands in an object that says so, and so does all that comes of
    one of several files: `{"file":...,"outcome":...,"error":...,"message":...}`, with an error only if there is one. Each
    of several files has at least one such object; one that holds no message has a message of null, and the outcome
    `unreadable` if there was nothing to read. With `events` these are `{"file":...,"event":...}` for each event, and at
    the end of each file an object with its outcome.
    """
    files = find_files(arguments.files)
    is_one = len(files) == 1 and not files[0].found
    if arguments.pretty is None:
        arguments = arguments._replace(pretty=is_one and not arguments.events and sys.stdout.isatty())
    with Progress(len(files)) as progress:
        whole = []
        for number, file in enumerate(files):
            progress.show(number, file.name)
            whole.append(_Parser(file, arguments, progress, is_one=is_one).parse())
    return all(whole)


class _Parser:
    """One response body on its way from a file to stdout."""

    def __init__(self, file: Named, options: ParseArguments, progress: Progress, *, is_one: bool) -> None:
        self.named = file
        self.body = Body(file.name)
        self.options = options
        self.progress = progress
        self.is_one = is_one
        self.stream = MessageStream(strict=options.strict)
        # How each message stood when the next one began.
        self.outcomes: list[Outcome] = []
        self.number = 0  # of the next event
        self.start = b""  # of the body, as much as tells a foreign format
        self.problems: list[str] = []

    def parse(self) -> bool:
        """Write what there is and say what is wrong; tell whether that is nothing."""
        if self.named.problem is not None:
            self._end_without_message(Unreadable(self.named.problem), _UNREADABLE)
            return False
        pieces = (data for data, _ in self.body.pieces())
        try:
            first = next(pieces, b"")
            if is_document(first):
                self._parse_document(first, pieces)
            else:
                self.stream = MessageStream(decoder=self.body.decoder(strict=self.options.strict))
                self._parse_stream(chain([first], pieces))
        except Unreadable as error:
            self._end_without_message(error, _UNREADABLE)
        return not self.problems

    def _parse_document(self, first: bytes, pieces: Iterator[bytes]) -> None:
        """A body that begins as a JSON object: the answer to a request without `stream`, or a note before events."""
        body = bytearray(first)
        for piece in pieces:
            body += piece
            if len(body) > MAX_MESSAGE_SIZE:
                self.start = bytes(body[:START_SIZE])
                self._end_without_message(LimitExceeded("max_message_size", MAX_MESSAGE_SIZE), Outcome.FAILED.value)
                return
        if has_field_lines(body):
            self._parse_stream(iter([bytes(body)]))
            return
        self.start = bytes(body[:START_SIZE])
        if self.options.events:
            self._end_without_message("a JSON document, which has no events", _UNREADABLE)
            return
        try:
            message = decode_message(bytes(body).removeprefix(_BOM))
        except APIError as error:
            self._end_without_message(error, Outcome.FAILED.value, is_answer=True)
        except StreamError as error:
            self._end_without_message(error, Outcome.FAILED.value)
        else:
            self._write_message(to_json(message), Outcome.COMPLETE)

    def _parse_stream(self, pieces: Iterator[bytes]) -> None:
        unreadable = None
        with suppress(StreamError):  # `stream.fault` has it; the events before it were returned
            try:
                for piece in pieces:
                    self.start += piece[: START_SIZE - len(self.start)]
                    self._take(self._receive(piece))
            except Unreadable as error:
                unreadable = error  # what came before it is shown all the same
            self._take(self.stream.receive_eof())
        self._end_stream(self._fault(unreadable), unreadable)

    def _receive(self, piece: bytes) -> list[StreamEvent]:
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

    def _fault(self, unreadable: Unreadable | None) -> object | None:
        """What ended the stream too early, but for the server's word of it, which was said when it came."""
        if self.stream.fault is not None:
            return self.stream.fault
        if unreadable is not None:
            return unreadable
        try:
            self.stream.result()
        except IncompleteStream as error:
            error.byte_offset = self.body.size  # where the body ends
            return error if self.number else f"there is no event in these {self.body.size} bytes"
        except APIError:
            pass
        return None

    def _end_stream(self, fault: object | None, unreadable: Unreadable | None) -> None:
        messages = self.stream.messages
        if not messages:
            outcome = _UNREADABLE if unreadable is not None else self.stream.outcome.value
            self._end_without_message(fault, outcome, is_answer=bool(self.problems))
            return
        problems = [*self.problems, *([str(fault)] if fault is not None else [])]
        outcomes = [*self.outcomes, self.stream.outcome]
        if not self.options.events:
            for number, message in enumerate(messages):
                is_last = number == len(messages) - 1
                self._write_message(to_json(message), outcomes[number], problems if is_last else [])
        elif not self.is_one:
            self._write_object(outcomes[-1].value, {}, problems)
        self._warn()
        if fault is not None:
            self._complain(fault)

    def _end_without_message(self, problem: object | None, outcome: str, *, is_answer: bool = False) -> None:
        """Say why there is no message, unless that is said: an answer is what the server said instead of one.

        What was never an answer, and lies in a folder with captures, is passed over.
        """
        foreign = None if is_answer else recognized(self.start)
        if foreign is not None and self.named.found and not _CAPTURE_NAME.search(self.named.name):
            if not self.options.quiet:
                self._say(f"note: passed over: {foreign}")
            return
        if foreign is None:
            self._warn()
        else:
            outcome = _UNREADABLE
            problem = foreign.said_of(problem)
        if problem is not None:
            self._complain(problem)
        if not self.is_one:
            nothing: dict[str, object] = {} if self.options.events else {"message": None}
            self._write_object(outcome, nothing, self.problems)

    def _warn(self) -> None:
        if not self.options.quiet:
            for deviation in self.stream.deviations:
                self._say(f"warning: {deviation}")

    def _write_events(self, events: list[StreamEvent]) -> None:
        lines = (to_json(event) for event in events)
        if not self.is_one:
            lines = (msgspec.json.encode({"file": self.body.name, "event": msgspec.Raw(line)}) for line in lines)
        self._write(*lines)

    def _write_message(self, message: bytes, outcome: Outcome, problems: Sequence[str] = ()) -> None:
        """Write a message as it is, or with where it comes from and how it ended: of one of several, and a cut one."""
        if self.is_one and outcome is Outcome.COMPLETE:
            self._write(message)
        else:
            self._write_object(outcome.value, {"message": msgspec.Raw(message)}, problems)

    def _write_object(self, outcome: str, fields: dict[str, object], problems: Sequence[str]) -> None:
        error = {"error": "; ".join(problems)} if problems else {}
        self._write(msgspec.json.encode({"file": self.body.name, "outcome": outcome, **error, **fields}))

    def _write(self, *documents: bytes) -> None:
        if self.options.pretty:
            documents = tuple(msgspec.json.format(document, indent=2) for document in documents)
        data = b"".join(document + b"\n" for document in documents)
        if sys.stdout.isatty():
            data = escaped(data.decode()).encode()
        self.progress.clear()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def _complain(self, problem: object) -> None:
        self.problems.append(str(problem))
        self._say(f"error: {problem}")

    def _say(self, text: str) -> None:
        self.progress.clear()
        line = escaped(f"{self.body.label}: {text}".replace("\n", "\\n")) + "\n"
        sys.stderr.buffer.write(line.encode("utf-8", "surrogateescape"))
        sys.stderr.buffer.flush()
