"""How far a command with many files is: one line on stderr that changes, in a terminal alone."""

from __future__ import annotations

import os
import sys
import unicodedata
from time import monotonic
from types import TracebackType
from typing import Final

from ._terminal import escaped

__all__ = ["Progress"]

_EACH: Final = 0.1
# Seconds between two changes.
_CLEAR: Final = "\r\x1b[K"


class Progress:
    """The line, while the block runs. What else is written to the terminal takes it away first, by `clear`."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._is_on = total > 1 and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._is_shown = False
        self._due = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.clear()

    def show(self, number: int, what: str) -> None:
        """Say that file `number` (from 0) is being read, if it is time to."""
        now = monotonic()
        if not self._is_on or now < self._due:
            return
        self._due = now + _EACH
        line = _cut(escaped(f"{number + 1:,} of {self._total:,}: {what}"), _columns() - 1)
        self._write(_CLEAR + line)
        self._is_shown = True

    def clear(self) -> None:
        """Take the line away."""
        if self._is_shown:
            self._write(_CLEAR)
            self._is_shown = False

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.buffer.write(text.encode("utf-8", "surrogateescape"))
        sys.stderr.buffer.flush()


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80


def _cut(text: str, cells: int) -> str:
    """A text cut to so many cells of a terminal: a line that wraps can't be taken away."""
    for place, character in enumerate(text):
        cells -= 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if cells < 0:
            return text[:place]
    return text
