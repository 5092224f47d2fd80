"""The program `sansio-step`: where it starts, and what it says without the extra `cli`.

Its commands are in `_program`, what they do in `_parse` and `demo`.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

__all__ = ["main"]


def main() -> None:
    """Run the program with the arguments of the command line. Always ends in SystemExit."""
    # A shell can close any of the three (`2>&-`), and Python has None for it then.
    sys.stdin = sys.stdin or Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115, open for as long as the program runs
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        print("sansio-step: standard output is closed", file=sys.stderr)
        raise SystemExit(1)
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
