"""The arguments of `sansio-step chat`."""

from __future__ import annotations

import argparse
import sys
from typing import Final, Literal, NamedTuple

from ._parser import Command, Parser

__all__ = ["COMMAND", "ChatArguments"]


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


def _read(parser: Parser, words: list[str]) -> ChatArguments:
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


COMMAND: Final = Command(
    "[PROMPT]",
    "Ask a model and see the answer as it comes. The key is STEP_API_KEY.",
    "PROMPT is the question. Without one: what stdin has, or talk until Ctrl-D.\n"
    "A pipe gets the text of the answer and its calls, without the thinking.",
    ('sansio-step chat --record sky "Why is the sky blue?"',),
    _read,
)
