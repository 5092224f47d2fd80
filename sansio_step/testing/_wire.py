"""Events to bytes, in every form that the format allows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from json import dumps
from typing import Any

import msgspec
from hypothesis import strategies as st

from .._events import StreamEvent, UnknownEvent
from ._events import wire
from ._messages import JSON_SPACINGS
from ._values import JSON, texts

BOM = b"\xef\xbb\xbf"

_LINE_ENDS = (("\n",), ("\r\n",), ("\r",), ("\n", "\r\n"), ("\r", "\n", "\r\n"))
_NO_LINE_END = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8)
# Lines that change neither events nor their number.
_NOISE = st.one_of(
    st.sampled_from((":", ": keep-alive", "id: 7", "id", "retry: 3000", "retry: soon", "dat: x", "future", " data: x")),
    _NO_LINE_END.map(":{}".format),
    _NO_LINE_END.map("id:{}".format),
)


class Frame(msgspec.Struct):
    """What is dispatched as one event: the name on its event line (None: no such line), its JSON or other text."""

    name: str | None
    data: JSON | str


class Style(msgspec.Struct, frozen=True):
    """One way to write a frame."""

    ends: tuple[str, ...] = ("\n",)  # line ends, in turn
    space: str = " "  # after the colon
    separators: tuple[str, str] = (",", ":")
    ascii: bool = False
    padding: str = ""  # before the JSON's closing brace
    indent: bool = False  # JSON over many data lines
    order: str = "as it is"  # of the JSON's keys
    name_last: bool = False  # the event line comes after the data
    noise: tuple[str, ...] = ()  # comments and other lines, in between
    comment: str = ""  # a comment that stands alone before the frame


def wire_bytes(events: Iterable[StreamEvent]) -> st.SearchStrategy[bytes]:
    """The body of a response with these events, written in any legal way as text/event-stream.

    It has all line ends and mixtures of them, comments, ids, retry and unknown fields, a BOM, and JSON with any
    spacing, escapes and order of keys, on one data line or many. Raises ValueError for what an event stream can't
    carry (a CR in an UnknownEvent's `data`).
    """
    frames = [to_frame(event) for event in events]
    return framed(frames).map(b"".join)


def to_frame(event: StreamEvent) -> Frame:
    if isinstance(event, UnknownEvent) and event.data is not None:
        if "\r" in event.data:
            raise ValueError("data with a carriage return can't be carried by an event stream")
        return Frame(event.type, event.data)
    # A name that no event line can carry is left to the JSON.
    carried = event.type and not re.search("[\r\n]", event.type)
    return Frame(event.type if carried else None, wire(event))


@st.composite
def framed(draw: st.DrawFn, frames: list[Frame]) -> list[bytes]:
    """The bytes of each frame with its blank line. The first and last item are the bytes before and after them."""
    # At most three styles for a body, not one for each frame: quick to draw, and a failing example is easy to read.
    palette = draw(st.lists(_styles(), min_size=1, max_size=3))
    lines = _Lines()
    pieces = [lines.frame(frame, draw(st.sampled_from(palette))) for frame in frames]
    before = draw(st.sampled_from((b"", b"", BOM)))
    # An unfinished comment is not an event.
    after = draw(st.sampled_from((b"", b"", b"\n", b": bye\n\n", b": by")))
    return [before, *pieces, after]


@cache
def _styles() -> st.SearchStrategy[Style]:
    return st.one_of(
        st.just(Style()),
        st.builds(
            Style,
            ends=st.sampled_from(_LINE_ENDS),
            space=st.sampled_from((" ", "")),
            separators=st.sampled_from(JSON_SPACINGS),
            ascii=st.booleans(),
            padding=st.sampled_from(("", " ", "      ")),
            indent=st.sampled_from((False, False, True)),
            order=st.sampled_from(("as it is", "reversed", "sorted")),
            name_last=st.sampled_from((False, False, True)),
            noise=st.lists(_NOISE, max_size=2).map(tuple),
            comment=st.sampled_from(("", "", ": keep-alive", ":")) | texts().map(_as_comment),
        ),
    )


def _as_comment(text: str) -> str:
    return ":" + re.sub("[\r\n]", " ", text)


class _Lines:
    """Writes lines, and knows how the last one ended: an LF after a CR would be half of a line end."""

    def __init__(self) -> None:
        self._after_cr = False
        self._turn = 0

    def frame(self, frame: Frame, style: Style) -> bytes:
        data = frame.data if isinstance(frame.data, str) else _json(frame.data, style)
        lines = [_field("data", line, style) for line in data.split("\n")]
        if frame.name is not None:
            lines.insert(len(lines) if style.name_last else 0, _field("event", frame.name, style))
        for place, line in enumerate(style.noise):
            lines.insert(min(place * 2, len(lines)), line)
        if style.comment:
            lines = [style.comment, "", *lines]
        return b"".join(self._line(line, style) for line in (*lines, ""))

    def _line(self, line: str, style: Style) -> bytes:
        end = style.ends[self._turn % len(style.ends)]
        self._turn += 1
        if self._after_cr and not line and end == "\n":
            end = "\r\n"
        self._after_cr = end == "\r"
        return (line + end).encode()


def _field(name: str, value: str, style: Style) -> str:
    return f"{name}:{' ' if value.startswith(' ') else style.space}{value}"


def _json(data: JSON, style: Style) -> str:
    text = dumps(
        _ordered(data, style.order),
        ensure_ascii=style.ascii or _has_halves(data),
        separators=style.separators,
        indent=1 if style.indent else None,
    )
    return text[:-1] + style.padding + "}"


def _has_halves(data: JSON) -> bool:
    # UTF-8 can't carry a lone half; servers that send one send its escape.
    try:
        dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _ordered(value: Any, order: str) -> Any:
    if isinstance(value, list):
        return [_ordered(item, order) for item in value]
    if not isinstance(value, dict):
        return value
    keys = list(value) if order == "as it is" else list(reversed(value)) if order == "reversed" else sorted(value)
    return {key: _ordered(value[key], order) for key in keys}
