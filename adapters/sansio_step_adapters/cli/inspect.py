"""`sansio-step inspect`: what happened in a capture, in the terminal, as JSON, as a page."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from sansio_step import Outcome

from .._captured import Unreadable
from ._inspection import inspect_body
from ._terminal import escaped
from .arguments.inspect import InspectArguments

__all__ = ["run"]


def run(arguments: InspectArguments) -> bool:
    """Show a capture; tell whether its message was whole."""
    try:
        seen = inspect_body(arguments.file)
    except Unreadable as error:
        label = "<stdin>" if arguments.file == "-" else arguments.file
        _say(f"{label}: error: {error}")
        return False
    if arguments.html is not None:
        from ._inspect_html import page  # noqa: PLC0415

        try:
            Path(arguments.html).write_text(page(seen), encoding="utf-8", errors="backslashreplace")
        except (OSError, ValueError) as error:  # ValueError: a name with a NUL
            _say(f"sansio-step inspect: --html: {getattr(error, 'strerror', None) or error}: {arguments.html}")
            return False
    if arguments.json:
        from ._chat_view import write_json  # noqa: PLC0415

        document = msgspec.json.encode(seen.to_dict())
        write_json(msgspec.json.format(document, indent=2) if sys.stdout.isatty() else document)
    elif arguments.html is None:
        from ._inspect_view import show  # noqa: PLC0415

        show(seen, sys.stdout)
    return seen.outcome is Outcome.COMPLETE and seen.error is None


def _say(what: str) -> None:
    line = escaped(what).replace("\n", "\\n") + "\n"
    sys.stderr.buffer.write(line.encode("utf-8", "surrogateescape"))
    sys.stderr.buffer.flush()
