"""Where the program starts, and how it ends as a shell's user expects."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final

from .arguments import read_arguments

__all__ = ["main"]

# What a shell reports for a program that a signal ended.
_INTERRUPTED: Final = 130
_BROKEN_PIPE: Final = 141


def main() -> None:
    """Run the program with the arguments of the command line. Always ends in SystemExit."""
    # A shell can close any of the three (`2>&-`), and Python has None for it then.
    sys.stdin = sys.stdin or Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115, open for as long as the program runs
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        _say("standard output is closed")
        raise SystemExit(1)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What is shown is text in any script, and pipes want it in one encoding: not the locale's.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    name, arguments = read_arguments(sys.argv[1:])
    try:
        # Each command has a module, which imports what it needs: parse needs nothing of the others'.
        command = import_module(f".{name}", __package__)
    except ModuleNotFoundError as error:
        _say(f'no module {error.name!r}; run: pip install "sansio-step[cli]"')
        raise SystemExit(1) from None
    raise SystemExit(_code(lambda: command.run(arguments)))


def _code(run: Callable[[], bool]) -> int:
    """Run a command; the exit code."""
    try:
        code = 0 if run() else 1
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone, as `head` does.
        _drop_output()
        return _BROKEN_PIPE
    except OSError as error:
        _say(str(error))
        try:
            sys.stdout.flush()
        except OSError:
            # A full disk: what was printed up to the error can't be written either.
            _drop_output()
        return 1
    return code


def _drop_output() -> None:
    """What is still buffered has nowhere to go: Python would try again at exit, and end with its own code for that, 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(what: str) -> None:
    print(f"sansio-step: {what}", file=sys.stderr)
