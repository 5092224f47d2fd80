"""The quirks of vendors within one event: found here, reported to `note`, and turned into what the first party writes.

Each quirk has one function, which takes the event's JSON object; `_decode` calls it at the place that it concerns. A
new quirk needs a function here, a call there, and a row in `_deviations.READINGS` if it has a code of its own. Quirks
that show only between events (a missing message_start, a delta for another kind of block) belong to `_states` and
`_assembler`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from ._errors import short_repr
from ._json import write_json

JSON = dict[str, Any]
Noter = Callable[[str, str], None]
"""A function that is told the code and the detail of a deviation."""

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
"""The names of Bedrock's frames that carry an error without an envelope."""


def type_of(wire: JSON, name: str | None, note: Noter) -> str | None:
    """An event's type: the JSON's, or that of the event line if the JSON has none. None if it is not a string."""
    kind = wire.get("type")
    if kind is None:
        kind = name or "message"
        because = "by its event line" if name else "because it has no event line"
        note("no_type", f"JSON without type, read as {kind!r} {because}")
    elif isinstance(kind, str):
        check_name(name, kind, note)
    else:
        return None
    return str(kind)


def check_name(name: str | None, kind: str, note: Noter) -> None:
    """Compare the event line with the JSON's type. If they differ, the JSON's type counts."""
    if name is None:
        note("no_event_line", f"{kind!r} without an event line")
    elif name != kind:
        note("type_mismatch", f"event line {name!r}, JSON type {kind!r}: the JSON's counts")


def is_bare_error(wire: JSON, name: str | None) -> bool:
    """Whether an object without a type is an error, by its event line or its `error` field (StepFun's error bodies)."""
    says_so = name == "error" or (wire.get("error") is not None and name in (None, "message"))
    return wire.get("type") is None and says_so


def error_detail(wire: JSON, note: Noter) -> JSON:
    """The error object of an envelope. The error can also be a text, or its fields can stand in the envelope itself."""
    detail = wire.get("error")
    if not isinstance(detail, dict) or wire.get("type") is None:
        note("bare_error", "an error without its envelope")
    if isinstance(detail, dict):
        return detail
    if detail is None:
        message = wire.get("message")
        return {"message": message if isinstance(message, str) else None}
    said = wire.get("message")
    if not isinstance(detail, str) and isinstance(said, str):
        return {"message": said}  # the words stand beside an `error` of true or 429
    return {"message": detail if isinstance(detail, str) else write_json(detail)}


def error_of_text(text: str, note: Noter) -> JSON:
    """The same for data that is not a JSON object at all."""
    note("bare_error", "an error event whose data is not a JSON object")
    return {"message": text or None}


def note_bare_message(message: JSON, note: Noter) -> None:
    """Note what a message_start lacks. StepFun documents one without content and usage."""
    missing = [key for key in ("content", "usage", "model", "role") if message.get(key) is None]
    if missing:
        note("bare_message_start", f"message_start without {', '.join(missing)}")


def note_bare_block(block: JSON, field: str, note: Noter) -> None:
    """Note a block that starts without the field to which its deltas add, as llama.cpp's server sends it."""
    if block.get(field) is None or (field == "input" and block[field] in ("", [])):
        kind = block.get("type")
        note("bare_block_start", f"{kind} block without {field}")


def split_message_delta(wire: JSON, delta: JSON | None, fields: Sequence[str], note: Noter) -> tuple[JSON, JSON]:
    """A message_delta and its delta. Of the delta's `fields`, those one level too high (StepFun's stop_reason) are moved into the delta."""
    wire, delta = without_empty_reason(wire), None if delta is None else without_empty_reason(delta)
    at_top = {key: wire[key] for key in fields if wire.get(key) is not None}
    taken = {key: value for key, value in at_top.items() if delta is None or delta.get(key) is None}
    bare = [f"without {key}" for key in ("delta", "usage") if wire.get(key) is None]
    bare += [f"{key} at the top level" for key in at_top if key == "stop_reason"]
    if bare:
        note("bare_message_delta", f"message_delta {', '.join(bare)}")
    return {key: value for key, value in wire.items() if key not in taken}, {**(delta or {}), **taken}


def without_empty_reason(wire: JSON) -> JSON:
    """The object without a stop_reason of "", which relays written in Go send on every chunk to mean null."""
    return (
        wire if wire.get("stop_reason") != "" else {key: value for key, value in wire.items() if key != "stop_reason"}
    )


def index_of(wire: JSON, note: Noter) -> Any:
    """An event's block index. A missing one is 0, because Go's omitempty drops a 0."""
    index = wire.get("index")
    if index is None:
        note("no_index", f"{wire.get('type')} without an index, read as 0")
        return 0
    return index


def without_empty(wire: JSON, keys: Sequence[str], where: str, note: Noter) -> JSON:
    """The object without those of `keys` that are "" or [], which PHP and others write for an empty object."""
    empty = [key for key in keys if wire.get(key) == "" or wire.get(key) == []]
    for key in empty:
        note_wrong_type(f"{where}.{key}", wire[key], note)
    return {key: value for key, value in wire.items() if key not in empty} if empty else wire


def note_wrong_type(where: str, value: Any, note: Noter) -> None:
    """Note a field whose value is of a wrong kind. The event is read all the same."""
    note("wrong_type", f"{where} is {short_repr(value)}")


def bare_delta_kind(wire: JSON, blocks: Container[str], kinds: Mapping[str, str]) -> str | None:
    """The type for a delta that has none, or that has the type of a block. Its one field that is not empty decides.

    `kinds` are the types by these fields. None for a delta with a type of its own, "" if no single field decides.
    """
    kind = wire.get("type")
    if kind is not None and kind != "" and kind not in blocks:
        return None
    there = [name for name in kinds if wire.get(name) is not None]
    filled = [name for name in there if wire[name] not in ("", {}, [])] or there
    return kinds[filled[0]] if len(filled) == 1 else ""


def bedrock_error(wire: JSON, name: str | None) -> JSON | None:
    """The envelope for an error that Bedrock sends under the name of its exception; None for any other event."""
    if name not in BEDROCK_EXCEPTIONS or wire.get("type") is not None:
        return None
    error = wire.get("error")
    if error is None:
        return {"error": {"type": name, **wire}}
    return {**wire, "error": {"type": name, **(error if isinstance(error, dict) else {"message": error})}}
