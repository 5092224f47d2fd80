"""Values of a JSON line by their paths, without a decoding of the rest."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

__all__ = ["CANT_READ", "Fields", "Path", "as_bytes", "as_flag", "as_text", "split_path"]

CANT_READ: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# What msgspec raises for text that is no JSON, that is no UTF-8, or that is nested too deep.

Path = tuple[str, ...]
"""The keys from a line's object down to a value; () is the line itself. In an array, a key is the number of an item."""

Value = Raw | str | None | UnsetType
"""A value as its JSON, a string that is decoded already, null, or UNSET if it is missing."""

_DOT: Final = re.compile(r"(?<!\\)\.")


def split_path(text: str) -> Path:
    r"""A path as users write it: `result.message`, `choices.0.body`; `a\.b` is one key, and `.` the line itself."""
    return () if text in ("", ".") else tuple(key.replace("\\.", ".") for key in _DOT.split(text))


class Fields:
    """Reads the values at some paths of JSON lines. The first path is that of the body, which is a string in most."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        # The keys that can be read in one pass: names alone, and none below the end of another path.
        heads = [_names_of(path) for path in paths]
        self._heads = [min((head for head in heads if head == path[: len(head)]), key=len) for path in heads]
        # The body's path can end before its last key, at the place of another path: then no string stands there.
        text = self._heads[0] if self._heads[0] == paths[0] else None
        self._decoders = [msgspec.json.Decoder(self._shape((), head)) for head in (text, None)]

    def _shape(self, prefix: Path, text: Path | None) -> Any:
        """The type of what is at a prefix: a Struct with the keys that lead on, or Raw at an end."""
        if prefix in self._heads:
            return str | None if prefix == text else Raw
        keys = dict.fromkeys(head[len(prefix)] for head in self._heads if head[: len(prefix)] == prefix)
        fields = [
            (f"f{at}", self._shape((*prefix, key), text) | UnsetType, msgspec.field(name=key, default=UNSET))
            for at, key in enumerate(keys)
        ]
        shape = msgspec.defstruct("Line", fields, namespace={"keys": tuple(keys)})
        return shape | None if prefix else shape

    def read(self, line: bytes) -> list[Value]:
        """The value at each path. Raises one of `CANT_READ` if the line is no JSON."""
        try:
            found = self._decoders[0].decode(line)
        except msgspec.ValidationError:
            self._decoders.reverse()  # lines of a file are alike: the next has the same kind of body
            try:
                found = self._decoders[0].decode(line)
            except msgspec.ValidationError:
                # Something on the way is no object.
                return [_walk(Raw(line), path) for path in self._paths]
        return [
            _walk(_get(found, head), path[len(head) :]) for path, head in zip(self._paths, self._heads, strict=True)
        ]


def _names_of(path: Path) -> Path:
    """A path up to its first number, which may be an item of an array."""
    return path[: next((at for at, key in enumerate(path) if key.isdecimal()), len(path))]


def _get(found: Any, path: Path) -> Value:
    for key in path:
        if found is None or found is UNSET:
            return UNSET
        found = getattr(found, f"f{found.keys.index(key)}")
    return found  # type: ignore[no-any-return]


def _walk(value: Value, path: Path) -> Value:
    """What is at a path below a value."""
    for key in path:
        if not isinstance(value, Raw):
            return UNSET
        start = bytes(value).lstrip()[:1]
        if start == b"{":
            value = msgspec.json.decode(value, type=dict[str, Raw]).get(key, UNSET)
        elif start == b"[" and key.isdecimal():
            items = msgspec.json.decode(value, type=list[Raw])
            value = items[int(key)] if int(key) < len(items) else UNSET
        else:
            return UNSET
    return value


def as_bytes(value: Value) -> bytes | None:
    """A value as a body: the text of a string, or an object's or array's JSON. None for null. Raises TypeError."""
    if isinstance(value, str):
        return value.encode()
    if value is None or isinstance(value, UnsetType):
        return None
    text = bytes(value).strip()
    if text.startswith(b'"'):
        return msgspec.json.decode(text, type=str).encode()
    if text.startswith((b"{", b"[")):
        return text
    if text == b"null":
        return None
    raise TypeError(f"the body is {text[:40].decode()}, which is neither a string nor an object")


def as_text(value: Value) -> str | None:
    """A value as a column of strings has it: a string as it is, all else as its JSON."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, UnsetType):
        return None
    text = bytes(value).strip()
    if text.startswith(b'"'):
        return msgspec.json.decode(text, type=str)
    return None if text == b"null" else text.decode()


_NO: Final = (None, "", "0", "false", "False", "FALSE", "no")


def as_flag(text: str | None) -> bool | None:
    """A logger's word on whether it cut the body: any but false, 0 and "" is a yes. None if it said nothing."""
    return None if text is None else text not in _NO and not _is_zero(text)


def _is_zero(text: str) -> bool:
    try:
        return not json.loads(text)
    except ValueError:
        return False
