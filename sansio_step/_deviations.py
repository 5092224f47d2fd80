"""Where a stream departs from the protocol and is read all the same."""

from __future__ import annotations

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


class Note(msgspec.Struct):
    """Occurrences that are not counted yet: those of `count` events in a row, the first at `event_number`.

    `message` is which message of the body they belong to.
    """

    code: str
    event_number: int
    detail: str
    message: int
    count: int = 1


class DeviationLog:
    """Counts occurrences: one entry a code and message, so that no server can fill the memory with them."""

    def __init__(self) -> None:
        self._first: dict[tuple[int, str], Note] = {}
        self._counts: dict[tuple[int, str], int] = {}

    def add(self, note: Note, upto: int | None = None) -> None:
        """Count a note; with `upto`, only what is of events before that number."""
        count = note.count if upto is None else min(note.count, upto - note.event_number)
        if count > 0:
            key = (note.message, note.code)
            self._first.setdefault(key, note)
            self._counts[key] = self._counts.get(key, 0) + count

    def entries(self) -> list[Deviation]:
        """In the order of their first events."""
        entries = [
            Deviation(note.code, note.event_number, note.detail, self._counts[key]) for key, note in self._first.items()
        ]
        return sorted(entries, key=lambda entry: entry.event_number)
