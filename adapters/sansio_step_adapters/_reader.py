"""What a response says, from its head and the bytes of its body: events and a message, or a typed error. No I/O."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterable
from typing import Final

from sansio_step import (
    APIError,
    ConnectionLost,
    IncompleteStream,
    LimitExceeded,
    Message,
    MessageStream,
    Outcome,
    StreamError,
    StreamEvent,
    TransportError,
    UnexpectedResponse,
    decode_error,
    decode_message,
)

from ._coding import CodingError, content_decoder

MAX_EVENT_SIZE: Final = 16 * 1024 * 1024
MAX_MESSAGE_SIZE: Final = 64 * 1024 * 1024
MAX_RESPONSE_SIZE: Final = 1024 * 1024 * 1024

# What is read of a body that is only good for an error's text.
_MOST_OF_AN_ERROR: Final = 64 * 1024
# What an error shows of a body.
_SHOWN: Final = 200
_BLANK: Final = b" \t\r\n"
_FIELDS: Final = (b":", b"data:", b"event:", b"id:", b"retry:")


class _Kind(enum.Enum):
    UNKNOWN = "unknown"  # not enough of the body yet
    STREAM = "stream"
    DOCUMENT = "document"
    ERROR = "error"


class ResponseReader:
    """One response, read as it comes.

    Feed the body's bytes, still in their content coding, to `receive_data`, and say `receive_eof` at the end, with what
    broke the transport if something did. Once `finished`, nothing that may follow is of interest; `error` is then what
    is wrong (None: nothing), to be raised behind the last event, and `result()` gives the message or raises.
    `streaming` is what was asked for, None where either will do.
    """

    def __init__(
        self,
        status: int,
        headers: dict[str, str],
        *,
        streaming: bool | None = True,
        strict: bool = False,
        max_event_size: int = MAX_EVENT_SIZE,
        max_message_size: int = MAX_MESSAGE_SIZE,
        max_response_size: int = MAX_RESPONSE_SIZE,
        secrets: Iterable[str] = (),
    ) -> None:
        self.status = status
        self.headers = headers
        self.stream = MessageStream(strict=strict, max_event_size=max_event_size, max_message_size=max_message_size)
        self.finished = False
        self.error: StreamError | None = None
        # What went wrong below the stream, even where the message was whole by then.
        self.transport_error: TransportError | None = None
        self._streaming = streaming
        self._max_message_size = max_message_size
        self._max_response_size = max_response_size
        # Some servers repeat a refused key in their answer: no error shows it.
        self._secrets = tuple(filter(None, secrets))
        # What is kept of a body that is only shown: a secret in it has to be whole to be found.
        self._kept = _SHOWN + max(map(len, self._secrets), default=0)
        self._kind = _Kind.UNKNOWN if 200 <= status < 300 else _Kind.ERROR
        self._type = headers.get("content-type", "")
        self._says_stream = self._type.split(";")[0].strip().lower() == "text/event-stream"
        self._size = 0  # decoded bytes so far
        self._document = bytearray()  # the body, or the start of it while its kind is not known
        self._any_event = False
        self._whole: Message | None = None  # the message of a document
        self._decoder = None
        try:
            self._decoder = content_decoder(headers.get("content-encoding", ""))
        except CodingError as error:
            self._finish(self._wrong_coding(error))

    def receive_data(self, data: bytes) -> list[StreamEvent]:
        """The events that these bytes complete."""
        events: list[StreamEvent] = []
        if self._decoder is None:
            if data:
                self._receive(data, events)
            return events
        try:
            for piece in self._decoder.decode(data):
                self._receive(piece, events)
                if self.finished:
                    break
        except CodingError as error:
            events += self._finish(self._wrong_coding(error))
        return events

    def receive_eof(self, broken: StreamError | None = None) -> list[StreamEvent]:
        """The body has ended, or `broken` ended it. Returns the events that this completes, often none."""
        if broken is None and self._decoder is not None and not self._decoder.whole:
            broken = ConnectionLost("the body ended inside its content coding")
        return self._finish(broken)

    def result(self) -> Message:
        """The finished message; raises what is wrong where there is none, with what there is as `error.partial`."""
        if self._whole is not None and self.error is None:
            return self._whole
        if self.error is not None and not (self._streaming is not False and self.stream.outcome is Outcome.COMPLETE):
            raise self.error
        return self.stream.result()

    @property
    def is_stream(self) -> bool:
        """Whether the body is an event stream, as far as can be told yet."""
        return self._kind is _Kind.STREAM

    @property
    def message(self) -> Message | None:
        """The message as far as it came, of a stream or a document."""
        return self._whole or self.stream.message

    @property
    def outcome(self) -> Outcome:
        """As `MessageStream.outcome`; FAILED also for a response that was refused here."""
        if self._whole is not None and self.error is None:
            return Outcome.COMPLETE
        outcome = self.stream.outcome
        refused = self.error is not None and not isinstance(self.error, (IncompleteStream, TransportError))
        return Outcome.FAILED if refused and outcome is not Outcome.COMPLETE else outcome

    def _receive(self, piece: bytes, events: list[StreamEvent]) -> None:
        if self.finished:
            return
        room = self._max_response_size - self._size
        self._size += len(piece)
        self._read(piece[:room], events)
        if self._size > self._max_response_size and not self.finished:
            events += self._finish(LimitExceeded("max_response_size", self._max_response_size))

    def _read(self, piece: bytes, events: list[StreamEvent]) -> None:
        if self._kind is _Kind.UNKNOWN:
            self._document += piece
            self._kind = self._sniff()
            piece = bytes(self._document)
        elif self._kind is not _Kind.STREAM:
            self._document += piece
        elif not self._any_event:
            # The start is kept until there is an event, in case that none comes of it.
            self._document += piece[: max(self._kept - len(self._document), 0)]
        if self._kind is _Kind.STREAM:
            self._read_stream(piece, events)
        elif len(self._document) > self._most():
            if self._kind is _Kind.DOCUMENT and not self._streaming:
                events += self._finish(LimitExceeded("max_message_size", self._max_message_size))
            else:
                events += self._finish(None)

    def _read_stream(self, piece: bytes, events: list[StreamEvent]) -> None:
        try:
            new = self.stream.receive_data(piece)
        except StreamError:
            new = []
        if new:
            if not self._any_event:
                self._any_event = True
                self._document.clear()
            events += new
        if self.stream.fault is not None:
            events += self._finish(None)

    def _sniff(self) -> _Kind:
        """What kind of body begins so.

        The content type alone can't tell: gateways answer a streaming request with a document under
        text/event-stream, and others stream under text/plain or no type at all.
        """
        start = bytes(self._document).removeprefix(b"\xef\xbb\xbf").lstrip(_BLANK)
        if not start:
            if len(self._document) <= 1024:
                return _Kind.UNKNOWN
            return _Kind.STREAM if self._says_stream else _Kind.DOCUMENT
        if start[:1] in (b"{", b"[", b"<"):
            return _Kind.DOCUMENT
        if self._says_stream or start.startswith(_FIELDS):
            return _Kind.STREAM
        maybe = any(field.startswith(start) for field in _FIELDS) or b"\xef\xbb\xbf".startswith(start)
        return _Kind.UNKNOWN if maybe else _Kind.DOCUMENT

    def _most(self) -> int:
        is_json = self._kind is not _Kind.ERROR and self._document.lstrip(_BLANK)[:1] == b"{"
        return self._max_message_size if is_json else _MOST_OF_AN_ERROR

    def _finish(self, broken: StreamError | None) -> list[StreamEvent]:
        """The end, however it came: settle what the error is. Returns the last events."""
        if self.finished:
            return []
        self.finished = True
        if isinstance(broken, TransportError):
            self.transport_error = broken
        for secret in self._secrets:
            for spelt in (secret, secret.replace("/", "\\/")):  # the latter as PHP's JSON has it
                self._document = self._document.replace(spelt.encode("latin-1"), b"***")
        if self._kind is _Kind.ERROR:
            self.error = self._status_error(bytes(self._document))
            return []
        if self._kind is not _Kind.STREAM and not (self._says_stream and not self._document):
            self._finish_document(broken)
            return []
        events: list[StreamEvent] = []
        with contextlib.suppress(StreamError):  # the stream's fault, which `_stream_error` finds
            events = self.stream.receive_eof()
        self._any_event = self._any_event or bool(events)
        self.error = self._stream_error(broken)
        return events

    def _stream_error(self, broken: StreamError | None) -> StreamError | None:
        if self.stream.fault is not None:
            return self.stream.fault
        if not self._any_event and not isinstance(broken, LimitExceeded):
            return broken or self._unexpected("a stream without a single event" if self._document else "an empty body")
        if isinstance(broken, LimitExceeded):
            broken.partial = self.stream.message
            return broken
        if self._streaming is False:
            refused = self._unexpected("an event stream where one document was asked for")
            refused.partial = self.stream.message if self.stream.outcome is Outcome.COMPLETE else None
            return refused
        try:
            self.stream.result()
        except IncompleteStream as error:
            if broken is None or isinstance(broken, ConnectionLost):
                error.__cause__ = broken
                return error
            # A deadline has an error of its own, by which callers tell it from a connection that broke.
            broken.partial = error.partial
            return broken
        except StreamError as error:
            if isinstance(error, APIError):
                error.request_id = error.request_id or request_id(self.headers)
                return self._without_secrets(error)
            return error
        return None

    def _finish_document(self, broken: StreamError | None) -> None:
        body = bytes(self._document)
        message, refusal = _as_message(body)
        if isinstance(refusal, APIError):
            refusal = self._without_secrets(refusal)
        if isinstance(broken, LimitExceeded):
            self.error = broken
        elif message is not None and not self._streaming:
            self._whole = message
        elif broken is not None and message is None:
            self.error = broken
        else:
            self.error = self._unexpected(_describe(body, message, refusal))
            self.error.partial = message
            self.error.__cause__ = refusal

    def _status_error(self, body: bytes) -> StreamError:
        if 300 <= self.status < 400:
            location = self._hidden(self.headers.get("location", ""))[:200]
            return self._unexpected(f"a redirect to {location!r}" if location else "a redirect")
        return self._without_secrets(decode_error(self.status, self.headers, body))

    def _unexpected(self, reason: str) -> UnexpectedResponse:
        start = bytes(self._document[:_SHOWN])
        return UnexpectedResponse(reason, status=self.status, content_type=self._hidden(self._type), start=start)

    def _wrong_coding(self, error: CodingError) -> TransportError:
        """Behind decoded bytes a loss like any other; in front of them it would come again, and each time be billed."""
        wrong = ConnectionLost(str(error)) if self._size else self._unexpected(str(error))
        wrong.__cause__ = error
        return wrong

    def _without_secrets(self, error: APIError) -> APIError:
        """The same error: JSON can spell a secret in ways that its bytes don't show, and a stream's are not searched."""
        texts = (error.type, error.message, error.request_id)
        type, message, id = (self._hidden(text) if text else text for text in texts)
        if (type, message, id) == texts:
            return error
        clean = APIError(type, message, request_id=id, status=error.status)
        clean.event_number, clean.byte_offset, clean.partial = error.event_number, error.byte_offset, error.partial
        return clean

    def _hidden(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def request_id(headers: dict[str, str]) -> str | None:
    """The id that a server gives a request, by any of its usual names."""
    return next((headers[name] for name in ("request-id", "x-request-id", "x-trace-id") if name in headers), None)


def _as_message(body: bytes) -> tuple[Message | None, StreamError | None]:
    """The message that a document is, or what it says instead: the API's error, or why it can't be read."""
    if body.lstrip(_BLANK)[:1] != b"{":
        return None, None
    try:
        message = decode_message(body)
    except StreamError as error:
        return None, error
    # decode_message reads any object; one that names nothing of a message is none.
    return (message, None) if message.id or message.role or message.content else (None, None)


def _describe(body: bytes, message: Message | None, refusal: StreamError | None) -> str:
    if message is not None:
        return "a whole message where an event stream was asked for"
    if isinstance(refusal, APIError):
        return "an error under a status of success"
    if not body.strip(_BLANK):
        return "an empty body"
    return "HTML" if body.lstrip(_BLANK).startswith(b"<") else "a document that is no message"
