"""JSON objects to types and back: the meaning of one event, one block, one message.

This is the general way, for every event and every deviation of a single frame. The decoder takes a
shorter one for deltas that are in order (see `_decoder`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from json import dumps
from typing import Any, NamedTuple, TypeVar

import msgspec

from ._base import NO_EXTRA, Event, Part, WireStruct
from ._errors import DecodeError, ToolInputError, quoted
from ._events import (
    CitationsDelta,
    CompactionDelta,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    Delta,
    ErrorDetail,
    ErrorEvent,
    Half,
    HalfInputJSONDelta,
    HalfTextDelta,
    HalfThinkingDelta,
    InputJSONDelta,
    MessageDelta,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
    PingEvent,
    SignatureDelta,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    UnknownDelta,
    UnknownEvent,
)
from ._json import NotJSON, has_halves, json_bytes, read_json, write_json
from ._message import Block, ContentBlock, Message, ToolCallBlock, UnknownBlock, Usage
from ._receiver import as_bytes
from ._sse import ServerSentEvent, encode_sse

JSON = dict[str, Any]
Noter = Callable[[str, str], None]
"""Is told the code and detail of a deviation."""

MAX_INDEX = 2**31 - 1

S = TypeVar("S", bound=Event | Part)


def _leaf_classes(base: type[Any]) -> list[type[Any]]:
    subclasses: list[type[Any]] = base.__subclasses__()
    return [leaf for cls in subclasses for leaf in (_leaf_classes(cls) or [cls])]


_BLOCKS: dict[str, type[Block]] = {cls.type: cls for cls in _leaf_classes(Block) if cls is not UnknownBlock}
_DELTAS: dict[str, type[Event]] = {
    cls.type: cls for cls in (TextDelta, InputJSONDelta, ThinkingDelta, SignatureDelta, CitationsDelta, CompactionDelta)
}
# The deltas whose text a server can cut inside a character, with their field.
_HALF_DELTAS: dict[type[WireStruct], tuple[type[Any], str]] = {
    TextDelta: (HalfTextDelta, "text"),
    InputJSONDelta: (HalfInputJSONDelta, "partial_json"),
    ThinkingDelta: (HalfThinkingDelta, "thinking"),
}

# What a field may hold, by the first word of its annotation: the classes are the one place that says so.
_KINDS = {"str": str, "int": int, "bool": bool, "dict": dict, "list": list, "Any": object}
_KIND_NAMES = {str: "a string", int: "an integer", bool: "a boolean", dict: "an object", list: "an array"}
_fields_by_class: dict[type, dict[str, tuple[str, type]]] = {}


def _fields(cls: type[WireStruct]) -> dict[str, tuple[str, type]]:
    """Wire name to attribute and kind, for the fields that hold plain JSON."""
    if cls not in _fields_by_class:
        annotations: dict[str, str] = {}
        for base in reversed(cls.__mro__):
            annotations.update(getattr(base, "__annotations__", {}))
        fields = {}
        for name, wire_name in zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True):
            word = re.match(r"\w+", annotations[name])
            kind = _KINDS.get(word.group() if word else "")
            if kind is not None and name[0] != "_" and name != "input_json":
                fields[wire_name] = (name, kind)
        _fields_by_class[cls] = fields
    return _fields_by_class[cls]


def _build(cls: type[S], wire: JSON, where: str, **given: Any) -> S:
    """A struct from a JSON object: known fields checked, unknown ones in `extra`, null as if absent."""
    fields = _fields(cls)
    known: JSON = {}
    extra: JSON = {}
    for key, value in wire.items():
        if key in given:
            continue
        if key in fields:
            if value is not None:
                name, kind = fields[key]
                known[name] = _checked(value, kind, f"{where}.{key}")
        elif key != "type" or value not in (None, getattr(cls, "type", None)):
            extra[key] = value
    return cls(**known, **given, extra=extra or NO_EXTRA)


def _checked(value: Any, kind: type, where: str) -> Any:
    # A bool is an int to Python, not to JSON.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise DecodeError(f"{where} is {_json_kind(value)}, not {_KIND_NAMES[kind]}")
    return value


def _json_kind(value: Any) -> str:
    if value is None:
        return "null"
    return next((name for kind, name in _KIND_NAMES.items() if type(value) is kind), "a number")


def _object(wire: JSON, key: str, where: str) -> JSON | None:
    value = wire.get(key)
    return None if value is None else _checked(value, dict, f"{where}.{key}")


# --- one event -------------------------------------------------------------------------------------------


def read_event(data: bytes, name: str | None, note: Noter) -> StreamEvent:
    """The event of one frame: its data, and the name on its event line (None where there was none).

    Departures that show in this frame are told to `note`. Raises DecodeError for what can't be read.
    """
    try:
        wire, raw = read_json(data)
    except NotJSON as error:
        return _not_an_object(data, name, note, f"{error.reason} at character {error.position} of the data")
    if not isinstance(wire, dict):
        return _not_an_object(data, name, note, f"the data is {_json_kind(wire)}, not an object")
    kind = wire.get("type")
    if kind is None:
        if name == "error" or (wire.get("error") is not None and name in (None, "message")):
            return read_error(wire, note)
        kind = name or "message"
        by = "by its event line" if name else "for want of an event line"
        note("no_type", f"JSON without type, read as {kind!r} {by}")
    elif not isinstance(kind, str):
        raise DecodeError(f"type is {_json_kind(kind)}, not a string")
    else:
        check_name(name, kind, note)
    if raw is not wire:
        note("lone_surrogate", f"half of a surrogate pair in {kind!r}")
    reader = _READERS.get(kind)
    if reader is None:
        return UnknownEvent(kind, extra={key: value for key, value in wire.items() if key != "type"} or NO_EXTRA)
    event = reader(wire, note)
    if raw is not wire and isinstance(event, ContentBlockDeltaEvent):
        return _with_halves(event, raw)
    return event


def check_name(name: str | None, kind: str, note: Noter) -> None:
    """Compare the event line with the JSON's type, which counts."""
    if name is None:
        note("no_event_line", f"{kind!r} without an event line")
    elif name != kind:
        note("type_mismatch", f"event line {name!r}, JSON type {kind!r}: the JSON's counts")


def _not_an_object(data: bytes, name: str | None, note: Noter, reason: str) -> StreamEvent:
    text = data.decode("utf-8", "replace")
    if name == "error":
        note("bare_error", "an error event whose data is no JSON object")
        return ErrorEvent(ErrorDetail(message=text))
    # Without a name of its own, what begins as an object was meant as one of ours: broken, not foreign.
    if name in _READERS or (name in (None, "message") and text.lstrip()[:1] == "{"):
        raise DecodeError(f"{name or 'event'}: {reason}")
    note("foreign_data", f"{name or 'message'!r} with data that is no JSON object: {quoted(text, 40)}")
    return UnknownEvent(name or "message", text)


class CutText(NamedTuple):
    """The text of a delta that a server can cut inside a character."""

    kind: type[Any]
    raw: str  # with lone halves

    def shown_as(self, event: ContentBlockDeltaEvent, text: str) -> ContentBlockDeltaEvent:
        """The same event showing another text, its raw one kept for joining."""
        half, _ = _HALF_DELTAS[self.kind]
        delta = half.made(text, self.raw, event.delta.extra)
        return ContentBlockDeltaEvent(event.index, delta, extra=event.extra)


def cut_text(delta: Delta) -> CutText | None:
    """The raw text of a text, thinking or input_json delta; None for the others."""
    for kind, (half, field) in _HALF_DELTAS.items():
        if isinstance(delta, kind):
            return CutText(kind, delta.raw if isinstance(delta, half) else getattr(delta, field))
    return None


def _with_halves(event: ContentBlockDeltaEvent, raw: JSON) -> ContentBlockDeltaEvent:
    """Keep the lone halves of a delta's text, so that they can be joined with those of its neighbours."""
    shown = cut_text(event.delta)
    if shown is None:
        return event
    text = raw["delta"].get(_HALF_DELTAS[shown.kind][1])
    return CutText(shown.kind, text).shown_as(event, shown.raw) if text and has_halves(text) else event


def _index(wire: JSON) -> int:
    index = wire.get("index")
    if type(index) is not int or not 0 <= index <= MAX_INDEX:
        shown = repr(index) if isinstance(index, (int, float)) and abs(index) < 1e20 else _json_kind(index)
        raise DecodeError(f"index is {shown}, not an integer from 0 to 2**31-1")
    return index


def _read_message_start(wire: JSON, note: Noter) -> MessageStartEvent:
    message = _object(wire, "message", "message_start") or {}
    missing = [key for key in ("content", "usage", "model", "role") if message.get(key) is None]
    if missing:
        note("bare_message_start", f"message_start without {', '.join(missing)}")
    return _build(MessageStartEvent, wire, "message_start", message=read_message(message))


def _read_block_start(wire: JSON, note: Noter) -> ContentBlockStartEvent:
    index = _index(wire)
    block = _object(wire, "content_block", "content_block_start")
    if block is None:
        raise DecodeError("content_block_start without content_block")
    made = read_block(block, "content_block")
    field = "input" if isinstance(made, ToolCallBlock) else made.type
    if field in ("text", "thinking", "input") and block.get(field) is None:
        note("bare_block_start", f"{made.type} block without {field}")
    return _build(ContentBlockStartEvent, wire, "content_block_start", index=index, content_block=made)


def _read_block_delta(wire: JSON, note: Noter) -> ContentBlockDeltaEvent:
    index = _index(wire)
    delta = _object(wire, "delta", "content_block_delta")
    if delta is None:
        raise DecodeError("content_block_delta without delta")
    return _build(ContentBlockDeltaEvent, wire, "content_block_delta", index=index, delta=_read_delta(delta))


def _read_delta(wire: JSON) -> Delta:
    kind = wire.get("type")
    if kind is not None and not isinstance(kind, str):
        raise DecodeError(f"delta.type is {_json_kind(kind)}, not a string")
    cls = _DELTAS.get(kind or "")
    if cls is None:
        return UnknownDelta(kind or "", extra={k: v for k, v in wire.items() if k != "type"} or NO_EXTRA)
    if cls is CitationsDelta and wire.get("citation") is None:
        raise DecodeError("citations_delta without citation")
    field = cls.__struct_fields__[0]
    if cls is not CompactionDelta and wire.get(field) is None:
        wire = {**wire, field: ""}
    delta: Delta = _build(cls, wire, "delta")  # type: ignore[assignment]
    return delta


def _read_block_stop(wire: JSON, note: Noter) -> ContentBlockStopEvent:
    return _build(ContentBlockStopEvent, wire, "content_block_stop", index=_index(wire))


def _read_message_delta(wire: JSON, note: Noter) -> MessageDeltaEvent:
    delta = _object(wire, "delta", "message_delta")
    usage = _object(wire, "usage", "message_delta")
    # StepFun documents stop_reason at the top level, with no delta object.
    at_top = {key: wire[key] for key in _fields(MessageDelta) if wire.get(key) is not None}
    taken = {key: value for key, value in at_top.items() if delta is None or delta.get(key) is None}
    bare = [f"without {key}" for key, value in (("delta", delta), ("usage", usage)) if value is None]
    bare += [f"{key} at the top level" for key in at_top if key == "stop_reason"]
    if bare:
        note("bare_message_delta", f"message_delta {', '.join(bare)}")
    return _build(
        MessageDeltaEvent,
        {key: value for key, value in wire.items() if key not in taken},
        "message_delta",
        delta=_build(MessageDelta, {**(delta or {}), **taken}, "delta"),
        usage=None if usage is None else read_usage(usage),
    )


def read_error(wire: JSON, note: Noter = lambda code, detail: None) -> ErrorEvent:
    """An error envelope, the first party's or a barer one, with what there is."""
    detail = wire.get("error")
    if not isinstance(detail, dict) or wire.get("type") is None:
        note("bare_error", "an error without its envelope")
    if isinstance(detail, dict):
        made = _build(ErrorDetail, detail, "error")
    elif detail is None:
        message = wire.get("message")
        made = ErrorDetail(message=message if isinstance(message, str) else None)
    else:
        made = ErrorDetail(message=detail if isinstance(detail, str) else dumps(detail))
    return _build(ErrorEvent, wire, "error", error=made)


_READERS: dict[str, Callable[[JSON, Noter], StreamEvent]] = {
    "message_start": _read_message_start,
    "content_block_start": _read_block_start,
    "content_block_delta": _read_block_delta,
    "content_block_stop": _read_block_stop,
    "message_delta": _read_message_delta,
    "message_stop": lambda wire, note: _build(MessageStopEvent, wire, "message_stop"),
    "ping": lambda wire, note: _build(PingEvent, wire, "ping"),
    "error": read_error,
}


def read_message(wire: JSON) -> Message:
    """A message object, as message_start carries it or a non-streaming body is one."""
    content = wire.get("content")
    usage = _object(wire, "usage", "message")
    blocks = [] if content is None else _checked(content, list, "message.content")
    return _build(
        Message,
        wire,
        "message",
        content=[read_block(_checked(block, dict, "message.content[]"), "content block") for block in blocks],
        usage=None if usage is None else read_usage(usage),
    )


def read_usage(wire: JSON) -> Usage:
    return _build(Usage, wire, "usage")


def attribute_for(cls: type[WireStruct], key: str, value: Any) -> str | None:
    """The attribute of a class that holds a wire field, if it can hold this value; None where it can't."""
    name, kind = _fields(cls).get(key, (None, object))
    fits = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
    return name if fits else None


def read_block(wire: JSON, where: str) -> ContentBlock:
    kind = wire.get("type")
    if kind is not None and not isinstance(kind, str):
        raise DecodeError(f"{where}.type is {_json_kind(kind)}, not a string")
    cls = _BLOCKS.get(kind or "")
    if cls is None:
        return UnknownBlock(kind or "", extra={key: value for key, value in wire.items() if key != "type"} or NO_EXTRA)
    block: ContentBlock = _build(cls, wire, where)  # type: ignore[assignment]
    return block


def decode_event(data: str | bytes, event: str = "message") -> StreamEvent:
    """The typed event of one frame that came some other way: httpx-sse, Bedrock, a WebSocket.

    `data` is the frame's data, `event` its name ("message" or "": none was given). Raises DecodeError.
    """
    return read_event(as_json_bytes(data), None if event in ("message", "") else event, lambda code, detail: None)


def as_json_bytes(data: str | bytes | bytearray | memoryview) -> bytes:
    return json_bytes(data) if isinstance(data, str) else as_bytes(data)


# --- and back --------------------------------------------------------------------------------------------


def to_dict(item: WireStruct) -> JSON:
    """A message, event, delta, block or usage as the JSON object that the API would write.

    Fields that the types don't name are there too. None is left out, but for `stop_reason` and
    `stop_sequence`. Where a tool's `input` would raise, its value is `partial_input()`, and the raw
    `input_json` stands beside it. JSON values are shared with the item, not copied. TypeError for all else.
    """
    if not isinstance(item, WireStruct):
        raise TypeError(f"expected a message, event, delta, block or usage, not {type(item).__name__}")
    wire: JSON = {}
    kind = getattr(item, "type", None)
    if kind is not None:
        wire["type"] = kind
    cls: Any = type(item)
    for name, wire_name in _written_fields(cls):
        value = getattr(item, name)
        if value is None:
            if name in ("stop_reason", "stop_sequence"):
                wire[wire_name] = None
        elif isinstance(value, WireStruct):
            wire[wire_name] = to_dict(value)
        elif name == "content" and isinstance(item, Message):
            wire[wire_name] = [to_dict(block) for block in value]
        else:
            wire[wire_name] = value
    if isinstance(item, ToolCallBlock):
        try:
            wire["input"] = item.input
        except ToolInputError as error:
            wire["input"] = item.partial_input()
            wire["input_json"] = error.input_json
    return {**wire, **item.extra} if item.extra else wire


@cache
def _written_fields(cls: type[WireStruct]) -> list[tuple[str, str]]:
    """Attribute and wire name of what `to_dict` writes as it stands. Cached, it writes in 0.6 of the time."""
    both = zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True)
    return [names for names in both if names[0][0] != "_" and names[0] not in ("type", "extra", "input", "input_json")]


def to_json(item: WireStruct) -> bytes:
    """The bytes of `to_dict`, compact, as UTF-8. TypeError as there."""
    return _encode(to_dict(item))


def _encode(wire: JSON) -> bytes:
    try:
        return msgspec.json.encode(wire)
    except (OverflowError, UnicodeEncodeError, RecursionError):
        # Integers beyond 64 bits; the lone halves that `encode_event` gives back as they came; and 200 levels of
        # nesting that CPython 3.10 has no room for where the caller's stack is 800 frames deep.
        return json_bytes(write_json(wire))


def encode_event(event: StreamEvent) -> bytes:
    """The SSE bytes of an event: `event:` line, `data:` line, blank line. TypeError for all else.

    Decoding gives the event back. (A delta that ends inside a character comes back so from an `EventDecoder`,
    which waits for the next; `decode_event` can't, and gives U+FFFD for the half.)
    """
    if not isinstance(event, StreamEvent):
        raise TypeError(f"expected an event, not {type(event).__name__}")
    if isinstance(event, UnknownEvent) and event.data is not None:
        return encode_sse(ServerSentEvent(event.data, event.type))
    wire = to_dict(event)
    if isinstance(event, ContentBlockDeltaEvent) and isinstance(event.delta, Half):
        wire["delta"][event.delta.__struct_fields__[0]] = event.delta.raw
    # A name that an event line can't carry is left to the JSON, whose type decides anyway.
    named = event.type and not re.search("[\r\n]", event.type)
    line = b"event: %b\n" % event.type.encode("utf-8", "replace") if named else b""
    return b"%bdata: %b\n\n" % (line, _encode(wire))
