"""The arguments of `sansio-step parse`."""

from __future__ import annotations

import sys
from typing import Final, NamedTuple

from ._parser import Command, Parser

__all__ = ["COMMAND", "ParseArguments"]


class ParseArguments(NamedTuple):
    """What `sansio-step parse` was told."""

    files: list[str]
    events: bool
    strict: bool
    quiet: bool
    pretty: bool | None


def _read(parser: Parser, words: list[str]) -> ParseArguments:
    parser.add_argument("files", nargs="*", metavar="FILE", help="bodies, folders, globs; - is standard input")
    parser.add_argument("--events", action="store_true", help="every event as it comes, instead of the message")
    parser.add_argument("--strict", action="store_true", help="a deviation from the protocol is an error")
    parser.add_argument("-q", "--quiet", action="store_true", help="no warnings about deviations")
    parser.add_argument(
        "--pretty", action="store_true", default=None, help="indented JSON [for one message in a terminal]"
    )
    parser.add_argument("--compact", dest="pretty", action="store_false", help="one line each")
    # Options may stand between the files.
    found = parser.parse_intermixed_args(words)
    if not found.files and sys.stdin.isatty():
        parser.error("name a file, or - for standard input")
    return ParseArguments(found.files or ["-"], found.events, found.strict, found.quiet, found.pretty)


COMMAND: Final = Command(
    "[FILE ...]",
    "Print the final message of each stream as JSON.",
    "A whole message is printed as it is. One that is not, and each of several files,\n"
    'has an object that says so: {"file", "outcome", "error", "message"}, one a line.\n'
    "What is wrong is on stderr, too; the exit code is 0 if all was whole, else 1.",
    ("sansio-step parse sky.sse", "sansio-step parse captures/ > messages.jsonl"),
    _read,
)
