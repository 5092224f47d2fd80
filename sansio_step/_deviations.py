"""Where a stream departs from the protocol and is read all the same."""

from __future__ import annotations

import msgspec

from ._errors import escaped, shown

ENTRY_SIZE = 256
# What one entry counts for in a message's size, in bytes. With a detail of 160 wide characters it takes a kilobyte.

_MOST_SHOWN = 160
_MOST_ENTRIES = 65536
# 16 MiB of them, at 256 bytes each. An `EventDecoder` alone has no limit that a body of endless messages would reach.


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
        return escaped(f"{self.code} at event {self.event_number}{times}: {self.detail}")


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
    """Counts occurrences: one entry a code and message, so that no server can fill the memory with them.

    From the 65,537th entry on, what a further message adds is counted in the last entry of its code.
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[int, str], Note] = {}
        self._last: dict[str, Note] = {}  # of each code

    def knows(self, key: tuple[int, str]) -> bool:
        """Whether there is an entry for a message and code, which another occurrence only adds to."""
        return key in self._entries

    def add(self, note: Note, upto: int | None = None) -> None:
        """Count a note; with `upto`, only what is of events before that number."""
        count = note.count if upto is None else min(note.count, upto - note.event_number)
        if count <= 0:
            return
        entry = self._entries.get((note.message, note.code))
        if entry is None and len(self._entries) >= _MOST_ENTRIES:
            entry = self._last.get(note.code)
        if entry is not None:
            entry.count += count
            return
        detail = shown(note.detail, _MOST_SHOWN)
        self._last[note.code] = self._entries[note.message, note.code] = Note(
            note.code, note.event_number, detail, note.message, count
        )

    def entries(self) -> list[Deviation]:
        """In the order of their first events."""
        entries = [Deviation(note.code, note.event_number, note.detail, note.count) for note in self._entries.values()]
        return sorted(entries, key=lambda entry: entry.event_number)
