"""JSON that is still growing: read once, piece by piece, and shown as far as it has come.

At every character the reader knows what may follow. That is its state: a table of the characters that may stand here,
each with what it does, and what all others do. Inside a string, a number or a literal, they are read on. So a piece may
end anywhere, and nothing is read twice except an escape that the end of a piece cut, which has at most five characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from json.decoder import scanstring  # type: ignore[attr-defined]  # missing from the type stubs only
from math import inf, isinf
from typing import Any, ClassVar, NamedTuple, NoReturn, SupportsIndex, TypeAlias

from ._errors import LimitExceeded, StreamError, ToolInputError
from ._json import MAX_NESTING, NotJSON, has_halves, join_halves
from ._json_deltas import JSONClosed, JSONDelta, JSONOpened, JSONPath, JSONPiece, JSONScalar, JSONString

_SPACE = re.compile(r"[ \t\n\r]*")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
# Escapes, each with the plain characters after it: some hundred at a time, because the matcher keeps 120 bytes for each.
_ESCAPES = re.compile(r'(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*){1,500}')
_ESCAPE_BEGUN = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?")
_LITERALS = {"t": ("true", True), "f": ("false", False), "n": ("null", None)}
_NOTHING: Any = object()
_MANY = 500  # pieces, before they are packed


class _Pieces(list[str]):
    """Pieces of one text. Many are packed into one, so that tiny ones take little more memory than their text."""

    __slots__ = ("_packed",)

    def __init__(self) -> None:
        super().__init__()
        self._packed: list[str] = []

    def pack(self) -> None:
        self._packed.append("".join(self))
        self.clear()

    def joined(self) -> str:
        return "".join(self._packed) + "".join(self)

    def take(self) -> str:
        """The text. What is added next begins another one."""
        text = self[0] if len(self) == 1 and not self._packed else self.joined()
        self.clear()
        self._packed.clear()
        return text


def _start_of(text: str, size: int) -> str:
    """As many characters from the start of a longer text as take at most so many bytes."""
    encoded = text.encode("utf-8", "surrogatepass")
    while encoded[size] & 0xC0 == 0x80:  # not the first byte of a character
        size -= 1
    return encoded[:size].decode("utf-8", "surrogatepass")


# A number, by parts: the characters that may follow each, and the parts that they begin or go on with. "zeros" and
# "rising" are exponents that can only take the number farther from zero, with and without a digit that does.
_DIGITS = "0123456789"
_PARTS: dict[str, dict[str, str]] = {
    "start": {"-": "minus", "0": "zero", **dict.fromkeys("123456789", "whole")},
    "minus": {"0": "zero", **dict.fromkeys("123456789", "whole")},
    "zero": {".": "point", "e": "e", "E": "e"},
    "whole": {**dict.fromkeys(_DIGITS, "whole"), ".": "point", "e": "e", "E": "e"},
    "point": dict.fromkeys(_DIGITS, "fraction"),
    "fraction": {**dict.fromkeys(_DIGITS, "fraction"), "e": "e", "E": "e"},
    "e": {"+": "e plus", "-": "e minus", "0": "zeros", **dict.fromkeys("123456789", "rising")},
    "e plus": {"0": "zeros", **dict.fromkeys("123456789", "rising")},
    "e minus": dict.fromkeys(_DIGITS, "exponent"),
    "zeros": {"0": "zeros", **dict.fromkeys("123456789", "rising")},
    "rising": dict.fromkeys(_DIGITS, "rising"),
    "exponent": dict.fromkeys(_DIGITS, "exponent"),
}
_ZEROS = re.compile("0*")
_RUNS = {"zeros": _ZEROS, **dict.fromkeys(("whole", "fraction", "rising", "exponent"), re.compile("[0-9]*"))}
_INTEGERS = frozenset({"zero", "whole"})
_WHOLE_PARTS = _INTEGERS | {"fraction", "zeros", "rising", "exponent"}
_NUMBER_GOES_ON = frozenset(_DIGITS + ".eE+-")
_ZERO = re.compile("-?[0.]+[eE]")
_EXPONENT = re.compile(r"[eE]\+?")
_OUT_OF_RANGE = "number out of range"

_MORE_OR_END = "',' or the end of the object or array"

_Act: TypeAlias = "Callable[[JSONReader, str, int], int]"


class _State(NamedTuple):
    """A place in a text: what may stand there, in words; these characters, with what each does; what any other does."""

    expected: str
    marks: dict[str, _Act]
    others: _Act


class JSONReader:
    """Reads one JSON text of any kind that comes in pieces, such as the arguments of a tool call.

    `receive_text` takes a piece and returns what it says, as a list of `JSONDelta`; `receive_eof` says that the text
    has ended. `value` is the value once it is finished, `partial()` what there is of it at any moment. Pieces may be
    cut anywhere, and the cost is linear in the characters and pieces.

    The value is the one that `ToolUseBlock.input` has for the text: if a key comes twice, its last value counts, and
    half of a surrogate pair that stays alone, as an escape or as a character, is U+FFFD. A text that is not JSON
    (RFC 8259), or nested deeper than 200, or with a number out of range, is a `ToolInputError`. Its `position` is that of
    the first character with which no such text can go on; its `input_json` is the text up to and with that character,
    however the text was cut. A text of more than `max_size` bytes, in UTF-8, is a `LimitExceeded`.

    What is complete before a fault is returned. The fault can then be read as `fault`, and the next call and each later
    one raise it. A fault with nothing before it is raised at once.
    """

    def __init__(self, *, max_size: int = 64 * 1024 * 1024) -> None:
        if max_size < 1:
            raise ValueError(f"max_size is {max_size}, must be at least 1")
        self.max_size = max_size
        self._fault: StreamError | None = None
        self._ended = False
        self._size = 0  # in bytes
        self._length = 0  # in characters
        self._written = _Pieces()  # for errors, which carry the text
        self._found: list[JSONDelta] = []
        self._inside = False  # whether the text so far ends inside a string, and nothing of it is held back
        self._state = self._VALUE
        self._after = self._END  # the state after the value that is on its way
        # The outermost value is the only item of a list.
        self._outermost: list[Any] = []
        self._container: Any = self._outermost
        self._key: Any = 0  # where in the container the value on its way belongs
        self._path: JSONPath = ()  # of that value
        self._base: JSONPath = ()  # of the container
        self._open: list[tuple[Any, JSONPath, _State]] = []  # the containers around this one
        # Of the string, number or literal on its way:
        self._pieces = _Pieces()
        self._text = ""  # what came before the pieces
        self._shown = False  # whether the string stands in the container by now
        self._replaced = _NOTHING  # what stood there before: a key can come twice
        self._escape = ""  # the start of an escape that the end of a piece cut
        self._half = ""  # a first surrogate half: the other may follow
        self._part = "start"  # of the number
        self._word = ""  # what is still to come of the literal ...
        self._literal: bool | None = None  # ... with this value

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("JSONReader can't be copied or pickled because it reads one text; its deltas and values can")

    def __repr__(self) -> str:
        return f"<JSONReader characters={self._length} finished={self.is_finished} fault={self._fault!r}>"

    @property
    def fault(self) -> StreamError | None:
        """The error that ended the reading, None until then."""
        return self._fault

    @property
    def is_finished(self) -> bool:
        """Whether the value is whole, so that nothing but white space may follow. A number that is the whole text is
        finished by `receive_eof`, since more digits could come until then.
        """
        return self._state is self._END and self._fault is None

    @property
    def value(self) -> Any:
        """The finished value. Raises ToolInputError while it is not finished, and the fault after one."""
        if self._fault is not None:
            raise self._fault.with_traceback(None)
        if self._state is not self._END:
            raise self._error("the text is not finished", self._length)
        return self._outermost[0]

    def partial(self, strings: bool = True) -> Any:
        """The value as far as it has come: for display, possibly less than the text will say, but never anything else.

        None before a value begins. Unfinished strings are there as far as they go, or are left out if `strings` is
        false. A number or literal that could go on is left out, and so is a key without its value. Never raises.

        This is the reader's own value, live: what it reads next shows in the same dicts and lists, so keep it, but don't
        change it. A `snapshot` never changes. A call costs the characters that came since the last one, as long as
        nobody holds the string that is growing: then it grows in place, else it is copied.
        """
        if self._state is self._IN_STRING:
            if strings:
                self._show()
            else:
                self._hide()
        return self._outermost[0] if self._outermost else None

    def snapshot(self, strings: bool = True) -> Any:
        """Like `partial`, but what is read later does not show in it.

        Objects and arrays that are still open are copied, which costs their entries. It shares what is finished with the
        reader, so don't change that.
        """
        value = self.partial(strings)
        copies = [container.copy() for container, _, _ in self._open[1:]]
        if self._open:
            copies.append(self._container.copy())
            for parent, child, base in zip(copies, copies[1:], self._bases()[2:], strict=False):
                parent[base[-1]] = child
        return copies[0] if copies else value

    def receive_text(self, piece: str) -> list[JSONDelta]:
        """Take the next piece of the text and return what it says, often nothing.

        Raises the fault of the text (ToolInputError, LimitExceeded), TypeError for anything but a str, ValueError after
        `receive_eof`.
        """
        # The short way for the inside of a long string: 64 characters take 0.4 microseconds, and 1 the other way.
        if self._inside and piece.__class__ is str and '"' not in piece and "\\" not in piece and piece.isprintable():
            size = len(piece) if piece.isascii() else len(piece.encode())
            if piece and self._size + size <= self.max_size:
                self._size += size
                self._length += len(piece)
                self._pieces.append(piece)
                self._written.append(piece)
                if len(self._written) >= _MANY:
                    self._pack()
                return [JSONPiece(self._path, piece)]
        if self._fault is not None:
            raise self._fault.with_traceback(None)
        if self._ended:
            raise ValueError("receive_text after receive_eof: one reader reads one text")
        if not isinstance(piece, str):
            raise TypeError(f"expected a str, not {type(piece).__name__}")
        self._found = []
        size = len(piece) if piece.isascii() else len(piece.encode("utf-8", "surrogatepass"))
        if self._size + size > self.max_size:
            self._read(_start_of(piece, self.max_size - self._size))
            self._fault = self._fault or LimitExceeded("max_size", self.max_size)
            self._inside = False
        elif piece:
            self._size += size
            self._read(piece)
        return self._give()

    def receive_eof(self) -> list[JSONDelta]:
        """Say that the text has ended and return what that completes: a number that is the whole text, else nothing.

        Raises the fault of the text, which is a ToolInputError if it ends too early. A second call returns [].
        """
        if self._fault is not None:
            raise self._fault.with_traceback(None)
        self._found = []
        if not self._ended:
            self._ended = True
            self._inside = False
            try:
                if self._state is self._IN_NUMBER and self._after is self._END and self._part in _WHOLE_PARTS:
                    self._end_number(self._length)
                elif self._state is not self._END:
                    raise NotJSON(f"the text ends too early: expected {self._state.expected}", self._length)
            except NotJSON as broken:
                self._fault = self._error(broken.reason, broken.position)
        return self._give()

    def _give(self) -> list[JSONDelta]:
        found, self._found = self._found, []
        if self._fault is not None and not found:
            raise self._fault.with_traceback(None)
        return found

    def _error(self, reason: str, position: int) -> ToolInputError:
        text = self._written.joined()
        return ToolInputError(reason, text[: position + 1], position)

    def _bases(self) -> list[JSONPath]:
        return [*(base for _, base, _ in self._open), self._base]

    def _read(self, piece: str) -> None:
        self._written.append(piece)
        if len(self._written) >= _MANY:
            self._pack()
        text = piece
        if self._escape:
            text, self._escape = self._escape + piece, ""
        length = self._length = self._length + len(piece)
        position, end = 0, len(text)
        try:
            while position < end:
                state = self._state
                position = state.marks.get(text[position], state.others)(self, text, position)
        except NotJSON as broken:
            self._fault = self._error(broken.reason, length - end + broken.position)
        self._inside = self._state is self._IN_STRING and not self._escape and not self._half and self._fault is None

    def _pack(self) -> None:
        self._written.pack()
        self._pieces.pack()

    # -- between the values: each takes the text and a position, and returns the position after what it read

    def _pass_space(self, text: str, position: int) -> int:
        after: int = _SPACE.match(text, position).end()  # type: ignore[union-attr]  # it matches everywhere
        if after == position:
            expected = self._state.expected
            raise NotJSON(f"expected {expected}" if expected else "text after the JSON value", position)
        return after

    def _open_object(self, text: str, position: int) -> int:
        self._enter({}, "object", position)
        self._state = self._FIRST_KEY
        self._after = self._AFTER_MEMBER
        return position + 1

    def _open_array(self, text: str, position: int) -> int:
        self._enter([], "array", position)
        self._state = self._FIRST_ITEM
        self._after = self._AFTER_ITEM
        self._key = 0
        self._path = (*self._base, 0)
        return position + 1

    def _enter(self, container: Any, kind: Any, position: int) -> None:
        if len(self._open) == MAX_NESTING:
            raise NotJSON(f"nested deeper than {MAX_NESTING}", position)
        self._attach(container)
        self._found.append(JSONOpened(self._path, kind))
        self._open.append((self._container, self._base, self._after))
        self._container, self._base = container, self._path

    def _close(self, text: str, position: int) -> int:
        self._found.append(JSONClosed(self._base, self._container))
        self._container, self._base, self._after = self._open.pop()
        self._state = self._after
        return position + 1

    def _pass_colon(self, text: str, position: int) -> int:
        self._state = self._VALUE
        return position + 1

    def _next_member(self, text: str, position: int) -> int:
        self._state = self._KEY
        return position + 1

    def _next_item(self, text: str, position: int) -> int:
        key = self._key = len(self._container)
        self._path = (*self._base, key)
        self._state = self._VALUE
        return position + 1

    def _attach(self, value: Any) -> None:
        container = self._container
        if container.__class__ is dict:
            container[self._key] = value
        else:
            container.append(value)

    # -- strings

    def _begin_key(self, text: str, position: int) -> int:
        self._state = self._IN_KEY
        return self._read_key(text, position + 1)

    def _begin_string(self, text: str, position: int) -> int:
        self._state = self._IN_STRING
        return self._read_string(text, position + 1)

    def _read_key(self, text: str, position: int) -> int:
        piece, after, ends = self._decode(text, position)
        self._pieces.append(piece)
        if not ends:
            return self._cut_string(text, after)
        key = self._key = self._pieces.take()
        self._path = (*self._base, key)
        self._state = self._COLON
        return after

    def _read_string(self, text: str, position: int) -> int:
        piece, after, ends = self._decode(text, position)
        if piece:
            self._pieces.append(piece)
            self._found.append(JSONPiece(self._path, piece))
        if not ends:
            return self._cut_string(text, after)
        self._grow()
        value, self._text = self._text, ""
        if self._shown:
            self._shown = False
        else:
            self._attach(value)
        self._found.append(JSONString(self._path, value))
        self._state = self._after
        return after

    def _decode(self, text: str, position: int) -> tuple[str, int, bool]:
        """What the text says of a string from here on, the position after it, and whether the string ends there."""
        after: int = _PLAIN.match(text, position).end()  # type: ignore[union-attr]  # it matches everywhere
        piece = text[position:after]
        if text.startswith("\\", after):
            while escapes := _ESCAPES.match(text, after):
                after = escapes.end()
            piece, _ = scanstring(text[position:after] + '"', 0, True)
        ends = text.startswith('"', after)
        after += ends
        if self._half or has_halves(piece):
            piece = self._half + piece
            self._half = ""
            if not ends and "\ud800" <= piece[-1:] <= "\udbff":
                piece, self._half = piece[:-1], piece[-1:]
            piece = join_halves(piece)
        return piece, after, ends

    def _cut_string(self, text: str, position: int) -> int:
        """Keep the rest of a piece that ends inside a string: the start of an escape, or nothing."""
        if position < len(text):
            begun = _ESCAPE_BEGUN.match(text, position)
            if begun is None:
                raise NotJSON("control character in a string", position)
            if begun.end() < len(text):
                raise NotJSON("invalid escape in a string", begun.end())
            self._escape = begun.group()
        return len(text)

    def _grow(self) -> None:
        """Add the pieces to the text before them."""
        if self._shown:
            self._container[self._key] = ""
        # CPython appends to a str in place if nothing but one local variable refers to it.
        text, self._text = self._text, ""
        text += self._pieces.take()
        self._text = text
        if self._shown:
            self._container[self._key] = text

    def _show(self) -> None:
        if not self._shown:
            container = self._container
            self._replaced = container.get(self._key, _NOTHING) if container.__class__ is dict else _NOTHING
            self._attach("")
            self._shown = True
        self._grow()

    def _hide(self) -> None:
        if self._shown:
            if self._replaced is _NOTHING:
                del self._container[self._key]
            else:
                self._container[self._key] = self._replaced
            self._shown = False

    # -- numbers and literals

    def _begin_number(self, text: str, position: int) -> int:
        self._state = self._IN_NUMBER
        self._part = "start"
        return self._read_number(text, position)

    def _read_number(self, text: str, position: int) -> int:
        start, end = position, len(text)
        part = before = self._part
        while position < end:
            following = _PARTS[part].get(text[position])
            if following is None:
                break
            part = following
            run = _RUNS.get(part)
            position = position + 1 if run is None else run.match(text, position).end()  # type: ignore[union-attr]
        self._part = part
        self._pieces.append(text[start:position])
        if part == "rising" or (part == "zeros" and before != "zeros"):
            self._check_range(position)
        if position < end:
            if part not in _WHOLE_PARTS or text[position] in _NUMBER_GOES_ON:
                raise NotJSON("invalid number", position)
            self._end_number(position)
        return position

    def _end_number(self, position: int) -> None:
        text = self._pieces.take()
        try:
            value = int(text) if self._part in _INTEGERS else float(text)
        except ValueError:  # beyond Python's limit on the digits of an int
            value = inf
        if abs(value) == inf:
            raise NotJSON(_OUT_OF_RANGE, position)
        self._finish(value)

    def _check_range(self, position: int) -> None:
        """Refuse the first digit of an exponent that takes the number out of range for good.

        That is the first of its digits, if there are too many before the exponent, or one of the first after its zeros.
        Digits before an exponent can be too many and then be made small by it, so they are judged when the number ends.
        """
        text = self._pieces.joined()
        if isinf(float(text)):
            first: int = _EXPONENT.search(text).end()  # type: ignore[union-attr]  # it has one
            zeros: int = _ZEROS.match(text, first).end()  # type: ignore[union-attr]  # it matches everywhere
            lengths = (first + 1, *range(zeros + 1, len(text) + 1))
            too_long = next(length for length in lengths if isinf(float(text[:length])))
            raise NotJSON(_OUT_OF_RANGE, position - len(text) + too_long - 1)
        if _ZERO.match(text):
            self._part = "exponent"  # no exponent takes a zero out of range

    def _begin_literal(self, text: str, position: int) -> int:
        self._state = self._IN_LITERAL
        self._word, self._literal = _LITERALS[text[position]]
        return self._read_literal(text, position)

    def _read_literal(self, text: str, position: int) -> int:
        word = self._word
        piece = text[position : position + len(word)]
        if not word.startswith(piece):
            same = next(number for number, mark in enumerate(piece) if mark != word[number])
            raise NotJSON("expected a JSON value", position + same)
        self._word = word[len(piece) :]
        if not self._word:
            self._finish(self._literal)
        return position + len(piece)

    def _finish(self, value: float | bool | None) -> None:
        self._attach(value)
        self._found.append(JSONScalar(self._path, value))
        self._state = self._after

    # What may stand where, and what it does.
    _VALUES: ClassVar[dict[str, _Act]] = {
        "{": _open_object,
        "[": _open_array,
        '"': _begin_string,
        **dict.fromkeys("-0123456789", _begin_number),
        **dict.fromkeys(_LITERALS, _begin_literal),
    }
    _VALUE: ClassVar[_State] = _State("a JSON value", _VALUES, _pass_space)
    _FIRST_ITEM: ClassVar[_State] = _State("a JSON value", {**_VALUES, "]": _close}, _pass_space)
    _FIRST_KEY: ClassVar[_State] = _State("a key in double quotes", {'"': _begin_key, "}": _close}, _pass_space)
    _KEY: ClassVar[_State] = _State("a key in double quotes", {'"': _begin_key}, _pass_space)
    _COLON: ClassVar[_State] = _State("':' after a key", {":": _pass_colon}, _pass_space)
    _AFTER_MEMBER: ClassVar[_State] = _State(_MORE_OR_END, {",": _next_member, "}": _close}, _pass_space)
    _AFTER_ITEM: ClassVar[_State] = _State(_MORE_OR_END, {",": _next_item, "]": _close}, _pass_space)
    _END: ClassVar[_State] = _State("", {}, _pass_space)
    _IN_KEY: ClassVar[_State] = _State("the end of a string", {}, _read_key)
    _IN_STRING: ClassVar[_State] = _State("the end of a string", {}, _read_string)
    _IN_NUMBER: ClassVar[_State] = _State("the rest of a number", {}, _read_number)
    _IN_LITERAL: ClassVar[_State] = _State("a JSON value", {}, _read_literal)
