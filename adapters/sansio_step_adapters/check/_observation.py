"""One answer, read as it comes, by the rules: its head, its bytes, its events, its messages, its times, its end.

It keeps what the rules ask for and where each of the first million events stands, and no more: an answer can be endless.
"""

from __future__ import annotations

import codecs
from array import array
from collections.abc import Mapping
from typing import Any, Final

from sansio_step import (
    APIError,
    DeadlineExceeded,
    DecodeError,
    IncompleteStream,
    LimitExceeded,
    Message,
    MessageStartEvent,
    MessageStopEvent,
    Outcome,
    PingEvent,
    ProtocolViolation,
    StreamError,
    StreamEvent,
    TransportError,
    UnexpectedResponse,
    UnknownEvent,
)

from .._reader import AWS_STREAM, ResponseReader, Wanted
from .._secrets import Mask
from ._event_rules import EVENT_RULES, output_count, text_of
from ._findings import Finding, Tally
from ._head_rules import ERROR_RULES, HEAD_RULES, shown
from ._message_rules import MESSAGE_RULES
from ._times import TIME_RULES, Limits, Place, Times

__all__ = ["Observation"]

_MOST_OF_START: Final = 64 * 1024
_PIECE: Final = 64 * 1024
# What ended the reading, by the code that says so. The first that fits counts.
_ENDS: Final[tuple[tuple[type[StreamError], str], ...]] = (
    (APIError, "api_error"),
    (DecodeError, "undecodable"),
    (LimitExceeded, "limit_exceeded"),
    (UnexpectedResponse, "unexpected_answer"),
    (DeadlineExceeded, "timed_out"),
    (IncompleteStream, "truncated"),
    (TransportError, "truncated"),
)


class Observation:
    """Say what comes, in order: `receive_head` (if the head is known), `receive_data`, `receive_eof`. Ask `findings` any time.

    `wanted` is what was asked for, `ANY` if that is not known. Times are nanoseconds from the request on, None if they are
    not known. With `refusal` the request was wrong on purpose. Places are kept of the first `most_places` events: of later
    ones, what the end shows has neither byte nor time.
    """

    def __init__(
        self,
        source: str,
        *,
        wanted: Wanted = Wanted.ANY,
        limits: Limits | None = None,
        mask: Mask | None = None,
        refusal: bool = False,
        most_places: int = 1 << 20,
    ) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.start = b""
        """The first 64 KiB of the body."""
        self.size = 0
        """Bytes of the body so far."""
        self.output_tokens: int | None = None
        """The count of output tokens that the message gave last."""
        self.has_deltas = False
        """Whether any text of the message came in a delta."""
        self.over = False
        self.tally = Tally(source)
        self._wanted, self._refusal = wanted, refusal
        self._mask = mask or Mask()
        self._is_aws = False
        self._made: ResponseReader | None = None
        self._times = Times(limits or Limits())
        self._is_timed = False
        self._event_start = 0
        self._line_end = b"\n"  # what the last piece of a line ended with, nothing in the middle of one
        self._events = 0
        self._most_places = most_places
        self._starts, self._moments = array("Q"), array("q")
        self._judged: Message | None = None
        self._utf8 = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    @property
    def is_stream(self) -> bool:
        """Whether the body is an event stream, as far as it came."""
        return self._reader.is_stream

    @property
    def message(self) -> Message | None:
        """The last message, if it is whole."""
        return self._reader.message if self._reader.outcome is Outcome.COMPLETE else None

    @property
    def usage_is_final(self) -> bool:
        """Whether an output count came with the stop_reason or after it."""
        return self._reader.usage_is_final

    @property
    def error(self) -> StreamError | None:
        """What is wrong with the answer as a whole, once it is over."""
        return self._reader.error

    @property
    def findings(self) -> list[Finding]:
        """What is found so far, the worst first; what only the end shows comes with the end."""
        tally = self.tally
        if not self.over and self._made is not None:
            tally = tally.copy()
            self._add_deviations(tally)
        return tally.findings()

    def receive_head(
        self, status: int | None, headers: Mapping[str, str], ns: int | None = None, *, is_aws: bool = False
    ) -> None:
        """The head, with the names of its headers in lower case; `is_aws` if the body was seen to be in AWS frames."""
        self.status, self.headers, self._is_aws = status, dict(headers), is_aws
        if ns is not None:
            self._times.head(ns)

    def receive_data(self, data: bytes, ns: int | None = None) -> None:
        """Bytes of the body, their content coding undone."""
        if ns is not None:
            self._is_timed = True
            self._times.read(Place(self._events, self.size, ns))
        for at in range(0, len(data), _PIECE):
            self._read(data[at : at + _PIECE], ns)

    def receive_nothing(self, error: StreamError) -> None:
        """There is no answer at all, not even a head."""
        self.over = True
        cause = error.__cause__
        more = f": {cause}" if isinstance(cause, OSError) and str(cause) not in error.reason else ""
        hangs = isinstance(error, DeadlineExceeded) and error.name != "connect"
        self.tally.add("timed_out" if hangs else "no_answer", self._mask.text(f"{error.reason}{more}"))

    def receive_eof(self, ns: int | None = None, broken: StreamError | None = None) -> None:
        """No more is read; `broken` is what ended it, None if the body has ended."""
        self.over = True
        reader = self._reader
        for event in reader.receive_eof(broken):
            self._take(event, ns)
        message = reader.message
        if message is not None and reader.outcome is Outcome.COMPLETE and message is not self._judged:
            self._judge(message)
        self._add_end()
        self._add_deviations(self.tally)
        # A document has nothing to say before it is whole.
        if self._is_timed and ns is not None and self.is_stream:
            end = Place(self._events, self.size, ns)
            self._times.end(end)
            for code, rule in TIME_RULES.items():
                found = rule(self._times, end)
                if found is not None:
                    self.tally.add(code, found.detail, count=found.often, **found.place._asdict())
        if self.headers:
            rules = HEAD_RULES if self.status is None or self.status < 400 else HEAD_RULES | ERROR_RULES
            for code, judge in rules.items():
                self._add(code, judge(self))

    @property
    def _reader(self) -> ResponseReader:
        if self._made is None:
            headers = {name: value for name, value in self.headers.items() if name != "content-encoding"}
            if self._is_aws:
                headers["content-type"] = AWS_STREAM
            elif headers.get("content-type", "").startswith(AWS_STREAM):
                del headers["content-type"]  # its events were saved without their frames
            self._made = ResponseReader(self.status or 200, headers, wanted=self._wanted, mask=self._mask)
        return self._made

    def _read(self, data: bytes, ns: int | None) -> None:
        reader = self._reader
        if len(self.start) < _MOST_OF_START:
            self.start += data[: _MOST_OF_START - len(self.start)]
        if not self._is_aws:
            self._check_utf8(data, ns)
        # An event ends at a line end: line by line it shows which bytes are whose. AWS's frames have no lines.
        for line in (data,) if self._is_aws else data.splitlines(keepends=True):
            self.size += len(line)
            events = reader.receive_data(line)
            for event in events:
                self._take(event, ns)
            if events or self._is_blank(line):
                self._event_start = self.size

    def _is_blank(self, line: bytes) -> bool:
        """Whether a line ends a frame, be it one of comments."""
        before, self._line_end = self._line_end, line[-1:] if line[-1:] in b"\r\n" else b""
        if line == b"\n" and before == b"\r":  # the rest of a line end that a read has cut, be it a blank line's
            return self._event_start == self.size - 1
        return line in (b"\n", b"\r\n", b"\r") and before != b""

    def _check_utf8(self, data: bytes, ns: int | None) -> None:
        place = self.size - len(self._utf8.getstate()[0])
        text = self._utf8.decode(data)
        if text.isascii():
            return
        wrong = [at for at, mark in enumerate(text) if "\udc80" <= mark <= "\udcff"]
        if wrong:
            offset = place + len(text[: wrong[0]].encode("utf-8", "surrogateescape"))
            byte = ord(text[wrong[0]]) - 0xDC00
            self.tally.add("invalid_utf8", f"the byte 0x{byte:02x}", byte_offset=offset, ns=ns, count=len(wrong))

    def _take(self, event: StreamEvent, ns: int | None) -> None:
        place: dict[str, Any] = {
            "event_number": self._events,
            "byte_offset": self._offset_of(self._event_start),
            "ns": ns,
        }
        for code, rule in EVENT_RULES.items():
            detail = rule(self, event)
            if detail is not None:
                self.tally.add(code, self._mask.text(detail), **place)
        if self._events < self._most_places:
            self._starts.append(self._event_start)
            self._moments.append(-1 if ns is None else ns)
        self._events += 1
        if isinstance(event, MessageStartEvent):
            self.output_tokens, self.has_deltas = None, False
        count = output_count(event)
        self.output_tokens = self.output_tokens if count is None else count
        self.has_deltas = self.has_deltas or text_of(event) != ""
        if ns is not None and not isinstance(event, (PingEvent, UnknownEvent)):
            at = Place(place["event_number"], self._event_start, ns)
            self._times.content(at, len(text_of(event)), is_stop=isinstance(event, MessageStopEvent))
        message = self._reader.message
        if isinstance(event, MessageStopEvent) and message is not None and message is not self._judged:
            self._judge(message)

    def _judge(self, message: Message) -> None:
        self._judged = message
        number = max(self._events - 1, 0) if self.is_stream else None
        for code, rule in MESSAGE_RULES.items():
            detail = rule(self, message)
            if detail is not None:
                self.tally.add(code, self._mask.text(detail), **self._place_of(number))

    def _add_end(self) -> None:
        """What the end shows: an answer that is not whole, or not what was asked for."""
        error = self.error
        if self._reader.unapplied:
            index, delta = self._reader.unapplied[0]
            detail = f"{shown(delta.type)} for block {index}"
            self.tally.add("unapplied_delta", self._mask.text(detail), count=len(self._reader.unapplied))
        if self._refusal and (self.is_stream or error is None):
            failed = ", and says that it failed in an event" if isinstance(error, APIError) else ""
            self.tally.add("not_refused", f"it is answered under status {self.status}{failed}")
            return
        if self._refusal and isinstance(error, APIError):
            if self.status != 400:
                self.tally.add("wrong_status", f"status {self.status} for a request that is wrong")
            return
        if error is None:
            if self._wanted is Wanted.MESSAGE and self.is_stream:
                self.tally.add("unexpected_answer", "an event stream where a document was asked for")
            return
        code = next((code for kind, code in _ENDS if isinstance(error, kind)), None)
        if isinstance(error, ProtocolViolation):
            code = error.code
        assert code is not None, "every error of a reader has a code"
        # What ends a stream without a word about an event ends it before the next one.
        number = self._events if error.event_number is None and self.is_stream else error.event_number
        place = self._place_of(number)
        if error.byte_offset is not None:
            place["byte_offset"] = error.byte_offset
        self.tally.add(code, self._said(error), **place)

    def _said(self, error: StreamError) -> str:
        if isinstance(error, UnexpectedResponse) and self.status is None:
            # Its words have a status, which nobody knows here.
            start = self.start[:200].decode("utf-8", "replace")
            return f"no stream, no message: {shown(start)}" if start else "an empty body"
        reason = error.reason
        if isinstance(error, ProtocolViolation):
            reason = reason.removeprefix(f"{error.code}: ")
        cause = error.__cause__
        return f"{reason}: {cause.reason}" if isinstance(cause, StreamError) else reason

    def _add_deviations(self, tally: Tally) -> None:
        for deviation in self._reader.deviations:
            place = self._place_of(deviation.event_number)
            tally.add(deviation.code, deviation.detail, count=deviation.count, **place)

    def _add(self, code: str, detail: str | None) -> None:
        if detail is not None:
            self.tally.add(code, self._mask.text(detail))

    def _place_of(self, number: int | None) -> dict[str, Any]:
        if number is None:
            return {}
        if number >= len(self._starts):  # only the end shows it, or it is the event at fault, which is not given
            return {
                "event_number": number,
                "byte_offset": self._offset_of(self._event_start) if number == self._events else None,
            }
        ns = self._moments[number]
        place = {"event_number": number, "byte_offset": self._offset_of(self._starts[number])}
        return place | {"ns": None if ns < 0 else ns}

    def _offset_of(self, start: int) -> int | None:
        return None if self._is_aws else start
