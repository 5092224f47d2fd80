"""How an answer is shown while it comes: in a terminal, in a pipe, as events, as the message.

Everything is written once, and nothing is drawn over but the line that waits for the first event: so the terminal's own
memory has the whole answer, and whatever ends the program leaves what came.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from time import monotonic
from typing import Final, TextIO

import msgspec
from rich.console import Console
from rich.live import Live
from rich.segment import Segment, Segments
from rich.style import Style
from rich.text import Text

from sansio_step import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    Message,
    PingEvent,
    StreamEvent,
    ThinkingBlock,
    ThinkingDelta,
    Usage,
    to_json,
)

from ._lines import PLAIN, AnswerLines
from ._terminal import escaped

__all__ = ["ChatView", "EventsView", "MessageView", "TerminalView", "TextView"]

_SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_THINKING: Final = Style(dim=True, italic=True)


class ChatView(ABC):
    """What is shown of one answer after the other: `begin`, an `update` for each event, `finish`."""

    @abstractmethod
    def begin(self) -> None:
        """The request goes out."""

    @abstractmethod
    def update(self, event: StreamEvent) -> None:
        """An event has come."""

    @abstractmethod
    def finish(self, message: Message | None, *, whole: bool, counted: bool) -> None:
        """No more comes: of what there is, `message` is all. Also after Ctrl-C. `counted` if its output count is final."""


class EventsView(ChatView):
    """A line of JSON for each event."""

    def begin(self) -> None:
        """Nothing to show yet."""

    def update(self, event: StreamEvent) -> None:
        """Write it."""
        write_json(to_json(event))

    def finish(self, message: Message | None, *, whole: bool, counted: bool) -> None:
        """Nothing: the events have said it."""


class MessageView(ChatView):
    """The message as JSON, once nothing more comes."""

    def begin(self) -> None:
        """Nothing to show yet."""

    def update(self, event: StreamEvent) -> None:
        """Nothing yet."""

    def finish(self, message: Message | None, *, whole: bool, counted: bool) -> None:
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


class TextView(ChatView):
    """The text of the answer and its calls, nothing else: for pipes, and for what a program reads."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lines = _Answer(self._put)

    def _put(self, text: str, style: Style) -> None:
        self._out.write(text)
        self._out.flush()

    def begin(self) -> None:
        """Nothing to show yet."""

    def update(self, event: StreamEvent) -> None:
        """Show what it adds; thinking is not part of the answer."""
        thinks = isinstance(event, ContentBlockStartEvent) and isinstance(event.content_block, ThinkingBlock)
        if not thinks and not (isinstance(event, ContentBlockDeltaEvent) and isinstance(event.delta, ThinkingDelta)):
            self._lines.update(event)

    def finish(self, message: Message | None, *, whole: bool, counted: bool) -> None:
        """End the line, and say what is cut."""
        self._lines.finish(whole=whole)


class _Answer(AnswerLines):
    """Without what the model thought, also where it came with the message's start."""

    def begin_section(self, kind: str, name: str) -> None:
        """None begins with what is not shown."""
        if kind != "thinking":
            super().begin_section(kind, name)

    def write_text(self, kind: str, text: str) -> None:
        """Thinking is not part of the answer."""
        if kind == "text":
            self.say(text)


class TerminalView(ChatView):
    """All of it, thinking dimmed, and a line that waits."""

    def __init__(self, console: Console) -> None:
        self._lines = _TerminalLines(console)
        self._console = console
        self._live: Live | None = None
        self._began = 0.0
        self._first: float | None = None

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
        self._lines.update(event)

    def _stop_waiting(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def finish(self, message: Message | None, *, whole: bool, counted: bool) -> None:
        """End the line; the count of what it took."""
        self._stop_waiting()
        self._lines.finish(whole=whole)
        if message is None or self._first is None:
            return
        facts = [
            message.model or "",
            _tokens(message.usage, counted=counted),
            f"{monotonic() - self._began:.1f} s, the first event after {self._first:.1f}",
            (message.stop_reason or "") if whole else "cut short",
        ]
        self._console.print()
        self._console.print(Text(escaped(" · ".join(filter(None, facts))), "dim"))


class _TerminalLines(AnswerLines):
    """Lines in colours."""

    def __init__(self, console: Console) -> None:
        super().__init__(self._put_on_console)
        self._console = console

    def _put_on_console(self, text: str, style: Style) -> None:
        # Each line has its own start and end of colour, so that none is left on when somebody presses Ctrl-C.
        self._console.print(Segments([Segment(escaped(text, tabs=True), style)]), end="", soft_wrap=True)

    def begin_section(self, kind: str, name: str) -> None:
        """A dumb terminal has no other way to show what is thinking."""
        super().begin_section(kind, name)
        if kind == "thinking" and self._console.is_dumb_terminal:
            self.say("(thinking) ")

    def write_text(self, kind: str, text: str) -> None:
        """Thinking is dimmed."""
        self.say(text, _THINKING if kind == "thinking" else PLAIN)


def _tokens(usage: Usage | None, *, counted: bool) -> str:
    """The counts. Before the last one, the output's is a placeholder or a part, which nobody should take for the price."""
    if usage is None:
        return ""
    counts = ((usage.input_tokens, "in"), (usage.output_tokens if counted else None, "out"))
    return ", ".join(f"{count} {what}" for count, what in counts if count is not None)
