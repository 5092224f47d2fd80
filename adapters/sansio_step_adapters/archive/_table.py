"""A column of bodies to a table of what they hold: the pure function that any engine's map can run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import pyarrow as pa

from ._body import MAX_BODY_SIZE, BodyReader, Problem, problem_row
from ._schema import SCHEMA, Row, to_batch

__all__ = ["MOST_BYTES", "MOST_ROWS", "bodies_of", "decode_batches", "decode_table"]

MOST_ROWS: Final = 1024
MOST_BYTES: Final = 32 * 1024 * 1024
# What one batch of rows holds, in bytes of bodies. A column of type `string` has room for 2 GiB in a batch, and a
# message as JSON can take six times its body.


def decode_table(
    table: pa.Table | pa.RecordBatch,
    body: str = "body",
    *,
    message: bool = True,
    strict: bool = False,
    max_body_size: int = MAX_BODY_SIZE,
) -> pa.Table:
    """The table with `SCHEMA`'s columns in place of the column of bodies: one row for each row, in the same order.

    The bodies are a column of strings or bytes: event streams, whole messages or errors as JSON, arrays of events, AWS
    frames, each also in base64 or gzip. Nothing in them raises: what is wrong with one is in its row. Other columns pass
    through; one that is called like a column of `SCHEMA` gets the prefix `input_`.

    `message=False` leaves `message` and `other_messages` null, which halves the table. In `strict` mode a deviation
    from the protocol fails the message. A body of more than `max_body_size` bytes is not read, and its row says so.

    Raises KeyError if there is no column of that name, and TypeError if it holds neither strings nor bytes.
    """
    reader = BodyReader(message=message, strict=strict, max_body_size=max_body_size)
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    if body not in table.column_names:
        raise KeyError(f"no column {body!r}; there are {', '.join(table.column_names) or 'none'}")
    batches = list(_decoded(bodies_of(table[body], max_body_size), reader))
    decoded = pa.Table.from_batches(batches, schema=SCHEMA)
    others = table.drop_columns([body])
    names = _free_names(others.column_names)
    for name, column, field in zip(
        reversed(names), reversed(others.columns), reversed(list(others.schema)), strict=True
    ):
        decoded = decoded.add_column(0, field.with_name(name), column)
    return decoded


def decode_batches(batches: Iterable[pa.RecordBatch], body: str = "body", **options: Any) -> Iterator[pa.RecordBatch]:
    """`decode_table` for each of some batches, with the same options: what PySpark's `mapInArrow` calls for."""
    for batch in batches:
        yield from decode_table(batch, body, **options).to_batches(max_chunksize=MOST_ROWS)


def bodies_of(column: pa.ChunkedArray | pa.Array, max_body_size: int) -> Iterator[bytes | Problem | None]:
    """The values of a column of strings or bytes, without a copy of those that are too large."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    for chunk in chunks:
        if pa.types.is_dictionary(chunk.type):
            chunk = chunk.dictionary_decode()  # noqa: PLW2901
        if pa.types.is_null(chunk.type):
            yield from [None] * len(chunk)
            continue
        if not _is_text(chunk.type):
            raise TypeError(f"a column of {chunk.type} holds no bodies: strings or bytes do")
        for scalar in chunk:
            buffer = scalar.as_buffer()
            if buffer is None:
                yield None
            elif buffer.size > max_body_size:
                yield Problem("LimitExceeded", f"more than {max_body_size} bytes (max_body_size)")
            else:
                yield buffer.to_pybytes()


def _is_text(kind: pa.DataType) -> bool:
    checks = ("string", "large_string", "binary", "large_binary", "fixed_size_binary", "string_view", "binary_view")
    return any(getattr(pa.types, f"is_{name}", lambda kind: False)(kind) for name in checks)


def _decoded(bodies: Iterable[bytes | Problem | None], reader: BodyReader) -> Iterator[pa.RecordBatch]:
    rows: list[Row] = []
    size = 0
    for body in bodies:
        rows.append(problem_row(body) if isinstance(body, Problem) else reader.read(body or b""))
        size += rows[-1].body_bytes
        if len(rows) >= MOST_ROWS or size >= MOST_BYTES:
            yield to_batch(rows, SCHEMA)
            rows, size = [], 0
    if rows:
        yield to_batch(rows, SCHEMA)


def _free_names(names: list[str]) -> list[str]:
    """The names of columns that pass through, none of which is one of `SCHEMA`'s or another's."""
    taken = {*SCHEMA.names, *(name for name in names if name not in SCHEMA.names)}
    free = []
    for name in names:
        if name in SCHEMA.names:
            while name in taken:
                name = f"input_{name}"  # noqa: PLW2901
            taken.add(name)
        free.append(name)
    return free
