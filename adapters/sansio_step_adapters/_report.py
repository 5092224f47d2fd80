"""The report of a gateway's call, and the observer that reads along to fill it. No I/O."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

from sansio_step import (
    APIError,
    ConnectionLost,
    DecodeError,
    Deviation,
    LimitExceeded,
    Message,
    Outcome,
    ProtocolViolation,
    StreamError,
    StreamEvent,
    TransportError,
    UnexpectedResponse,
    Usage,
)

from ._coding import CodingError
from ._reader import AWS_STREAM, ResponseReader, Wanted, request_id
from ._secrets import Mask


@dataclass
class Report:
    """What one call came to. Times are seconds since the request came in; None if it didn't get so far."""

    path: str
    method: str = "POST"
    # What ASGI knows of the request: middleware leaves in its `state` who called.
    scope: MutableMapping[str, Any] = field(default_factory=dict, repr=False)
    # The upstream's, None if it gave none; its headers with names in lower case.
    status: int | None = None
    response_headers: dict[str, str] = field(default_factory=dict, repr=False)
    # Whether the answer was an event stream; a document's message is read as well.
    streamed: bool = False
    # All messages of the answer, each with its usage: one response can carry several, and each of them is billed.
    messages: list[Message] = field(default_factory=list, repr=False)
    outcome: Outcome | None = None
    deviations: list[Deviation] = field(default_factory=list)
    # What is wrong with the answer, or what broke under it.
    error: StreamError | None = None
    # Whether there was a body that can't be read here: its coding or its format is unknown or broken.
    unreadable: bool = False
    # Whether the caller went away before the end.
    disconnected: bool = False
    # Whether `usage` is what the last message cost: an output count came with the stop_reason or after it. Of a message
    # that broke off it is a placeholder, or a running count.
    usage_is_final: bool = False
    response_bytes: int = 0
    head_after: float | None = None
    first_event_after: float | None = None
    ended_after: float | None = None

    @property
    def message(self) -> Message | None:
        """The last message, as far as it came."""
        return self.messages[-1] if self.messages else None

    @property
    def usage(self) -> Usage | None:
        """The tokens that the last message tells, as far as it came."""
        return self.message.usage if self.message is not None else None

    @property
    def request_id(self) -> str | None:
        """The upstream's id of the request, by `request-id`, `x-request-id` or `x-trace-id`."""
        return request_id(self.response_headers)


class Observer:
    """Reads along if the call is one that is `read`, and fills the report."""

    def __init__(self, report: Report, mask: Mask, *, read: bool, now: float) -> None:
        self.report = report
        self._mask = mask
        self._read = read
        self._began = now
        self._reader: ResponseReader | None = None
        # What kept the response from coming, or from going on.
        self.lost: TransportError | None = None

    def head(self, status: int, headers: dict[str, str], now: float) -> None:
        """The response's head came."""
        report = self.report
        report.status, report.response_headers, report.head_after = status, headers, now - self._began
        # Until the body shows it. Not every server that streams says so, and some say so of a document.
        report.streamed = headers.get("content-type", "").lower().startswith(("text/event-stream", AWS_STREAM))
        if self._read:
            self._reader = ResponseReader(status, headers, wanted=Wanted.ANY, mask=self._mask)

    def body(self, data: bytes, now: float) -> list[StreamEvent] | None:
        """The events in these bytes, or in the first of them; None if nothing can be read there any more, or ever."""
        self.report.response_bytes += len(data)
        if self._reader is None or self._reader.finished:
            return None
        events = self._reader.receive_data(data)
        if events and self.report.first_event_after is None:
            self.report.first_event_after = now - self._began
        return events

    @property
    def flowing(self) -> bool:
        """Whether a stream that is read has begun and goes on, and bytes of it become events at once."""
        return self._reader is not None and self._reader.flowing

    @property
    def pending(self) -> bool:
        """Whether the bytes that came last hold more, to be had by `body(b"")`."""
        return self._reader is not None and self._reader.pending

    def failed(self, error: TransportError) -> None:
        """The response won't go on, or never came. Hides secrets in the error, before it goes anywhere."""
        self.lost = self._mask.error(error)

    def settled(self) -> bool:
        """Whether the caller needs no word about the break: it has a whole message, or an error event."""
        if self._reader is None:
            return False
        self._reader.receive_eof(self.lost)
        return self._reader.outcome is Outcome.COMPLETE or isinstance(self._reader.error, APIError)

    def ended(self, now: float) -> Report:
        """The call is over."""
        report, reader = self.report, self._reader
        report.ended_after = now - self._began
        report.error = self.lost
        if reader is None:
            return report
        report.streamed = reader.is_stream or (report.streamed and report.response_bytes == 0)
        gone = ConnectionLost("the caller went away") if report.disconnected else None
        reader.receive_eof(self.lost or gone)
        report.error = error = reader.error
        report.outcome, report.deviations = reader.outcome, reader.deviations
        report.messages, report.usage_is_final = reader.messages, reader.usage_is_final
        strange = isinstance(error, (UnexpectedResponse, DecodeError, LimitExceeded, ProtocolViolation))
        report.unreadable = report.response_bytes > 0 and (strange or _is_coding_error(error))
        return report


def _is_coding_error(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, CodingError):
        error = error.__cause__
    return error is not None
