"""Every error that the library raises about a stream, all under `StreamError`.

    StreamError
    ├── DecodeError          bytes that can't be read as an event
    ├── LimitExceeded        an event or a message larger than allowed
    ├── ProtocolViolation    readable, but against the protocol (strict mode; a spliced message always)
    ├── IncompleteStream     the stream ended, or has not ended yet, without a whole message
    ├── APIError             the server said that it failed
    ├── ToolInputError       tool arguments that are broken or not finished (a ValueError too)
    └── TransportError       the connection under the stream failed; raised by the adapters
        ├── ConnectError         no connection could be made
        ├── ConnectionLost       it broke while the response was on its way
        ├── DeadlineExceeded     a time limit passed
        └── UnexpectedResponse   an answer that is no event stream

A wrong argument or a wrong call is a TypeError or a ValueError, never one of these.
"""

from __future__ import annotations

import re
from reprlib import Repr
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._message import Message


class StreamError(Exception):
    """Base of all errors about a stream.

    `event_number` counts dispatched frames from 0. `byte_offset` is where the frame at fault starts in
    the body. `partial` is the message as far as it came. Each is None where it is not known.
    """

    event_number: int | None = None
    byte_offset: int | None = None
    partial: Message | None = None

    def __init__(self, reason: str) -> None:
        reason = escaped(reason)
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        where = []
        if self.event_number is not None:
            where.append(f"event {self.event_number}")
        if self.byte_offset is not None:
            where.append(f"byte {self.byte_offset}")
        return f"{self.reason} ({', '.join(where)})" if where else self.reason

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls cls(*args), which a subclass with more arguments doesn't survive.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[StreamError], args: tuple[Any, ...], state: dict[str, Any]) -> StreamError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class DecodeError(StreamError):
    """The bytes of one event can't be read: broken JSON, a known field of a wrong type, nesting too deep."""


class LimitExceeded(StreamError):
    """Something grew over its limit. `name` is the limit's keyword argument, `limit` its value in bytes."""

    def __init__(self, name: str, limit: int) -> None:
        super().__init__(f"more than {limit} bytes ({name})")
        self.name = name
        self.limit = limit


class ProtocolViolation(StreamError):
    """The stream departs from the protocol; `code` names how, as `Deviation.code` does in lenient mode."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {shown(detail)}")
        self.code = code


class IncompleteStream(StreamError):
    """There is no whole message: the stream broke off, or is still on its way. See `partial`."""


class APIError(StreamError):
    """The server reported a failure, by an error status or by an `error` event inside a stream.

    `type` and `message` are the server's words (None where it gave none), `request_id` and `status`
    are known for a response with headers. `retryable` tells whether the same request may succeed later;
    it does not know whether content was already delivered, after which nothing should be retried.
    """

    def __init__(
        self,
        type: str | None = None,
        message: str | None = None,
        *,
        request_id: str | None = None,
        status: int | None = None,
    ) -> None:
        named = f"{status} " if status is not None else ""
        super().__init__(f"{named}{shown(type or 'error')}: {shown(message or 'no message given')}")
        self.type = type
        self.message = message
        self.request_id = request_id
        self.status = status

    @property
    def retryable(self) -> bool:
        """408, 409, 429 and 5xx (529 among them); without a status, the error types that stand for those."""
        if self.status is not None and self.status >= 400:
            return self.status in (408, 409, 429) or self.status >= 500
        return self.type in _RETRYABLE_TYPES


_RETRYABLE_TYPES = frozenset({"rate_limit_error", "api_error", "timeout_error", "overloaded_error"})


class ToolInputError(StreamError, ValueError):
    """Tool arguments that are no whole JSON object.

    `input_json` is the raw text; `position` is where it breaks, in characters (its length where the
    text is cut short or the block is not finished).
    """

    def __init__(self, reason: str, input_json: str, position: int) -> None:
        super().__init__(f"{reason} (character {position} of {len(input_json)})")
        self.input_json = input_json
        self.position = position


class TransportError(StreamError):
    """The connection under the stream failed. The core never raises it, the adapters do."""


class ConnectError(TransportError):
    """No connection could be made: name resolution, TCP, TLS or a proxy refused."""


class ConnectionLost(TransportError):
    """The connection broke before the response was whole."""


class DeadlineExceeded(TransportError):
    """A time limit passed.

    `name` is which one (`connect`, `first_event`, `idle`, `stall`, `after_stop`, `total`), `seconds` its length.
    """

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(f"deadline {name!r} of {seconds:g} seconds passed")
        self.name = name
        self.seconds = seconds


class UnexpectedResponse(TransportError):
    """The answer is no event stream: HTML, a redirect, an empty body.

    `status`, `content_type` and `start` (the first bytes of the body) say what came instead. `partial`
    is the message where the body was a whole Message in JSON. `retryable`: nothing came at all, as from a
    server that went down; the same request may succeed later.
    """

    def __init__(
        self, reason: str, *, status: int, content_type: str, start: bytes = b"", retryable: bool = False
    ) -> None:
        came = f"{start[:60]!r}..." if len(start) > 60 else repr(start)
        super().__init__(f"{reason}: status {status}, content type {quoted(content_type or 'none', 300)}, body {came}")
        self.status = status
        self.content_type = content_type
        self.start = start
        self.retryable = retryable


# What moves the cursor, starts an escape sequence, ends a line or turns the order of letters around: C0, DEL, C1, the
# line separators, the marks and overrides of bidirectional text. Halves of characters, which no encoding takes.
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def escaped(text: str) -> str:
    """A text on one line, its control characters as Python writes them in a str.

    A server's words end up in terminals and logs, where an escape sequence is a command and a line end a forged entry.
    """
    return _UNSHOWN.sub(lambda mark: repr(mark[0])[1:-1], text)


def shown(text: str, most: int = 300) -> str:
    """A text of the server's, as much of it as a log can take, escaped."""
    text = escaped(text[: most + 1])  # first: an escape is up to six characters
    return text if len(text) <= most else f"{text[:most]}..."


def quoted(text: str, most: int) -> str:
    """The start of a text in quotes, with a mark if that is not all of it."""
    return repr(text) if len(text) <= most else f"{text[:most]!r}..."


class _Short(Repr):
    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write more than 4,300 digits.
        return f"an integer of {x.bit_length()} bits" if x.bit_length() > 1000 else super().repr_int(x, level)


_short = _Short()
_short.maxstring = 80
_short.maxother = 240
_short.maxlevel = 3
short_repr = _short.repr
"""As `repr`, of a value of any size: it ends up in logs and tracebacks."""
