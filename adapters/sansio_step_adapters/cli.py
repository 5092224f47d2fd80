"""The program `sansio-step`: where it starts, and what it says without the extra `cli`.

Its commands are in `_program`, what they do in `_parse` and `demo`.
"""

from __future__ import annotations

import io
import sys

__all__ = ["main"]


def main() -> None:
    """Run the program with the arguments of the command line. Always ends in SystemExit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What is shown is text in any script, and pipes want it in one encoding: not the locale's.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        from ._program import app  # noqa: PLC0415, what it imports may be missing

        app(prog_name="sansio-step")
    except ModuleNotFoundError as error:
        print(f'sansio-step: no module {error.name!r}; run: pip install "sansio-step[cli]"', file=sys.stderr)
        raise SystemExit(1) from None
