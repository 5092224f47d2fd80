"""An answer as lines that grow: texts as they come, a call's arguments key by key. `put` says where they are shown.

Nothing is written twice: what has been put stands. A call is read by a JSONReader of its own, so that a string shows while
it comes, and a number when it can grow no more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final

import msgspec
from rich.style import Style

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
    MessageStartEvent,
    StreamError,
    StreamEvent,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
)

from ._terminal import escaped

__all__ = ["PLAIN", "AnswerLines", "one_line"]

PLAIN: Final = Style()
_DIM: Final = Style(dim=True)
_NAME: Final = Style(bold=True, color="yellow")
_WRONG: Final = Style(bold=True, color="red")


class AnswerLines:
    """Takes the events of one answer after the other; `finish` ends each. `put` gets the pieces of the lines.

    Subclasses say how a section begins ("text", "thinking", "call" or "other", with its name) and what becomes of texts.
    """

    def __init__(self, put: Callable[[str, Style], None]) -> None:
        self._put = put
        self._fresh = True  # whether what comes next begins a line
        self._any = False  # whether something of this answer has been put
        self._path: tuple[str | int, ...] | None = None  # of the string on its way
        self._reset()

    def _reset(self) -> None:
        self._section: tuple[str, int] | None = None
        self._blocks: dict[int, ContentBlock] = {}
        self._calls: dict[int, JSONReader] = {}

    # --- what comes ------------------------------------------------------------------------------------------

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

    def finish(self, *, whole: bool) -> None:
        """End the line, and say what is cut."""
        for index in self._blocks:
            if whole:
                self._close(index)
        kind, index = self._section or ("", 0)
        reader = self._calls.get(index)
        if kind == "call" and not (reader is not None and (reader.is_finished or reader.fault is not None)):
            self._wrong("cut here")
        self.end_line()
        self._any = False
        self._path = None
        self._reset()

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
        self.end_line()
        self.begin_section(kind, one_line(name))

    def _add(self, kind: str, index: int, text: str) -> None:
        if not text:
            return
        self._enter(kind, index)
        if kind == "call":
            reader = self._calls.setdefault(index, JSONReader())
            if reader.fault is None:
                self._arguments(reader, text)
        else:
            self.write_text(kind, text)

    def _arguments(self, reader: JSONReader, text: str) -> None:
        with contextlib.suppress(StreamError):  # what is wrong is in `fault`
            self._grow(reader.receive_text(text))
        if reader.fault is not None:
            self._wrong(f"no JSON: {reader.fault}")

    # --- what is shown ---------------------------------------------------------------------------------------

    def say(self, text: str, style: Style = PLAIN) -> None:
        """Put something where the line is."""
        self._put(text, style)
        self._any = True
        self._fresh = text.endswith("\n")

    def end_line(self) -> None:
        """What comes next begins a line."""
        if not self._fresh:
            self.say("\n")

    def begin_section(self, kind: str, name: str) -> None:
        """A section begins, at the begin of a line."""
        if self._any:
            self.say("\n")
        if kind == "call":
            self.say(name, _NAME)
        elif kind == "other":
            self.say(f"[{name}]", _DIM)

    def write_text(self, kind: str, text: str) -> None:
        """More of a text or a thinking."""
        self.say(text)

    def _grow(self, deltas: list[JSONDelta]) -> None:
        for delta in deltas:
            path = delta.path
            if isinstance(delta, JSONOpened):
                if path:
                    self._key(path)
            elif isinstance(delta, JSONPiece):
                if self._path != path:
                    self._key(path)
                    self.say(" ")
                    self._path = path
                self.say(delta.text.replace("\n", "\n" + "  " * (len(path) + 1)))
            elif isinstance(delta, JSONString):
                if self._path != path:
                    self._key(path)
                    self.say(' ""')
                self._path = None
            elif isinstance(delta, JSONScalar):
                self._key(path)
                self.say(f" {msgspec.json.encode(delta.value).decode()}")
            elif isinstance(delta, JSONClosed) and not delta.value:
                self.say(" {}" if isinstance(delta.value, dict) else " []")

    def _key(self, path: tuple[str | int, ...]) -> None:
        """A line for a value of the arguments, indented by its depth."""
        self.end_line()
        last = path[-1] if path else ""
        self.say("  " * len(path))
        self.say("-" if isinstance(last, int) else f"{one_line(last)}:", _DIM)

    def _wrong(self, what: str) -> None:
        if self._path is None:
            self.end_line()
        self.say(f" ✂ {one_line(what)}", _WRONG)


def one_line(text: str) -> str:
    """A text of a server's, in which nothing ends a line or steers a terminal."""
    return escaped(text).replace("\n", "\\n")
