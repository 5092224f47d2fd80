"""JSON that somebody else parsed, checked and copied: what `read_json` would have given for its text."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

import msgspec

from ._errors import DecodeError
from ._json import MAX_NESTING, has_halves, join_halves


def parsed_json(value: object) -> Any:
    """A JSON value as its text would have been read: dicts, lists, str, int, float, bool and None alone.

    Lone surrogate halves, which json.loads makes, are U+FFFD. What `model_dump()` leaves in its dicts beside JSON is
    what it is in JSON: tuples are arrays, enumerations their values, times and UUIDs texts. Raises DecodeError for
    what no text could have held (an infinite number, a key that is no str, nesting beyond 200), TypeError for any other
    object. It needs no recursion: the caller's stack can be deep, and an object can hold itself.
    """
    made: list[Any] = [None]
    waiting: list[tuple[Any, Any, object, int]] = [(made, 0, value, 1)]  # where each value goes, and how deep it stands
    while waiting:
        holder, place, item, depth = waiting.pop()
        if not isinstance(item, (Mapping, list, tuple)):
            holder[place] = _scalar(item)
            continue
        if depth > MAX_NESTING:
            raise DecodeError(f"nested deeper than {MAX_NESTING}")
        parts: list[tuple[Any, object]]
        if isinstance(item, Mapping):
            container: Any = {}
            parts = [(_key(key), part) for key, part in item.items()]
        else:
            container = [None] * len(item)
            parts = list(enumerate(item))
        holder[place] = container
        # The first is taken first. So fields keep their order, and of keys that become the same the last counts.
        waiting += [(container, where, part, depth + 1) for where, part in reversed(parts)]
    return made[0]


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise DecodeError(f"a key of a JSON object is a {type(key).__name__}, not a string")
    return _text(key)


def _scalar(item: object) -> Any:
    if item is None or isinstance(item, bool):
        return item
    if isinstance(item, str):
        return _text(item)
    if isinstance(item, int):
        return int(item)
    if isinstance(item, float):
        if not isfinite(item):
            raise DecodeError("number out of range")
        return float(item)
    return msgspec.to_builtins(item)


def _text(text: str) -> str:
    text = str.__str__(text)  # the value of an enumeration's member
    return join_halves(text) if has_halves(text) else text
