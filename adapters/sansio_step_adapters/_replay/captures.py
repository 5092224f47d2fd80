"""What is served: the body of a stream with what is known of it, out of a file, a message, or a request itself."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias
from zlib import crc32

import msgspec

from sansio_step import (
    APIError,
    DecodeError,
    MCPToolUseBlock,
    Message,
    MessageRequest,
    Outcome,
    ServerToolUseBlock,
    StreamError,
    TextBlock,
    ToolUseBlock,
    Usage,
    decode_message,
    encode_event,
    message_events,
    parse,
    to_json,
)

from .._captured import Body, Unreadable, has_field_lines, is_document
from .answers import status_of
from .requests import last_text, token_count

__all__ = ["Capture", "Playable", "echo", "load_capture", "message_capture", "playable", "resolved"]

_MOST_BYTES: Final = 256 * 1024 * 1024
_PIECE: Final = 12
"""Characters of a delta of a message that was no stream: about three tokens of English."""

_CODED: Final = (".gz", ".zst", ".br")
_TIMES: Final = ".times.jsonl"
# Of a recorded head: what the body is, and what a client does because of it. The others belong to the connection that
# was, or to whoever recorded it.
_KEPT: Final = re.compile(r"content-type|retry-after(?:-ms)?|x-should-retry|anthropic-ratelimit-[a-z-]+")
# RFC 9110, 15.3.5 and 15.4.5; its 5.5 has what a header's value is.
_BODYLESS: Final = (204, 304)
_VALUE: Final = re.compile("[\t -~\x80-\xff]*")


@dataclass(frozen=True)
class Capture:
    """A body to serve, and what is known of it beside its bytes. ValueError for a head that HTTP can't carry."""

    body: bytes
    name: str = ""
    """What a request's `model` is to ask for it by."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of the head, by names in lower case: the content type, and what tells a client whether to try again."""
    reads: Sequence[tuple[int, int]] = ()
    """How it came: the offset of each read, and its nanoseconds from the request on."""
    head_ns: int | None = None
    end_ns: int | None = None
    is_broken: bool = False
    """Whether the connection broke at its end, and does so again."""
    document: bytes | None = None
    """The answer to a request without `stream`, if it is not to be read out of the body."""

    def __post_init__(self) -> None:
        if not 200 <= self.status <= 999 or self.status in _BODYLESS:
            raise ValueError(f"status: no response under {self.status} has a body")
        for name, value in self.headers.items():
            if _VALUE.fullmatch(value) is None or value != value.strip():
                raise ValueError(f"headers: {name} is {value!r}, which HTTP can't carry")

    @property
    def is_error(self) -> bool:
        """Whether it is the answer with an error status, to every request."""
        return self.status >= 400

    def as_document(self) -> bytes:
        """The message as one document. Raises StreamError if the body holds no whole one."""
        return to_json(parse(self.body)) if self.document is None else self.document


Playable: TypeAlias = (
    bytes | bytearray | memoryview | str | os.PathLike[str] | Message | Capture | Callable[[MessageRequest], Any]
)
"""A body, the path of a file, a message, a Capture, or what makes one of these of a request."""


def load_capture(path: str | os.PathLike[str]) -> Capture:
    """What a file has: an event stream, plain, compressed, with the head of `curl -i`, in AWS frames or as a recording
    with its times; a message as JSON, which is served as the stream that would have built it; or an error as JSON.

    Its name is the file's, without the endings. Raises ValueError, which names the file, if it can't be read.
    """
    body = Body(os.fspath(path))
    try:
        return _load(body, _name_of(Path(path)))
    except (Unreadable, StreamError, ValueError) as error:
        raise ValueError(f"{body.label}: {error}") from error


def _load(body: Body, name: str) -> Capture:
    data = bytearray()
    reads: list[tuple[int, int]] = []
    aws = None
    for piece, ns in body.pieces():
        before = len(data)
        if body.is_aws:
            aws = aws or body.decoder()
            data += b"".join(map(encode_event, aws.receive_data(piece)))
        else:
            data += piece
        if len(data) > before and ns is not None:
            reads.append((before, ns))
        if len(data) > _MOST_BYTES:
            raise ValueError(f"it is larger than {_MOST_BYTES} bytes")
    if aws is not None:
        data += b"".join(map(encode_event, aws.receive_eof()))
    headers = {name: value for name, value in body.headers.items() if _KEPT.fullmatch(name)}
    status = 200 if body.status is None else body.status
    if body.is_aws:
        headers.pop("content-type", None)  # it goes out as an event stream
    if status < 400 and is_document(bytes(data[:4096])) and not has_field_lines(data):
        return _of_document(bytes(data), name)
    recording = body.recording
    return Capture(
        bytes(data),
        name,
        status,
        headers,
        reads,
        None if recording is None else recording.head_ns,
        None if recording is None else recording.end_ns,
        recording is not None and recording.end == "broken",
    )


def _of_document(document: bytes, name: str) -> Capture:
    try:
        return message_capture(decode_message(document), name)
    except APIError as error:
        return Capture(document, name, status_of(error.type), {"content-type": "application/json"})
    except DecodeError as error:
        raise ValueError(f"it is neither an event stream nor a message: {error}") from error


def message_capture(message: Message, name: str = "") -> Capture:
    """The stream that builds a message, in pieces as a model's, and the message itself for who asks for no stream."""
    document = to_json(message)
    shown = deepcopy(message)
    for block in shown.content:
        if isinstance(block, (ToolUseBlock, ServerToolUseBlock, MCPToolUseBlock)) and block.is_finished:
            # An input that is a text comes in pieces, as a model writes it; {} has none.
            block.input_json = block.input_json or (msgspec.json.encode(block.input).decode() if block.input else "")
    whole = all(block.is_finished for block in shown.content)
    events = message_events(shown, piece=_PIECE, outcome=Outcome.COMPLETE if whole else Outcome.TRUNCATED)
    return Capture(b"".join(map(encode_event, events)), name, document=document)


def echo(request: MessageRequest) -> Message:
    """A message that says what the last turn of the request says: `serve(echo)`.

    A turn without a text gives a message without content.
    """
    said, text = request.to_json(), last_text(request)
    return Message(
        id=f"msg_echo_{crc32(said):08x}",
        role="assistant",
        model=request.model,
        content=[TextBlock(text)] if text else [],
        stop_reason="end_turn",
        usage=Usage(input_tokens=token_count(said), output_tokens=token_count(text.encode())),
    )


def playable(given: Playable) -> Playable:
    """The same, with files read and messages written as streams. ValueError for a file that can't be read."""
    if isinstance(given, (str, os.PathLike)):
        return load_capture(given)
    if isinstance(given, Message):
        return message_capture(given)
    return given


def resolved(given: Playable, request: MessageRequest) -> Capture:
    """The capture that answers a request."""
    while callable(given):
        given = playable(given(request))
    return given if isinstance(given, Capture) else Capture(given)  # type: ignore[arg-type]  # files are read


def _name_of(path: Path) -> str:
    """A file's name without its endings. A recording can be named without them, and a model's name has dots."""
    name = path.name
    for ending in _CODED:
        name = name.removesuffix(ending)
    if name.endswith(_TIMES):
        return name.removesuffix(_TIMES)
    return Path(name).stem if path.exists() else name
