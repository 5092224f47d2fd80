"""The program's commands; see `cli` for its start."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer

from sansio_step import __version__

from ._parse import Options, parse_bodies

app = typer.Typer(
    name="sansio-step",
    help="Read Messages streams: see a demo, or turn captured bodies into JSON.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# What a shell reports for a program that a signal ended.
_INTERRUPTED = 130
_BROKEN_PIPE = 141


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sansio-step {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    pace: Annotated[float, typer.Option(min=0, max=1, help="Seconds between two events of the server.")] = 0.02,
    fast: Annotated[bool, typer.Option("--fast", help="No pause at all; the same as --pace 0.")] = False,
) -> None:
    """Serve captured streams on a loopback port and show them as they arrive."""
    from .demo import run  # noqa: PLC0415, parse shall not wait for the client and its server to be imported

    _leave(lambda: run(0.0 if fast else pace))


@app.command()
def parse(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE", help="Response bodies as curl -N saves them; - is standard input."),
    ] = None,
    events: Annotated[bool, typer.Option("--events", help="Every event as it comes, instead of the message.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="A deviation from the protocol is an error.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No warnings about deviations.")] = False,
    pretty: Annotated[
        bool | None,
        typer.Option("--pretty/--compact", help="Indented, or one line a message. [default: indented in a terminal]"),
    ] = None,
) -> None:
    """Print the final message of each stream as JSON.

    One document for each message (several, where a body has several), on one line if it is not for a terminal.
    What is wrong with a stream goes to stderr: a warning for each deviation, an error where it is cut or broken.

    The exit code is 0 where all streams were whole, 1 where one was not or can't be read, 2 for wrong arguments.
    """
    if not files:
        if sys.stdin.isatty():
            raise typer.BadParameter("name a file, or - for standard input")
        files = ["-"]
    options = Options(events, strict, sys.stdout.isatty() if pretty is None else pretty, quiet)
    _leave(lambda: parse_bodies(files, options))


def _leave(run: Callable[[], bool]) -> NoReturn:
    """Run a command, and end the program as a shell's user expects it to end."""
    try:
        code = 0 if run() else 1
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone, as `head` does. What is still buffered has nowhere to go at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = _BROKEN_PIPE
    except OSError as error:
        typer.echo(f"sansio-step: {error}", err=True)
        code = 1
    raise typer.Exit(code)
