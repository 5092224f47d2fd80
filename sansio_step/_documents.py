"""JSON documents that are lines of a frame: several events in one, and what stands there without a field's name.

Some servers forget the blank line between two events, so that a frame has two data lines, each whole by itself. Others
write a document into the stream as it is: an API error, the message that should have been streamed, one JSON a line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._json import NotJSON, read_json

_DONE = b"[DONE]"


def glued_events(data: bytes) -> list[bytes]:
    """The data lines of a frame if each is an event by itself, two or more; else none."""
    found, others = _leading(data.split(b"\n"), _is_event)
    return found if len(found) > 1 and not others else []


def glued_events_before_cut(data: bytes) -> list[bytes]:
    """The data lines that are whole events, of a frame in which the body ends before another one is."""
    found, others = _leading(data.split(b"\n"), _is_event)
    return found if len(found) + len(others) > 1 else []


def documents(bare: bytes) -> list[bytes]:
    """The objects that a frame's lines without a field are: one a line, or one over all of them; else none."""
    found, others = _leading(bare.split(b"\n"), _is_object)
    if not others:
        return found
    return [bare] if not found and _is_object(bare) else []


def documents_before_cut(bare: bytes) -> tuple[list[bytes], bool]:
    """The same for a frame in which the body ends, where the last line can be cut; and whether it is."""
    whole = documents(bare)
    return (whole, False) if whole else (_leading(bare.split(b"\n"), _is_object)[0], True)


def json_object(text: bytes) -> dict[str, Any] | None:
    """The object that a JSON text is, None if it is something else."""
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
    """The lines before the first that `is_one` does not hold for, and those from there on."""
    first = next((number for number, line in enumerate(lines) if not is_one(line)), len(lines))
    return lines[:first], lines[first:]
