"""`sansio-step serve`: a Messages server for tests and demos; its address and each request on stdout.

The arguments are read by the standard library alone; what a server needs is imported when it runs.
"""

from __future__ import annotations

import argparse
import errno
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .._replay.timeline import Dials
from ._terminal import escaped

if TYPE_CHECKING:
    from ..replay import Call, Playable, ReplayServer

__all__ = ["MORE", "ServeArguments", "read_serve", "serve_files"]

MORE: Final = """\
FILE is a capture, a recording or a message as JSON. A request gets the one that
its model names (sky: sky.sse), else the next. Without any of them it echoes."""

_PORT: Final = 8787
_OPTIONS: Final = {"chunk_size": "--chunk", "fail_after": "--fail-after"}
_LONGEST: Final = 60
"""Characters of a path or a model in a line."""


class ServeArguments(NamedTuple):
    """What `sansio-step serve` was told. `dials` are keywords of `sansio_step_adapters.replay.serve`."""

    files: list[str]
    echo: bool
    script: str | None
    by: str | None
    host: str
    port: int
    dials: dict[str, Any]


def read_serve(parser: argparse.ArgumentParser, words: list[str]) -> ServeArguments:
    """The arguments as given, read by a parser of the program's."""
    add = parser.add_argument
    add("files", nargs="*", metavar="FILE", help=argparse.SUPPRESS)
    add("--by", choices=["model", "order"], metavar="HOW", help="model: a file for its name alone; order: in turn")
    add("--script", metavar="FILE", help="rules as JSON: which request gets what")
    add("--echo", action="store_true", help="answer with the user's last text")
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="[%(default)s]")
    add("--port", type=_port, default=_PORT, metavar="N", help="0: any free one [%(default)s]")
    add("--pace", type=_pace, metavar="SECONDS", help="between two events; recorded: as they came [0]")
    add("--chunk", dest="chunk_size", type=int, metavar="BYTES", help="of a piece [an event a piece]")
    add("--latency", type=float, metavar="SECONDS", help="before an answer")
    add("--ping", type=float, metavar="SECONDS", help="a ping after each silence of so long")
    add("--fail-after", metavar="N", help="break the connection after N events, or bytes: 99B")
    add("--cut", metavar="N", help="end the body there, as if that were all")
    add("--error", metavar="TYPE", help="an API error; TYPE@N: in the stream after N events")
    found = parser.parse_intermixed_args(words)
    if found.echo and found.files:
        parser.error("--echo answers instead of files: give one of them")
    names = ("pace", "chunk_size", "latency", "ping", "fail_after", "cut", "error")
    dials = {name: getattr(found, name) for name in names if getattr(found, name) is not None}
    try:
        Dials(**dials)
    except ValueError as error:
        name, _, problem = str(error).partition(":")
        parser.error(f"argument {_OPTIONS.get(name, f'--{name}')}:{problem}")
    return ServeArguments(found.files, found.echo, found.script, found.by, found.host, found.port, dials)


def _pace(text: str) -> float | str:
    if text == "recorded":
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither seconds nor: recorded") from None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) < 2**16):
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)


def serve_files(arguments: ServeArguments) -> bool:
    """Serve as told until Ctrl-C, which is how it ends well; tell whether it began."""
    from asyncio import CancelledError  # noqa: PLC0415, no other command needs it

    import anyio  # noqa: PLC0415

    from ..replay import echo, read_script, serve  # noqa: PLC0415

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
        if error.errno not in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL):
            raise
        free = "; --port 0 takes any that is free" if error.errno == errno.EADDRINUSE else ""
        return _complain(f"port {arguments.port} at {arguments.host}: {_reason(error)}{free}")
    return True


class _View:
    """What is said on stdout: where the server is, and a line for each request."""

    def __init__(self) -> None:
        self.broken: OSError | None = None
        self._calls = 0
        self._stop: Any = None

    async def run(self, server: ReplayServer) -> None:
        """Run the server until it is interrupted, or until nobody reads what is said."""
        import anyio  # noqa: PLC0415

        self._stop = anyio.Event()
        async with server:
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
    return {errno.EADDRINUSE: "it is in use", errno.EACCES: "it is not allowed"}.get(
        error.errno or 0, "no such address"
    )


def _complain(problem: str) -> bool:
    line = escaped(f"sansio-step serve: {problem}").replace("\n", "\\n") + "\n"
    sys.stderr.write(line)
    return False
