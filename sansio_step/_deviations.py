"""Where a stream departs from the protocol and is read all the same."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Deviation(msgspec.Struct, frozen=True):
    """One way in which a message's stream departs from the protocol.

    `event_number` (from 0) and `detail` are of the first event that did so, `count` says how many did.
    """

    code: str
    event_number: int
    detail: str
    count: int = 1

    def __str__(self) -> str:
        times = f", {self.count} times" if self.count > 1 else ""
        return f"{self.code} at event {self.event_number}{times}: {self.detail}"


class Note(msgspec.Struct, frozen=True):
    """One occurrence, before it is counted. `message` is which message of the body it belongs to."""

    code: str
    event_number: int
    detail: str
    message: int


class DeviationLog:
    """Counts occurrences: one entry a code and message, so that no server can fill the memory with them."""

    def __init__(self) -> None:
        self._entries: dict[tuple[int, str], Deviation] = {}

    def add(self, notes: Iterable[Note]) -> None:
        for note in notes:
            key = (note.message, note.code)
            known = self._entries.get(key)
            if known is None:
                self._entries[key] = Deviation(note.code, note.event_number, note.detail)
            else:
                self._entries[key] = msgspec.structs.replace(known, count=known.count + 1)

    def entries(self) -> list[Deviation]:
        """In the order of their first events."""
        return sorted(self._entries.values(), key=lambda entry: entry.event_number)
