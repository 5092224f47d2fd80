"""The command line, read by the standard library alone, so that `parse` runs where nothing else is installed."""

from __future__ import annotations

import argparse
import sys
from typing import NamedTuple, NoReturn

from sansio_step import __version__

from .archive import DESCRIPTION, ArchiveArguments, read_archive


class ParseArguments(NamedTuple):
    """What `sansio-step parse` was told."""

    files: list[str]
    events: bool
    strict: bool
    quiet: bool
    pretty: bool | None


class DemoArguments(NamedTuple):
    """What `sansio-step demo` was told."""

    pace: float


def read_arguments(words: list[str]) -> ParseArguments | DemoArguments | ArchiveArguments:
    """The arguments as given. Ends in SystemExit, with 2 for wrong ones and 0 after `--help` and `--version`."""
    program = _Parser(
        prog="sansio-step",
        description="Read Messages streams: see a demo, turn captured bodies into JSON,\nor archives of them into tables.",
        epilog="sansio-step COMMAND --help says more about each.",
        usage="%(prog)s [--help | --version | COMMAND ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    program.add_argument("--version", action="version", version=f"sansio-step {__version__}", help="Print the version.")
    commands = program.add_argument_group("commands", _COMMANDS)
    commands.add_argument("command", choices=["archive", "demo", "parse"], metavar="COMMAND", help=argparse.SUPPRESS)
    commands.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    if not words:
        program.print_help(sys.stderr)
        program.exit(2)
    found = program.parse_args(words)
    if found.command == "archive":
        return read_archive(_Parser(prog="sansio-step archive", description=DESCRIPTION), found.rest)
    return _read_demo(found.rest) if found.command == "demo" else _read_parse(found.rest)


_COMMANDS = """\
demo        Serve captured streams on a loopback port and show them as they
            arrive.
parse       Print the final message of each stream as JSON.
archive     Make a table of an archive of captured streams."""
_DEMO = "Serve captured streams on a loopback port and show them as they arrive."
_PARSE = """Print the final message of each stream as JSON.

One document for each message (several, if a body has several), on one line if it is not for a terminal. What is wrong
with a stream goes to stderr: a warning for each deviation, an error if it is cut or broken.

The exit code is 0 if all streams were whole, 1 if one was not or can't be read, 2 for wrong arguments."""


def _read_demo(words: list[str]) -> DemoArguments:
    parser = _Parser(prog="sansio-step demo", description=_DEMO)
    parser.add_argument(
        "--pace",
        type=_pace,
        default=0.02,
        metavar="SECONDS",
        help="Seconds between two events of the server, from 0 to 1. [default: %(default)s]",
    )
    parser.add_argument(
        "--fast", dest="pace", action="store_const", const=0.0, help="No pause at all; the same as --pace 0."
    )
    return DemoArguments(parser.parse_args(words).pace)


def _pace(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return seconds


def _read_parse(words: list[str]) -> ParseArguments:
    parser = _Parser(prog="sansio-step parse", description=_PARSE, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="Response bodies as curl -N saves them; - is standard input."
    )
    parser.add_argument("--events", action="store_true", help="Every event as it comes, instead of the message.")
    parser.add_argument("--strict", action="store_true", help="A deviation from the protocol is an error.")
    parser.add_argument("-q", "--quiet", action="store_true", help="No warnings about deviations.")
    parser.add_argument(
        "--pretty", action="store_true", default=None, help="Indented JSON. [default: if it is for a terminal]"
    )
    parser.add_argument("--compact", dest="pretty", action="store_false", help="One line a message.")
    # Options may stand between the files.
    found = parser.parse_intermixed_args(words)
    if not found.files and sys.stdin.isatty():
        parser.error("name a file, or - for standard input")
    return ParseArguments(found.files or ["-"], found.events, found.strict, found.quiet, found.pretty)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong, and which command says more."""

    def __init__(self, **more: object) -> None:
        super().__init__(allow_abbrev=False, **more)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\nTry: {self.prog} --help\n")
