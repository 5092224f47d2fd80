"""What vendors write differently within one event: seen here, told to `note`, and turned into what the first party writes.

One function a quirk, over the event's JSON object; `_decode` calls each at the place that it concerns. A new quirk is
a function here, its call there, and a row in `_deviations.READINGS` if it has a code of its own. What shows only
between events (a missing message_start, a delta for another kind of block) is for `_states` and `_assembler`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

from ._errors import short_repr
from ._json import write_json

JSON = dict[str, Any]
Noter = Callable[[str, str], None]
"""Is told the code and detail of a deviation."""

_IN_DELTA = ("stop_reason", "stop_sequence", "stop_details", "container")
_DELTA_FIELDS = ("text", "partial_json", "thinking", "signature", "citation")

BEDROCK_EXCEPTIONS = frozenset(
    {
        "internalServerException",
        "modelStreamErrorException",
        "throttlingException",
        "serviceUnavailableException",
        "modelTimeoutException",
        "validationException",
    }
)
"""The names under which Bedrock's frames carry an error, without an envelope."""


def type_of(wire: JSON, name: str | None, note: Noter) -> str | None:
    """An event's type: the JSON's, else that of the event line. None for one that is no string."""
    kind = wire.get("type")
    if kind is None:
        kind = name or "message"
        note(
            "no_type",
            f"JSON without type, read as {kind!r} {'by its event line' if name else 'for want of an event line'}",
        )
    elif isinstance(kind, str):
        check_name(name, kind, note)
    else:
        return None
    return str(kind)


def check_name(name: str | None, kind: str, note: Noter) -> None:
    """Compare the event line with the JSON's type, which counts."""
    if name is None:
        note("no_event_line", f"{kind!r} without an event line")
    elif name != kind:
        note("type_mismatch", f"event line {name!r}, JSON type {kind!r}: the JSON's counts")


def is_bare_error(wire: JSON, name: str | None) -> bool:
    """Whether an object without a type is an error: by its event line, or by its one field (StepFun's error bodies)."""
    named = name == "error" or (wire.get("error") is not None and name in (None, "message"))
    return wire.get("type") is None and named


def error_detail(wire: JSON, note: Noter) -> JSON:
    """What an envelope says of the error, which can be a text, or stand in the envelope itself."""
    detail = wire.get("error")
    if not isinstance(detail, dict) or wire.get("type") is None:
        note("bare_error", "an error without its envelope")
    if isinstance(detail, dict):
        return detail
    if detail is None:
        message = wire.get("message")
        return {"message": message if isinstance(message, str) else None}
    return {"message": detail if isinstance(detail, str) else write_json(detail)}


def error_of_text(text: str, note: Noter) -> JSON:
    """The same for data that is no JSON object at all."""
    note("bare_error", "an error event whose data is no JSON object")
    return {"message": text or None}


def note_bare_message(message: JSON, note: Noter) -> None:
    """A message_start of which StepFun documents the id and type alone."""
    missing = [key for key in ("content", "usage", "model", "role") if message.get(key) is None]
    if missing:
        note("bare_message_start", f"message_start without {', '.join(missing)}")


def note_bare_block(block: JSON, field: str, note: Noter) -> None:
    """A block's start without the field that its deltas grow (llama.cpp's server)."""
    if field in ("text", "thinking", "input") and block.get(field) is None:
        kind = block.get("type")
        note("bare_block_start", f"{kind} block without {field}")


def split_message_delta(wire: JSON, delta: JSON | None, note: Noter) -> tuple[JSON, JSON]:
    """A message_delta and its delta, with what stands a level too high moved into it (StepFun's stop_reason)."""
    wire, delta = without_empty_reason(wire), None if delta is None else without_empty_reason(delta)
    at_top = {key: wire[key] for key in _IN_DELTA if wire.get(key) is not None}
    taken = {key: value for key, value in at_top.items() if delta is None or delta.get(key) is None}
    bare = [f"without {key}" for key in ("delta", "usage") if wire.get(key) is None]
    bare += [f"{key} at the top level" for key in at_top if key == "stop_reason"]
    if bare:
        note("bare_message_delta", f"message_delta {', '.join(bare)}")
    return {key: value for key, value in wire.items() if key not in taken}, {**(delta or {}), **taken}


def without_empty_reason(wire: JSON) -> JSON:
    """An object whose stop_reason of "" is left out: relays written in Go send it for null, on every chunk."""
    return (
        wire if wire.get("stop_reason") != "" else {key: value for key, value in wire.items() if key != "stop_reason"}
    )


def index_of(wire: JSON, note: Noter) -> Any:
    """An event's block index. Go's omitempty drops one that is 0."""
    index = wire.get("index")
    if index is None:
        note("no_index", f"{wire.get('type')} without an index, read as 0")
        return 0
    return index


def without_empty(wire: JSON, keys: Sequence[str], where: str, note: Noter) -> JSON:
    """An object without those fields that are "" or [], as PHP and others write an object that is empty."""
    empty = [key for key in keys if wire.get(key) == "" or wire.get(key) == []]
    for key in empty:
        note_wrong_type(f"{where}.{key}", wire[key], note)
    return {key: value for key, value in wire.items() if key not in empty} if empty else wire


def note_wrong_type(where: str, value: Any, note: Noter) -> None:
    """A field whose value is not of its kind, which is kept all the same."""
    note("wrong_type", f"{where} is {short_repr(value)}")


def bare_delta_kind(wire: JSON, blocks: Container[str]) -> str | None:
    """The type that a delta would have, if it has none or that of a block: told by the one field that is not empty.

    None for a delta with a type of its own, and for one of which that can't be told.
    """
    kind = wire.get("type")
    if kind is not None and kind != "" and kind not in blocks:
        return None
    there = [name for name in _DELTA_FIELDS if wire.get(name) is not None]
    filled = [name for name in there if wire[name] not in ("", {}, [])] or there
    return _KIND_BY_FIELD[filled[0]] if len(filled) == 1 else None


_KIND_BY_FIELD = dict(
    zip(
        _DELTA_FIELDS,
        ("text_delta", "input_json_delta", "thinking_delta", "signature_delta", "citations_delta"),
        strict=True,
    )
)


def bedrock_error(wire: JSON, name: str | None) -> JSON | None:
    """The envelope of an error that Bedrock sends under its exception's name; None for any other event."""
    if name not in BEDROCK_EXCEPTIONS or wire.get("type") is not None or wire.get("error") is not None:
        return None
    return {"error": {"type": name, **wire}}
