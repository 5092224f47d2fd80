"""The arguments of `sansio-step check`."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import Any, Final, NamedTuple

import msgspec

from ._parser import Command, Parser

__all__ = ["COMMAND", "MODEL", "CheckArguments"]

MODEL: Final = "step-3.7-flash"
_URL: Final = ("http://", "https://")


class CheckArguments(NamedTuple):
    """What `sansio-step check` was told. `options` are those of `check_server`, those that were given."""

    target: str
    allow: frozenset[str]
    json: bool
    options: dict[str, Any]

    @property
    def is_url(self) -> bool:
        """Whether a server is checked, not a file."""
        return self.target.startswith(_URL)


def _read(parser: Parser, words: list[str]) -> CheckArguments:
    add = parser.add_argument
    add("target", nargs="?", metavar="FILE|URL", help="a capture, - for standard input, or a server")
    add("--allow", action="append", default=[], metavar="CODE", help="a finding that is no failure; again for others")
    add("--json", action="store_true", help="the findings as one JSON object")
    add("--model", help=f"of a server [{MODEL}]")
    add("--auth", choices=["bearer", "x-api-key"], metavar="HOW", help="bearer or x-api-key [bearer]")
    add("--extra", type=_object, metavar="JSON", help="an object of further fields of each request")
    add("--timeout", type=_seconds, metavar="SECONDS", help="for each answer of a server [120]")
    found = parser.parse_intermixed_args(words)
    from ...check import check_codes  # noqa: PLC0415

    if found.target is None and sys.stdin.isatty():
        parser.error("name a file, a URL, or - for standard input")
    names = ("model", "auth", "extra", "timeout")
    options = {name: getattr(found, name) for name in names if getattr(found, name) is not None}
    try:
        allow = check_codes(found.allow)
    except ValueError as error:
        parser.error(f"--allow: {error}")
    arguments = CheckArguments(found.target or "-", allow, found.json, options)
    if options and not arguments.is_url:
        parser.error(f"--{next(iter(options))} is for a server, and {arguments.target} is no http:// or https:// URL")
    return arguments


def _object(text: str) -> dict[str, Any]:
    with contextlib.suppress(msgspec.MsgspecError, RecursionError):
        return msgspec.json.decode(text, type=dict[str, Any])
    raise argparse.ArgumentTypeError(f"{text!r} is no JSON object")


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        seconds = float(text)
        if 0 < seconds <= 86400:
            return seconds
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")


COMMAND: Final = Command(
    "FILE|URL",
    "Tell whether a capture, or a server, is a good Messages stream.",
    """\
A FILE is what inspect reads. A URL is a server's, without /v1: it is asked
some questions, for 2,000 tokens, with the key in STEP_API_KEY. The exit code is
0 if all is good, 1 after an error or a warning that is not allowed, 2 if it
could not be checked. What each code means: docs/deviations.md""",
    ("sansio-step check sky.sse", "sansio-step check http://127.0.0.1:8000 --model ours --allow burst"),
    _read,
)
