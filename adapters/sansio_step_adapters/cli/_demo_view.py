"""How the demo looks: in a terminal blocks that grow, anywhere else plain lines.

In a terminal the block on its way, and a line that counts, are drawn in place (and never higher than a few
lines); a block that is finished is printed above them and scrolls away like everything else.
"""

from __future__ import annotations

import os
import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import chain, repeat
from time import perf_counter
from types import TracebackType
from typing import Any, Final, TextIO

import msgspec
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.highlighter import JSONHighlighter
from rich.live import Live
from rich.rule import Rule
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from sansio_step import (
    ContentBlock,
    ContentBlockStartEvent,
    Message,
    MessageStopEvent,
    StreamEvent,
    TextBlock,
    ThinkingBlock,
    ToolInputError,
    ToolUseBlock,
    __version__,
)

from ._demo_report import Report, Tally, count_of, facts_of
from ._lines import AnswerLines

__all__ = ["View", "make_view"]

_FRAME: Final = 1 / 30  # seconds; a faster redraw is seen by nobody
_CURSOR: Final = "▌"
_CUT: Final = "✂"
_SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_LABEL: Final = 10  # cells, the widest label and a gap
_FACT: Final = 12  # and that of a fact
_STEP: Final = 19  # and that of a next step
_PROSE_WIDTH: Final = 79
# Of text without colours: a line end, blanks, a run of ASCII, any other character.
_PART: Final = re.compile(r"\n|[^\S\n]+|[!-~]+|.", re.DOTALL)
# What no line begins with.
_ENDS: Final = "，。、；：？！）》」』”’…"


def make_view(out: TextIO) -> View:
    """The view that suits where the output goes."""
    if not out.isatty():
        return PlainView(out, None)
    console = Console(file=out, highlight=False)
    if not console.is_dumb_terminal:
        return TerminalView(console)
    # rich takes for granted that it has 80 cells.
    return PlainView(out, os.get_terminal_size(out.fileno()).columns or _PROSE_WIDTH)


class View(ABC):
    """What the demo says, in the order of the methods; between `begin` and `finish` it is a context."""

    @abstractmethod
    def open(self, base_url: str, streams: int) -> None:
        """The demo begins; so many streams come."""

    @abstractmethod
    def begin(self, number: int, title: str, note: str, question: str) -> None:
        """A scene begins."""

    @abstractmethod
    def __enter__(self) -> View:
        """Its stream begins."""

    @abstractmethod
    def update(self, event: StreamEvent, message: Message, tally: Tally) -> None:
        """An event has arrived."""

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Its stream is over, or somebody has pressed Ctrl-C."""

    @abstractmethod
    def finish(self, report: Report) -> None:
        """What the stream came to."""

    @abstractmethod
    def close(self, saved: str | None) -> None:
        """The demo is over; the streams are in the directory `saved`, if that is not None."""


def _introduction(base_url: str, streams: int) -> str:
    return (
        f"A replay server at {base_url} sends {streams} streams. The client reads them from the socket; nothing below is "
        "known before it has arrived."
    )


def _next_steps(saved: str | None) -> list[tuple[str, str]]:
    """What to do now, without a key and with one: when, and the command."""
    directory = shlex.quote(saved or "captures")
    steps = [] if saved else [("Next", f"sansio-step demo --save {directory}")]
    return [
        *steps,
        ("then" if steps else "Next", f"sansio-step inspect {directory}/cut.sse"),
        ("with STEP_API_KEY", 'sansio-step chat "Why is the sky blue?"'),
    ]


# --- in a terminal ---------------------------------------------------------------------------------------


class TerminalView(View):
    """Blocks that grow, with colours."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._message: Message | None = None
        self._shown = 0  # blocks that are printed for good
        self._drawn = 0.0

    def open(self, base_url: str, streams: int) -> None:
        """A headline."""
        self._console.print()
        self._console.print(Text(f"sansio-step {__version__}", "bold cyan"), Text("a demo", "dim"))
        self._console.print(Text(_introduction(base_url, streams), "dim"))

    def begin(self, number: int, title: str, note: str, question: str) -> None:
        """A rule, and the question."""
        self._message, self._shown, self._drawn = None, 0, 0.0
        self._console.print()
        self._console.print(Rule(Text(f"{number}  {title}", "bold"), style="cyan", align="left"))
        self._console.print(Text(note, "dim"))
        self._console.print()
        self._console.print(_row("you", Text(question)))
        self._console.print()

    def __enter__(self) -> View:
        self._live = Live(console=self._console, transient=True, auto_refresh=False)
        self._live.start()
        return self

    def update(self, event: StreamEvent, message: Message, tally: Tally) -> None:
        """Print the blocks that are done, redraw the one on its way."""
        self._message = message
        if isinstance(event, ContentBlockStartEvent):
            self._print_blocks(upto=len(message.content) - 1)
        now = perf_counter()
        if self._live is not None and now - self._drawn >= _FRAME:
            self._drawn = now
            growing = Group(*(_block_row(block, growing=True) for block in message.content[self._shown :]))
            self._live.update(Group(_Tail(growing, self._console.height - 4), Text(), _status(tally)), refresh=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        live, self._live = self._live, None
        assert live is not None, "it was entered"
        live.update(Text())
        live.stop()
        if self._message is not None:
            self._print_blocks(upto=len(self._message.content))

    def _print_blocks(self, upto: int) -> None:
        assert self._message is not None
        for block in self._message.content[self._shown : upto]:
            self._console.print(_block_row(block, growing=False))
            self._console.print()
        self._shown = max(self._shown, upto)

    def finish(self, report: Report) -> None:
        """A panel with the facts; it has no sides, so that their lines are long."""
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="dim", no_wrap=True)
        facts.add_column(overflow="fold")
        for name, value in facts_of(report):
            facts.add_row(name, value)
        self._console.print(Rule(Text("what it came to", "bold"), style="cyan", align="left"))
        self._console.print(facts)
        self._console.print(Rule(style="cyan"))

    def close(self, saved: str | None) -> None:
        """What to try next."""
        steps = Table.grid(padding=(0, 2))
        steps.add_column(style="dim", no_wrap=True)
        steps.add_column(style="bold", overflow="fold")
        for when, command in _next_steps(saved):
            steps.add_row(when, command)
        self._console.print(steps)


def _row(label: str, content: RenderableType, style: str = "cyan") -> Table:
    """A label in the margin, and what it is about."""
    row = Table.grid(padding=0)
    row.add_column(width=_LABEL, no_wrap=True)
    row.add_column(overflow="fold")
    row.add_row(Text(label, style), content)
    return row


def _block_row(block: ContentBlock, *, growing: bool) -> RenderableType:
    cursor = Text(_CURSOR if growing else "", "cyan")
    match block:
        case ThinkingBlock():
            return _row("thinking", Text(block.thinking, "dim italic") + cursor, "magenta")
        case TextBlock():
            return _row("text", Text(block.text) + cursor, "green")
        case ToolUseBlock():
            call = Text.assemble((block.name or "", "bold"), " ")
            return _row("tool_use", call + _arguments(block, growing=growing) + cursor, "yellow")
    return _row(block.type, cursor)


def _arguments(block: ToolUseBlock, *, growing: bool) -> Text:
    """What there is of a tool's arguments: on the way only what can be relied on, cut short the text as it came."""
    highlight = JSONHighlighter()
    if growing:
        return _shown(block.partial_input())
    try:
        return _shown(block.input)
    except ToolInputError:
        return highlight(block.input_json).append(f" {_CUT} cut here", "bold red")


def _shown(arguments: Mapping[str, Any]) -> Text:
    """JSON; arguments of several lines, as a file is, as they are."""
    if not any(isinstance(value, str) and "\n" in value for value in arguments.values()):
        return JSONHighlighter()(_spaced(arguments))
    shown = Text()
    for name, value in arguments.items():
        lines = value.split("\n") if isinstance(value, str) else [_spaced(value)]
        shown.append(f"\n{name}: ", "dim")
        shown.append("".join(f"\n  {line}" for line in lines) if len(lines) > 1 else lines[0], "green")
    return shown


def _spaced(value: object) -> str:
    """JSON on one line, with spaces to break it at."""
    return msgspec.json.format(msgspec.json.encode(value), indent=0).decode()


def _status(tally: Tally) -> RenderableType:
    spinner = _SPINNER[tally.events // 2 % len(_SPINNER)]
    counted = (count_of(tally.events, "event"), count_of(tally.pings, "ping"), count_of(tally.characters, "character"))
    counts = "  ".join([*counted, ""])
    # Not padded to the full width: a ^C that the terminal echoes would begin a line that nobody counts on.
    margin = " " * _LABEL
    line = Text.assemble(margin, (f"{spinner} ", "cyan"), (counts, "dim"), (tally.last, "dim cyan"))
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


class _Tail:
    """The last lines of something that can be higher than the terminal."""

    def __init__(self, shown: RenderableType, most: int) -> None:
        self._shown, self._most = shown, max(most, 1)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in console.render_lines(self._shown, options, pad=False)[-self._most :]:
            yield from line
            yield Segment.line()


# --- anywhere else ---------------------------------------------------------------------------------------


class PlainView(View):
    """Lines as they grow: no colours, no control codes, nothing drawn twice.

    `width` is that of a terminal, whose lines end between words; without one the lines are as long as they come.
    """

    def __init__(self, out: TextIO, width: int | None) -> None:
        self._text = _Wrapped(out, width)
        self._prose = _Wrapped(out, width or _PROSE_WIDTH)
        self._lines = _PlainLines(self._text)
        self._is_whole = False

    def open(self, base_url: str, streams: int) -> None:
        """A headline."""
        self._prose.write(f"sansio-step {__version__}, a demo\n{_introduction(base_url, streams)}\n")

    def begin(self, number: int, title: str, note: str, question: str) -> None:
        """A headline, and the question."""
        self._prose.write(f"\n{number}. {title}\n({note})\n")
        self._text.write(f"\nyou: {question}\n")

    def __enter__(self) -> View:
        self._is_whole = False
        return self

    def update(self, event: StreamEvent, message: Message, tally: Tally) -> None:
        """Write what the event adds."""
        self._is_whole = isinstance(event, MessageStopEvent)
        self._lines.update(event)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lines.finish(whole=self._is_whole)

    def finish(self, report: Report) -> None:
        """A line for each fact."""
        self._text.write("\n")
        for name, value in facts_of(report):
            for label, line in zip(chain([name], repeat("")), str(value).split("\n"), strict=False):
                self._text.write(f"{label:<{_FACT}}{line}\n", indent=_FACT)

    def close(self, saved: str | None) -> None:
        """What to try next."""
        self._text.write("\n")
        for when, command in _next_steps(saved):
            self._text.write(f"{when:<{_STEP}}{command}\n", indent=_STEP)


class _PlainLines(AnswerLines):
    """Each section with its kind before it."""

    def __init__(self, out: _Wrapped) -> None:
        super().__init__(lambda text, _: out.write(text))

    def begin_section(self, kind: str, name: str) -> None:
        """Its kind, and the name of a call."""
        self.say({"call": f"tool_use {name}:", "other": name}.get(kind, f"{kind}: "))


class _Wrapped:
    """Text that grows, with no word cut at the end of a line. A word that may still grow waits."""

    def __init__(self, out: TextIO, width: int | None) -> None:
        self._out, self._width = out, width
        self._column = 0
        self._blanks = self._word = ""

    def write(self, text: str, *, indent: int = 0) -> None:
        """More of it. Lines that are begun because one is full are indented."""
        if self._width is None:
            self._out.write(text)
        else:
            for part in _PART.findall(text):
                self._add(part, self._width, " " * indent)
        self._out.flush()

    def _add(self, part: str, width: int, indent: str) -> None:
        if not part.isspace() and (part.isascii() or part in _ENDS):
            self._word += part
            return
        self._end_word(width, indent)
        if part == "\n":
            self._out.write(part)
            self._column, self._blanks = 0, ""
        elif part.isspace():
            self._blanks += part
        else:  # a line can end before any such character
            self._word = part

    def _end_word(self, width: int, indent: str) -> None:
        """Write the word that has come, on a line of its own if this one has no room for it."""
        if not self._word:
            return
        written = self._blanks + self._word
        if self._column and self._column + cell_len(written) > width:
            self._out.write("\n")
            written, self._column = indent + self._word, 0
        self._out.write(written)
        self._column += cell_len(written)
        self._blanks = self._word = ""
