"""`sansio-step inspect`: what happened in a capture, in the terminal, as JSON, as a page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import msgspec

from sansio_step import Outcome

from .._captured import Unreadable
from ._inspection import inspect_body
from ._terminal import escaped
from .arguments.inspect import InspectArguments

__all__ = ["run"]

_PAGE: Final = b"<!DOCTYPE html>"


def run(arguments: InspectArguments) -> bool:
    """Show a capture; tell whether its message was whole."""
    if arguments.html is not None and _is_taken(Path(arguments.html)):
        return _complain(f"--html {arguments.html}", "it is there already, and is no page")
    try:
        seen = inspect_body(arguments.file)
    except Unreadable as error:
        return _complain("<stdin>" if arguments.file == "-" else arguments.file, str(error))
    if arguments.html is not None:
        from ._inspect_html import page  # noqa: PLC0415

        try:
            Path(arguments.html).write_text(page(seen), encoding="utf-8", errors="backslashreplace")
        except (OSError, ValueError) as error:  # ValueError: a name with a NUL
            return _complain(f"--html {arguments.html}", getattr(error, "strerror", None) or str(error))
    if arguments.json:
        from ._chat_view import write_json  # noqa: PLC0415

        document = msgspec.json.encode(seen.to_dict())
        write_json(msgspec.json.format(document, indent=2) if sys.stdout.isatty() else document)
    elif arguments.html is None:
        from ._inspect_view import show  # noqa: PLC0415

        show(seen, sys.stdout)
    return seen.outcome is Outcome.COMPLETE and seen.error is None


def _is_taken(path: Path) -> bool:
    """Whether there is a file that a page must not replace: `inspect --html sky.sse` names the capture itself."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            start = file.read(len(_PAGE))
    except OSError:
        return False  # to write it fails as well, and says why
    return start not in (b"", _PAGE)


def _complain(name: str, problem: str) -> bool:
    line = escaped(f"{name}: error: {problem}").replace("\n", "\\n") + "\n"
    sys.stderr.buffer.write(line.encode("utf-8", "surrogateescape"))
    sys.stderr.buffer.flush()
    return False
