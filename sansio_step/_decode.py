"""JSON objects to types: the meaning of one event, one block, one message, with every deviation that one frame can show."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from functools import cache
from sys import maxsize
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from ._base import NO_EXTRA, Event, Part, WireStruct
from ._clean import convert_clean, decode_clean
from ._errors import DecodeError, quoted
from ._events import (
    IN_DELTA,
    MAX_INDEX,
    BlockDelta,
    CitationsDelta,
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ContentBlockStopEvent,
    Delta,
    ErrorDetail,
    ErrorEvent,
    Grows,
    MessageDelta,
    MessageDeltaEvent,
    MessageStartEvent,
    MessageStopEvent,
    PingEvent,
    StreamEvent,
    UnknownDelta,
    UnknownEvent,
)
from ._halves import read_cut_delta, with_halves
from ._json import NotJSON, json_bytes, read_json
from ._message import (
    Block,
    ContentBlock,
    Message,
    ToolCallBlock,
    UnknownBlock,
    Usage,
)
from ._parsed import parsed_json
from ._quirks import (
    BEDROCK_EXCEPTIONS,
    Noter,
    bare_delta_kind,
    bedrock_error,
    check_name,
    error_detail,
    error_of_text,
    index_of,
    is_bare_error,
    note_bare_block,
    note_bare_message,
    note_wrong_type,
    split_message_delta,
    type_of,
    without_empty,
    without_empty_reason,
)
from ._receiver import as_bytes

JSON = dict[str, Any]

RESTATED = (*IN_DELTA, "context_management")
"""The fields of a message that a later event may state anew. The others stay as message_start has them."""

S = TypeVar("S", bound=Event | Part)

BLOCKS: dict[str, type[Block]] = {cls.type: cls for cls in get_args(ContentBlock) if cls is not UnknownBlock}
_DELTAS: dict[str, type[BlockDelta]] = {cls.type: cls for cls in get_args(Delta) if cls is not UnknownDelta}
_GROWS: dict[str, Grows] = {kind: cls.grows for kind, cls in _DELTAS.items() if cls.grows is not None}

# The type of a delta by the field that only it has.
_KINDS_BY_FIELD = {grows.by: kind for kind, grows in _GROWS.items() if grows.by is not None}

# The fields with which blocks start even if they are empty: a block that a delta opens has them, and they are not None.
_STARTED_BY: list[tuple[type[Block], str]] = [
    (grows.fits, "input" if grows.field == "input_json" else grows.field)
    for grows in _GROWS.values()
    if getattr(grows.opens(), grows.field) is not None
]

# The kinds of JSON that a field can hold. Only the annotations of the classes say which kind a field has.
_KINDS = (str, int, bool, dict, list)
_KIND_NAMES = {str: "a string", int: "an integer", bool: "a boolean", dict: "an object", list: "an array"}


@cache
def fields_of(cls: Any) -> dict[str, tuple[str, type]]:
    """The attribute and kind of each field that holds plain JSON, by its wire name."""
    hints = get_type_hints(cls)
    names = zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True)
    fields = {}
    for name, wire_name in names:
        # `extra` holds what no field names, and the raw text of arguments is not on the wire.
        if name[0] != "_" and name not in ("extra", "input_json"):
            kind = _kind_of(hints[name])
            if kind is not None:
                fields[wire_name] = (name, kind)
    return fields


def _kind_of(hint: Any) -> type | None:
    """The kind of JSON that a type hint stands for, `X | None` as X. None for our own classes, which have readers.

    Any other hint is an error at the first use of its class, because such a field would be left out in silence.
    """
    if hint is Any:
        return object
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    kinds = {get_origin(part) or part for part in parts if part is not types.NoneType}
    if all(isinstance(kind, type) and issubclass(kind, WireStruct) for kind in kinds):
        return None
    return next(kind for kind in _KINDS if kinds == {kind})


_CONTENT = frozenset({"data", "content", "encrypted_content"} | {field for _, field in _STARTED_BY if field != "input"})
# The fields of blocks that are content. Content of a wrong kind can't be read. A count, a name or an ornament of a
# wrong kind is passed over: servers send 123.45 tokens and a model that is a number, and no answer should end over
# that.


def _silent(code: str, detail: str) -> None:
    """A `Noter` for JSON that is not part of a stream."""


def _build(cls: type[S], wire: JSON, where: str, note: Noter, **given: Any) -> S:
    """Make a struct from a JSON object: known fields are checked, unknown ones go to `extra`, null counts as absent.

    A value of a wrong kind is kept in `extra` under its name, and its attribute is None. If it places content, it is
    a DecodeError.
    """
    fields = fields_of(cls)  # type: ignore[arg-type]  # mypy takes the Struct's hash for that of the class
    known: JSON = {}
    extra: JSON = {}
    for key, value in wire.items():
        if key in given:
            continue
        if key in fields:
            if value is not None:
                name, kind = fields[key]
                if fits(value, kind):
                    known[name] = value
                elif kind is int and is_integral(value):
                    known[name] = int(value)
                elif key in _CONTENT or issubclass(cls, BlockDelta):
                    _checked(value, kind, f"{where}.{key}")
                else:
                    note_wrong_type(f"{where}.{key}", value, note)
                    extra[key] = value
        elif key != "type" or value not in (None, getattr(cls, "type", None)):
            extra[key] = value
    return cls(**known, **given, extra=extra or NO_EXTRA)


def fits(value: Any, kind: type) -> bool:
    """Whether a JSON value is of a kind. A bool is an int in Python, but not in JSON."""
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def is_integral(value: Any) -> bool:
    """Whether a number that was read as a float is a count all the same: 10.0 is 10."""
    return isinstance(value, float) and value.is_integer() and abs(value) < 2**63


def _checked(value: Any, kind: type, where: str) -> Any:
    if not fits(value, kind):
        raise DecodeError(f"{where} is {json_kind(value)}, not {_KIND_NAMES[kind]}")
    return value


def json_kind(value: Any) -> str:
    if value is None:
        return "null"
    return next((name for kind, name in _KIND_NAMES.items() if type(value) is kind), "a number")


def _object(wire: JSON, key: str, where: str) -> JSON | None:
    value = wire.get(key)
    return None if value is None else _checked(value, dict, f"{where}.{key}")


# --- one event -------------------------------------------------------------------------------------------


def read_event(data: bytes, name: str | None, note: Noter) -> StreamEvent:
    """Read the event of one frame from its data and the name on its event line (None if there was none).

    `note` is told the deviations that show in this frame. Raises DecodeError if the data can't be read.
    """
    if b"\\ud" in data or b"\\uD" in data:
        cut = read_cut_delta(data)
        if cut is not None:
            check_name(name, cut.type, note)
            note("lone_surrogate", f"half of a surrogate pair in {cut.type!r}")
            return cut
    try:
        wire, raw, has_controls = read_json(data, controls=True)
    except NotJSON as error:
        if name in _OPTIONAL and not data.strip():
            return _empty(name, data, note)
        return _not_an_object(data, name, note, f"{error.reason} at character {error.position} of the data")
    if not isinstance(wire, dict):
        return _not_an_object(data, name, note, f"the data is {json_kind(wire)}, not an object")
    if has_controls:
        note("control_character", "a raw control character in a JSON string")
    return _read_wire(wire, raw, name, note)


def read_object(item: Mapping[str, Any], name: str | None, note: Noter, *, limit: int = maxsize) -> StreamEvent:
    """Like `read_event`, from the object that the data was parsed to. It may have `limit` characters and values."""
    wire, raw, _ = parsed_json(item, limit)
    return _read_wire(wire, raw, name, note)


def _read_wire(wire: JSON, raw: JSON, name: str | None, note: Noter) -> StreamEvent:
    exception = bedrock_error(wire, name)
    if exception is not None or is_bare_error(wire, name):
        return read_error(exception or wire, note)
    kind = type_of(wire, name, note)
    if kind is None:
        raise DecodeError(f"type is {json_kind(wire['type'])}, not a string")
    if raw is not wire:
        note("lone_surrogate", f"half of a surrogate pair in {kind!r}")
    reader = _READERS.get(kind)
    if reader is None:
        return UnknownEvent(kind, extra={key: value for key, value in wire.items() if key != "type"} or NO_EXTRA)
    event = reader(wire, note)
    if raw is not wire and isinstance(event, ContentBlockDeltaEvent):
        return with_halves(event, raw)
    return event


def _not_an_object(data: bytes, name: str | None, note: Noter, reason: str) -> StreamEvent:
    text = data.decode("utf-8", "replace")
    if name == "error" or name in BEDROCK_EXCEPTIONS:
        detail = error_of_text(text, note)
        return ErrorEvent(ErrorDetail(name if name != "error" else None, detail["message"]))
    # Data without a name that begins like an object was meant as an event of ours: it is broken, not foreign.
    if name in _READERS or (name in (None, "message") and text.lstrip()[:1] == "{"):
        raise DecodeError(f"{name or 'event'}: {reason}")
    note("foreign_data", f"{name or 'message'!r} with data that is not a JSON object: {quoted(text, 40)}")
    return UnknownEvent(name or "message", text)


_OPTIONAL = ("ping", "message_stop", "content_block_stop", "message_delta")
# The events without which a message can still be read.


def _empty(name: str, data: bytes, note: Noter) -> StreamEvent:
    """One of the `_OPTIONAL` events with empty data, as the heartbeats of some gateways have it."""
    note("empty_data", f"{name} with empty data")
    if name == "ping":
        return PingEvent()
    return MessageStopEvent() if name == "message_stop" else UnknownEvent(name, data.decode())


def _index(wire: JSON, note: Noter) -> int:
    index = index_of(wire, note)
    if type(index) is not int or not 0 <= index <= MAX_INDEX:
        shown = repr(index) if isinstance(index, (int, float)) and abs(index) < 1e20 else json_kind(index)
        raise DecodeError(f"index is {shown}, not an integer from 0 to 2**31-1")
    return index


def _read_message_start(wire: JSON, note: Noter) -> MessageStartEvent:
    message = without_empty(_object(wire, "message", "message_start") or {}, ("usage",), "message", note)
    note_bare_message(message, note)
    return _build(MessageStartEvent, wire, "message_start", note, message=read_message(message, note))


def _read_block_start(wire: JSON, note: Noter) -> ContentBlockStartEvent:
    index = _index(wire, note)
    block = _object(wire, "content_block", "content_block_start")
    if block is None:
        raise DecodeError("content_block_start without content_block")
    made = read_block(block, "content_block", note)
    for kind, field in _STARTED_BY:
        if isinstance(made, kind):
            note_bare_block(block, field, note)
    return _build(ContentBlockStartEvent, wire, "content_block_start", note, index=index, content_block=made)


def _read_block_delta(wire: JSON, note: Noter) -> ContentBlockDeltaEvent:
    index = _index(wire, note)
    delta = _object(wire, "delta", "content_block_delta")
    if delta is None:
        raise DecodeError("content_block_delta without delta")
    made = _read_delta(delta, note)
    return _build(ContentBlockDeltaEvent, wire, "content_block_delta", note, index=index, delta=made)


def _read_delta(wire: JSON, note: Noter) -> Delta:
    kind = wire.get("type")
    if kind is not None and not isinstance(kind, str):
        raise DecodeError(f"delta.type is {json_kind(kind)}, not a string")
    implied = bare_delta_kind(wire, BLOCKS, _KINDS_BY_FIELD)
    if implied is not None:
        named = f"a delta {f'of type {kind!r}' if kind else 'without a type'}"
        note("bare_delta", f"{named}, read as {implied}" if implied else f"{named}, which fits nowhere")
        kind = implied or kind
    cls = _DELTAS.get(kind or "")
    if cls is None:
        return UnknownDelta(kind or "", extra={k: v for k, v in wire.items() if k != "type"} or NO_EXTRA)
    if cls is CitationsDelta and wire.get("citation") is None:
        raise DecodeError("citations_delta without citation")
    for text in _required_texts(cls):
        if wire.get(text) is None:
            wire = {**wire, text: ""}
    delta: Delta = _build(cls, wire, "delta", note)  # type: ignore[assignment]
    return delta


@cache
def _required_texts(cls: Any) -> list[str]:
    """The texts that a delta can't be made without. If they are absent or null, they count as empty."""
    required = {field.encode_name for field in msgspec.structs.fields(cls) if field.required}
    return [name for name, (_, kind) in fields_of(cls).items() if kind is str and name in required]


def _read_block_stop(wire: JSON, note: Noter) -> ContentBlockStopEvent:
    return _build(ContentBlockStopEvent, wire, "content_block_stop", note, index=_index(wire, note))


def _read_message_delta(wire: JSON, note: Noter) -> MessageDeltaEvent:
    wire = without_empty(wire, ("delta", "usage"), "message_delta", note)
    wire, delta = split_message_delta(wire, _object(wire, "delta", "message_delta"), IN_DELTA, note)
    given = {"delta": _build(MessageDelta, delta, "delta", note), **_given_usage(wire, "message_delta", note)}
    return _build(MessageDeltaEvent, wire, "message_delta", note, **given)


def _read_message_stop(wire: JSON, note: Noter) -> MessageStopEvent:
    wire = without_empty(wire, ("usage",), "message_stop", note)
    for key in RESTATED:
        if wire.get(key) is not None and attribute_for(Message, key, wire[key]) is None:
            note_wrong_type(f"message_stop.{key}", wire[key], note)
    _given_usage(wire, "message_stop", note)  # called to note what is wrong with it
    return _build(MessageStopEvent, wire, "message_stop", note)


def read_error(wire: JSON, note: Noter = _silent) -> ErrorEvent:
    """Read an error envelope, the first party's or a barer one, with whatever it has."""
    detail = _build(ErrorDetail, error_detail(wire, note), "error", note)
    return _build(ErrorEvent, wire, "error", note, error=detail)


_READERS: dict[str, Callable[[JSON, Noter], StreamEvent]] = {
    "message_start": _read_message_start,
    "content_block_start": _read_block_start,
    "content_block_delta": _read_block_delta,
    "content_block_stop": _read_block_stop,
    "message_delta": _read_message_delta,
    "message_stop": _read_message_stop,
    "ping": lambda wire, note: _build(PingEvent, wire, "ping", note),
    "error": read_error,
}


def read_message(wire: JSON, note: Noter = _silent) -> Message:
    """Read a message object, as it stands in message_start or is a non-streaming body."""
    wire = without_empty(without_empty_reason(wire), ("usage",), "message", note)
    content = wire.get("content")
    blocks = [] if content is None else _checked(content, list, "message.content")
    made = [read_block(_checked(block, dict, "message.content[]"), "content block", note) for block in blocks]
    return _build(Message, wire, "message", note, content=made, **_given_usage(wire, "message", note))


def read_usage(wire: JSON, note: Noter = _silent) -> Usage:
    return _build(Usage, wire, "usage", note)


def _given_usage(wire: JSON, where: str, note: Noter) -> JSON:
    """The usage of an object as an argument for its class. It is left to `extra` if it is not an object."""
    usage = wire.get("usage")
    if usage is None or isinstance(usage, dict):
        return {"usage": None if usage is None else read_usage(usage, note)}
    note_wrong_type(f"{where}.usage", usage, note)
    return {}


def attribute_for(cls: type[WireStruct], key: str, value: Any) -> str | None:
    """The attribute of a class that holds a wire field, if it can hold this value; None if it can't."""
    name, kind = fields_of(cls).get(key, (None, object))  # type: ignore[arg-type]  # as above
    return name if fits(value, kind) else None


def read_block(wire: JSON, where: str, note: Noter) -> ContentBlock:
    kind = wire.get("type")
    if kind is not None and not isinstance(kind, str):
        raise DecodeError(f"{where}.type is {json_kind(kind)}, not a string")
    cls = BLOCKS.get(kind or "")
    if cls is None:
        return UnknownBlock(kind or "", extra={key: value for key, value in wire.items() if key != "type"} or NO_EXTRA)
    if not issubclass(cls, ToolCallBlock):
        return _build(cls, wire, where, note)  # type: ignore[return-value]
    wire = without_empty(wire, ("input",), where, note)
    text = wire.get("input")
    if not isinstance(text, str):
        if text is not None:
            _checked(text, dict, f"{where}.input")
        return _build(cls, wire, where, note)  # type: ignore[return-value]
    note_wrong_type(f"{where}.input", text, note)
    call = _build(cls, wire, where, note, input={})
    call.input_json = text  # the arguments as the text that deltas would have carried
    return call  # type: ignore[return-value]


def decode_event(data: str | bytes | bytearray | memoryview | Mapping[str, Any], event: str = "message") -> StreamEvent:
    """The typed event of one frame that came some other way: httpx-sse, a WebSocket, an SDK's object.

    `data` is the frame's data, or the JSON object that it was parsed to, as `model_dump()` gives one too. `event` is the
    frame's name; "message" and "" mean that it had none. Raises DecodeError; TypeError for anything else.
    """
    if data.__class__ is dict or (not isinstance(data, (str, bytes)) and isinstance(data, Mapping)):
        return convert_clean(data) or read_object(data, _given(event), _silent)
    data = as_json_bytes(data)
    return decode_clean(data) or read_event(data, _given(event), _silent)


def _given(event: str) -> str | None:
    if not isinstance(event, str):
        raise TypeError(f"expected the name of the event as a str, not {type(event).__name__}")
    return None if event in ("message", "") else event


def as_json_bytes(data: str | bytes | bytearray | memoryview) -> bytes:
    if isinstance(data, str):
        return json_bytes(data)
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"expected JSON as str or bytes, or the object parsed from it, not {type(data).__name__}")
    return as_bytes(data)
