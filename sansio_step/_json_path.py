"""Where in a JSON text the value at a path stands, for errors that name a path."""

from __future__ import annotations

import re
from json import loads

_STEP = re.compile(r"\.([^.\[]+)|\[([0-9]+)\]")
_SPACE = re.compile(r"[ \t\n\r]*")
_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_SCALAR = re.compile(_STRING + r"|[^\s,\]}]+", re.DOTALL)
_BRACKET_OR_STRING = re.compile(r"[\[{\]}]|" + _STRING, re.DOTALL)


def position_of(text: str, path: str) -> int:
    """The position in characters of the value at a path, such as `$.places[2].name`, in a text that is JSON.

    If the path says no more than that a value is in an object (`[...]`), or leads to nothing that is there, it is the
    position of the last value on the way.
    """
    at = _after_space(text, 0)
    step = _STEP.match(path, 1)
    while step is not None:
        found = _in_object(text, at, step[1]) if step[1] is not None else _in_array(text, at, int(step[2]))
        if found is None:
            break
        at = found
        step = _STEP.match(path, step.end())
    return at


def _in_object(text: str, at: int, name: str) -> int | None:
    """Where the value of a field starts, in the value that starts at `at`. If the name comes twice, the last counts."""
    found = None
    if text[at] == "{":
        at = _after_space(text, at + 1)
        while text[at] == '"':
            end = _end_of(text, at)
            value = _after_space(text, _after_space(text, end) + 1)  # after the colon
            if loads(text[at:end]) == name:
                found = value
            at = _next(text, value)
    return found


def _in_array(text: str, at: int, index: int) -> int | None:
    """Where an element starts, in the value that starts at `at`."""
    if text[at] != "[":
        return None
    at = _after_space(text, at + 1)
    for _ in range(index):
        if text[at] != "]":
            at = _next(text, at)
    return at if text[at] != "]" else None


def _next(text: str, at: int) -> int:
    """What follows the value at `at`: the next key or element, or the bracket that closes."""
    at = _after_space(text, _end_of(text, at))
    return _after_space(text, at + 1) if text[at] == "," else at


def _end_of(text: str, at: int) -> int:
    """Where the value at `at` ends. Without recursion: the caller's stack can be deep."""
    if text[at] not in "[{":
        return _end(_SCALAR.match(text, at))
    depth = 1
    while depth:
        at = _end(_BRACKET_OR_STRING.search(text, at + 1)) - 1
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(text[at], 0)
    return at + 1


def _after_space(text: str, at: int) -> int:
    return _end(_SPACE.match(text, at))


def _end(found: re.Match[str] | None) -> int:
    assert found is not None, "the text is JSON"
    return found.end()
