"""The captures of a split, one after another: from JSON lines, a Parquet column, or files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

import fsspec
import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec import UNSET, Raw

from ._body import Problem
from ._damaged import recover
from ._fields import CANT_READ, Fields, as_bytes, as_flag, as_text, split_path
from ._lines import DamagedFile, Line, WatchedFile, blocks_of, cut_lines
from ._splits import CODINGS, Options, Split
from ._table import bodies_of

__all__ = ["Capture", "captures_of"]

_BOM: Final = b"\xef\xbb\xbf"
_BATCH: Final = 16 * 1024 * 1024
_MOST_ROWS: Final = 1024
_BUFFER: Final = 1024 * 1024
_TRIES: Final = 3


class Capture(NamedTuple):
    """One capture, before its body is read. `row` is its place in the source, `kept` are the values of kept columns."""

    source: str
    row: int
    id: str | None
    truncated: bool | None
    kept: tuple[str | None, ...]
    body: bytes | None
    problem: Problem | None = None


def captures_of(split: Split) -> Iterator[Capture]:
    """The captures of a split. What can't be read of it is a capture with a problem.

    Raises OSError, ValueError or what the file system has of its own if nothing of it can be read.
    """
    if split.kind == "lines":
        return _of_lines(split)
    return _of_parquet(split) if split.kind == "parquet" else _of_files(split)


def _coding(uri: str) -> str | None:
    return CODINGS.get(PurePosixPath(uri).suffix)


# JSON lines.


class _LineReader:
    """Reads lines of a source under the same options."""

    def __init__(self, source: str, options: Options) -> None:
        self.source = source
        self.keeps_flag = options.truncated is not None
        self.paths = [split_path(options.body), split_path(options.id or "id")]
        self.paths += [split_path(options.truncated)] if options.truncated is not None else []
        self.paths += map(split_path, options.keep)
        self.body = options.body
        self.fields = Fields(self.paths)

    def read(self, row: int, line: bytes) -> Capture:
        """The capture in a line."""
        try:
            values = self.fields.read(line)
            if values[0] is UNSET:
                return self._without_body(row, line, values)
            texts = [as_text(value) for value in values[1:]]
            try:
                return self._capture(row, texts, as_bytes(values[0]), None)
            except TypeError as error:
                return self._capture(row, texts, None, Problem("MissingBody", str(error)))
        except CANT_READ as error:
            return self.damaged(row, line, "DamagedLine", _reason(error))

    def damaged(self, row: int, line: bytes, error: str, reason: str) -> Capture:
        """The capture in a line that is no JSON, as far as it can be saved."""
        found = recover(line, self.paths)
        texts = [None if value is None else value.decode("utf-8", "replace") for value in found[1:]]
        return self._capture(row, texts, found[0], Problem(error, reason))

    def _without_body(self, row: int, line: bytes, values: list[Any]) -> Capture:
        """What stands beside the body's place may be an error: the result of a batch's request that failed has one."""
        texts = [as_text(value) for value in values[1:]]
        beside = Fields([self.paths[0][:-1]]).read(line)[0] if len(self.paths[0]) > 1 else UNSET
        document = _object(beside)
        error = _object(document.get("error", UNSET))
        if error:
            envelope = document["error"] if "error" in error else beside
            return self._capture(row, texts, bytes(envelope), None)  # type: ignore[arg-type]
        kind = as_text(document.get("type", UNSET))
        reason = f"there is nothing at {self.body}" + (f" of what is {kind!r}" if kind else "")
        return self._capture(row, texts, None, Problem("MissingBody", reason))

    def _capture(self, row: int, texts: list[str | None], body: bytes | None, problem: Problem | None) -> Capture:
        id, *others = texts
        truncated = as_flag(others.pop(0)) if self.keeps_flag else None
        return Capture(self.source, row, id, truncated, tuple(others), body, problem)


def _reason(error: Exception) -> str:
    return "JSON that is nested too deep" if isinstance(error, RecursionError) else str(error)


def _object(value: Any) -> dict[str, Raw]:
    if isinstance(value, Raw) and bytes(value).lstrip()[:1] == b"{":
        return msgspec.json.decode(value, type=dict[str, Raw])
    return {}


def _of_lines(split: Split) -> Iterator[Capture]:
    (uri,) = split.uris
    options = split.options
    reader = _LineReader(uri, options)
    coding = _coding(uri)
    # A body takes more bytes as a JSON string: a line end in it is two, and a quote.
    limit = 2 * options.max_body_size + _BUFFER
    with fsspec.open(uri, "rb") as file:
        # A line belongs to the part in which it begins. The byte before the part tells whether one begins with it.
        offset = max(split.start - 1, 0)
        file.seek(offset)
        for line in cut_lines(blocks_of(WatchedFile(file), coding), limit):
            begin, offset = offset, offset + line.size + 1
            if split.start and not line.number:
                continue
            if split.stop is not None and begin >= split.stop:
                break
            row = line.number + split.start - 1 if split.start else line.number
            capture = _of_line(reader, row, line, limit)
            if capture is not None:
                yield capture


def _of_line(reader: _LineReader, row: int, line: Line, limit: int) -> Capture | None:
    data = line.data.strip()
    if not row:
        data = data.removeprefix(_BOM)
    if line.fault is not None:
        return reader.damaged(row, data, "UnreadableFile", line.fault)
    if line.is_too_long:
        capture = reader.damaged(row, data, "LineTooLong", f"a line of {line.size} bytes, more than {limit}")
        return capture._replace(body=None)  # the rest is not there, and a logger did not cut it
    return reader.read(row, data) if data else None


# Parquet.


def _of_parquet(split: Split) -> Iterator[Capture]:
    (uri,) = split.uris
    options = split.options
    with (
        fsspec.open(uri, "rb") as opened,
        pq.ParquetFile(file := WatchedFile(opened), pre_buffer=False, buffer_size=_BUFFER) as parquet,
    ):
        schema, metadata = parquet.schema_arrow, parquet.metadata
        paths = [_column_path(schema, options.body)]
        if options.id is not None or "id" in schema.names:
            paths.append(_column_path(schema, options.id or "id"))
        else:
            paths.append(())
        paths.append(() if options.truncated is None else _column_path(schema, options.truncated))
        paths += [_column_path(schema, name) for name in options.keep]
        stop = metadata.num_row_groups if split.stop is None else split.stop
        row = sum(metadata.row_group(group).num_rows for group in range(split.start))
        for group in range(split.start, stop):
            end = row + metadata.row_group(group).num_rows
            size = metadata.row_group(group).total_byte_size // max(end - row, 1)
            count = min(max(_BATCH // max(size, 1), 1), _MOST_ROWS)
            columns = list(dict.fromkeys(".".join(path) for path in paths if path))
            try:
                for batch in parquet.iter_batches(count, row_groups=[group], columns=columns):
                    for capture in _of_batch(uri, row, batch, paths, options):
                        yield capture
                        row += 1
            except (pa.ArrowException, OSError) as error:
                if file.error is not None:
                    raise
                problem = Problem("UnreadableRow", f"row group {group}: {error}")
                while row < end:
                    yield Capture(uri, row, None, None, (None,) * len(options.keep), None, problem)
                    row += 1


def _column_path(schema: pa.Schema, name: str) -> tuple[str, ...]:
    """The column of a name, or the field that a path leads to. Raises ValueError."""
    if name in schema.names:
        return (name,)
    path = split_path(name)
    fields: Any = schema
    for key in path:
        at = fields.get_field_index(key) if hasattr(fields, "get_field_index") else -1
        if at < 0:
            raise ValueError(f"no column {name!r}; there are {', '.join(schema.names)}")
        fields = fields.field(at).type
    return path


def _of_batch(
    uri: str, first: int, batch: pa.RecordBatch, paths: list[tuple[str, ...]], options: Options
) -> Iterator[Capture]:
    bodies = bodies_of(_column(batch, paths[0]), options.max_body_size)
    ids, flags, *kept = [[None] * len(batch) if not path else _texts(_column(batch, path)) for path in paths[1:]]
    for at, body in enumerate(bodies):
        problem = body if isinstance(body, Problem) else None
        row = tuple(values[at] for values in kept)
        yield Capture(
            uri, first + at, ids[at], as_flag(flags[at]), row, None if isinstance(body, Problem) else body, problem
        )


def _column(batch: pa.RecordBatch, path: tuple[str, ...]) -> pa.Array:
    column = batch.column(path[0])
    for key in path[1:]:
        column = pc.struct_field(column, key)
    return column


def _texts(column: pa.Array) -> list[str | None]:
    """The values of a column as strings: bytes as text if they are one, else in hexadecimal; what is nested as JSON."""
    if pa.types.is_nested(column.type):
        return [None if value is None else msgspec.json.encode(value).decode() for value in column.to_pylist()]
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return [None if value is None else _text(value) for value in column.to_pylist()]
    # By Arrow, since Python has no nanoseconds.
    return column.cast(pa.string()).to_pylist()  # type: ignore[no-any-return]


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


# Files that are a capture each.


def _of_files(split: Split) -> Iterator[Capture]:
    options = split.options
    for uri in split.uris:
        body, problem = _read_file(uri, options.max_body_size)
        if problem is None and ".json" in PurePosixPath(uri).suffixes[-2:]:
            # An object that a logger wrote for one request, or the body itself.
            reader = _LineReader(uri, options)
            try:
                if reader.fields.read(body)[0] is not UNSET:
                    yield reader.read(0, body)
                    continue
            except CANT_READ:
                pass  # what it is instead is for the reader of bodies to say
        yield Capture(uri, 0, None, None, (None,) * len(options.keep), body, problem)


def _read_file(uri: str, limit: int) -> tuple[bytes, Problem | None]:
    """The plain bytes of a file, as far as they can be read. An error of the file system is tried three times."""
    tries = 0
    while True:
        tries += 1
        blocks: list[bytes] = []
        size = 0
        try:
            with fsspec.open(uri, "rb") as file:
                for block in blocks_of(WatchedFile(file), _coding(uri)):
                    blocks.append(block)
                    size += len(block)
                    if size > limit:
                        return b"", Problem("LimitExceeded", f"more than {limit} bytes (max_body_size)")
            return b"".join(blocks), None
        except (OSError, DamagedFile) as error:
            if tries == _TRIES or isinstance(error, (DamagedFile, FileNotFoundError, PermissionError)):
                return b"".join(blocks), Problem("UnreadableFile", str(error))
