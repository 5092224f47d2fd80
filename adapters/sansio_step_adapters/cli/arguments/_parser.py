"""How a command is told what to do: a parser that says what is wrong, and a help that fits a screen."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from .._terminal import escaped

__all__ = ["Command", "Parser"]


class Parser(argparse.ArgumentParser):
    """Says what is wrong, and which command says more."""

    def __init__(self, **more: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **more)

    def error(self, message: str) -> NoReturn:
        """End the program with 2."""
        self.exit(2, f"{self.prog}: {escaped(message)}\nTry: {self.prog} --help\n")


class Command(NamedTuple):
    """A command as its help has it, and how its arguments are read: what `read` returns, its module's `run` takes."""

    takes: str
    what: str
    more: str
    examples: tuple[str, ...]
    read: Callable[[Parser, list[str]], Any]

    def parser(self, name: str) -> Parser:
        """The parser of the command of this name, still without its arguments."""
        return Parser(
            prog=f"sansio-step {name}",
            usage=f"%(prog)s [OPTIONS] {self.takes}".rstrip(),
            description=f"{self.what}\n{self.more}".strip(),
            epilog="\n".join(f"example:  {example}" for example in self.examples),
        )
