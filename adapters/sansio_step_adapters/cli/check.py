"""`sansio-step check`: is this a good Messages stream? A view of `sansio_step_adapters.check`, for a terminal, a pipe or JSON.

What it needs is imported when it runs, so that the other commands start without it.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from ._terminal import escaped

if TYPE_CHECKING:
    from ..check import CaptureCheck, ServerCheck

__all__ = ["MORE", "CheckArguments", "read_check", "run"]

MORE: Final = """\
A FILE is what inspect reads. A URL is a server's, without /v1: it is asked
some questions, for 2,000 tokens, with the key in STEP_API_KEY. The exit code is
0 if all is good, 1 after an error or a warning that is not allowed, 2 if it
could not be checked. What each code means: docs/deviations.md"""

_MODEL: Final = "step-3.7-flash"
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


def read_check(parser: argparse.ArgumentParser, words: list[str]) -> CheckArguments:
    """The arguments as given, read by a parser of the program's."""
    add = parser.add_argument
    add("target", nargs="?", metavar="FILE|URL", help="a capture, - for standard input, or a server")
    add("--allow", action="append", default=[], metavar="CODE", help="a finding that is no failure; again for others")
    add("--json", action="store_true", help="the findings as one JSON object")
    add("--model", help=f"of a server [{_MODEL}]")
    add("--auth", choices=["bearer", "x-api-key"], metavar="HOW", help="bearer or x-api-key [bearer]")
    add("--extra", type=_object, metavar="JSON", help="an object of further fields of each request")
    add("--timeout", type=_seconds, metavar="SECONDS", help="for each answer of a server [120]")
    found = parser.parse_intermixed_args(words)
    from ..check import check_codes  # noqa: PLC0415

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


def run(arguments: CheckArguments) -> bool:
    """Check, show what was found, tell whether it was good. Ctrl-C shows what is known; ends in SystemExit with 2 if nothing can be checked."""
    from ._check_view import Shown, show, to_json  # noqa: PLC0415

    try:
        label, check, go = _check(arguments)
    except (ValueError, TypeError, ModuleNotFoundError) as error:
        raise _wrong(str(error)) from None
    interrupted = False
    try:
        go()
    except KeyboardInterrupt:
        interrupted = True
    except OSError as error:
        raise _wrong(f"{arguments.target}: {error.strerror or error}") from None
    shown = Shown(label, check.findings, arguments.allow, interrupted)
    if arguments.json:
        sys.stdout.write(to_json(shown, indent=sys.stdout.isatty()) + "\n")
    else:
        show(shown, sys.stdout)
    sys.stdout.flush()
    if interrupted:
        raise KeyboardInterrupt
    return shown.is_good


def _check(arguments: CheckArguments) -> tuple[str, CaptureCheck | ServerCheck, Callable[[], None]]:
    """What is checked as text, the check, and how to run it."""
    from ..check import CaptureCheck, ServerCheck  # noqa: PLC0415

    if not arguments.is_url:
        capture = CaptureCheck(arguments.target)
        return capture.source, capture, capture.run
    server = ServerCheck(arguments.target, **{"model": _MODEL, **arguments.options})
    return arguments.target, server, partial(server.run, _say if sys.stderr.isatty() else None)


def _say(what: str) -> None:
    sys.stderr.write(escaped(f"asking: {what}\n"))
    sys.stderr.flush()


def _wrong(what: str) -> SystemExit:
    line = escaped(f"sansio-step check: {what}").replace("\n", "\\n") + "\n"
    sys.stderr.buffer.write(line.encode("utf-8", "surrogateescape"))
    sys.stderr.buffer.flush()
    return SystemExit(2)
