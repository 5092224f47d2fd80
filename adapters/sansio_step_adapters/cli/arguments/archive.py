"""The arguments of `sansio-step archive`."""

from __future__ import annotations

import argparse
from typing import Any, Final, NamedTuple

from ._parser import Command, Parser

__all__ = ["COMMAND", "ArchiveArguments"]


class ArchiveArguments(NamedTuple):
    """What `sansio-step archive` was told. `options` are those of `sansio_step_adapters.archive.Options`."""

    paths: list[str]
    out: str
    engine: str
    workers: int | None
    replace: bool
    quiet: bool
    options: dict[str, Any]


def _read(parser: Parser, words: list[str]) -> ArchiveArguments:
    add = parser.add_argument
    add("paths", nargs="+", metavar="IN", help=argparse.SUPPRESS)
    add("--out", required=True, metavar="DIR", help="the folder for the table")
    add("--engine", default="local", help="local (Dask), serial, tcp://HOST:PORT, ray://... [%(default)s]")
    add("--workers", type=_count, metavar="N", help="processes of the engine local [one a core]")
    add("--body", default="body", metavar="PATH", help="path of the body in a line, or its column [%(default)s]")
    add("--id", metavar="PATH", help="path of the capture's id [id, if there]")
    add("--truncated", metavar="PATH", help="path that says that the logger cut the body")
    add("--keep", type=_names, default=(), metavar="PATHS", help="what else to keep: path,path")
    add("--format", choices=["lines", "parquet", "files"], metavar="FORM", help="lines, parquet or files [by name]")
    add("--no-message", dest="message", action="store_false", help="leave the message out: half the size")
    add("--strict", action="store_true", help="a deviation fails a message")
    add("--max-body-size", type=_count, metavar="N", help="a larger body is an error [268435456 bytes]")
    add("--replace", action="store_true", help="remove what other options made in DIR")
    add("-q", "--quiet", action="store_true", help="nothing about how far it is")
    found = parser.parse_intermixed_args(words)
    names = ("body", "id", "truncated", "keep", "format", "message", "strict", "max_body_size")
    options = {name: getattr(found, name) for name in names if getattr(found, name) is not None}
    if found.workers is not None and found.engine != "local":
        parser.error("--workers is for the engine local")
    if found.engine not in ("local", "serial") and not found.engine.startswith(("tcp://", "tls://", "ray://")):
        parser.error(f"no engine {found.engine!r}: it is local, serial, tcp://HOST:PORT or ray://HOST:PORT")
    return ArchiveArguments(found.paths, found.out, found.engine, found.workers, found.replace, found.quiet, options)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1")
    return int(text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


COMMAND: Final = Command(
    "IN ... --out DIR",
    "Make a table of an archive of captured streams, a row for each.",
    """\
IN is files, folders, globs: JSON lines, Parquet, captures. A killed job goes on
if it is given again. The exit code is 0 if every capture has a row, else 1.""",
    ("sansio-step archive logs/*.jsonl.gz --body response --out table",),
    _read,
)
