"""The command line, read by the standard library alone, so that `parse` runs where nothing else is installed.

Each command's help fits a screen of 24 lines, and ends with examples.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple, NoReturn, TypeAlias

from sansio_step import __version__

from . import check
from ._serve_arguments import MORE as MORE_OF_SERVE
from ._serve_arguments import ServeArguments, read_serve
from ._terminal import escaped
from .archive import MORE, ArchiveArguments, read_archive

__all__ = ["Arguments", "ChatArguments", "DemoArguments", "InspectArguments", "ParseArguments", "read_arguments"]


class ParseArguments(NamedTuple):
    """What `sansio-step parse` was told."""

    files: list[str]
    events: bool
    strict: bool
    quiet: bool
    pretty: bool | None


class DemoArguments(NamedTuple):
    """What `sansio-step demo` was told."""

    pace: float
    save: str | None


class ChatArguments(NamedTuple):
    """What `sansio-step chat` was told."""

    prompt: str | None
    base_url: str | None
    model: str
    auth: Literal["bearer", "x-api-key"]
    effort: str | None
    system: str | None
    max_tokens: int
    images: list[str]
    tool_schemas: list[str]
    extra: str | None
    output: Literal["text", "json", "events"]
    record: str | None
    with_request: bool


class InspectArguments(NamedTuple):
    """What `sansio-step inspect` was told."""

    file: str
    json: bool
    html: str | None


Arguments: TypeAlias = (
    "ParseArguments | DemoArguments | ChatArguments | InspectArguments | ArchiveArguments | check.CheckArguments"
    " | ServeArguments"
)


def read_arguments(words: list[str]) -> Arguments:
    """The arguments as given. Ends in SystemExit, with 2 for wrong ones and 0 after `--help` and `--version`."""
    names = "\n".join(f"  {name:<9}{command.what}" for name, command in _COMMANDS.items())
    program = _Parser(
        prog="sansio-step",
        usage="%(prog)s [--help | --version | COMMAND ...]",
        description=f"Messages streams: see a demo, ask a model, look at captures, make JSON of them.\n\ncommands:\n{names}",
        epilog="sansio-step COMMAND --help says more about each. Begin with: sansio-step demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    program.add_argument("--version", action="version", version=f"sansio-step {__version__}", help="print the version")
    program.add_argument("command", choices=list(_COMMANDS), metavar="COMMAND", help=argparse.SUPPRESS)
    program.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    if not words:
        program.print_help(sys.stderr)
        program.exit(2)
    found = program.parse_args(words)
    command = _COMMANDS[found.command]
    parser = _Parser(
        prog=f"sansio-step {found.command}",
        usage=f"%(prog)s [OPTIONS] {command.takes}".rstrip(),
        description=f"{command.what}\n{command.more}".strip(),
        epilog="\n".join(f"example:  {example}" for example in command.examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return command.read(parser, found.rest)


def _read_demo(parser: _Parser, words: list[str]) -> DemoArguments:
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


def _read_parse(parser: _Parser, words: list[str]) -> ParseArguments:
    parser.add_argument("files", nargs="*", metavar="FILE", help="bodies, folders, globs; - is standard input")
    parser.add_argument("--events", action="store_true", help="every event as it comes, instead of the message")
    parser.add_argument("--strict", action="store_true", help="a deviation from the protocol is an error")
    parser.add_argument("-q", "--quiet", action="store_true", help="no warnings about deviations")
    parser.add_argument(
        "--pretty", action="store_true", default=None, help="indented JSON [for one message in a terminal]"
    )
    parser.add_argument("--compact", dest="pretty", action="store_false", help="one line each")
    # Options may stand between the files.
    found = parser.parse_intermixed_args(words)
    if not found.files and sys.stdin.isatty():
        parser.error("name a file, or - for standard input")
    return ParseArguments(found.files or ["-"], found.events, found.strict, found.quiet, found.pretty)


def _read_chat(parser: _Parser, words: list[str]) -> ChatArguments:
    add = parser.add_argument
    add("prompt", nargs="?", metavar="PROMPT", help=argparse.SUPPRESS)
    add("--base-url", metavar="URL", help="the server without /v1 [https://api.stepfun.ai]")
    add(
        "--auth",
        choices=["bearer", "x-api-key"],
        default="bearer",
        metavar="HOW",
        help="how the key is sent: bearer or x-api-key [%(default)s]",
    )
    add("--model", default="step-3.7-flash", help="[%(default)s]")
    add("--effort", help="low, medium or high")
    add("--system", metavar="TEXT", help="the system prompt")
    add("--max-tokens", type=int, default=4096, metavar="N", help="[%(default)s]")
    add("--image", dest="images", action="append", default=[], metavar="FILE", help="a picture for the question")
    add("--tool-schema", dest="tool_schemas", action="append", default=[], metavar="FILE", help="a tool, or a list of them, as JSON")  # fmt: skip
    add("--extra", metavar="JSON", help="an object of further fields of the request")
    add("--json", dest="output", action="store_const", const="json", default="text", help="the message as JSON")
    add("--events", dest="output", action="store_const", const="events", help="each event as JSON")
    add("--record", metavar="FILE", help="keep the answer in FILE.sse, and its times")
    add("--with-request", action="store_true", help="keep the request, too")
    found = parser.parse_intermixed_args(words)
    if found.with_request and found.record is None:
        parser.error("--with-request needs --record FILE")
    if found.prompt is None and sys.stdin.isatty() and not sys.stdout.isatty():
        parser.error("give a PROMPT: a conversation needs a terminal")
    return ChatArguments(**vars(found))


def _read_inspect(parser: _Parser, words: list[str]) -> InspectArguments:
    parser.add_argument("file", nargs="?", metavar="FILE", help="a body, however it was saved; - is standard input")
    parser.add_argument("--json", action="store_true", help="all of it as one JSON object")
    parser.add_argument("--html", metavar="FILE", help="write a page that shows it, for any browser")
    found = parser.parse_intermixed_args(words)
    if found.file is None and sys.stdin.isatty():
        parser.error("name a file, or - for standard input")
    return InspectArguments(found.file or "-", found.json, found.html)


class _Command(NamedTuple):
    takes: str
    what: str
    more: str
    examples: tuple[str, ...]
    read: Callable[[_Parser, list[str]], Arguments]


class _Parser(argparse.ArgumentParser):
    """Says what is wrong, and which command says more."""

    def __init__(self, **more: Any) -> None:
        super().__init__(allow_abbrev=False, **more)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {escaped(message)}\nTry: {self.prog} --help\n")


_COMMANDS: Final = {
    "demo": _Command(
        "",
        "Show four streams as they arrive; needs no key and no network.",
        "",
        ("sansio-step demo", "sansio-step demo --save captures"),
        _read_demo,
    ),
    "chat": _Command(
        "[PROMPT]",
        "Ask a model and see the answer as it comes. The key is STEP_API_KEY.",
        "PROMPT is the question. Without one: what stdin has, or talk until Ctrl-D.\n"
        "A pipe gets the text of the answer and its calls, without the thinking.",
        ('sansio-step chat --record sky "Why is the sky blue?"',),
        _read_chat,
    ),
    "inspect": _Command(
        "FILE",
        "Show what happened in a capture: blocks, times, gaps, deviations.",
        "Reads recordings (chat --record), plain bodies, curl -i, gzip, AWS frames.",
        (
            "sansio-step inspect sky.sse",
            "sansio-step inspect sky.sse --html sky.html",
            "curl -sN ... | sansio-step inspect -",
        ),
        _read_inspect,
    ),
    "parse": _Command(
        "[FILE ...]",
        "Print the final message of each stream as JSON.",
        "A whole message is printed as it is. One that is not, and each of several files,\n"
        'has an object that says so: {"file", "outcome", "error", "message"}, one a line.\n'
        "What is wrong is on stderr, too; the exit code is 0 if all was whole, else 1.",
        ("sansio-step parse sky.sse", "sansio-step parse captures/ > messages.jsonl"),
        _read_parse,
    ),
    "check": _Command(
        "FILE|URL",
        "Tell whether a capture, or a server, is a good Messages stream.",
        check.MORE,
        ("sansio-step check sky.sse", "sansio-step check http://127.0.0.1:8000 --model ours --allow burst"),
        check.read_check,
    ),
    "serve": _Command(
        "[FILE ...]",
        "Be a Messages server for tests and demos.",
        MORE_OF_SERVE,
        ("sansio-step serve sky.sse --pace recorded", "sansio-step serve --echo --error overloaded_error@3"),
        read_serve,
    ),
    "archive": _Command(
        "IN ... --out DIR",
        "Make a table of an archive of captured streams, a row for each.",
        MORE,
        ("sansio-step archive logs/*.jsonl.gz --body response --out table",),
        read_archive,
    ),
}
