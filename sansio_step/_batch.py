"""The results of a message batch: one line of its results file at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ._decode import json_kind, read_message
from ._errors import APIError, DecodeError, short_repr
from ._message import Message
from ._response import error_of, read_object


@dataclass(frozen=True, repr=False)
class BatchResult:
    """What became of one request of a batch.

    `custom_id` is the caller's own name for the request: the lines come in any order. `type` is "succeeded" with a
    `message`, "errored" with an `error`, "canceled", "expired", or a word that is not known yet. `extra` has all
    other fields of the line, those of its `result` under "result".
    """

    custom_id: str
    type: str
    message: Message | None = None
    error: APIError | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        shown = [f"{name}={short_repr(value)}" for name, value in fields.items() if value is not None and value != {}]
        return f"BatchResult({', '.join(shown)})"


def decode_batch_result(line: str | bytes | bytearray | memoryview | Mapping[str, Any]) -> BatchResult:
    """The result that one line of a batch's results file holds, or the JSON object parsed from it.

    The lines of such a file end in LF alone. `str.splitlines` cuts at U+2028 too, which JSON may hold;
    `bytes.splitlines` does not. Raises DecodeError for a line without a custom_id or a result, for one that succeeded
    without a message, and for a message that can't be read.
    """
    wire = read_object(line, "line")
    custom_id = _taken(wire, "custom_id", str, "the line")
    result = dict(_taken(wire, "result", dict, "the line"))
    kind = _taken(result, "type", str, "the result")
    message = error = None
    if kind == "succeeded":
        message = read_message(_taken(result, "message", dict, "the result"))
    elif kind == "errored":
        said = result.pop("error", None)
        # The first party sends the envelope of an error response, some others the error object alone.
        error = error_of(said if isinstance(said, dict) else {"error": said})
    return BatchResult(custom_id, kind, message, error, {**wire, "result": result} if result else wire)


def _taken(wire: dict[str, Any], key: str, kind: type, where: str) -> Any:
    """Take a field out of an object. Raises DecodeError if it is not of its kind."""
    value = wire.pop(key, None)
    if not isinstance(value, kind):
        wanted = "a string" if kind is str else "an object"
        raise DecodeError(f"{where} has {json_kind(value)} for {key}, not {wanted}")
    return value
