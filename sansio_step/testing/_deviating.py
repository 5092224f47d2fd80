"""Streams as real servers send them against the protocol, each with the reading that is expected of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec
from hypothesis import strategies as st

from .._deviations import READINGS
from .._encode import to_dict
from .._errors import short_repr
from .._message import Message
from .._states import Outcome
from ._events import piecewise_streams, wire
from ._messages import messages
from ._values import JSON, names
from ._wire import Frame, framed

DEVIATION_CODES: Final = tuple(sorted(READINGS))


class DeviatingStream(msgspec.Struct, frozen=True):
    """A body that departs from the protocol, and how it is to be read.

    `codes` has each way in which it does, with the number of the first event that shows it (the number of events for
    what only the end shows). `outcome` is how its message ends up, and `message` is that message as a JSON object: whole
    if the outcome is COMPLETE, else as far as it came. Strict readers refuse the stream at the first event that has a
    code; with `spliced_message_start` all do.
    """

    data: bytes
    codes: dict[str, int]
    outcome: Outcome
    message: JSON

    def __repr__(self) -> str:
        codes, data = short_repr(self.codes), short_repr(self.data)
        return f"DeviatingStream(codes={codes}, outcome={self.outcome.value!r}, data={data})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # Hypothesis shows a failing example so: all of it, a line of the body on each line.
        lines = [repr(line) for line in self.data.splitlines(keepends=True)]
        with printer.group(4, "DeviatingStream(", ")"):
            for name, shown in (
                ("codes", [repr(self.codes)]),
                ("outcome", [repr(self.outcome.value)]),
                ("message", [repr(self.message)]),
                ("data", ["(", *lines, ")"]),
            ):
                printer.break_()
                printer.text(f"{name}={shown[0]}")
                for line in shown[1:]:
                    printer.break_()
                    printer.text(line)
                printer.text(",")


_KNOWN: Final = frozenset(Message.__struct_fields__) - {"extra"}


def deviating_streams(
    *codes: str, message: st.SearchStrategy[Message] | None = None
) -> st.SearchStrategy[DeviatingStream]:
    """Streams that depart from the protocol in the given ways, or in one to four of `DEVIATION_CODES`, at random.

    `message` is the strategy for the messages that they begin with, such as `messages(kinds=["text"])`; the default is
    `messages()`.

    ValueError for a code that isn't one of these, and for two that exclude each other (a stream can't both lack its
    message_stop and have something after it).
    """
    for code in codes:
        if code not in DEVIATION_CODES:
            raise ValueError(f"{code!r} is none of DEVIATION_CODES")
    for place, code in enumerate(codes):
        for other in codes[:place]:
            if _exclude(code, other):
                raise ValueError(f"{other} and {code} exclude each other")
    return _streams(st.just(codes) if codes else _some_codes(), messages() if message is None else message)


@st.composite
def _some_codes(draw: st.DrawFn) -> tuple[str, ...]:
    chosen: list[str] = []
    # The number first, not a list strategy: Hypothesis can then drop any code of a failing example, not the last only.
    for _ in range(draw(st.integers(1, 4))):
        code = draw(st.sampled_from(DEVIATION_CODES))
        if not any(_exclude(code, other) for other in chosen):
            chosen.append(code)
    return tuple(chosen)


_EXCLUDING = {
    # Each ends the message in its own way.
    "spliced_message_start": {"no_message_stop", "no_stop_reason", "bare_error", "no_block_stop", "event_after_stop"}
    | {"unterminated_event", "unfinished_event", "no_message_start"},
    "bare_error": {"no_message_stop", "no_stop_reason", "no_block_stop", "event_after_stop", "no_message_start"},
    "no_message_stop": {"no_stop_reason", "event_after_stop"},
    # Without a start there is none to be bare, or to come again.
    "no_message_start": {"bare_message_start", "duplicate_message_start"},
    "unterminated_event": {"unfinished_event"},
}


def _exclude(code: str, other: str) -> bool:
    return code == other or other in _EXCLUDING.get(code, ()) or code in _EXCLUDING.get(other, ())


class _Sent(msgspec.Struct, eq=False):
    """One event on its way to the wire."""

    kind: str
    data: Any  # its JSON, or text
    codes: list[str] = msgspec.field(default_factory=list)
    name: str | None = None
    is_base: bool = False  # of the legal stream that all began with
    is_bare: bool = False  # lines without a field
    is_glued: bool = False  # in the frame of the event before it

    def plain(self) -> bool:
        """Whether its type and its event line may still be changed."""
        return self.name == self.kind != "error" and isinstance(self.data, dict) and bool(self.data.get("type"))

    def fields(self) -> JSON:
        """Its JSON without the type; nothing for one that is text."""
        return {key: value for key, value in self.data.items() if key != "type"} if isinstance(self.data, dict) else {}


class _Script:
    """A stream that is being written: its events, the blocks that it is to be read as."""

    def __init__(self, draw: st.DrawFn, message: Message, sent: list[_Sent], codes: tuple[str, ...]) -> None:
        self.draw = draw
        self.sent = sent
        self.codes = codes
        self.blocks: list[tuple[int, JSON]] = [(index, to_dict(block)) for index, block in enumerate(message.content)]
        self.next_index = len(self.blocks)
        self.reusable = list(range(self.next_index))  # indices of finished blocks that nothing was done to
        self.outcome = Outcome.COMPLETE
        self.unfinished = b""  # the start of an event that the body ends in
        self.is_terminated = True
        self.end_codes: list[str] = []

    def closing(self) -> int:
        """Where the frames begin that end the message: with a stop reason, message_stop, or what breaks it off."""
        return self.frame_of(
            next(
                place
                for place, event in enumerate(self.sent)
                if event.kind in ("message_stop", "error")
                or _stop_reason(event)
                or "spliced_message_start" in event.codes
            )
        )

    def frame_of(self, place: int) -> int:
        """Where the frame of the event at a place begins."""
        while self.sent[place : place + 1] and self.sent[place].is_glued:
            place -= 1
        return place

    def somewhere(self) -> int:
        """A place between two frames, before those that end the message."""
        return self.draw(st.integers(0, self.closing()).filter(lambda place: not self.sent[place].is_glued))

    def read(self) -> list[_Sent]:
        """The events that are read: those before a spliced message_start."""
        upto = next((place for place, event in enumerate(self.sent) if "spliced_message_start" in event.codes), None)
        return self.sent[:upto]

    def starts(self) -> int:
        """Where the message begins."""
        return next(place for place, event in enumerate(self.sent) if event.kind == "message_start")

    def add(self, kind: str, code: str | None = None, **fields: Any) -> None:
        """One more event at the end of the content."""
        event = _sent(kind, fields)
        if code is not None:
            event.codes.append(code)
        self.sent.insert(self.closing(), event)

    def start(self, block: JSON, code: str | None = None, *, index: int | None = None) -> int:
        """Open a block, by default at the next index."""
        if index is None:
            index = self.next_index
            self.next_index += 1
        self.add("content_block_start", code, index=index, content_block=block)
        return index

    def delta(self, index: int, kind: str, code: str | None = None, **fields: Any) -> None:
        self.add("content_block_delta", code, index=index, delta={"type": kind, **fields})

    def stop(self, index: int) -> None:
        self.add("content_block_stop", index=index)

    def read_as(self, index: int, block: JSON) -> None:
        self.blocks.append((index, block))

    def text(self) -> str:
        """Some text for a block; never empty, since an empty piece is no content."""
        return self.draw(st.text("abc é🦜", min_size=1, max_size=5))


def _sent(kind: str, fields: JSON, *codes: str) -> _Sent:
    return _Sent(kind, {"type": kind, **fields}, list(codes), kind)


def _stop_reason(event: _Sent) -> bool:
    if event.kind != "message_delta":
        return False
    return ((event.data.get("delta") or {}).get("stop_reason") or event.data.get("stop_reason")) is not None


@st.composite
def _streams(
    draw: st.DrawFn, chosen: st.SearchStrategy[tuple[str, ...]], strategy: st.SearchStrategy[Message]
) -> DeviatingStream:
    codes = draw(chosen)
    message = draw(strategy)
    events = draw(piecewise_streams(st.just(message)))
    sent = [_Sent(event.type, wire(event), [], event.type, is_base=True) for event in events]
    script = _Script(draw, message, sent, codes)
    for code in sorted(codes, key=_ORDER.index):
        _WRITERS[code](script)
    _note_missing(script, codes)
    return DeviatingStream(
        data=_bytes(draw, script),
        codes=_first_numbers(script),
        outcome=script.outcome,
        message=_reading(script),
    )


def _bytes(draw: st.DrawFn, script: _Script) -> bytes:
    groups: list[list[_Sent]] = []
    for event in script.sent:
        if event.is_glued:
            groups[-1].append(event)
        else:
            groups.append([event])
    dressed = [Frame(group[0].name, _data(group)) for group in groups if not group[0].is_bare]
    before, *pieces, after = draw(framed(dressed))
    written = iter(pieces)
    frames = [_bare_lines(draw, group) if group[0].is_bare else next(written) for group in groups]
    if script.unfinished:
        after = script.unfinished
    elif not script.is_terminated or (groups[-1][0].is_bare and draw(st.booleans())):
        # Without the blank line, or without any line end: bytes that are only LF or CR end the last line.
        frames[-1] = frames[-1].rstrip(b"\r\n") + draw(st.sampled_from((b"", b"\n", b"\r\n")))
        after = b""
    return b"".join((before, *frames, after))


def _data(group: list[_Sent]) -> JSON | str:
    """The data of a frame: that of its one event, or of several, one on each data line."""
    if len(group) == 1:
        return cast("JSON | str", group[0].data)
    return "\n".join(event.data if isinstance(event.data, str) else json.dumps(event.data) for event in group)


def _bare_lines(draw: st.DrawFn, group: list[_Sent]) -> bytes:
    """A frame whose lines are no fields, except for one that says nothing."""
    end = draw(st.sampled_from(("\n", "\r\n", "\r")))
    beside = draw(st.sampled_from(([], [": keep-alive"], ["id: 7"], ["retry: 3000"])))
    lines = [*beside, *(line for event in group for line in event.data.split("\n")), ""]
    return "".join(line + end for line in lines).encode()


def _first_numbers(script: _Script) -> dict[str, int]:
    first: dict[str, int] = {}
    for number, event in enumerate(script.sent):
        for code in event.codes:
            first.setdefault(code, number)
        if "spliced_message_start" in event.codes:
            return first
    return {**first, **dict.fromkeys(script.end_codes, len(script.sent))}


def _reading(script: _Script) -> JSON:
    """The message that the events say, merged in the plainest way: the blocks are what the writers noted."""
    message: JSON = {"type": "message", "stop_reason": None, "stop_sequence": None}
    usage: JSON | None = None
    opened = False
    for event in script.sent:
        if "spliced_message_start" in event.codes:
            break
        if event.kind == "message_start" and not opened:
            opened = True
            start = dict(event.data.get("message") or {})
            usage = start.pop("usage", None)
            _merge(message, start, _KNOWN)
        elif event.kind == "message_delta":
            fields = {key: value for key, value in event.fields().items() if key not in ("delta", "usage")}
            # What is wrong or set back to 0 fills what is empty, and replaces nothing.
            yields = not {"wrong_type", "usage_reset"}.isdisjoint(event.codes)
            _merge(message, {**fields, **(event.data.get("delta") or {})}, _KNOWN, yields=yields)
            counts = event.data.get("usage")
            if isinstance(counts, dict):
                usage = {} if usage is None else dict(usage)
                _merge(usage, counts, frozenset(), yields=yields)
        elif event.kind == "content_block_start" and event.data["content_block"].get("type") == "fallback":
            model = (event.data["content_block"].get("to") or {}).get("model")
            message["model"] = model if model is not None else message.get("model")
        elif event.kind == "message_stop":
            _merge(message, event.fields(), _KNOWN)
            break
    message["content"] = [block for _, block in sorted(script.blocks, key=lambda entry: entry[0])]
    if usage is not None:
        message["usage"] = usage
    return {key: value for key, value in message.items() if key != "model" or value is not None}


def _merge(into: JSON, fields: JSON, known: frozenset[str], *, yields: bool = False) -> None:
    for key, value in fields.items():
        if yields and into.get(key) is not None:
            continue
        # Null says nothing; an unknown field that was never anything else stays as the null that came.
        if value is not None or (key not in known and key not in into):
            into[key] = value


def _note_missing(script: _Script, codes: tuple[str, ...]) -> None:
    """Find the events at which a lack shows."""
    if "no_block_stop" in codes:
        place = script.closing()
        script.sent[place].codes.append("no_block_stop")
    if "no_message_start" in codes:
        content = ("content_block_start", "content_block_delta", "message_delta", "message_stop")
        next(event for event in script.sent if event.kind in content).codes.append("no_message_start")


# --- one writer for each code: it changes the events, and says what they are to be read as ----------------------


def _bare_block_start(script: _Script) -> None:
    draw = script.draw
    nothing: Any = draw(st.sampled_from(({}, None)))
    field, kind, delta = draw(
        st.sampled_from((("text", "text", "text_delta"), ("thinking", "thinking", "thinking_delta"), ("input", "", "")))
    )
    bare = {} if nothing is not None else {field: None}
    if field == "input":
        index = script.start({"type": "tool_use", "id": "t", "name": "f", **bare}, "bare_block_start")
        arguments = draw(st.sampled_from(({}, {"a": 1})))
        if arguments:
            script.delta(index, "input_json_delta", partial_json=json.dumps(arguments))
        block = {"type": "tool_use", "id": "t", "name": "f", "input": arguments}
    else:
        index = script.start({"type": kind, **bare}, "bare_block_start")
        text = script.text()
        script.delta(index, delta, **{field: text})
        block = {"type": kind, field: text}
    script.stop(index)
    script.read_as(index, block)


def _delta_after_stop(script: _Script) -> None:
    draw = script.draw
    index = script.start({"type": "text", "text": ""})
    first, second = script.text(), script.text()
    script.delta(index, "text_delta", text=first)
    script.stop(index)
    if draw(st.booleans()):
        # Of the same kind: appended.
        script.delta(index, "text_delta", "delta_after_stop", text=second)
        script.read_as(index, {"type": "text", "text": first + second})
        return
    script.read_as(index, {"type": "text", "text": first})
    further = draw(st.sampled_from(_OPENING))(second)
    script.delta(index, code="delta_after_stop", **further.delta)
    script.stop(index)
    script.read_as(index, further.block)


class _Implied(msgspec.Struct):
    """A delta, and the block that it stands for if none of its kind is open."""

    delta: JSON
    block: JSON


def _implied_thinking(text: str) -> _Implied:
    return _Implied({"kind": "thinking_delta", "thinking": text}, {"type": "thinking", "thinking": text})


def _implied_signature(text: str) -> _Implied:
    block = {"type": "thinking", "thinking": "", "signature": text}
    return _Implied({"kind": "signature_delta", "signature": text}, block)


def _implied_arguments(text: str) -> _Implied:
    block = {"type": "tool_use", "input": {"a": text}}
    return _Implied({"kind": "input_json_delta", "partial_json": json.dumps({"a": text})}, block)


def _implied_compaction(text: str) -> _Implied:
    return _Implied({"kind": "compaction_delta", "content": text}, {"type": "compaction", "content": text})


def _implied_text(text: str) -> _Implied:
    return _Implied({"kind": "text_delta", "text": text}, {"type": "text", "text": text})


def _implied_citation(text: str) -> _Implied:
    citation = {"type": "char_location", "cited_text": text}
    return _Implied(
        {"kind": "citations_delta", "citation": citation}, {"type": "text", "text": "", "citations": [citation]}
    )


_OPENING = (_implied_thinking, _implied_arguments, _implied_compaction)
"""Deltas that no text block takes, so that they open a block of their own."""


_SINGLE = (_implied_text, _implied_thinking, _implied_signature, _implied_arguments, _implied_citation)
"""Deltas whose one field says which they are."""


def _delta_kind_mismatch(script: _Script) -> None:
    index = script.start({"type": "text", "text": ""})
    first, second = script.text(), script.text()
    script.delta(index, "text_delta", text=first)
    further = script.draw(st.sampled_from((*_OPENING, _implied_signature)))(second)
    script.delta(index, code="delta_kind_mismatch", **further.delta)
    third = script.text()
    script.delta(index, "text_delta", text=third)
    script.stop(index)
    script.read_as(index, {"type": "text", "text": first + third})
    if "signature" not in further.block:  # which fits nowhere, and opens nothing
        script.read_as(index, further.block)


def _delta_without_block(script: _Script) -> None:
    implied = script.draw(st.sampled_from((*_SINGLE, _implied_compaction)))(script.text())
    index = script.next_index
    script.next_index += 1
    script.delta(index, code="delta_without_block", **implied.delta)
    script.stop(index)
    script.read_as(index, implied.block)


def _index_gap(script: _Script) -> None:
    index = script.next_index + script.draw(st.integers(1, 3))
    script.start({"type": "text", "text": "after the gap"}, "index_gap", index=index)
    script.stop(index)
    script.read_as(index, {"type": "text", "text": "after the gap"})
    if script.draw(st.booleans()):
        # A block that fills the gap later is no deviation, and comes before the other.
        script.start({"type": "text", "text": "in the gap"}, index=script.next_index)
        script.stop(script.next_index)
        script.read_as(script.next_index, {"type": "text", "text": "in the gap"})
    script.next_index = index + 1


def _index_reused(script: _Script) -> None:
    if not script.reusable:
        index = script.start({"type": "text", "text": "first"})
        script.stop(index)
        script.read_as(index, {"type": "text", "text": "first"})
    else:
        index = script.draw(st.sampled_from(script.reusable))
        script.reusable.remove(index)
    text = script.text()
    script.start({"type": "text", "text": ""}, "index_reused", index=index)
    script.delta(index, "text_delta", text=text)
    script.stop(index)
    script.read_as(index, {"type": "text", "text": text})


def _lone_surrogate(script: _Script) -> None:
    """The halves of a character in two deltas, or one that stays alone."""
    code = "lone_surrogate"
    high, low = "\ud83e", "\udd9c"
    where = script.draw(st.sampled_from(("text", "arguments", "alone", "unknown")))
    if where == "text":
        index = script.start({"type": "text", "text": ""})
        before, after = script.draw(st.sampled_from((("", ""), ("a", "b"))))
        script.delta(index, "text_delta", code, text=before + high)
        if script.draw(st.booleans()):
            script.add("ping")
        script.delta(index, "text_delta", code, text=low + after)
        block: JSON = {"type": "text", "text": f"{before}🦜{after}"}
    elif where == "arguments":
        index = script.start({"type": "tool_use", "id": "t", "name": "f", "input": {}})
        script.delta(index, "input_json_delta", code, partial_json='{"a":"' + high)
        script.delta(index, "input_json_delta", code, partial_json=low + '"}')
        block = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": "🦜"}}
    elif where == "alone":
        index = script.start({"type": "thinking", "thinking": "", "signature": ""})
        half = script.draw(st.sampled_from((high, low)))
        script.delta(index, "thinking_delta", code, thinking=f"a{half}")
        script.delta(index, "thinking_delta", thinking="b")
        block = {"type": "thinking", "thinking": "a\ufffdb", "signature": ""}
    else:
        index = script.start({"type": "text", "text": "", "future": [high]}, code)
        block = {"type": "text", "text": "", "future": ["\ufffd"]}
    script.stop(index)
    script.read_as(index, block)


def _repeated_content(script: _Script) -> None:
    field = script.draw(st.sampled_from(("text", "thinking", "signature", "input")))
    first, second = script.text(), script.text()
    if field == "input":
        start: JSON = {"type": "tool_use", "id": "t", "name": "f", "input": {"from": "start"}}
        delta: JSON = {"kind": "input_json_delta", "partial_json": json.dumps({"a": second})}
        block = {**start, "input": {"a": second}}
    elif field == "text":
        start, delta = {"type": "text", "text": first}, {"kind": "text_delta", "text": second}
        block = {"type": "text", "text": first + second}
    else:
        start = {"type": "thinking", "thinking": "", "signature": "", field: first}
        delta = {"kind": f"{field}_delta", field: second}
        block = {**start, field: first + second}
    index = script.start(start)
    script.delta(index, code="repeated_content", **delta)
    script.stop(index)
    script.read_as(index, block)


def _repeated_signature(script: _Script) -> None:
    index = script.start({"type": "thinking", "thinking": "", "signature": ""})
    script.delta(index, "signature_delta", signature="AB")
    script.delta(index, "signature_delta", "repeated_signature", signature="CD")
    script.stop(index)
    script.read_as(index, {"type": "thinking", "thinking": "", "signature": "ABCD"})


_EMPTY: Final[dict[str, JSON]] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": ""},
    "tool_use": {"type": "tool_use", "input": {}},
}


def _bare_delta(script: _Script) -> None:
    """A delta without a type, or with that of a block; often with the empty fields of all others."""
    implied = script.draw(st.sampled_from(_SINGLE))(script.text())
    fields = {key: value for key, value in implied.delta.items() if key != "kind"}
    kind = script.draw(st.sampled_from(({}, *({"type": kind} for kind in (None, "", *_EMPTY, "compaction")))))
    left = dict.fromkeys(("text", "partial_json", "thinking", "signature"), "") if script.draw(st.booleans()) else {}
    index = script.start(_EMPTY[implied.block["type"]])
    script.add("content_block_delta", "bare_delta", index=index, delta={**kind, **left, **fields})
    script.stop(index)
    script.read_as(index, implied.block)


def _control_character(script: _Script) -> None:
    """A character that JSON wants escaped. A line end comes as two data lines of one frame."""
    character = script.draw(st.sampled_from("\t\n\0\x01\x0b\x0c\x1c\x1f"))

    def add(kind: str, code: str, **fields: Any) -> None:
        text = json.dumps({"type": kind, **fields}).replace("|", character)
        script.sent.insert(script.closing(), _Sent(kind, text, [code], kind))

    if script.draw(st.booleans()):
        add("ping", "control_character", **{"a|b": "c|d"})
        return
    index = script.start({"type": "text", "text": ""})
    add("content_block_delta", "control_character", index=index, delta={"type": "text_delta", "text": "a|b"})
    script.stop(index)
    script.read_as(index, {"type": "text", "text": f"a{character}b"})


def _bare_message_start(script: _Script) -> None:
    event = script.sent[script.starts()]
    message = dict(event.data["message"])
    for name in script.draw(st.lists(st.sampled_from(("content", "usage", "model", "role")), min_size=1, unique=True)):
        if script.draw(st.booleans()):
            message[name] = None
        else:
            del message[name]
    event.data["message"] = message
    event.codes.append("bare_message_start")


def _duplicate_message_start(script: _Script) -> None:
    start = script.starts()
    first = script.sent[start]
    place = script.draw(st.integers(start + 1, script.closing()))
    copy = _Sent("message_start", dict(first.data), [*first.codes, "duplicate_message_start"], "message_start")
    script.sent.insert(place, copy)


def _no_message_start(script: _Script) -> None:
    del script.sent[script.starts()]


def _spliced_message_start(script: _Script) -> None:
    start = script.sent[script.starts()]
    message = {"role": "assistant", "model": "m", "content": [], "usage": {}}
    other = {"message": {**message, "id": start.data["message"]["id"] + "2"}}
    script.sent.insert(script.closing(), _sent("message_start", other, "spliced_message_start"))
    script.outcome = Outcome.FAILED


def _bare_error(script: _Script) -> None:
    place = script.closing()
    data, name = script.draw(
        st.sampled_from(
            (
                ({"type": "error", "error": "overloaded"}, "error"),
                ({"error": {"type": "overloaded_error", "message": "busy"}}, "error"),
                ({"error": {"type": "overloaded_error", "message": "busy"}}, None),
                ("upstream connect error", "error"),
            )
        )
    )
    # Servers send nothing after it.
    script.sent[place:] = [_Sent("error", data, ["bare_error"], name)]
    script.outcome = Outcome.FAILED


def _bare_document(script: _Script) -> None:
    """Lines of JSON without a field: on one line or many, one or two in a frame; an error as well."""
    detail: JSON = {"detail": script.text(), "more": [{}]}
    if not any(_exclude("bare_error", code) for code in script.codes) and script.draw(st.booleans()):
        error = script.draw(st.sampled_from(("busy", {"type": "overloaded_error", "message": "busy"})))
        made, place = [("error", {"error": error})], script.closing()
        del script.sent[place:]  # servers send nothing after it
        script.outcome = Outcome.FAILED
    else:
        made, place = [("future", detail)], script.somewhere()
    indent = script.draw(st.sampled_from((None, 1)))
    if indent is None and script.draw(st.booleans()):
        made = [("future", detail), *made]
    for number, (kind, document) in enumerate(made):
        text = json.dumps(document, indent=indent, ensure_ascii=False)
        event = _Sent(kind, text, ["bare_document"], is_bare=True, is_glued=number > 0)
        script.sent.insert(place + number, event)


def _no_message_stop(script: _Script) -> None:
    place = next(place for place, event in enumerate(script.sent) if event.kind == "message_stop")
    del script.sent[place:]
    script.end_codes.append("no_message_stop")


def _no_stop_reason(script: _Script) -> None:
    for event in script.sent:
        if event.kind == "message_delta":
            event.data["delta"].pop("stop_reason", None)
        elif event.kind == "message_stop":
            event.codes.append("no_stop_reason")


def _no_block_stop(script: _Script) -> None:
    stops = [
        event
        for event in script.sent
        if event.kind == "content_block_stop" and event.is_base and event.data["index"] in script.reusable
    ]
    if stops:
        # StepFun documents streams without any stop. A single missing one must not matter either.
        gone = stops if script.draw(st.booleans()) else [script.draw(st.sampled_from(stops))]
        script.sent[:] = [event for event in script.sent if event not in gone]
    else:
        index = script.start({"type": "text", "text": "open"})
        script.read_as(index, {"type": "text", "text": "open"})


def _bare_message_delta(script: _Script) -> None:
    places = [event for event in script.sent if event.kind == "message_delta"]
    if not places:
        script.add("message_delta", delta={}, usage={})
        places = [event for event in script.sent if event.kind == "message_delta"]
    event = script.draw(st.sampled_from(places))
    delta = event.data.pop("delta")
    if script.draw(st.booleans()):
        # As StepFun documents it: what the delta says stands beside it.
        event.data = {**event.data, **{key: value for key, value in delta.items() if value is not None}}
        nulls = {key: None for key, value in delta.items() if value is None and key not in _KNOWN}
        event.data.update(nulls)
    else:
        event.data["delta"] = delta
        if script.draw(st.booleans()):
            event.data["usage"] = None
        else:
            event.data.pop("usage", None)
    event.codes.append("bare_message_delta")


def _wrong_type(script: _Script) -> None:
    """A value of a wrong kind that places no content, or an object that is "" or []; an input that is a string."""
    draw = script.draw
    code = "wrong_type"
    start = next((event for event in script.read() if event.kind == "message_start"), None)
    has_model = start is not None and isinstance(start.data["message"].get("model"), str)
    ways = ("count", "field", "nothing", "input", "text of an input", *(["model"] if has_model else []))
    way = draw(st.sampled_from(ways))
    if way == "model" and start is not None:
        start.data = {**start.data, "message": {**start.data["message"], "model": draw(st.sampled_from((42, [], {})))}}
        start.codes.append(code)
    elif way == "count":
        count = draw(st.sampled_from((12.5, "7", True, [], {"a": 1})))
        script.add("message_delta", code, delta={}, usage={"output_tokens": count})
    elif way == "field":
        field = draw(st.sampled_from(("stop_sequence", "container")))
        script.add("message_delta", code, delta={field: 7}, usage={})
    elif way == "nothing":
        # That the object is absent then is a deviation of its own.
        nothing = dict.fromkeys(draw(st.sampled_from((("delta",), ("usage",)))), draw(st.sampled_from(("", []))))
        script.add("message_delta", code, **{"delta": {}, "usage": {}, **nothing})
        script.sent[script.closing() - 1].codes.append("bare_message_delta")
    else:
        arguments = {"a": script.text()}
        text = json.dumps(arguments)
        first = text if way == "text of an input" else draw(st.sampled_from(("", [])))
        index = script.start({**_EMPTY["tool_use"], "input": first}, code)
        if first != text:
            script.sent[script.closing() - 1].codes.append("bare_block_start")
            script.delta(index, "input_json_delta", partial_json=text)
        script.stop(index)
        script.read_as(index, {"type": "tool_use", "input": arguments})


def _usage_reset(script: _Script) -> None:
    """All input counts that are stated are 0, and one was positive before. Nothing after it states another."""
    sent = script.read()
    ends = (place for place, event in enumerate(sent) if event.kind in ("message_stop", "error"))
    place = script.frame_of(next(ends, len(sent)))
    caches = st.sampled_from(("cache_creation_input_tokens", "cache_read_input_tokens"))
    zeros = dict.fromkeys(("input_tokens", *script.draw(st.lists(caches, unique=True))), 0)
    script.sent[place:place] = [
        _sent("message_delta", {"delta": {}, "usage": {"input_tokens": 7}}),
        _sent("message_delta", {"delta": {}, "usage": zeros}, "usage_reset"),
    ]


def _stop_without_block(script: _Script) -> None:
    index = script.next_index + script.draw(st.integers(1_000, 2_000))  # no other writer goes so far
    script.sent.insert(script.somewhere(), _sent("content_block_stop", {"index": index}, "stop_without_block"))


def _event_after_stop(script: _Script) -> None:
    kind, fields = script.draw(
        st.sampled_from(
            (
                ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "late"}}),
                ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": "late"}}),
                ("content_block_stop", {"index": 0}),
                ("message_delta", {"delta": {"stop_reason": "late"}, "usage": {"output_tokens": 99}}),
                ("message_stop", {"late": True}),
                ("future", {"late": True}),
                ("error", {"error": {"type": "api_error", "message": "late"}}),
            )
        )
    )
    script.sent.append(_sent(kind, cast("JSON", fields), "event_after_stop"))


def _foreign_data(script: _Script) -> None:
    text = script.draw(st.sampled_from(("[DONE]", "", "plain\ntext", "null", "[]", '"text"', "1", "<html>")))
    name = script.draw(st.sampled_from((None, "done", "名")))
    stop = next((place for place, event in enumerate(script.sent) if event.kind == "message_stop"), None)
    is_late = stop is not None and script.outcome is Outcome.COMPLETE and script.draw(st.booleans())
    codes = ["foreign_data", *(["event_after_stop"] if is_late else [])]
    place = len(script.sent) if is_late else script.somewhere()
    script.sent.insert(place, _Sent("future", text, codes, name))


def _empty_data(script: _Script) -> None:
    """A ping or message_stop without data, or a further event that says nothing without its data."""
    stop = next((event for event in script.read() if event.kind == "message_stop"), None)
    names = ("ping", "content_block_stop", "message_delta", *(["message_stop"] if stop else []))
    name = script.draw(st.sampled_from(names))
    if name == "message_stop" and stop is not None:
        stop.data = ""
        stop.codes.append("empty_data")
        return
    kind = "ping" if name == "ping" else "future"
    script.sent.insert(script.somewhere(), _Sent(kind, "", ["empty_data"], name))


def _no_index(script: _Script) -> None:
    """Events of the block at 0 without their index: one of them, or all, as Go's omitempty has it."""

    def able() -> list[_Sent]:
        named = [event for event in script.read() if event.kind.startswith("content_block_")]
        return [event for event in named if isinstance(event.data, dict) and event.data["index"] == 0]

    if not able():
        script.start({"type": "text", "text": "first"}, index=0)
        script.stop(0)
        script.read_as(0, {"type": "text", "text": "first"})
        script.next_index = max(script.next_index, 1)
    nothing = script.draw(st.sampled_from(({}, {"index": None})))
    for event in able() if script.draw(st.booleans()) else [script.draw(st.sampled_from(able()))]:
        event.data = {**{key: value for key, value in event.data.items() if key != "index"}, **nothing}
        event.codes.append("no_index")


def _no_blank_line(script: _Script) -> None:
    """Two events in one frame, whose event line says nothing about them; perhaps a `[DONE]` as well."""
    sent = script.read()
    able = [place for place in range(1, len(sent)) if sent[place - 1].plain() and sent[place].plain()]
    if not able:
        script.sent[:0] = [_sent("ping", {}), _sent("ping", {})]
        able = [1]
    place = script.draw(st.sampled_from(able))
    first, second = script.sent[place - 1 : place + 1]
    first.name = script.draw(st.sampled_from((first.name, None, "future", "error")))
    first.codes.append("no_blank_line")
    second.is_glued = True
    if place < script.closing() and script.draw(st.booleans()):
        script.sent.insert(place + 1, _Sent("future", "[DONE]", is_glued=True))


def _unterminated_event(script: _Script) -> None:
    event = script.sent[-1]
    if isinstance(event.data, str) or event.is_glued:
        event = _sent("ping", {})
        script.sent.append(event)
    event.codes.append("unterminated_event")
    script.is_terminated = False


def _unfinished_event(script: _Script) -> None:
    whole = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}'
    script.unfinished = whole[: script.draw(st.integers(1, len(whole) - 1))]
    script.end_codes.append("unfinished_event")


def _lines(script: _Script, code: str, change: Callable[[_Sent], None]) -> None:
    """Change the event line or the type of some events, or of all."""
    able = [event for event in script.read() if event.plain()]
    if not able:
        able = [_sent("ping", {})]
        script.sent[:0] = able
    every = script.draw(st.booleans())
    for event in able if every else [script.draw(st.sampled_from(able))]:
        change(event)
        event.codes.append(code)


def _no_event_line(script: _Script) -> None:
    def change(event: _Sent) -> None:
        event.name = None

    _lines(script, "no_event_line", change)


def _no_type(script: _Script) -> None:
    def change(event: _Sent) -> None:
        event.data = {key: value for key, value in event.data.items() if key != "type"}

    _lines(script, "no_type", change)


def _type_mismatch(script: _Script) -> None:
    other = script.draw(st.sampled_from(("message", "completion", "error")) | names().map("x{}".format))

    def change(event: _Sent) -> None:
        event.name = other if other != event.kind else f"{other}2"

    _lines(script, "type_mismatch", change)


_WRITERS: Final[dict[str, Callable[[_Script], None]]] = {
    # In this order: writers of content, of what stands around it, of ends, and of the lines of all events before them.
    "bare_block_start": _bare_block_start,
    "delta_after_stop": _delta_after_stop,
    "delta_kind_mismatch": _delta_kind_mismatch,
    "delta_without_block": _delta_without_block,
    "index_gap": _index_gap,
    "index_reused": _index_reused,
    "lone_surrogate": _lone_surrogate,
    "repeated_content": _repeated_content,
    "repeated_signature": _repeated_signature,
    "bare_delta": _bare_delta,
    "control_character": _control_character,
    "bare_message_start": _bare_message_start,
    "duplicate_message_start": _duplicate_message_start,
    "spliced_message_start": _spliced_message_start,
    "no_message_start": _no_message_start,
    "no_block_stop": _no_block_stop,
    "no_stop_reason": _no_stop_reason,
    "bare_error": _bare_error,
    "bare_document": _bare_document,
    "no_message_stop": _no_message_stop,
    "bare_message_delta": _bare_message_delta,
    "wrong_type": _wrong_type,
    "usage_reset": _usage_reset,
    "stop_without_block": _stop_without_block,
    "event_after_stop": _event_after_stop,
    "foreign_data": _foreign_data,
    "empty_data": _empty_data,
    "no_index": _no_index,
    "no_event_line": _no_event_line,
    "no_type": _no_type,
    "type_mismatch": _type_mismatch,
    "no_blank_line": _no_blank_line,
    "unterminated_event": _unterminated_event,
    "unfinished_event": _unfinished_event,
}
_ORDER: Final = list(_WRITERS)
