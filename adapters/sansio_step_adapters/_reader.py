"""What a response says, from its head and the bytes of its body: events and a message, or a typed error. No I/O."""

from __future__ import annotations

import contextlib
import enum
import re
from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Final

import msgspec

from sansio_step import (
    APIError,
    BedrockDecoder,
    ConnectionLost,
    DeadlineExceeded,
    Delta,
    Deviation,
    ErrorEvent,
    IncompleteStream,
    LimitExceeded,
    Message,
    MessageAccumulator,
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
from ._secrets import Mask

MAX_EVENT_SIZE: Final = 16 * 1024 * 1024
MAX_MESSAGE_SIZE: Final = 64 * 1024 * 1024
MAX_RESPONSE_SIZE: Final = 1024 * 1024 * 1024

# What one call decodes before it gives the control back: a bomb takes time, and others wait for theirs.
_MOST_AT_ONCE: Final = 256 * 1024
# What is read of a body that is only good for an error's text.
_MOST_OF_AN_ERROR: Final = 64 * 1024
# What an error shows of a body.
_SHOWN: Final = 200
# What is looked at for it: secrets in it are replaced by something shorter.
_KEPT: Final = 4096
_BLANK: Final = b" \t\r\n"
_BOM: Final = b"\xef\xbb\xbf"
_FIELDS: Final = (b":", b"data:", b"event:", b"id:", b"retry:")
# A line of an event stream, which no line of a JSON text begins like.
_FIELD_LINE: Final = re.compile(rb"[\r\n](?:data|event|id|retry):")
_LONGEST_FIELD_LINE: Final = len(b"\nevent:")


# Bedrock's streams, in frames of AWS's.
AWS_STREAM: Final = "application/vnd.amazon.eventstream"


class _Kind(enum.Enum):
    UNKNOWN = "unknown"  # not enough of the body yet
    STREAM = "stream"
    DOCUMENT = "document"
    ERROR = "error"


class Wanted(enum.Enum):
    """What a call asks for."""

    STREAM = "an event stream"
    MESSAGE = "a message"
    COUNT = "a count of tokens"
    ANY = "a message or an event stream"  # of a call that somebody else made


class ResponseReader:
    """One response, read as it comes.

    Feed the body's bytes, still in their content coding, to `receive_data`, and say `receive_eof` at the end, with what
    broke the transport if something did. While `pending`, more of the same bytes is to be had by `receive_data(b"")`.
    Once `finished`, nothing that may follow is of interest; `error` is then what is wrong (None: nothing), to be raised
    after the last event, and `result()` gives the message or raises.
    """

    def __init__(
        self,
        status: int,
        headers: dict[str, str],
        *,
        wanted: Wanted = Wanted.STREAM,
        strict: bool = False,
        max_event_size: int = MAX_EVENT_SIZE,
        max_message_size: int = MAX_MESSAGE_SIZE,
        max_response_size: int = MAX_RESPONSE_SIZE,
        mask: Mask | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.finished = False
        self.error: StreamError | None = None
        # What went wrong below the stream, even if the message was whole by then.
        self.transport_error: TransportError | None = None
        # The answer to a call that counts tokens.
        self.count: int | None = None
        media_type = headers.get("content-type", "").split(";")[0].strip().lower()
        is_aws = media_type == AWS_STREAM and 200 <= status < 300
        decoder = BedrockDecoder(strict=strict, max_event_size=max_event_size) if is_aws else None
        self._stream = MessageStream(
            strict=strict, max_event_size=max_event_size, max_message_size=max_message_size, decoder=decoder
        )
        self._wanted = wanted
        self._max_message_size = max_message_size
        self._max_response_size = max_response_size
        # Some servers repeat a refused key in their answer: no error shows it.
        self._mask = mask or Mask()
        self._kind = _Kind.STREAM if is_aws else _Kind.UNKNOWN if 200 <= status < 300 else _Kind.ERROR
        self._type = headers.get("content-type", "")
        self._says_stream = media_type == "text/event-stream"
        self._size = 0  # decoded bytes so far
        self._document = bytearray()  # the body, or the start of it while its kind is not known
        self._any_event = False
        # Whether it is a stream that has begun, in no coding: bytes go to the decoder as they come.
        self.flowing = False
        self._whole: Message | None = None  # the message of a document
        self._pieces: Iterator[bytes] | None = None  # what is still to be decoded of the bytes received last
        self._decoder = None
        try:
            self._decoder = content_decoder(headers.get("content-encoding", ""))
        except CodingError as error:
            self._finish(self._wrong_coding(error))

    @property
    def pending(self) -> bool:
        """Whether the bytes received last have more to give."""
        return self._pieces is not None and not self.finished

    def receive_data(self, data: bytes) -> list[StreamEvent]:
        """The events that these bytes complete; of those that hold much, the first, and then it is `pending`."""
        if self.flowing:
            # Most that comes live.
            size = self._size + len(data)
            if size <= self._max_response_size:
                self._size = size
                return self._read_stream(data)
        events: list[StreamEvent] = []
        if self._decoder is None:
            if data:
                self._receive(data, events)
            return events
        if data:
            new = self._decoder.decode(data)
            self._pieces = new if self._pieces is None else chain(self._pieces, new)
        try:
            self._decode(events)
        except CodingError as error:
            events += self._finish(self._wrong_coding(error))
        return events

    def receive_eof(self, broken: StreamError | None = None) -> list[StreamEvent]:
        """The body has ended, or `broken` ended it. Returns the events that this completes, often none."""
        events: list[StreamEvent] = []
        while self.pending and broken is None:
            events += self.receive_data(b"")
        if broken is None and self._decoder is not None and not self._decoder.whole:
            broken = ConnectionLost("the body ended inside its content coding")
        return events + self._finish(broken)

    def result(self) -> Message:
        """The finished message. If there is none, what is wrong is raised, with what there is as `error.partial`."""
        if self._whole is not None and self.error is None:
            return self._whole
        if self.error is not None and (self._stream.outcome is not Outcome.COMPLETE or self._wanted is Wanted.COUNT):
            raise self.error
        try:
            return self._stream.result()
        except StreamError as error:
            self._mask.error(error)  # one that is not over yet, and masked as it ends
            raise

    @property
    def is_stream(self) -> bool:
        """Whether the body is an event stream, as far as can be told yet."""
        return self._kind is _Kind.STREAM

    @property
    def message(self) -> Message | None:
        """The message as far as it came, of a stream or a document."""
        return self._whole or self._stream.message

    @property
    def messages(self) -> list[Message]:
        """All messages, the one on its way among them."""
        return [self._whole] if self._whole is not None else self._stream.messages

    @property
    def deviations(self) -> list[Deviation]:
        """What departs from the protocol so far."""
        return self._mask.deviations(self._stream.deviations)

    @property
    def unapplied(self) -> list[tuple[int, Delta]]:
        """Deltas that fit nowhere, each with the index of its block."""
        return self._stream.unapplied

    @property
    def usage_is_final(self) -> bool:
        """Whether an output count came with the stop_reason or after it: before, it is a placeholder."""
        if self._whole is None:
            return self._stream.usage_is_final
        usage = self._whole.usage
        return self._whole.stop_reason is not None and usage is not None and usage.output_tokens is not None

    @property
    def outcome(self) -> Outcome:
        """As `MessageStream.outcome`; FAILED also for a response that was refused here."""
        if self._whole is not None and self.error is None:
            return Outcome.COMPLETE
        outcome = self._stream.outcome
        if not self.finished or outcome is Outcome.COMPLETE:
            return outcome
        if self.error is None:
            return Outcome.COMPLETE
        cut = isinstance(self.error, (IncompleteStream, ConnectionLost, DeadlineExceeded))
        empty = isinstance(self.error, UnexpectedResponse) and self.error.retryable
        return Outcome.TRUNCATED if cut or empty else Outcome.FAILED

    def _decode(self, events: list[StreamEvent]) -> None:
        """Decode some of what is pending."""
        assert self._decoder is not None
        upto = self._size + self._decoder.overhead + _MOST_AT_ONCE
        while self.pending:
            piece = next(self._pieces, None) if self._pieces is not None else None
            if piece is None:
                self._pieces = None
                return
            self._receive(piece, events, self._decoder.overhead)
            if self._size + self._decoder.overhead >= upto:
                return

    def _receive(self, piece: bytes, events: list[StreamEvent], overhead: int = 0) -> None:
        if self.finished:
            return
        room = self._max_response_size - self._size - overhead
        self._size += len(piece)
        if room > 0 and piece:
            self._read(piece[:room], events)
        if len(piece) > room and not self.finished:
            events += self._finish(LimitExceeded("max_response_size", self._max_response_size))

    def _read(self, piece: bytes, events: list[StreamEvent]) -> None:
        if self._kind is _Kind.UNKNOWN:
            self._document += piece
            self._kind = self._sniff()
            if self._kind is _Kind.DOCUMENT and self._turns_into_stream(len(self._document)):
                self._kind = _Kind.STREAM
            piece = bytes(self._document)
        elif self._kind is not _Kind.STREAM:
            self._document += piece
            if self._turns_into_stream(len(piece)):
                self._kind = _Kind.STREAM
                piece = bytes(self._document)
        elif not self._any_event:
            # The start is kept until there is an event, in case that none comes of it.
            self._document += piece[: max(_KEPT - len(self._document), 0)]
        if self._kind is _Kind.STREAM:
            events += self._read_stream(piece)
        elif len(self._document) > self._most():
            # A page is no message at any size, and the limit of messages says nothing of it.
            if self._kind is _Kind.DOCUMENT and self._wanted is not Wanted.STREAM and self._begins_with(b"{"):
                events += self._finish(LimitExceeded("max_message_size", self._max_message_size))
            else:
                events += self._finish(None)

    def _read_stream(self, piece: bytes) -> list[StreamEvent]:
        try:
            events = self._stream.receive_data(piece)
        except StreamError:
            events = []
        if events and not self._any_event:
            self._any_event = True
            self.flowing = self._decoder is None
            if self._wanted is not Wanted.COUNT:
                self._document.clear()
        if self._stream.fault is not None:
            events += self._finish(None)
        return events

    def _sniff(self) -> _Kind:
        """What kind of body begins so.

        The content type alone can't tell: gateways answer a streaming request with a document under
        text/event-stream, and others stream under text/plain or no type at all.
        """
        start = bytes(self._document).removeprefix(_BOM).lstrip(_BLANK)
        if not start:
            if len(self._document) <= 1024:
                return _Kind.UNKNOWN
            return _Kind.STREAM if self._says_stream else _Kind.DOCUMENT
        if start[:1] in (b"{", b"[", b"<"):
            return _Kind.DOCUMENT
        if self._says_stream or start.startswith(_FIELDS):
            return _Kind.STREAM
        maybe = any(field.startswith(start) for field in _FIELDS) or _BOM.startswith(start)
        return _Kind.UNKNOWN if maybe else _Kind.DOCUMENT

    def _turns_into_stream(self, new: int) -> bool:
        """Whether a document was only the start of a stream: an error or a note written bare before the events.

        `new` bytes of it have not been looked at yet. A page of HTML can have such a line in a script of its own.
        """
        if self._kind is not _Kind.DOCUMENT or self._begins_with(b"<"):
            return False
        start = max(len(self._document) - new - _LONGEST_FIELD_LINE, 0)
        return _FIELD_LINE.search(self._document, start) is not None

    def _begins_with(self, mark: bytes) -> bool:
        # The first bytes suffice: a copy of all so far for each piece made documents in small pieces quadratic.
        return bytes(self._document[:_KEPT]).removeprefix(_BOM).lstrip(_BLANK)[:1] == mark

    def _most(self) -> int:
        is_json = self._kind is not _Kind.ERROR and self._begins_with(b"{")
        return self._max_message_size if is_json else _MOST_OF_AN_ERROR

    def _finish(self, broken: StreamError | None) -> list[StreamEvent]:
        """The end, however it came: settle what the error is. Returns the last events."""
        if self.finished:
            return []
        self.finished = True
        self.flowing = False
        if isinstance(broken, TransportError):
            self.transport_error = broken
        events: list[StreamEvent] = []
        if self._kind is _Kind.ERROR:
            self.error = self._status_error(bytes(self._document))
        elif self._kind is not _Kind.STREAM and not (self._says_stream and not self._document):
            self._finish_document(broken)
        else:
            with contextlib.suppress(StreamError):  # the stream's fault, which `_stream_error` finds
                events = self._stream.receive_eof()
            self._any_event = self._any_event or bool(events)
            self.error = self._stream_error(broken)
        for error in (self.error, self.transport_error):
            if error is not None:
                self._mask.error(error)
        return events

    def _stream_error(self, broken: StreamError | None) -> StreamError | None:
        if self._stream.fault is not None:
            return self._stream.fault
        if not self._any_event and not isinstance(broken, LimitExceeded):
            what = "a stream without a single event" if self._document else "an empty body"
            return broken or self._unexpected(what, retryable=True)
        if isinstance(broken, LimitExceeded):
            broken.partial = self._stream.message
            return broken
        if self._wanted is Wanted.COUNT:
            return self._unexpected(f"an event stream where {self._wanted.value} was asked for")
        try:
            self._stream.result()
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
            return error
        return None

    def _finish_document(self, broken: StreamError | None) -> None:
        body = bytes(self._document)
        if self._wanted is Wanted.COUNT:
            self.count = _as_count(body)
            message, refusal = _as_message(body) if self.count is None else (None, None)
        else:
            message, refusal = _as_message(body)
        if isinstance(broken, LimitExceeded):
            self.error = broken
        elif self.count is not None:
            pass
        elif message is not None and self._wanted in (Wanted.MESSAGE, Wanted.ANY):
            self._whole = message
        elif broken is not None and message is None:
            self.error = broken
        else:
            empty = not body.strip(_BLANK)
            what = _describe(body, message, refusal, self._wanted)
            self.error = self._unexpected(what, retryable=empty)
            self.error.partial = message
            self.error.__cause__ = refusal

    def _status_error(self, body: bytes) -> StreamError:
        if 300 <= self.status < 400:
            location = self._mask.text(self.headers.get("location", ""))[:200]
            return self._unexpected(f"a redirect to {location!r}" if location else "a redirect")
        return decode_error(self.status, self.headers, body)

    def _unexpected(self, reason: str, *, retryable: bool = False) -> UnexpectedResponse:
        # Masked before it is cut: of a cut secret only what stands before a mark is found.
        cut = b"..." if len(self._document) > _KEPT else b""
        start = self._mask.data(bytes(self._document[:_KEPT]) + cut).removesuffix(b"...")[:_SHOWN]
        kind = self._mask.text(self._type)
        return UnexpectedResponse(reason, status=self.status, content_type=kind, start=start, retryable=retryable)

    def _wrong_coding(self, error: CodingError) -> TransportError:
        """After decoded bytes a loss like any other; before them it would come again, and each time be billed."""
        wrong = ConnectionLost(str(error)) if self._size else self._unexpected(str(error))
        wrong.__cause__ = error
        return wrong


def error_of(event: ErrorEvent) -> APIError:
    """What an error event of a stream says, as an exception."""
    accumulator = MessageAccumulator()
    accumulator.add(event)
    error = accumulator.api_error
    assert error is not None
    error.event_number = None
    return error


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


def _as_count(body: bytes) -> int | None:
    """The number in `{"input_tokens": 12}`, None if the document is another."""
    try:
        return _read_count(body.removeprefix(_BOM)).input_tokens
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class _Count(msgspec.Struct):
    input_tokens: Annotated[int, msgspec.Meta(ge=0)]


_read_count = msgspec.json.Decoder(_Count).decode


def _describe(body: bytes, message: Message | None, refusal: StreamError | None, wanted: Wanted) -> str:
    if message is not None:
        return f"a whole message where {wanted.value} was asked for"
    if isinstance(refusal, APIError):
        return "an error under a status of success"
    if not body.strip(_BLANK):
        return "an empty body"
    return "HTML" if body.lstrip(_BLANK).startswith(b"<") else "a document that is no message"
