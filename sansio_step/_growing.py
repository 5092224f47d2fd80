"""Values that are still growing, inside a message that can be read at any time.

A stream adds a few characters thousands of times. Joining them each time would copy the whole text so far, so
the pieces wait in a `TextBuffer` until somebody reads the text. The buffer sits in the block's own field, and
`read_through` makes that field read as the str. (The list of blocks works the same way: see `_assembler`.)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from copy import deepcopy
from enum import Enum
from functools import cache
from typing import Any, ClassVar

import msgspec
from msgspec.structs import astuple

from ._base import NO_EXTRA
from ._json import has_halves, join_halves

_KINDS: set[type] = set()
# The classes of `Growing`. Looking a value's class up here takes a third of the time of isinstance with an Enum.


class Growing(Enum):
    """What a field holds while a stream adds to it. Its value is `current`, and a copy is the value of that moment.

    msgspec encodes a Struct from its slots, bypasses every property, and refuses types that it doesn't know. It
    knows Enums: it encodes the `_value_` of one, whatever that is. So these are Enums without members, made by `begin`.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        _KINDS.add(cls)

    @classmethod
    def begin(cls, *arguments: Any) -> Any:
        """Make a new one. (Calling the class would look for a member.)"""
        self = object.__new__(cls)
        self.set_up(*arguments)
        return self

    @abstractmethod
    def set_up(self, *arguments: Any) -> None:
        """Do what `__init__` does elsewhere."""

    @abstractmethod
    def current(self) -> Any:
        """The value so far."""

    def plain(self) -> Any:
        """The same in JSON's own types, since msgspec doesn't look inside it."""
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


# Set here because Enum reserves the name in a class body.
type.__setattr__(Growing, "_value_", property(lambda self: self.plain()))


SHORT = 256
# Characters. A string of a few characters takes 57 bytes and its place in a list 8, so that fifty unread deltas took 3.3
# KiB. Adding to a string of this length copies it in 0.03 microseconds, as long as a place takes.


class TextBuffer(Growing):
    """Pieces of one text. `halves` is true if there are lone surrogates among them, still to be joined."""

    __slots__ = ("before", "earlier", "halves", "last")

    def set_up(self, start: str = "") -> None:
        self.earlier: list[str] | None = None
        self.before = 0  # how many characters are in the earlier pieces
        self.last = start
        self.halves = False

    def append(self, text: str) -> None:
        """Add to the text, which can end in half of a character."""
        if not text.isascii() and not self.halves:
            self.halves = has_halves(text)
        if len(self.last) < SHORT:
            self.last += text
            return
        if self.earlier is None:
            self.earlier = []
        self.earlier.append(self.last)
        self.before += len(self.last)
        self.last = text

    def since(self, position: int) -> str:
        """The text from a character on. It costs what it returns, so that a reader can read on after each delta."""
        missing = self.before - position
        if missing <= 0:
            return self.last[-missing:]
        pieces = [self.last]
        backwards = reversed(self.earlier or ())
        while missing > 0:
            pieces.append(next(backwards))
            missing -= len(pieces[-1])
        return "".join(reversed(pieces))[-missing:]

    def current(self) -> str:
        """The text so far. A first surrogate half at its end is held back until the second comes."""
        text = self._join()
        return join_halves(text, hold_back=True) if self.halves else text

    def finish(self) -> str:
        """The whole text. A half that stayed alone is U+FFFD."""
        text = self._join()
        return join_halves(text) if self.halves else text

    def _join(self) -> str:
        if self.earlier is not None:
            self.last = "".join((*self.earlier, self.last))
            self.earlier = None
            self.before = 0
        return self.last


class GrowingFields(Growing):
    """The `extra` of a block without a class while deltas add to some of its fields."""

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
            if text or name in self.fields:  # empty pieces alone make no field
                self.fields[name] = text
        return self.fields


class ReadThrough:
    """Replaces the slot's own descriptor: whoever reads the field gets the value, never the buffer."""

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
    """Let a field of a Struct class hold something `Growing` without anybody seeing it."""
    setattr(cls, name, descriptor(_in_class(cls, name)))


def raw_field(block: Any, name: str) -> Any:
    """What a `read_through` field really holds: its value, or something `Growing`."""
    return _descriptor(type(block), name).slot.__get__(block)  # type: ignore[arg-type]  # as below


def set_raw_field(block: Any, name: str, value: Any) -> None:
    """Set what a `read_through` field really holds, past its descriptor."""
    _descriptor(type(block), name).slot.__set__(block, value)  # type: ignore[arg-type]  # as below


def _in_class(cls: Any, name: str) -> Any:
    return next(vars(base)[name] for base in cls.__mro__ if name in vars(base))


_descriptor = cache(_in_class)


class Copied:
    """A Struct whose shallow copies don't grow with the stream: whatever it changes in place is copied too."""

    __slots__ = ()
    growing: ClassVar[tuple[str, ...]] = ()
    """The fields that are `read_through`."""
    mutable: ClassVar[tuple[str, ...]] = ("extra",)
    """The fields whose values a stream changes in place."""

    def __copy__(self) -> Any:
        made: Any = msgspec.Struct.__copy__(self)  # type: ignore[attr-defined]  # missing from the stubs
        held = astuple(self)  # type: ignore[arg-type]  # what the slots hold, read in C
        if self.growing and not _KINDS.isdisjoint(map(type, held)):
            for name in self.growing:
                value = raw_field(self, name)
                if type(value) in _KINDS:
                    setattr(made, name, value.__copy__())
            held = astuple(made)
        for name, position in _mutable(type(self)):  # type: ignore[arg-type]  # it takes the Struct's hash for another
            value = held[position]
            if value is not None and value is not NO_EXTRA:  # an empty one can be the caller's own
                setattr(made, name, _apart(value))
        return made


@cache
def _mutable(cls: Any) -> list[tuple[str, int]]:
    return [(name, cls.__struct_fields__.index(name)) for name in cls.mutable]


def _apart(value: Any) -> Any:
    if isinstance(value, dict):  # an `extra`: a block without a class has its citations there
        cited = value.get("citations")
        return {**value, "citations": list(cited)} if isinstance(cited, list) else dict(value)
    return list(value) if isinstance(value, list) else value.__copy__()
