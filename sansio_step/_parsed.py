"""JSON that somebody else parsed, checked and copied: what `read_json` would have given for its text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from math import isfinite
from sys import maxsize
from typing import Any

import msgspec

from ._errors import DecodeError, LimitExceeded
from ._json import MAX_NESTING, Read, has_halves, join_halves

_MOST_BITS = 14284
# Of an integer: 4,300 digits, beyond which Python reads none.


def parsed_json(value: object, limit: int = maxsize) -> Read:
    """A JSON value as its text would have been read: in nothing but dicts, lists, str, int, float, bool and None.

    Lone surrogate halves, which json.loads makes, are U+FFFD, except in the raw value. Other objects that `model_dump()`
    leaves in its dicts are written as JSON has them: tuples as arrays, enumerations as their values, times and UUIDs as
    texts. Raises DecodeError for what no text could have held (an infinite number, a key that is no str, nesting beyond
    200), TypeError for any other object. It does not recurse: the caller's stack can be deep, and an object can hold
    itself.
    """
    texts: list[str] = []
    raw = _copied(value, texts.append, limit)
    return Read(_copied(raw, texts.append, limit, mend=True) if any(map(has_halves, texts)) else raw, raw)


def _copied(value: object, see: Callable[[str], None], limit: int, *, mend: bool = False) -> Any:
    """A copy in the types of JSON. `see` is shown each text. `mend` replaces the lone halves in them."""
    made: list[Any] = [None]
    waiting: list[tuple[Any, Any, object, int]] = [(made, 0, value, 1)]  # where each value goes, and how deep it stands
    size = 0  # an object that is shared is copied, so that a few of them can make millions of values
    while waiting:
        holder, place, item, depth = waiting.pop()
        size += 1 + (len(item) if isinstance(item, str) else 0)
        if size > limit:
            raise LimitExceeded("max_event_size", limit)
        if not isinstance(item, (Mapping, list, tuple)):
            if isinstance(item, str):
                holder[place] = _text(item, see, mend)
            elif item is None or isinstance(item, (bool, int, float)):
                holder[place] = _scalar(item)
            else:
                waiting.append((holder, place, _builtin(item), depth))
            continue
        if depth > MAX_NESTING:
            raise DecodeError(f"nested deeper than {MAX_NESTING}")
        parts: list[tuple[Any, object]]
        if isinstance(item, Mapping):
            container: Any = {}
            parts = [(_key(key, see, mend), part) for key, part in item.items()]
        else:
            container = [None] * len(item)
            parts = list(enumerate(item))
        holder[place] = container
        # The first is taken first. So fields keep their order, and of keys that become the same the last counts.
        waiting += [(container, where, part, depth + 1) for where, part in reversed(parts)]
    return made[0]


def _key(key: object, see: Callable[[str], None], mend: bool) -> str:
    if not isinstance(key, str):
        raise DecodeError(f"a key of a JSON object is a {type(key).__name__}, not a string")
    return _text(key, see, mend)


def _text(text: str, see: Callable[[str], None], mend: bool) -> str:
    text = str.__str__(text)  # the value of an enumeration's member
    see(text)
    return join_halves(text) if mend else text


def _scalar(item: bool | int | float | None) -> Any:
    if item is None or isinstance(item, bool):
        return item
    if isinstance(item, int):
        if item.bit_length() > _MOST_BITS:
            raise DecodeError("number out of range")
        return int(item)
    if not isfinite(item):
        raise DecodeError("number out of range")
    return float(item)


def _builtin(item: object) -> Any:
    """What stands in JSON for an object of any other type. It is then looked at like any other value."""
    if isinstance(item, (bytes, bytearray, memoryview)):
        raise TypeError(f"a value of a JSON object is {type(item).__name__}")  # msgspec would write base64
    if isinstance(item, Enum):
        return item.value
    try:
        return msgspec.to_builtins(item)
    except RecursionError:
        raise DecodeError(f"nested deeper than {MAX_NESTING}") from None
