"""Every error that the library raises about a stream, all under `StreamError`.

    StreamError
    ├── DecodeError          bytes that can't be read as an event
    ├── LimitExceeded        an event or a message larger than allowed
    ├── ProtocolViolation    readable, but against the protocol (strict mode; a spliced message always)
    ├── IncompleteStream     no whole message: the stream broke off, or has not ended yet
    ├── APIError             the server said that it failed
    ├── ToolInputError       tool arguments that are broken or not finished (a ValueError too)
    └── TransportError       the connection under the stream failed; raised by the adapters
        ├── ConnectError         no connection could be made
        ├── ConnectionLost       the connection broke while the response was on its way
        ├── DeadlineExceeded     a time limit passed
        └── UnexpectedResponse   an answer that is not an event stream

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

    `event_number` counts events from 0; several in one frame have a number each. `byte_offset` is where the frame at
    fault starts in the body. `partial` is the message as far as it came. Each is None if it is not known.
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
        # The default calls cls(*args), which fails for a subclass with more arguments.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[StreamError], args: tuple[Any, ...], state: dict[str, Any]) -> StreamError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


class DecodeError(StreamError):
    """The bytes of one event can't be read: broken JSON, a known field of a wrong type, nesting too deep."""


class LimitExceeded(StreamError):
    """Something grew over its limit. `name` is the keyword argument that sets the limit, `limit` its value in bytes."""

    def __init__(self, name: str, limit: int) -> None:
        super().__init__(f"more than {limit} bytes ({name})")
        self.name = name
        self.limit = limit


class ProtocolViolation(StreamError):
    """The stream departs from the protocol. `code` names how, as `Deviation.code` does in lenient mode."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {shown(detail)}")
        self.code = code


class IncompleteStream(StreamError):
    """There is no whole message: the stream broke off, or is still on its way. See `partial`."""


class APIError(StreamError):
    """The server reported a failure, by an error status or by an `error` event inside a stream.

    `type` and `message` are the server's words. `code` is its more exact name for the failure, for programs to branch
    on: the `error_code` of `details`, or the `code` that other vendors put into the error object or beside it. A number
    stays a number. `details` is the JSON object of that name. `request_id` and `status` are known for a response with
    headers. Each of these is None if the server did not give it.

    `extra` keeps everything else as it came: the envelope's other fields, and under "error" those of the error object.
    `{"error": {"message": "m", "param": "p"}, "trace": "t"}` leaves `{"trace": "t", "error": {"param": "p"}}`. A field
    of a wrong type is kept there too.
    """

    def __init__(
        self,
        type: str | None = None,
        message: str | None = None,
        *,
        code: str | int | None = None,
        details: dict[str, Any] | None = None,
        extra: dict[str, Any] | None = None,
        request_id: str | None = None,
        status: int | None = None,
    ) -> None:
        words = [] if status is None else [str(status)]
        named = code is not None and code != status  # some write the status into the body, too: it is said once
        words += [] if type is None and named else [shown(type or "error")]
        if named and code != type:
            words.append(shown(code, 80) if isinstance(code, str) else short_repr(code))
        super().__init__(f"{' '.join(words)}: {shown(message or 'no message given')}")
        self.type = type
        self.message = message
        self.code = code
        self.details = details
        self.extra: dict[str, Any] = {} if extra is None else extra
        self.request_id = request_id
        self.status = status

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later.

        The first of these that applies decides:

        1. `isRetryable`, true or false, in the error object or beside it: the server's own word on this failure.
        2. A type or code that names a spend limit, billing or a used-up quota. No wait helps, whatever the status:
           only money or a person lifts such a limit. The first party sends `contract_spend_limit_reached` with a 429.
        3. A status of 400 or more: failures with 408, 409, 429 and 5xx (529 among them) may pass, the others stay.
        4. If there is no such status, as in a stream that began with 200: the types and codes that stand for failures
           that may pass, in the spelling of the first party, of other vendors and of Bedrock's exceptions.

        The property does not know whether content was already delivered. After that, nothing should be retried.
        """
        for place in (self.extra.get("error"), self.extra):
            word = place.get("isRetryable") if isinstance(place, dict) else None
            if isinstance(word, bool):
                return word
        names = [name for name in (self.type, self.code) if isinstance(name, str)]
        if any(map(_OF_MONEY.search, names)):
            return False
        if self.status is not None and self.status >= 400:
            return self.status in (408, 409, 429) or self.status >= 500
        return not _RETRYABLE.isdisjoint(names)


# The first party has three spend limits so far: of the contract, of the tier and of the linked organization. Vendors
# have their own names for an empty account. The word "quota" alone is not enough, since some quotas are per minute.
_OF_MONEY = re.compile("spend_limit|billing|quota_exceeded|quota_exhausted|insufficient_(?:quota|balance|credit|funds)")

_RETRYABLE = frozenset({
    "rate_limit_error", "api_error", "timeout_error", "overloaded_error",
    "rate_limit_exceeded", "server_error", "internal_error", "internal_server_error", "service_unavailable",
    "engine_overloaded", "model_overloaded",
    "internalServerException", "modelStreamErrorException", "throttlingException", "serviceUnavailableException",
    "modelTimeoutException",
})  # fmt: skip


class ToolInputError(StreamError, ValueError):
    """Tool arguments that are not a whole JSON object, or not of the type that they were asked for as.

    `what` says what is wrong, `input_json` is the raw text. `position` is where it breaks, in characters; it is the
    length of the text if the text is cut short or the block is not finished. `path` names the value that is not of its
    type, as in `$.places[2].name`. `position` is then where that value starts, or None if the arguments came without a
    text.
    """

    def __init__(self, reason: str, input_json: str, position: int | None, path: str | None = None) -> None:
        where = "" if position is None else f" (character {position} of {len(input_json)})"
        super().__init__(reason + where)
        self.what = reason
        self.input_json = input_json
        self.position = position
        self.path = path


class TransportError(StreamError):
    """The connection under the stream failed. The core never raises it; the adapters do."""


class ConnectError(TransportError):
    """No connection could be made: name resolution, TCP, TLS or a proxy failed."""


class ConnectionLost(TransportError):
    """The connection broke before the response was whole."""


class DeadlineExceeded(TransportError):
    """A time limit passed.

    `name` says which one: `connect`, `first_event`, `idle`, `stall`, `after_stop`, `caller` or `total`. `seconds` is
    its length.
    """

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(f"deadline {name!r} of {seconds:g} seconds passed")
        self.name = name
        self.seconds = seconds


class UnexpectedResponse(TransportError):
    """The answer is not an event stream: HTML, a redirect, an empty body.

    `status`, `content_type` and `start` (the first bytes of the body) say what came instead. `partial`
    is the message if the body was a whole Message in JSON. `retryable` is true if nothing came at all, as from a
    server that went down: the same request may succeed later.
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


# Characters that move the cursor, start an escape sequence, end a line or reverse the order of letters: C0, DEL, C1,
# the line separators, and the marks and overrides of bidirectional text. Surrogate halves too, since no encoding takes
# them.
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def escaped(text: str) -> str:
    """A text on one line. Control characters are written as Python writes them in the repr of a str.

    A server's words end up in terminals and logs. There an escape sequence is a command, and a line end can forge an
    entry.
    """
    return _UNSHOWN.sub(lambda mark: repr(mark[0])[1:-1], text)


def shown(text: str, most: int = 300) -> str:
    """The start of a server's text, escaped and no longer than a log can take."""
    text = escaped(text[: most + 1])  # cut before and after, since an escape takes up to six characters
    return text if len(text) <= most else f"{text[:most]}..."


def quoted(text: str, most: int) -> str:
    """The start of a text in quotes, followed by "..." if the text is longer."""
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
"""Like `repr`, but short for a value of any size, because the result ends up in logs and tracebacks."""
