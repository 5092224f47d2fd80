"""For a body that is no event stream: what it is, by its first bytes, and which function reads it."""

from __future__ import annotations

from zlib import crc32

from ._errors import quoted

START_SIZE = 256
# Bytes. Enough for the first fields of a JSON document, and for the 60 characters that an error shows.

_MOST_SHOWN = 60
_BOM = b"\xef\xbb\xbf"
_BLANKS = b" \t\r\n"
_FIELDS = (b"data", b"event", b"id", b"retry")
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}

_ERROR_READER = "decode_error reads the body of an error response"
_JSON_READERS = "decode_message reads a message, decode_error an error"


def describe(start: bytes, *, is_message: bool = False) -> str | None:
    """What an error says about a body with these first bytes (`START_SIZE` of them are enough).

    None if it is an event stream, or too short to tell. `is_message`: the body is known to be a whole message in JSON.
    """
    for magic, coding in _COMPRESSED.items():
        if start.startswith(magic):
            return _said(f"still compressed ({coding})", start, "undo its Content-Encoding first")
    if _is_aws_frame(start):
        what = "an AWS event stream (application/vnd.amazon.eventstream)"
        return _said(what, start, "MessageStream(decoder=BedrockDecoder()) reads Bedrock's, AWSFrameDecoder any")
    text = start.removeprefix(_BOM).lstrip(_BLANKS)
    if is_message:
        return _said("a whole message in JSON", text, "decode_message reads it")
    if text[:1] in (b"{", b"["):
        return _said("a JSON document", text, _ERROR_READER if b'"error"' in text else _JSON_READERS)
    if text[:1] == b"<":
        is_html = text[:14].lower().startswith((b"<!doctype html", b"<html", b"<head", b"<body"))
        return _said("an HTML page" if is_html else "XML or HTML", text, _ERROR_READER)
    return None if _may_be_events(text) else _said(None, text, _ERROR_READER)


def _said(what: str | None, start: bytes, remedy: str) -> str:
    but = f" but {what}" if what is not None else ""
    return f"the body is no event stream{but}: it starts with {_shown(start)}; {remedy}"


def _shown(start: bytes) -> str:
    text = start.decode("utf-8", "replace")
    if "\0" in text or "\ufffd" in text[:_MOST_SHOWN]:
        return repr(start[:16]) + ("..." if len(start) > 16 else "")
    return quoted(text, _MOST_SHOWN)


def _is_aws_frame(start: bytes) -> bool:
    """Whether the body begins with the prelude of a frame: two lengths and the CRC32 of these 8 bytes, big endian."""
    return start[8:12] == crc32(start[:8]).to_bytes(4, "big")


def _may_be_events(text: bytes) -> bool:
    """Whether the first line is a field or a comment, or may become one if the body was cut inside it."""
    line, *others = text.splitlines(keepends=True) or [b""]
    name, colon, _ = line.partition(b":")
    if colon or others or line[-1:] in (b"\r", b"\n"):
        return name.rstrip(b"\r\n") in (b"", *_FIELDS)
    return _BOM.startswith(text) or any(field.startswith(name) for field in _FIELDS)
