"""How the demo looks: in a terminal blocks that grow, anywhere else plain lines.

In a terminal the block on its way, and a line that counts, are drawn in place (and never higher than a few
lines); a block that is finished is printed above them and scrolls away like everything else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from time import perf_counter
from types import TracebackType
from typing import Final, TextIO

import msgspec
from rich.console import Console, Group, RenderableType
from rich.highlighter import JSONHighlighter
from rich.live import Live
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from sansio_step import (
    ContentBlock,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    InputJSONDelta,
    Message,
    StreamEvent,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolInputError,
    ToolUseBlock,
    __version__,
)

from ._demo_report import Report, Tally, count_of, facts_of

__all__ = ["View", "make_view"]

_FRAME: Final = 1 / 30  # seconds; a faster redraw is seen by nobody
_CURSOR: Final = "▌"
_CUT: Final = "✂"
_SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_LABEL: Final = 10  # cells, the widest label and a gap


def make_view(out: TextIO) -> View:
    """The view that suits where the output goes."""
    if out.isatty():
        console = Console(file=out, highlight=False)
        if not console.is_dumb_terminal:
            return TerminalView(console)
    return PlainView(out)


class View(ABC):
    """What the demo says, in the order of the methods; between `begin` and `finish` it is a context."""

    @abstractmethod
    def open(self, base_url: str) -> None:
        """The demo begins."""

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
    def close(self) -> None:
        """The demo is over."""


_INTRODUCTION: Final = (
    "A replay server at {url} sends three streams. The client reads them from the socket; nothing below is known "
    "before it has arrived."
)
_CLOSING: Final = (
    "Two shapes, one kind of Message; and a stream that broke off is never taken for a whole one.\n"
    "Next, without a key: sansio-step demo --save captures, then sansio-step inspect captures/cut.sse\n"
    'With a key in STEP_API_KEY: sansio-step chat --record sky "Why is the sky blue?"'
)


# --- in a terminal ---------------------------------------------------------------------------------------


class TerminalView(View):
    """Blocks that grow, with colours."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._message: Message | None = None
        self._shown = 0  # blocks that are printed for good
        self._drawn = 0.0

    def open(self, base_url: str) -> None:
        """A headline."""
        self._console.print()
        self._console.print(Text(f"sansio-step {__version__}", "bold cyan"), Text("a demo", "dim"))
        self._console.print(Text(_INTRODUCTION.format(url=base_url), "dim"))

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
            growing = [_block_row(block, growing=True) for block in message.content[self._shown :]]
            self._live.update(Group(*growing, Text(), _status(tally)), refresh=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.update(Text())
            self._live.stop()
            self._live = None
        if self._message is not None:
            self._print_blocks(upto=len(self._message.content))

    def _print_blocks(self, upto: int) -> None:
        assert self._message is not None
        for block in self._message.content[self._shown : upto]:
            self._console.print(_block_row(block, growing=False))
            self._console.print()
        self._shown = max(self._shown, upto)

    def finish(self, report: Report) -> None:
        """A panel with the facts."""
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="dim", no_wrap=True)
        facts.add_column(overflow="fold")
        for name, value in facts_of(report):
            facts.add_row(name, value)
        title = Text("what it came to", "bold")
        self._console.print(Panel(facts, title=title, title_align="left", border_style="cyan", padding=(0, 1)))

    def close(self) -> None:
        """What to try next."""
        self._console.print()
        self._console.print(Rule(style="cyan"))
        self._console.print(Text(_CLOSING))
        self._console.print()


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
        return highlight(_spaced(block.partial_input()))
    try:
        return highlight(_spaced(block.input))
    except ToolInputError:
        return highlight(block.input_json).append(f" {_CUT} cut here", "bold red")


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


# --- anywhere else ---------------------------------------------------------------------------------------


class PlainView(View):
    """Lines as they grow: no colours, no control codes, nothing drawn twice."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._inside = False  # in a line that is not ended

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()

    def _end_line(self) -> None:
        if self._inside:
            self._write("\n")
        self._inside = False

    def open(self, base_url: str) -> None:
        """A headline."""
        self._write(f"sansio-step {__version__}, a demo\n{_INTRODUCTION.format(url=base_url)}\n")

    def begin(self, number: int, title: str, note: str, question: str) -> None:
        """A headline, and the question."""
        self._write(f"\n{number}. {title}\n({note})\n\nyou: {question}\n")

    def __enter__(self) -> View:
        return self

    def update(self, event: StreamEvent, message: Message, tally: Tally) -> None:
        """Write what the event adds."""
        if isinstance(event, ContentBlockStartEvent):
            self._end_line()
            block = event.content_block
            name = f" {block.name}" if isinstance(block, ToolUseBlock) else ""
            self._write(f"{block.type}{name}: ")
            self._inside = True
        elif isinstance(event, ContentBlockDeltaEvent):
            match event.delta:
                case TextDelta(text=text) | ThinkingDelta(thinking=text) | InputJSONDelta(partial_json=text):
                    self._write(text)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end_line()

    def finish(self, report: Report) -> None:
        """A line for each fact."""
        self._write("\n")
        for name, value in facts_of(report):
            lines = str(value).split("\n")
            for label, line in zip([name, *[""] * len(lines)], lines, strict=False):
                self._write(f"{label:<12}{line}\n")

    def close(self) -> None:
        """What to try next."""
        self._write(f"\n{_CLOSING}\n")
