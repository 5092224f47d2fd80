"""The arguments of `sansio-step demo`."""

from __future__ import annotations

import argparse
import math
from typing import Final, NamedTuple

from ._parser import Command, Parser

__all__ = ["COMMAND", "DemoArguments"]


class DemoArguments(NamedTuple):
    """What `sansio-step demo` was told."""

    pace: float
    save: str | None


def _read(parser: Parser, words: list[str]) -> DemoArguments:
    parser.add_argument("--pace", type=_pace, default=0.02, metavar="SECONDS",
                        help="between two events of the server, from 0 to 1 [%(default)s]")  # fmt: skip
    parser.add_argument("--fast", dest="pace", action="store_const", const=0.0, help="no pause: the same as --pace 0")
    parser.add_argument("--save", metavar="DIR", help="record the streams there, to try the rest on")
    return DemoArguments(**vars(parser.parse_args(words)))


def _pace(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return seconds


COMMAND: Final = Command(
    "",
    "Show four streams as they arrive; needs no key and no network.",
    "",
    ("sansio-step demo", "sansio-step demo --save captures"),
    _read,
)
