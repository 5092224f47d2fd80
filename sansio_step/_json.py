"""JSON as the wire has it: read strictly, bounded in depth, and with an answer for every string.

msgspec reads nearly every text. A text that it refuses is read again here, without recursion: msgspec's own bound
on nesting moves with the caller's stack, it reports a lone surrogate escape as cut input, and it stops at a byte
that is not UTF-8. This second reader also says where a text breaks. A text that has not all come yet is for
`_json_reader`.
"""

from __future__ import annotations

import re
from json import JSONDecodeError, JSONDecoder, dumps
from json.decoder import scanstring  # type: ignore[attr-defined]  # missing from the type stubs only
from math import inf
from typing import Any, NamedTuple, NoReturn

import msgspec

MAX_NESTING = 200

CANT_DECODE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
# The errors that msgspec raises for JSON that it can't read.

_NOTHING = object()

_decode = msgspec.json.Decoder().decode

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"(-?(?:0|[1-9][0-9]*))(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_NUMBER_GOES_ON = frozenset("0123456789.eE+-")
_LITERALS = {"t": ("true", True), "f": ("false", False), "n": ("null", None)}
_HALF = re.compile("[\ud800-\udfff]")
_HALF_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)", re.DOTALL)
_BRACKET_OR_STRING = re.compile(rb'[\[{\]}]|"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


class NotJSON(Exception):
    """The text is not a JSON value. `reason` says what is wrong, `position` where, in characters."""

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.position = position


class Read(NamedTuple):
    """The value of a JSON text, once as the caller may see it and once raw.

    Strings in the raw value keep lone surrogates, so that the halves of a character which a server cut can still be
    joined. If there are none, the two values are the same object. Bytes that are not UTF-8 are U+FFFD in both.
    """

    value: Any
    raw: Any
    has_controls: bool = False
    """Whether a string has a raw control character, which JSON forbids."""


def read_json(data: bytes, *, controls: bool = False) -> Read:
    """Read a JSON text. `controls` allows raw control characters in strings. Raises NotJSON."""
    try:
        value = _decode(data)
    except CANT_DECODE:
        text = data.decode("utf-8", "replace")
        try:
            return _read_by_json(text, controls)
        except (ValueError, RecursionError, NotJSON):
            pass
        reader = _Reader(text, controls=controls)
        raw = reader.read()
        value = _Reader(text, mended=True, controls=controls).read() if reader.halves else raw
        return Read(value, raw, reader.has_controls)
    if data.count(b"{") + data.count(b"[") > MAX_NESTING:
        _check_nesting(data)
    return Read(value, value)


def join_halves(text: str, *, hold_back: bool = False) -> str:
    """Join surrogate halves into characters. A half that stays alone becomes U+FFFD.

    `hold_back` leaves out a first half at the very end, because its other half may still come.
    """
    if hold_back and text[-1:] >= "\ud800" and text[-1:] <= "\udbff":
        text = text[:-1]
    if not has_halves(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def replace_halves(text: str) -> tuple[str, int]:
    """The text with U+FFFD for each half, and how many there were. For texts of `scan_json`, which joins what it can."""
    return _HALF.subn("\ufffd", text)


def has_halves(text: str) -> bool:
    """Whether a text holds a surrogate. A text that a caller sees must hold none."""
    return not text.isascii() and _HALF.search(text) is not None


def _read_by_json(text: str, controls: bool) -> Read:
    """Read what msgspec refuses though it is JSON, or nearly so: halves of characters, raw control characters, and
    U+FFFD in place of bytes that were not UTF-8.

    The standard library's scanner is in C: it takes 5 microseconds an event, and `_Reader` takes 20 to 40. Raises if the
    scanner refuses the text, or takes something that is not JSON. Then `_Reader` says where the text breaks.
    """
    scan, has_controls = scan_json, False
    try:
        raw = scan(text)
    except JSONDecodeError as error:
        if not controls or not error.msg.startswith("Invalid control character"):
            raise
        scan, has_controls = _scan_controls, True
        raw = scan(text)
    if text.count("{") + text.count("[") > MAX_NESTING:
        _check_nesting(text.encode())
    mended = _ESCAPE.sub(_mend, text) if _HALF_ESCAPE.search(text) else text
    return Read(raw if mended is text or mended == text else scan(mended), raw, has_controls)


def _mend(escape: re.Match[str]) -> str:
    """The escape of U+FFFD for that of half a character. Any other escape, and that of two halves, stays as it is."""
    return escape.group() if escape.group(1) is None else "\\ufffd"


def _refuse(text: str) -> NoReturn:
    raise ValueError(text)


def _finite(text: str) -> float:
    number = float(text)
    return _refuse(text) if abs(number) == inf else number


scan_json = JSONDecoder(parse_constant=_refuse, parse_float=_finite).decode
"""Reads a JSON text in C, with lone halves as they are. Raises ValueError, or RecursionError for deep nesting."""

_scan_controls = JSONDecoder(parse_constant=_refuse, parse_float=_finite, strict=False).decode


def _check_nesting(data: bytes) -> None:
    depth = 0
    for match in _BRACKET_OR_STRING.finditer(data):
        mark = data[match.start()]
        if mark in b"[{":
            depth += 1
            if depth > MAX_NESTING:
                raise NotJSON(f"nested deeper than {MAX_NESTING}", len(data[: match.start()].decode()))
        elif mark != 34:
            depth -= 1


class _Reader:
    """Reads one JSON text with a stack of its own."""

    def __init__(self, text: str, *, mended: bool = False, controls: bool = False) -> None:
        self.text = text
        self.position = 0
        self.mended = mended
        self.controls = controls
        self.halves = False
        self.has_controls = False
        self.root: Any = None
        self._open: list[dict[str, Any] | list[Any]] = []
        self._keys: list[str] = []

    def read(self) -> Any:
        self._skip_space()
        while True:
            if not self._read_value():
                continue
            while self._open and self._close_or_continue():
                pass
            if not self._open:
                break
        self._skip_space()
        if self.position < len(self.text):
            raise NotJSON("text after the JSON value", self.position)
        return self.root

    def _broken(self, reason: str) -> NotJSON:
        ended = "the text ends too early: " if self.position >= len(self.text) else ""
        return NotJSON(ended + reason, self.position)

    def _skip_space(self) -> str:
        """Skip to the next character that is not a space and return it; "" at the end of the text."""
        match = _SPACE.match(self.text, self.position)
        self.position = match.end() if match else self.position
        return self.text[self.position : self.position + 1]

    def _read_value(self) -> bool:
        """Read a scalar, an empty container, or the start of a container; tell whether the value is complete."""
        mark = self.text[self.position : self.position + 1]
        if mark == "{" or mark == "[":
            if len(self._open) == MAX_NESTING:
                raise NotJSON(f"nested deeper than {MAX_NESTING}", self.position)
            container: dict[str, Any] | list[Any] = {} if mark == "{" else []
            self._attach(container)
            self.position += 1
            following = self._skip_space()
            if following == ("}" if mark == "{" else "]"):
                self.position += 1
                return True
            self._open.append(container)
            if mark == "{":
                self._read_key()
            return False
        self._attach(self._read_string() if mark == '"' else self._read_number_or_literal(mark))
        return True

    def _attach(self, value: Any) -> None:
        if not self._open:
            self.root = value
            return
        container = self._open[-1]
        if isinstance(container, list):
            container.append(value)
        else:
            container[self._keys.pop()] = value

    def _close_or_continue(self) -> bool:
        """Read on after a value: True if its container ends too, False if another value follows."""
        container = self._open[-1]
        mark = self._skip_space()
        if mark == ",":
            self.position += 1
            self._skip_space()
            if isinstance(container, dict):
                self._read_key()
            return False
        if mark != ("}" if isinstance(container, dict) else "]"):
            raise self._broken("expected ',' or the end of the object or array")
        self.position += 1
        self._open.pop()
        return True

    def _read_key(self) -> None:
        if self.text[self.position : self.position + 1] != '"':
            raise self._broken("expected a key in double quotes")
        key = self._read_string()
        if self._skip_space() != ":":
            raise self._broken("expected ':' after a key")
        self.position += 1
        self._skip_space()
        self._keys.append(key)

    def _read_string(self) -> str:
        start = self.position + 1
        value: str
        try:
            value, self.position = scanstring(self.text, start, not self.has_controls)
        except JSONDecodeError as error:
            if self.controls and not self.has_controls and error.msg.startswith("Invalid control character"):
                self.has_controls = True
                return self._read_string()
            if error.msg.startswith("Unterminated"):
                self.position = len(self.text)
                raise self._broken("a string without its end") from None
            raise NotJSON(error.msg.removesuffix(" at"), error.pos) from None
        if not has_halves(value):
            return value
        self.halves = True
        return join_halves(value) if self.mended else value

    def _read_number_or_literal(self, mark: str) -> int | float | bool | None:
        if mark in _LITERALS:
            word, value = _LITERALS[mark]
            if not self.text.startswith(word, self.position):
                raise self._broken("expected a JSON value")
            self.position += len(word)
            return value
        match = _NUMBER.match(self.text, self.position)
        if match is None:
            raise self._broken("expected a JSON value")
        whole, fraction, exponent = match.groups()
        try:
            number = int(whole) if fraction is None and exponent is None else float(match.group())
        except ValueError:  # beyond Python's limit on the digits of an int
            raise NotJSON("number out of range", self.position) from None
        if abs(number) == inf:
            raise NotJSON("number out of range", self.position)
        if self._open and match.end() == len(self.text):
            # More digits may follow, and a number that was never sent must not be invented.
            raise NotJSON("the text ends inside a number", match.end())
        if self.text[match.end() : match.end() + 1] in _NUMBER_GOES_ON:
            raise NotJSON("invalid number", match.end())
        self.position = match.end()
        return number


def write_json(value: Any) -> str:
    """The compact JSON text of a value, written without recursion."""
    written: list[str] = []
    waiting: list[tuple[str, Any]] = [("", value)]  # what to write, and the value after it
    while waiting:
        text, item = waiting.pop()
        written.append(text)
        if isinstance(item, dict) and item:
            waiting.append(("}", _NOTHING))
            waiting += [(f",{dumps(key, ensure_ascii=False)}:", part) for key, part in reversed(item.items())]
            waiting[-1] = ("{" + waiting[-1][0][1:], waiting[-1][1])
        elif isinstance(item, list) and item:
            waiting.append(("]", _NOTHING))
            waiting += [(",", part) for part in reversed(item)]
            waiting[-1] = ("[", waiting[-1][1])
        elif item is not _NOTHING:
            written.append(dumps(item, ensure_ascii=False))
    return "".join(written)


def json_bytes(text: str) -> bytes:
    """JSON text as UTF-8. A str can hold lone surrogate halves (json.loads makes them); they are written as escapes."""
    if has_halves(text):
        text = _HALF.sub(lambda half: f"\\u{ord(half.group()):04x}", text)
    return text.encode()
