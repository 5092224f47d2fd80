"""Values that are still growing, inside a message that can be read at any time.

A stream adds a few characters thousands of times. Joining at each would cost a copy of all so far each
time, so the pieces wait in a `TextBuffer` and are joined when somebody reads the text. The buffer stands
in the block's own field; `read_through` makes reading that field give the str. (The list of blocks does
likewise, see `_assembler`.)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from ._json import join_halves


class Growing(ABC):
    """What a field holds while the stream goes on. A copy of the message gets the value of that moment."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    @abstractmethod
    def current(self) -> Any:
        """The value so far."""

    def __eq__(self, other: object) -> bool:
        return bool(self.current() == (other.current() if isinstance(other, Growing) else other))

    def __reduce__(self) -> tuple[Any, ...]:
        value = self.current()
        return type(value), (value,)


class TextBuffer(Growing):
    """Pieces of one text. `halves` tells that there are lone surrogates among them, still to be joined."""

    __slots__ = ("halves", "pieces")

    def __init__(self, start: str = "") -> None:
        self.pieces = [start] if start else []
        self.halves = False

    def current(self) -> str:
        """The text so far. A first surrogate half at its end waits for the other."""
        if len(self.pieces) > 1:
            self.pieces[:] = ["".join(self.pieces)]
        text = self.pieces[0] if self.pieces else ""
        return join_halves(text, hold_back=True) if self.halves else text

    def finish(self) -> str:
        """The text, whole: a half that stayed alone is U+FFFD."""
        text = "".join(self.pieces)
        return join_halves(text) if self.halves else text


class GrowingFields(Growing):
    """`extra` of a block without a class, while deltas add to some of its fields."""

    __slots__ = ("buffers", "fields")

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields
        self.buffers: dict[str, TextBuffer] = {}

    def current(self) -> dict[str, Any]:
        return self._with(TextBuffer.current)

    def finish(self) -> dict[str, Any]:
        return self._with(TextBuffer.finish)

    def _with(self, read: Callable[[TextBuffer], str]) -> dict[str, Any]:
        for name, buffer in self.buffers.items():
            text = read(buffer)
            if text or name in self.fields:  # nothing but empty pieces makes no field
                self.fields[name] = text
        return self.fields


class _ReadThrough:
    """A field's descriptor in place of the slot's own: what reads it gets the value, never the buffer."""

    def __init__(self, slot: Any) -> None:
        self.slot = slot

    def __get__(self, block: Any, owner: type | None = None) -> Any:
        if block is None:
            return self
        value = self.slot.__get__(block)
        return value.current() if isinstance(value, Growing) else value

    def __set__(self, block: Any, value: Any) -> None:
        self.slot.__set__(block, value)


def read_through(cls: type, name: str) -> None:
    """Let a field of a Struct class hold something `Growing` that nobody sees."""
    setattr(cls, name, _ReadThrough(_descriptor(cls, name)))


def raw_field(block: Any, name: str) -> Any:
    """What a field that was made `read_through` holds: its value, or something `Growing`."""
    return _descriptor(type(block), name).slot.__get__(block)


def _descriptor(cls: type, name: str) -> Any:
    return next(vars(base)[name] for base in cls.__mro__ if name in vars(base))
