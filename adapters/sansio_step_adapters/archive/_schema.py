"""The columns that a capture becomes, and the batches that rows are gathered in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import pyarrow as pa

__all__ = ["FILE_SCHEMA", "SCHEMA", "Found", "Row", "ToolCall", "to_batch"]

_TOOL_USE: Final = pa.struct(
    [("id", pa.string()), ("name", pa.string()), ("input", pa.string()), ("valid", pa.bool_())]
)
_DEVIATION: Final = pa.struct(
    [("code", pa.string()), ("event_number", pa.int64()), ("detail", pa.string()), ("count", pa.int64())]
)

SCHEMA: Final = pa.schema([
    ("form", pa.string()),
    ("outcome", pa.string()),
    ("message_id", pa.string()),
    ("model", pa.string()),
    ("stop_reason", pa.string()),
    ("stop_sequence", pa.string()),
    ("service_tier", pa.string()),
    ("text", pa.string()),
    ("thinking", pa.string()),
    ("tool_uses", pa.list_(_TOOL_USE)),
    ("block_types", pa.list_(pa.string())),
    ("input_tokens", pa.int64()),
    ("output_tokens", pa.int64()),
    ("cache_read_input_tokens", pa.int64()),
    ("cache_creation_input_tokens", pa.int64()),
    ("usage_is_final", pa.bool_()),
    ("message", pa.string()),
    ("other_messages", pa.string()),
    ("unapplied", pa.string()),
    ("message_count", pa.int64()),
    ("event_count", pa.int64()),
    ("body_bytes", pa.int64()),
    ("deviations", pa.list_(_DEVIATION)),
    ("error", pa.string()),
    ("error_type", pa.string()),
    ("error_message", pa.string()),
    ("error_event", pa.int64()),
    ("error_offset", pa.int64()),
    ("request_id", pa.string()),
    ("decoder_version", pa.string()),
])  # fmt: skip
"""What `decode_table` adds for each body. The guide says what each column means."""

FILE_SCHEMA: Final = pa.schema([
    ("source", pa.string()),
    ("row", pa.int64()),
    ("id", pa.string()),
    ("capture_truncated", pa.bool_()),
    *SCHEMA,
])  # fmt: skip
"""The columns of the files that `run_split` writes. Kept columns of the input, as strings, come after `id`."""


ToolCall: TypeAlias = tuple[str | None, str | None, str | bytes, bool]
"""The id, name, input and validity of a call, as `tool_uses` has it."""

Found: TypeAlias = tuple[str, int, str, int]
"""A Deviation as `deviations` has it."""


class Row(NamedTuple):
    """The values of one capture, in the order of `SCHEMA`."""

    form: str
    outcome: str
    message_id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    service_tier: str | None = None
    text: str | None = None
    thinking: str | None = None
    tool_uses: Sequence[ToolCall] = ()
    block_types: Sequence[str] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    usage_is_final: bool = False
    message: bytes | None = None
    other_messages: bytes | None = None
    unapplied: bytes | None = None
    message_count: int = 0
    event_count: int = 0
    body_bytes: int = 0
    deviations: Sequence[Found] = ()
    error: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    error_event: int | None = None
    error_offset: int | None = None
    request_id: str | None = None
    decoder_version: str | None = None


def to_batch(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    """Rows, as tuples in the order of a schema, as one batch."""
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    return pa.RecordBatch.from_arrays(
        [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)], schema=schema
    )
