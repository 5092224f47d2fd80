"""The arguments of `sansio-step inspect`."""

from __future__ import annotations

import sys
from typing import Final, NamedTuple

from ._parser import Command, Parser

__all__ = ["COMMAND", "InspectArguments"]


class InspectArguments(NamedTuple):
    """What `sansio-step inspect` was told."""

    file: str
    json: bool
    html: str | None


def _read(parser: Parser, words: list[str]) -> InspectArguments:
    parser.add_argument("file", nargs="?", metavar="FILE", help="a body, however it was saved; - is standard input")
    parser.add_argument("--json", action="store_true", help="all of it as one JSON object")
    parser.add_argument("--html", metavar="FILE", help="write a page that shows it, for any browser")
    found = parser.parse_intermixed_args(words)
    if found.file is None and sys.stdin.isatty():
        parser.error("name a file, or - for standard input")
    return InspectArguments(found.file or "-", found.json, found.html)


COMMAND: Final = Command(
    "FILE",
    "Show what happened in a capture: blocks, times, gaps, deviations.",
    "Reads recordings (chat --record), plain bodies, curl -i, gzip, AWS frames.",
    (
        "sansio-step inspect sky.sse",
        "sansio-step inspect sky.sse --html sky.html",
        "curl -sN ... | sansio-step inspect -",
    ),
    _read,
)
