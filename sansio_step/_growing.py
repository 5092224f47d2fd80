"""Values that are still growing, inside a message that can be read at any time.

A stream adds a few characters thousands of times. Joining at each would cost a copy of all so far each
time, so the pieces wait in a `TextBuffer` and are joined when somebody reads the text. The buffer stands
in the block's own field; `read_through` makes reading that field give the str. (The list of blocks does
likewise, see `_assembler`.)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from copy import copy, deepcopy
from enum import Enum
from typing import Any, ClassVar

from ._json import join_halves


class Growing(Enum):
    """What a field holds while the stream goes on. Its value is `current`, and a copy gets that of the moment.

    msgspec encodes a Struct from its slots, past every property, and refuses what it doesn't know. It knows
    Enums: of one it takes `_value_`, whatever that is. So these are Enums without members, made by `begin`.
    """

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def begin(cls, *arguments: Any) -> Any:
        """A new one. Calling the class would look for a member."""
        self = object.__new__(cls)
        self.set_up(*arguments)
        return self

    @abstractmethod
    def set_up(self, *arguments: Any) -> None:
        """As `__init__` elsewhere."""

    @abstractmethod
    def current(self) -> Any:
        """The value so far."""

    def plain(self) -> Any:
        """The same in what JSON has: msgspec doesn't look into it."""
        return self.current()

    def __eq__(self, other: object) -> bool:
        return bool(self.current() == (other.current() if isinstance(other, Growing) else other))

    def __repr__(self) -> str:
        return repr(self.current())

    def __copy__(self) -> Any:
        return self.current()

    def __deepcopy__(self, memo: Any) -> Any:
        return deepcopy(self.current(), memo)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        value = self.current()
        return type(value), (value,)


# In a class's body the name is Enum's own.
type.__setattr__(Growing, "_value_", property(lambda self: self.plain()))


class TextBuffer(Growing):
    """Pieces of one text. `halves` tells that there are lone surrogates among them, still to be joined."""

    __slots__ = ("halves", "pieces")

    def set_up(self, start: str = "") -> None:
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

    def set_up(self, fields: dict[str, Any]) -> None:
        self.fields = fields
        self.buffers: dict[str, TextBuffer] = {}

    def current(self) -> dict[str, Any]:
        return self._with(TextBuffer.current)

    def finish(self) -> dict[str, Any]:
        return self._with(TextBuffer.finish)

    def __copy__(self) -> Any:
        return dict(self.current())

    def _with(self, read: Callable[[TextBuffer], str]) -> dict[str, Any]:
        for name, buffer in self.buffers.items():
            text = read(buffer)
            if text or name in self.fields:  # nothing but empty pieces makes no field
                self.fields[name] = text
        return self.fields


class ReadThrough:
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


def read_through(cls: type, name: str, descriptor: Callable[[Any], ReadThrough] = ReadThrough) -> None:
    """Let a field of a Struct class hold something `Growing` that nobody sees."""
    setattr(cls, name, descriptor(_descriptor(cls, name)))


def raw_field(block: Any, name: str) -> Any:
    """What a field that was made `read_through` holds: its value, or something `Growing`."""
    return _descriptor(type(block), name).slot.__get__(block)


def _descriptor(cls: type, name: str) -> Any:
    return next(vars(base)[name] for base in cls.__mro__ if name in vars(base))


class Copied:
    """A Struct whose shallow copies stand still: what a stream changes in it is copied as it is at the moment."""

    __slots__ = ()
    growing: ClassVar[tuple[str, ...]] = ()
    """The fields that are `read_through`."""
    mutable: ClassVar[tuple[str, ...]] = ("extra",)
    """Those that hold what a stream changes in place."""

    def __copy__(self) -> Any:
        made = super().__copy__()  # type: ignore[misc]  # the Struct's own, which this is mixed into
        for name in self.growing:
            value = raw_field(self, name)
            if isinstance(value, Growing):
                setattr(made, name, value.__copy__())
        for name in self.mutable:
            value = getattr(made, name)
            if value:
                setattr(made, name, _apart(value))
        return made


def _apart(value: Any) -> Any:
    if isinstance(value, dict):  # an `extra`, in which a block without a class has its citations
        cited = value.get("citations")
        return {**value, "citations": list(cited)} if isinstance(cited, list) else dict(value)
    return list(value) if isinstance(value, list) else copy(value)
