"""What events and messages have in common: msgspec Structs that keep every field the wire carried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from ._errors import short_repr

if TYPE_CHECKING:
    Extra = dict[str, Any]
else:

    class Extra(dict):
        """The empty `extra` that all objects share: a dict for each of 100,000 deltas would cost 6 MB.

        msgspec can't decode to this class. So the typed decoder refuses a wire field called `extra`, and the
        general one reads it like every other unknown field.
        """

        def _read_only(self, *args, **kwargs):
            raise TypeError("this empty `extra` is shared and read-only; set `extra` to a dict of your own")

        __setitem__ = __delitem__ = update = setdefault = pop = popitem = clear = __ior__ = _read_only

        def __reduce__(self):
            return "NO_EXTRA"

        def __deepcopy__(self, memo):
            return self


NO_EXTRA: Extra = Extra()


class WireStruct:
    """Base of all types: `extra` holds the fields that the wire carried and the type does not name."""

    __slots__ = ()
    __struct_fields__: ClassVar[tuple[str, ...]]
    __struct_encode_fields__: ClassVar[tuple[str, ...]]
    if TYPE_CHECKING:
        extra: Extra

    def __repr__(self) -> str:
        # Short, whatever the size: a message of megabytes ends up in logs and tracebacks.
        shown = [f"{name}={short_repr(value)}" for name, value in self._shown()]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __rich_repr__(self, /) -> list[tuple[str, Any]]:
        # msgspec's own method reads the slots and bypasses the properties that some fields have become.
        return list(self._shown())

    def _shown(self) -> Iterator[tuple[str, Any]]:
        """The fields that say something, with the values that their attributes give."""
        for name in self._shown_fields():
            value = getattr(self, name)
            if name[0] != "_" and value is not None and (name != "extra" or value):
                yield name, value

    def _shown_fields(self) -> tuple[str, ...]:
        return self.__struct_fields__


def set_right(part: Part, name: str, value: Any) -> None:
    """Set a field to a value of its kind. One of a wrong kind, which is in `extra` under that name, gives way to it."""
    setattr(part, name, value)
    extra = part.extra
    if extra and name in extra:
        part.extra = {key: other for key, other in extra.items() if key != name}


class Event(
    WireStruct, msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False
):
    """Base of events and deltas: they are complete and don't change."""

    extra: Extra = NO_EXTRA


class Part(WireStruct, msgspec.Struct, kw_only=True, omit_defaults=True):
    """Base of messages and their parts: they grow while a stream is read."""

    extra: Extra = NO_EXTRA
