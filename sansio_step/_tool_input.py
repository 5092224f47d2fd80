"""Tool arguments: the text that grows, its value, and that as a type of the caller's own."""

from __future__ import annotations

import re
from contextlib import suppress
from sys import maxsize
from typing import Any

import msgspec

from ._errors import ToolInputError, shown
from ._growing import Growing, ReadThrough, TextBuffer, raw_field, set_raw_field
from ._json import NotJSON, read_json
from ._json_path import position_of
from ._json_reader import JSONReader


class _SoFar:
    """The reader of arguments that are still growing, or broken: it reads each character once."""

    __slots__ = ("_length", "_reader")

    def __init__(self) -> None:
        self._reader = JSONReader(max_size=maxsize)  # the stream that the pieces come from has limits
        self._length = 0  # the characters that the reader was given

    def read_on(self, text: str | TextBuffer) -> Any:
        """The value so far of a text that begins with what was read."""
        new = text.since(self._length) if isinstance(text, TextBuffer) else text[self._length :]
        self._length += len(new)
        with suppress(ToolInputError):  # the value stays what it was before that
            self._reader.receive_text(new)
        return self._reader.snapshot()


class Arguments(Growing):
    """What the field `input` holds while `input_json` has a text. It reads that text when it is asked."""

    __slots__ = ("_parsed", "_so_far", "started", "text")

    def set_up(self, started: dict[str, Any], text: str | TextBuffer) -> None:
        self.started = started  # what the field held before there was a text
        self.text = text  # type: ignore[misc]  # it is not a member of an Enum
        self._parsed: tuple[str, dict[str, Any]] | None = None
        self._so_far: _SoFar | None = None  # the reader of unfinished arguments, made when somebody asks

    def written(self) -> str:
        """The text so far."""
        return self.text.current() if isinstance(self.text, TextBuffer) else self.text

    def whole(self) -> dict[str, Any]:
        """The value of the text, parsed once. Raises ToolInputError."""
        text = self.written()
        if not text:
            return self.started
        if self._parsed is None or self._parsed[0] is not text:
            self._parsed = text, _parse_input(text)
        return self._parsed[1]

    def current(self) -> dict[str, Any]:
        if self._so_far is None:
            if not isinstance(self.text, TextBuffer):
                with suppress(ToolInputError):
                    return self.whole()
            self._so_far = _SoFar()
        if not (self.text.last if isinstance(self.text, TextBuffer) else self.text):
            return self.started
        value = self._so_far.read_on(self.text)
        return value if isinstance(value, dict) else {}

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Arguments):
            return (self.written() or self.started) == (other.written() or other.started)
        return super().__eq__(other)

    __hash__ = None


class InputField(ReadThrough):
    """The descriptor of `ToolCallBlock.input`, which says what it returns and raises."""

    def __get__(self, block: Any, owner: type | None = None) -> Any:
        if block is None:
            return self
        if not block.is_finished:
            text = block.input_json
            raise ToolInputError("the block is not finished", text, len(text))
        held = self.slot.__get__(block)
        return held.whole() if isinstance(held, Arguments) else held

    def __set__(self, block: Any, value: dict[str, Any]) -> None:
        self.slot.__set__(block, value)
        block.input_json = ""


class InputJSONField(ReadThrough):
    """The descriptor of `ToolCallBlock.input_json`: a text replaces the input that the block started with."""

    def __set__(self, block: Any, value: str | TextBuffer) -> None:
        self.slot.__set__(block, value)
        held = raw_field(block, "input")
        started = held.started if isinstance(held, Arguments) else held
        set_raw_field(block, "input", Arguments.begin(started, value) if value else started)


def _parse_input(text: str) -> dict[str, Any]:
    try:
        value = read_json(text.encode()).value
    except UnicodeEncodeError:  # halves of characters, which a caller's own text can have
        value = _parse_text(text)
    except NotJSON as error:
        raise ToolInputError(f"broken tool input: {error.reason}", text, error.position) from None
    if not isinstance(value, dict):
        raise ToolInputError("tool input is not a JSON object", text, 0)
    return value


def _parse_text(text: str) -> Any:
    reader = JSONReader(max_size=maxsize)
    with suppress(ToolInputError):
        reader.receive_text(text)
        reader.receive_eof()
    if isinstance(reader.fault, ToolInputError):
        raise ToolInputError(f"broken tool input: {reader.fault.what}", text, reader.fault.position)
    return reader.value


_AT = re.compile(r"(.*) - at (?:`key` in )?`(\$.*)`", re.DOTALL)
"""msgspec's words for a value that is not of its type. It names no path for the outermost object."""


def convert_input(arguments: dict[str, Any], input_json: str, type: Any) -> Any:
    """The arguments as a type that msgspec knows. Raises ToolInputError, with the path that is at fault."""
    try:
        # From the text, if there is one: a Decimal keeps its digits, and Raw its text.
        if input_json:
            # What it refuses can be right all the same: halves of characters, and an earlier value of a key that comes
            # twice.
            with suppress(msgspec.DecodeError, UnicodeError, RecursionError):
                return msgspec.json.decode(input_json, type=type)
        return msgspec.convert(arguments, type, str_keys=True)
    except msgspec.ValidationError as error:
        found = _AT.fullmatch(str(error))
        reason, path = found.groups() if found is not None else (str(error), "$")
        position = position_of(input_json, path) if input_json else None
        raise ToolInputError(f"{shown(reason)} - at {shown(path)}", input_json, position, path) from error
