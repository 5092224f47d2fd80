"""JSON documents in the lines of a frame: several events in one frame, and documents without a field's name.

Some servers forget the blank line between two events, so that a frame has two data lines, each whole by itself. Others
write a document into the stream as it is: an API error, the message that should have been streamed, or one JSON text a
line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._json import NotJSON, read_json

_DONE = b"[DONE]"


def glued_events(data: bytes) -> list[bytes]:
    """The data lines of a frame if there are at least two and each is an event by itself; else none."""
    found, others = _leading(data.split(b"\n"), _is_event)
    return found if len(found) > 1 and not others else []


def glued_events_before_cut(data: bytes) -> list[bytes]:
    """The data lines that are whole events, for a frame of several data lines in which the body ends.

    There are none unless the first line is one, since a JSON text over many lines can have an object in one of them.
    """
    lines = data.split(b"\n")
    return list(filter(_is_event, lines)) if len(lines) > 1 and _is_event(lines[0]) else []


def documents(bare: bytes) -> list[bytes]:
    """The JSON objects in a frame's lines without a field: one in each line, or one across all of them; else none."""
    found, others = _leading(bare.split(b"\n"), _is_object)
    if not others:
        return found
    return [bare] if _is_object(bare) else []


def documents_before_cut(bare: bytes) -> tuple[list[bytes], bool]:
    """The same for a frame in which the body ends, and whether its last document is cut."""
    whole = documents(bare)
    if whole:
        return whole, False
    found, others = _leading(bare.split(b"\n"), _is_object)
    return found, bool(found) or others[0].lstrip()[:1] == b"{"


def json_object(text: bytes) -> dict[str, Any] | None:
    """The JSON object that a text is; None if it is anything else."""
    if text.lstrip()[:1] != b"{":
        return None
    try:
        value = read_json(text, controls=True).value
    except NotJSON:
        return None
    return value if isinstance(value, dict) else None


def _is_event(line: bytes) -> bool:
    return line == _DONE or isinstance((json_object(line) or {}).get("type"), str)


def _is_object(text: bytes) -> bool:
    return json_object(text) is not None


def _leading(lines: list[bytes], is_one: Callable[[bytes], bool]) -> tuple[list[bytes], list[bytes]]:
    """The lines before the first for which `is_one` is false, and the lines from there on."""
    first = next((number for number, line in enumerate(lines) if not is_one(line)), len(lines))
    return lines[:first], lines[first:]
