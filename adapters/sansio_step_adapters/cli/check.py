"""`sansio-step check`: is this a good Messages stream? A view of `sansio_step_adapters.check`, for a terminal, a pipe or JSON.

What it needs is imported when it runs, so that the other commands start without it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ._terminal import escaped
from .arguments.check import MODEL, CheckArguments

if TYPE_CHECKING:
    from ..check import CaptureCheck, ServerCheck

__all__ = ["run"]


def run(arguments: CheckArguments) -> bool:
    """Check, show what was found, tell whether it was good. Ctrl-C shows what is known; ends in SystemExit with 2 if nothing can be checked."""
    from ._check_view import Shown, show, to_json  # noqa: PLC0415

    try:
        label, check, go = _check(arguments)
    except (ValueError, TypeError, ModuleNotFoundError) as error:
        said = str(error)  # the library calls the URL by its argument's name
        raise _wrong(f"{arguments.target}: {said[10:]}" if said.startswith("base_url: ") else said) from None
    interrupted = False
    try:
        go()
    except KeyboardInterrupt:
        interrupted = True
    except OSError as error:
        # `localhost:8000` is a good name of a file, too.
        hint = "; a server's URL begins with http://" if isinstance(error, FileNotFoundError) else ""
        raise _wrong(f"{arguments.target}: {error.strerror or error}{hint}") from None
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
    server = ServerCheck(arguments.target, **{"model": MODEL, **arguments.options})
    return arguments.target, server, partial(server.run, _say if sys.stderr.isatty() else None)


def _say(what: str) -> None:
    sys.stderr.write(escaped(f"asking: {what}\n"))
    sys.stderr.flush()


def _wrong(what: str) -> SystemExit:
    line = escaped(f"sansio-step check: {what}").replace("\n", "\\n") + "\n"
    sys.stderr.buffer.write(line.encode("utf-8", "surrogateescape"))
    sys.stderr.buffer.flush()
    return SystemExit(2)
