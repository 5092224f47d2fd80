"""How an answer is shown while it comes: in a terminal, in a pipe, as events, as the message.

Everything is written once, and nothing is drawn over but the line that waits for the first event: so the terminal's own
memory has the whole answer, and whatever ends the program leaves what came.
"""

from __future__ import annotations

import contextlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from time import monotonic
from typing import Final, TextIO

import msgspec
from rich.console import Console
from rich.live import Live
from rich.segment import Segment, Segments
from rich.style import Style
from rich.text import Text

from sansio_step import (
    ContentBlock,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    InputJSONDelta,
    JSONClosed,
    JSONDelta,
    JSONOpened,
    JSONPiece,
    JSONReader,
    JSONScalar,
    JSONString,
    Message,
    MessageStartEvent,
    PingEvent,
    StreamError,
    StreamEvent,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
    Usage,
    to_json,
)

from ._terminal import escaped

__all__ = ["ChatView", "EventsView", "MessageView", "TerminalView", "TextView"]

_SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PLAIN: Final = Style()
_DIM: Final = Style(dim=True)
_THINKING: Final = Style(dim=True, italic=True)
_NAME: Final = Style(bold=True, color="yellow")
_WRONG: Final = Style(bold=True, color="red")


class ChatView(ABC):
    """What is shown of one answer after the other: `begin`, an `update` for each event, `finish`."""

    @abstractmethod
    def begin(self) -> None:
        """The request goes out."""

    @abstractmethod
    def update(self, event: StreamEvent) -> None:
        """An event has come."""

    @abstractmethod
    def finish(self, message: Message | None, *, whole: bool) -> None:
        """No more comes: of what there is, `message` is all. Also after Ctrl-C."""


class EventsView(ChatView):
    """A line of JSON for each event."""

    def begin(self) -> None:
        """Nothing to show yet."""

    def update(self, event: StreamEvent) -> None:
        """Write it."""
        write_json(to_json(event))

    def finish(self, message: Message | None, *, whole: bool) -> None:
        """Nothing: the events have said it."""


class MessageView(ChatView):
    """The message as JSON, once nothing more comes."""

    def begin(self) -> None:
        """Nothing to show yet."""

    def update(self, event: StreamEvent) -> None:
        """Nothing yet."""

    def finish(self, message: Message | None, *, whole: bool) -> None:
        """Write what there is of it."""
        if message is not None:
            document = to_json(message)
            write_json(msgspec.json.format(document, indent=2) if sys.stdout.isatty() else document)


def write_json(line: bytes) -> None:
    """Write a line of JSON at once, for a terminal in escapes that say the same."""
    if sys.stdout.isatty():
        line = escaped(line.decode()).encode()
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


class _Sections(ChatView):
    """Tells what each event adds, section by section: a text, a thinking, a call."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._section: tuple[str, int] | None = None
        self._blocks: dict[int, ContentBlock] = {}
        self._calls: dict[int, JSONReader] = {}

    def begin(self) -> None:
        """Nothing to show yet."""

    def update(self, event: StreamEvent) -> None:
        """Show what it adds."""
        if isinstance(event, MessageStartEvent):
            for index, block in enumerate(event.message.content):
                self._open(index, block)
                self._close(index)
        elif isinstance(event, ContentBlockStartEvent):
            self._open(event.index, event.content_block)
        elif isinstance(event, ContentBlockDeltaEvent):
            match event.delta:
                case TextDelta(text=text):
                    self._add("text", event.index, text)
                case ThinkingDelta(thinking=text):
                    self._add("thinking", event.index, text)
                case InputJSONDelta(partial_json=text):
                    self._add("call", event.index, text)
        elif isinstance(event, ContentBlockStopEvent):
            self._close(event.index)

    def _open(self, index: int, block: ContentBlock) -> None:
        self._blocks[index] = block
        self._calls.pop(index, None)
        match block:
            case TextBlock(text=text):
                self._add("text", index, text)
            case ThinkingBlock(thinking=text):
                self._add("thinking", index, text)
            case ToolUseBlock():
                self._enter("call", index)
            case _:
                self._enter("other", index)

    def _close(self, index: int) -> None:
        """A call whose arguments came with its start has them shown at its end: pieces would have replaced them."""
        block = self._blocks.get(index)
        if isinstance(block, ToolUseBlock) and index not in self._calls:
            self._add("call", index, msgspec.json.encode(block.partial_input()).decode())

    def _enter(self, kind: str, index: int) -> None:
        if self._section == (kind, index):
            return
        self._section = (kind, index)
        block = self._blocks.get(index)
        name = (block.name or "") if isinstance(block, ToolUseBlock) else block.type if block is not None else "?"
        self._begin(kind, name)

    def _add(self, kind: str, index: int, text: str) -> None:
        if not text:
            return
        self._enter(kind, index)
        if kind == "call":
            reader = self._calls.setdefault(index, JSONReader())
            if reader.fault is None:
                self._arguments(reader, text)
        else:
            self._write(kind, text)

    def _arguments(self, reader: JSONReader, text: str) -> None:
        with contextlib.suppress(StreamError):  # what is wrong is in `fault`
            self._grow(reader.receive_text(text))
        if reader.fault is not None:
            self._wrong(f"no JSON: {reader.fault}")

    def finish(self, message: Message | None, *, whole: bool) -> None:
        """End the line, and say what is cut."""
        for index in self._blocks:
            if whole:
                self._close(index)
        kind, index = self._section or ("", 0)
        reader = self._calls.get(index)
        if kind == "call" and not (reader is not None and (reader.is_finished or reader.fault is not None)):
            self._wrong("cut here")
        self._end(message, whole=whole)
        self._reset()

    @abstractmethod
    def _begin(self, kind: str, name: str) -> None:
        """A section begins: "text", "thinking", "call" or "other"."""

    @abstractmethod
    def _write(self, kind: str, text: str) -> None:
        """More of a text or a thinking."""

    @abstractmethod
    def _grow(self, deltas: list[JSONDelta]) -> None:
        """More of a call's arguments."""

    @abstractmethod
    def _wrong(self, what: str) -> None:
        """The arguments of a call go no further."""

    @abstractmethod
    def _end(self, message: Message | None, *, whole: bool) -> None:
        """Nothing more comes."""


class _Lines(_Sections):
    """Sections as lines; how they get to where they are shown is `put`'s business."""

    def __init__(self, put: Callable[[str, Style], None]) -> None:
        super().__init__()
        self._put = put
        self._fresh = True  # whether what comes next begins a line
        self._any = False  # whether there is a section before
        self._path: tuple[str | int, ...] | None = None  # of the string on its way

    def _say(self, text: str, style: Style = _PLAIN) -> None:
        self._put(text, style)
        self._fresh = text.endswith("\n")

    def _end_line(self) -> None:
        if not self._fresh:
            self._say("\n")

    def _begin(self, kind: str, name: str) -> None:
        self._end_line()
        if self._any:
            self._say("\n")
        self._any = True
        if kind == "call":
            self._say(_one_line(name), _NAME)
        elif kind == "other":
            self._say(f"[{_one_line(name)}]", _DIM)

    def _grow(self, deltas: list[JSONDelta]) -> None:
        for delta in deltas:
            path = delta.path
            if isinstance(delta, JSONOpened):
                if path:
                    self._key(path)
            elif isinstance(delta, JSONPiece):
                if self._path != path:
                    self._key(path)
                    self._say(" ")
                    self._path = path
                self._say(delta.text.replace("\n", "\n" + "  " * (len(path) + 1)))
            elif isinstance(delta, JSONString):
                if self._path != path:
                    self._key(path)
                    self._say(' ""')
                self._path = None
            elif isinstance(delta, JSONScalar):
                self._key(path)
                self._say(f" {msgspec.json.encode(delta.value).decode()}")
            elif isinstance(delta, JSONClosed) and not delta.value:
                self._say(" {}" if isinstance(delta.value, dict) else " []")

    def _key(self, path: tuple[str | int, ...]) -> None:
        """A line for a value of the arguments, indented by its depth."""
        self._end_line()
        last = path[-1] if path else ""
        self._say("  " * len(path))
        self._say("-" if isinstance(last, int) else f"{_one_line(last)}:", _DIM)

    def _wrong(self, what: str) -> None:
        if self._path is None:
            self._end_line()
        self._say(f" ✂ {_one_line(what)}", _WRONG)

    def _end(self, message: Message | None, *, whole: bool) -> None:
        self._end_line()
        self._any = False
        self._path = None


class TextView(_Lines):
    """The text of the answer and its calls, nothing else: for pipes, and for what a program reads."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        super().__init__(self._put_plainly)

    def _put_plainly(self, text: str, style: Style) -> None:
        self._out.write(text)
        self._out.flush()

    def update(self, event: StreamEvent) -> None:
        """Show what it adds; thinking is not part of the answer."""
        thinks = isinstance(event, ContentBlockStartEvent) and isinstance(event.content_block, ThinkingBlock)
        if not thinks and not (isinstance(event, ContentBlockDeltaEvent) and isinstance(event.delta, ThinkingDelta)):
            super().update(event)

    def _write(self, kind: str, text: str) -> None:
        if kind == "text":
            self._say(text)


class TerminalView(_Lines):
    """All of it, thinking dimmed, and a line that waits."""

    def __init__(self, console: Console) -> None:
        super().__init__(self._put_on_console)
        self._console = console
        self._live: Live | None = None
        self._began = 0.0
        self._first: float | None = None
        self._thinks_plainly = False

    def begin(self) -> None:
        """Count the seconds until the first event."""
        self._began, self._first = monotonic(), None
        if not self._console.is_dumb_terminal:
            self._live = Live(
                console=self._console, get_renderable=self._waiting, refresh_per_second=10, transient=True
            )
            self._live.start()

    def _waiting(self) -> Text:
        seconds = monotonic() - self._began
        mark = _SPINNER[int(seconds * 10) % len(_SPINNER)]
        return Text.assemble((mark, "cyan"), (f" {seconds:.1f} s", "dim"))

    def update(self, event: StreamEvent) -> None:
        """Show what it adds. A ping is no answer yet."""
        if not isinstance(event, PingEvent):
            if self._first is None:
                self._first = monotonic() - self._began
            self._stop_waiting()
        super().update(event)

    def _stop_waiting(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _begin(self, kind: str, name: str) -> None:
        super()._begin(kind, name)
        if kind == "thinking" and self._console.is_dumb_terminal:
            self._say("(thinking) ")

    def _write(self, kind: str, text: str) -> None:
        self._say(text, _THINKING if kind == "thinking" else _PLAIN)

    def _put_on_console(self, text: str, style: Style) -> None:
        # Each line has its own start and end of colour, so that none is left on when somebody presses Ctrl-C.
        self._console.print(Segments([Segment(escaped(text, tabs=True), style)]), end="", soft_wrap=True)

    def finish(self, message: Message | None, *, whole: bool) -> None:
        """End the line; the count of what it took."""
        self._stop_waiting()
        super().finish(message, whole=whole)

    def _end(self, message: Message | None, *, whole: bool) -> None:
        super()._end(message, whole=whole)
        if message is None or self._first is None:
            return
        facts = [
            message.model or "",
            _tokens(message.usage),
            f"{monotonic() - self._began:.1f} s, the first event after {self._first:.1f}",
            (message.stop_reason or "") if whole else "cut short",
        ]
        self._console.print()
        self._console.print(Text(escaped(" · ".join(filter(None, facts))), "dim"), soft_wrap=True)


def _tokens(usage: Usage | None) -> str:
    if usage is None:
        return ""
    counts = ((usage.input_tokens, "in"), (usage.output_tokens, "out"))
    return ", ".join(f"{count} {what}" for count, what in counts if count is not None)


def _one_line(text: str) -> str:
    return escaped(text).replace("\n", "\\n")
