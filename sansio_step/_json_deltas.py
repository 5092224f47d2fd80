"""What a JSON text says from one piece to the next: the deltas that a `JSONReader` returns."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypeAlias

import msgspec

from ._errors import short_repr

JSONPath: TypeAlias = tuple[str | int, ...]
"""Where a value stands: the keys and indices from the outermost value to it, () for the outermost value itself."""


class _Delta(msgspec.Struct, frozen=True, gc=False, tag_field="kind"):
    path: JSONPath

    def __repr__(self) -> str:
        # Short, whatever the size: a value of megabytes ends up in logs and tracebacks.
        shown = ", ".join(f"{name}={short_repr(getattr(self, name))}" for name in self.__struct_fields__)
        return f"{type(self).__name__}({shown})"


class JSONOpened(_Delta, frozen=True, gc=False, tag="opened"):
    """An object or array begins. What is in it comes next, under longer paths, and then its `JSONClosed`."""

    kind: ClassVar[Literal["opened"]] = "opened"
    container: Literal["object", "array"]


class JSONClosed(_Delta, frozen=True, gc=False, tag="closed"):
    """An object or array is finished. `value` is all of it: the dict or list that `JSONReader.partial` shows too."""

    kind: ClassVar[Literal["closed"]] = "closed"
    value: dict[str, Any] | list[Any]


class JSONPiece(_Delta, frozen=True, gc=False, tag="piece"):
    """Some more of a string, decoded and never empty. The pieces of a string, joined, are the string."""

    kind: ClassVar[Literal["piece"]] = "piece"
    text: str


class JSONString(_Delta, frozen=True, gc=False, tag="string"):
    """A string is finished. `value` is all of it; its pieces came before."""

    kind: ClassVar[Literal["string"]] = "string"
    value: str


class JSONScalar(_Delta, frozen=True, gc=False, tag="scalar"):
    """A number, true, false or null, which can't grow any more."""

    kind: ClassVar[Literal["scalar"]] = "scalar"
    value: int | float | bool | None


JSONDelta: TypeAlias = JSONOpened | JSONClosed | JSONPiece | JSONString | JSONScalar
"""One thing that a piece of a JSON text says. Comparing `kind` tells which, to type checkers too."""
