"""`sansio-step serve`: a Messages server for tests and demos; its address and each request on stdout."""

from __future__ import annotations

import errno
import sys
from asyncio import CancelledError
from typing import Final

import anyio

from ..replay import Call, Playable, ReplayServer, echo, read_script, serve
from ._terminal import escaped
from .arguments.serve import ServeArguments

__all__ = ["run"]

_LONGEST: Final = 60
"""Characters of a path or a model in a line."""


def run(arguments: ServeArguments) -> bool:
    """Serve as told until Ctrl-C, which is how it ends well; tell whether it began."""
    view = _View()
    try:
        rules = [] if arguments.script is None else read_script(arguments.script)
        answers: list[Playable] = list(arguments.files) or ([echo] if arguments.echo or not rules else [])
        server = serve(
            answers,
            host=arguments.host,
            port=arguments.port,
            rules=rules,
            by=arguments.by,  # type: ignore[arg-type]  # argparse has checked it
            on_end=view.show_call,
            **arguments.dials,
        )
    except ValueError as error:
        return _complain(str(error))
    try:
        anyio.run(view.run, server)
    except (KeyboardInterrupt, CancelledError):  # the latter is what Ctrl-C becomes in Python 3.10
        view.close()
    except OSError as error:
        if view.broken is not None:
            raise view.broken from None
        if view.is_serving:
            raise
        return _complain(f"port {arguments.port} at {arguments.host}: {_reason(error)}")
    return True


class _View:
    """What is said on stdout: where the server is, and a line for each request."""

    def __init__(self) -> None:
        self.is_serving = False
        self.broken: OSError | None = None
        self._calls = 0
        self._stop: anyio.Event | None = None

    async def run(self, server: ReplayServer) -> None:
        """Run the server until it is interrupted, or until nobody reads what is said."""
        self._stop = anyio.Event()
        async with server:
            self.is_serving = True
            self._say(f"serving at {server.base_url}")
            if sys.stdout.isatty():
                self._say(_hints(server))
            await self._stop.wait()
        assert self.broken is not None
        raise self.broken

    def show_call(self, call: Call) -> None:
        """A line for a request whose answer has ended. It has nothing of the headers, where the keys are."""
        self._calls += 1
        said = (
            call.method or "no HTTP",
            _short(call.path) or "-",
            _short(call.model or "") or "-",
            f"{call.status or '-'}",
            f"{call.bytes_sent:,} bytes",
            _ENDS[call.ended or "stopped"],
        )
        self._say("  ".join(said))

    def close(self) -> None:
        """Say that it is over."""
        # A terminal shows ^C where the cursor is.
        self._say(("\n" if sys.stdout.isatty() else "") + f"ended after {self._calls:,} requests")

    def _say(self, text: str) -> None:
        if self.broken is not None:
            return
        try:
            sys.stdout.write(escaped(text) + "\n")
            sys.stdout.flush()
        except OSError as error:
            # Whoever read it has gone. A server whose lines nobody can read ends, as other programs do.
            self.broken = error
            if self._stop is not None:
                self._stop.set()


_ENDS: Final = {
    "whole": "whole",
    "cut": "ended early, as told",
    "broken": "connection broken, as told",
    "failed": "error",
    "refused": "refused",
    "left": "the client left",
    "stopped": "stopped",
}


def _hints(server: ReplayServer) -> str:
    models = server.models
    shown = ", ".join(models[:8]) + f" and {len(models) - 8} more" * (len(models) > 8)
    lines = [
        "",
        f'  official SDK   Anthropic(base_url="{server.base_url}", api_key="none")',
        f'  this program   sansio-step chat --base-url {server.base_url} "Hello"',
        *([f"  models         {shown}"] if models else []),
        "",
        "Ctrl-C ends it.",
        "",
    ]
    return "\n".join(lines)


def _short(text: str) -> str:
    line = text.replace("\n", "\\n")
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "it is in use; --port 0 takes any that is free"
    return error.strerror or str(error)


def _complain(problem: str) -> bool:
    line = escaped(f"sansio-step serve: {problem}").replace("\n", "\\n") + "\n"
    sys.stderr.write(line)
    return False
