"""The arguments of `sansio-step serve`, read without what a server needs."""

from __future__ import annotations

import argparse
from typing import Any, Final, NamedTuple

from ..._replay.timeline import Dials
from ._parser import Command, Parser

__all__ = ["COMMAND", "ServeArguments"]

_PORT: Final = 8787
_OPTIONS: Final = {"chunk_size": "--chunk", "fail_after": "--fail-after"}


class ServeArguments(NamedTuple):
    """What `sansio-step serve` was told. `dials` are keywords of `sansio_step_adapters.replay.serve`."""

    files: list[str]
    echo: bool
    script: str | None
    by: str | None
    host: str
    port: int
    dials: dict[str, Any]


def _read(parser: Parser, words: list[str]) -> ServeArguments:
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


COMMAND: Final = Command(
    "[FILE ...]",
    "Be a Messages server for tests and demos.",
    """\
FILE is a capture, a recording or a message as JSON. A request gets the one that
its model names (sky: sky.sse), else the next. Without any of them it echoes.""",
    ("sansio-step serve sky.sse --pace recorded", "sansio-step serve --echo --error overloaded_error@3"),
    _read,
)
