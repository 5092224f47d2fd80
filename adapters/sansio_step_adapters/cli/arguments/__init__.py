"""The command line, read by the standard library alone, so that `parse` runs where nothing else is installed.

A module for each command has what it takes, and its help, which fits a screen of 24 lines and ends with examples.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final

from sansio_step import __version__

from . import archive, chat, check, demo, inspect, parse, serve
from ._parser import Parser

__all__ = ["read_arguments"]

_COMMANDS: Final = {
    "demo": demo.COMMAND,
    "chat": chat.COMMAND,
    "inspect": inspect.COMMAND,
    "parse": parse.COMMAND,
    "check": check.COMMAND,
    "serve": serve.COMMAND,
    "archive": archive.COMMAND,
}


def read_arguments(words: list[str]) -> tuple[str, Any]:
    """The command's name, and its arguments as given. Ends in SystemExit, with 2 for wrong ones and 0 after `--help` and `--version`."""
    names = "\n".join(f"  {name:<9}{command.what}" for name, command in _COMMANDS.items())
    program = Parser(
        prog="sansio-step",
        usage="%(prog)s [--help | --version | COMMAND ...]",
        description=f"Messages streams: see a demo, ask a model, look at captures, make JSON of them.\n\ncommands:\n{names}",
        epilog="sansio-step COMMAND --help says more about each. Begin with: sansio-step demo",
    )
    program.add_argument("--version", action="version", version=f"sansio-step {__version__}", help="print the version")
    program.add_argument("command", choices=list(_COMMANDS), metavar="COMMAND", help=argparse.SUPPRESS)
    program.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    if not words:
        program.print_help(sys.stderr)
        program.exit(2)
    found = program.parse_args(words)
    command = _COMMANDS[found.command]
    return found.command, command.read(command.parser(found.command), found.rest)
