"""Which captures kill their worker: notes that survive it.

When a split begins, it leaves a mark beside its output. A later try that finds the mark knows that an earlier one died,
and writes the number of each capture into it before it reads that. A capture whose number two tries left is skipped: one
death can have any reason. Nothing here is of one engine.
"""

from __future__ import annotations

import contextlib

import fsspec
import msgspec

__all__ = ["Marks"]

_DEATHS = 2


class _Notes(msgspec.Struct):
    """What earlier tries left: the capture at which each one died that was careful."""

    captures: list[int] = []


class Marks:
    """The mark of one split. Used as a context manager, it is removed at the end if nothing went wrong."""

    def __init__(self, fs: fsspec.AbstractFileSystem, path: str) -> None:
        self._fs = fs
        self._path = path
        self._notes = _Notes()
        self.is_careful = False

    def begin(self) -> None:
        """Leave the mark, or read the one that is there."""
        try:
            found = self._fs.cat_file(self._path)
        except FileNotFoundError:
            self._write(self._notes)
            return
        self.is_careful = True
        with contextlib.suppress(msgspec.DecodeError):  # the worker died while it wrote
            self._notes = msgspec.json.decode(found, type=_Notes)

    def allows(self, capture: int) -> bool:
        """Whether a capture may be read. Call it before each one."""
        if not self.is_careful:
            return True
        if self._notes.captures.count(capture) >= _DEATHS:
            return False
        self._write(_Notes([*self._notes.captures, capture]))
        return True

    def end(self) -> None:
        """Remove the mark."""
        with contextlib.suppress(FileNotFoundError):  # another worker, which was given the same split, was faster
            self._fs.rm_file(self._path)

    def _write(self, notes: _Notes) -> None:
        self._fs.pipe_file(self._path, msgspec.json.encode(notes))
