"""One captured body, in any of the forms that archives have, to the values of its row."""

from __future__ import annotations

import binascii
import re
import zlib
from base64 import b64decode
from typing import Final, NamedTuple

import msgspec

import sansio_step
from sansio_step import (
    APIError,
    BedrockDecoder,
    DecodeError,
    LimitExceeded,
    Message,
    MessageStream,
    Outcome,
    ProtocolViolation,
    StreamError,
    ThinkingBlock,
    ToolInputError,
    ToolUseBlock,
    Usage,
    decode_message,
    to_dict,
    to_json,
)

from ._schema import Found, Row, ToolCall

__all__ = ["MAX_BODY_SIZE", "BodyReader", "Problem", "problem_row"]

MAX_BODY_SIZE: Final = 256 * 1024 * 1024

_BLANK: Final = b" \t\r\n"
_BOM: Final = b"\xef\xbb\xbf"
_GZIP: Final = b"\x1f\x8b"
_START: Final = 1024
# The bytes of a body by which its form is told.
_MOST_INT64: Final = 2**63

# The first line of an event stream: a comment or a field. It may be cut at its end.
_FIELD: Final = re.compile(rb"\s*(?::|(?:event|data|id|retry)(?:[:\r\n]|$))")
_CUT_FIELD: Final = re.compile(rb"\s*(?:e(?:v(?:en?)?)?|d(?:at?)?|i|r(?:e(?:tr?)?)?)?$")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{8}")
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with a capture before its body is read, or instead of it: the name of an error, and its text.

    `MissingBody`, `DamagedLine`, `LineTooLong`, `UnreadableFile`, `UnreadableRow` and `WorkerDied` are the names that
    the readers use; all others are those of the library's own errors.
    """

    error: str
    message: str


def problem_row(problem: Problem) -> Row:
    """The row of a capture without a body."""
    return Row(
        "unreadable",
        "failed",
        error=problem.error,
        error_message=problem.message,
        decoder_version=sansio_step.__version__,
    )


class BodyReader:
    """Reads bodies under the same options, each to its row. Nothing in a body makes it raise.

    A body is an event stream, a whole message or error as JSON, a JSON array of events, frames of AWS, or one of these
    in gzip or base64.
    """

    def __init__(self, *, message: bool = True, strict: bool = False, max_body_size: int = MAX_BODY_SIZE) -> None:
        if max_body_size < 1:
            raise ValueError(f"max_body_size is {max_body_size}, must be at least 1")
        self.message = message
        self.strict = strict
        self.max_body_size = max_body_size

    def read(self, body: bytes) -> Row:
        """The row of a body."""
        try:
            return self._read(body, packed=True)
        except StreamError as error:
            return _error_row("unreadable", error, len(body))
        except Exception as error:  # noqa: BLE001, a capture must never end the job, whatever was overlooked
            return _error_row("unreadable", error, len(body))

    def _read(self, body: bytes, *, packed: bool) -> Row:
        """`packed` says that the body may be in gzip or base64, which happens once."""
        if len(body) > self.max_body_size:
            raise LimitExceeded("max_body_size", self.max_body_size)
        start = body[:_START].removeprefix(_BOM).lstrip(_BLANK)
        if not start and not body.removeprefix(_BOM).strip(_BLANK):
            return Row("empty", "truncated", body_bytes=len(body), decoder_version=sansio_step.__version__)
        if start[:1] == b"{":
            return self._read_document(body)
        if start[:1] == b"[":
            return self._read_array(body)
        if _is_aws_frame(body):
            stream = MessageStream(decoder=BedrockDecoder(strict=self.strict), on_fault="keep")
            stream.consume(body)
            return self._end_stream(stream, len(body))
        if packed:
            unpacked = self._unpacked(body, start)
            if unpacked is not None:
                return self._read(unpacked, packed=False)
        return self._read_stream(body)

    def _unpacked(self, body: bytes, start: bytes) -> bytes | None:
        """What is in a body of gzip or base64 as far as it goes, None if it is neither."""
        if body.startswith(_GZIP):
            return self._decompressed(body)
        if not _BASE64.match(start):
            return None
        text = b"".join(body.split()).translate(_URL_SAFE).rstrip(b"=")
        # A text that was cut off ends inside a group of four characters: its whole bytes are read.
        text = text[: len(text) - (len(text) % 4 == 1)]
        try:
            data = b64decode(text + b"=" * (-len(text) % 4), validate=True)
        except binascii.Error:
            return None
        if data.startswith(_GZIP):
            return self._decompressed(data)
        first = data[:_START].removeprefix(_BOM).lstrip(_BLANK)
        return data if first[:1] in (b"{", b"[") or _FIELD.match(first) or _is_aws_frame(data) else None

    def _decompressed(self, data: bytes) -> bytes:
        """The text in gzip members, up to a cut. Raises DecodeError for what is broken."""
        plain = b""
        while data:
            member = zlib.decompressobj(31)
            try:
                plain += member.decompress(data, self.max_body_size + 1 - len(plain))
            except zlib.error as error:
                raise DecodeError(f"the body is broken gzip: {error}") from None
            if len(plain) > self.max_body_size:
                raise LimitExceeded("max_body_size", self.max_body_size)
            data = member.unused_data
        return plain

    def _read_document(self, body: bytes) -> Row:
        try:
            message = decode_message(body)
        except APIError as error:
            return _error_row("error_document", error, len(body))
        except StreamError:
            # One JSON text a line, or a document that was cut: the stream's rules read what there is.
            return self._read_stream(body)
        usage = message.usage
        final = usage is not None and usage.output_tokens is not None
        return self._row("document", "complete", [message], final=final, size=len(body))

    def _read_array(self, body: bytes) -> Row:
        """An array of events as objects, or of pieces of the stream's text."""
        try:
            items = msgspec.json.decode(body.removeprefix(_BOM), type=list[msgspec.Raw])
            pieces = [
                msgspec.json.decode(item, type=str) if bytes(item).startswith(b'"') else bytes(item) for item in items
            ]
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise DecodeError(f"the body is no JSON array of events: {error}") from None
        stream = self._new_stream()
        for piece in pieces:
            if isinstance(piece, str):
                stream.consume(piece.encode())
            else:
                stream.receive_frame(piece)
        return self._end_stream(stream, len(body))

    def _read_stream(self, body: bytes) -> Row:
        stream = self._new_stream()
        stream.consume(body)
        return self._end_stream(stream, len(body), body[:_START])

    def _new_stream(self) -> MessageStream:
        return MessageStream(strict=self.strict, on_fault="keep")

    def _end_stream(self, stream: MessageStream, size: int, start: bytes = b"data:") -> Row:
        stream.receive_eof()
        messages = stream.messages
        outcome = stream.outcome
        error: StreamError | None = stream.fault
        try:
            stream.result()
        except StreamError as failure:
            error = failure
        form = "stream"
        if not messages and not _may_be_stream(start, stream.event_count):
            if isinstance(error, APIError):
                form = "error_document"
            else:
                form, outcome = "unreadable", Outcome.FAILED
        return self._row(
            form,
            outcome.value,
            messages,
            final=stream.usage_is_final,
            size=size,
            events=stream.event_count,
            deviations=list(map(msgspec.structs.astuple, stream.deviations)),
            unapplied=[{"index": index, "delta": to_dict(delta)} for index, delta in stream.unapplied],
            error=error,
        )

    def _row(
        self,
        form: str,
        outcome: str,
        messages: list[Message],
        *,
        final: bool,
        size: int,
        events: int = 0,
        deviations: list[Found] | None = None,
        unapplied: list[dict[str, object]] | None = None,
        error: BaseException | None = None,
    ) -> Row:
        message = messages[-1] if messages else Message()
        usage = message.usage or _NO_USAGE
        texts, thoughts, calls = _content_of(message)
        written = self.message and messages
        others = messages[:-1] if written else []
        return Row(
            form,
            outcome,
            message.id,
            message.model,
            message.stop_reason,
            message.stop_sequence,
            usage.service_tier,
            texts,
            thoughts,
            calls,
            [block.type for block in message.content],
            _int64(usage.input_tokens),
            _int64(usage.output_tokens),
            _int64(usage.cache_read_input_tokens),
            _int64(usage.cache_creation_input_tokens),
            final,
            to_json(message) if written else None,
            b"[%b]" % b",".join(map(to_json, others)) if others else None,
            msgspec.json.encode(unapplied) if unapplied else None,
            len(messages),
            events,
            size,
            deviations or (),
            *_error_columns(error),
        )


_NO_USAGE: Final = Usage()


def _content_of(message: Message) -> tuple[str | None, str | None, list[ToolCall]]:
    """The text, the thinking and the tool calls of a message. A text is None if there is no block of its kind."""
    text = thinking = None
    has_calls = False
    for block in message.content:
        if block.type == "text":
            text = block.text if text is None else text + block.text
        elif isinstance(block, ThinkingBlock):
            thinking = block.thinking if thinking is None else thinking + block.thinking
        elif isinstance(block, ToolUseBlock):
            has_calls = True
    return text, thinking, [_call(block) for block in message.tool_uses] if has_calls else []


def _call(block: ToolUseBlock) -> ToolCall:
    try:
        given = block.input
    except ToolInputError as error:
        return block.id, block.name, error.input_json, False
    return block.id, block.name, block.input_json or msgspec.json.encode(given), True


def _error_row(form: str, error: Exception, size: int) -> Row:
    return Row(form, "failed", body_bytes=size)._replace(**_error_columns(error)._asdict())


class _ErrorColumns(NamedTuple):
    """The columns of a row from `error` to the last."""

    error: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    error_event: int | None = None
    error_offset: int | None = None
    request_id: str | None = None
    decoder_version: str = sansio_step.__version__


def _error_columns(error: BaseException | None) -> _ErrorColumns:
    if error is None:
        return _ErrorColumns()
    name = type(error).__name__
    if not isinstance(error, StreamError):
        return _ErrorColumns(name, error_message=str(error))
    kind = request_id = None
    message: str | None = error.reason
    if isinstance(error, APIError):
        kind, message, request_id = error.type, error.message, error.request_id
    elif isinstance(error, ProtocolViolation):
        kind = error.code
    elif isinstance(error, LimitExceeded):
        kind = error.name
    return _ErrorColumns(name, kind, message, error.event_number, error.byte_offset, request_id)


def _int64(count: int | None) -> int | None:
    """A count as the column can hold it. One of more than 64 bits is no count of tokens; `message` has it."""
    return count if count is None or -_MOST_INT64 <= count < _MOST_INT64 else None


def _may_be_stream(start: bytes, events: int) -> bool:
    """Whether a body without a message was an event stream: it has events of another kind, or ended too early."""
    first = start.removeprefix(_BOM).lstrip(_BLANK)
    return bool(_FIELD.match(first)) or (not events and bool(_CUT_FIELD.match(first)))


def _is_aws_frame(start: bytes) -> bool:
    """Whether a body begins with the prelude of a frame: two lengths and the CRC-32 of these 8 bytes, big endian."""
    return len(start) >= 16 and start[8:12] == zlib.crc32(start[:8]).to_bytes(4, "big")
