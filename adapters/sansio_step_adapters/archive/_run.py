"""One split to one file, which appears whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import fsspec
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from ._body import BodyReader, Problem, problem_row
from ._captures import Capture, captures_of
from ._marks import Marks
from ._schema import FILE_SCHEMA, Row, to_batch
from ._splits import Split, Summary
from ._table import MOST_BYTES, MOST_ROWS

__all__ = ["output_of", "read_summary", "run_split", "schema_of"]

_SUMMARY: Final = b"sansio_step.summary"
_GROUP_ROWS: Final = 8 * MOST_ROWS
_GROUP_BYTES: Final = 2 * MOST_BYTES
# What a row group of the output holds, in bytes of bodies: it is in memory until it is written.

_WORKER_DIED = Problem("WorkerDied", "two workers died while they read this capture, so it was skipped")


def schema_of(keep: tuple[str, ...]) -> pa.Schema:
    """The columns of an output file: `FILE_SCHEMA`, with the kept columns of the input after `id`.

    A kept column that is called like another gets the prefix `input_`.
    """
    taken = {*FILE_SCHEMA.names}
    fields = list(FILE_SCHEMA)
    for at, name in enumerate(keep):
        while name in taken:
            name = f"input_{name}"  # noqa: PLW2901
        taken.add(name)
        fields.insert(3 + at, pa.field(name, pa.string()))
    return pa.schema(fields)


def output_of(split: Split, out: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system and the path of the file that a split becomes."""
    fs, folder = fsspec.core.url_to_fs(out)
    return fs, f"{folder.rstrip('/')}/{split.name}"


def run_split(split: Split, out: str) -> Summary:
    """Decode a split and write it to the folder `out` as one Parquet file called `split.name`.

    The file is written aside and renamed; in an object store it is one upload under its final name. Done again, it is
    the same, byte for byte. One row stands for each capture, and none in the split can make it raise. One that has
    killed two workers is skipped, with an error in its row.

    Raises what the file system does, or ValueError, if the split can't be read at all or the file not be written.
    """
    fs, path = output_of(split, out)
    folder, _, name = path.rpartition("/")
    fs.makedirs(folder, exist_ok=True)
    marks = Marks(fs, f"{folder}/.{name}.try")
    marks.begin()
    try:
        if isinstance(fs, LocalFileSystem):
            return _write_aside(split, marks, Path(path), Path(folder) / f".{name}.tmp") or read_summary(split, out)
        with tempfile.TemporaryDirectory() as aside:
            file = Path(aside) / name
            summary = _write(split, marks, file)
            fs.put_file(str(file), path)
            return summary
    finally:
        marks.end()  # this worker is alive


def _write_aside(split: Split, marks: Marks, path: Path, aside: Path) -> Summary | None:
    """Write a file in a folder beside its place, and move it there. None if another try was faster.

    The engine may have taken the worker of an earlier try for dead, and both go on. The first to end removes what all
    tries have written, those too that are dead.
    """
    aside.mkdir(exist_ok=True)
    file = aside / uuid.uuid4().hex
    try:
        summary = _write(split, marks, file)
        file.replace(path)
    except BaseException as error:
        if isinstance(error, FileNotFoundError) and path.exists() and not aside.exists():
            return None
        file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # what other tries have there stays
            aside.rmdir()
        raise
    shutil.rmtree(aside, ignore_errors=True)
    return summary


def _write(split: Split, marks: Marks, file: Path) -> Summary:
    summary = Summary()
    with pq.ParquetWriter(file, schema_of(split.options.keep), compression="zstd") as writer:
        for batches in _groups(_batches(split, marks, summary)):
            writer.write_table(pa.Table.from_batches(batches))
        writer.add_key_value_metadata({_SUMMARY: msgspec.json.encode(summary)})
    return summary


def _groups(batches: Iterator[tuple[pa.RecordBatch, int]]) -> Iterator[list[pa.RecordBatch]]:
    """Batches that make a row group of the output."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch, bytes_of_bodies in batches:
        held.append(batch)
        rows += len(batch)
        size += bytes_of_bodies
        if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield held
            held, rows, size = [], 0, 0
    if held:
        yield held


def _batches(split: Split, marks: Marks, summary: Summary) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Batches of rows, each with the bytes of its bodies. Counts all rows."""
    options = split.options
    reader = BodyReader(message=options.message, strict=options.strict, max_body_size=options.max_body_size)
    schema = schema_of(options.keep)
    rows: list[tuple[Any, ...]] = []
    size = 0
    number = 0
    captures = captures_of(split)
    while True:
        allowed = marks.allows(number)
        number += 1
        capture = next(captures, None)
        if capture is None:
            break
        row = _row_of(capture, reader) if allowed else problem_row(_WORKER_DIED)
        _count(summary, row, capture.truncated)
        rows.append((capture.source, capture.row, capture.id, *capture.kept, capture.truncated, *row))
        size += row.body_bytes
        if len(rows) >= MOST_ROWS or size >= MOST_BYTES:
            yield to_batch(rows, schema), size
            rows, size = [], 0
    if rows:
        yield to_batch(rows, schema), size


def _row_of(capture: Capture, reader: BodyReader) -> Row:
    problem = capture.problem
    if problem is None:
        return reader.read(capture.body or b"")
    if not capture.body:
        return problem_row(problem)
    # What there is of the body is read, and what is wrong with its place comes before what is wrong with it.
    return reader.read(capture.body)._replace(
        error=problem.error, error_type=None, error_message=problem.message, error_event=None, error_offset=None
    )


def _count(summary: Summary, row: Row, truncated: bool | None) -> None:
    summary.captures += 1
    summary.events += row.event_count
    summary.body_bytes += row.body_bytes
    summary.truncated_by_logger += truncated is True and row.outcome == "truncated"
    summary.input_tokens += row.input_tokens or 0
    summary.output_tokens += row.output_tokens or 0
    summary.cache_read_input_tokens += row.cache_read_input_tokens or 0
    summary.cache_creation_input_tokens += row.cache_creation_input_tokens or 0
    _add_one(summary.outcomes, row.outcome)
    _add_one(summary.forms, row.form)
    for code in {code for code, *_ in row.deviations}:
        _add_one(summary.deviations, code)
    if row.error is not None:
        _add_one(summary.errors, row.error)


def _add_one(counts: dict[str, int], key: str) -> None:
    counts[key] = counts.get(key, 0) + 1


def read_summary(split: Split, out: str) -> Summary:
    """The summary of a split whose file was written before."""
    fs, path = output_of(split, out)
    with fs.open(path, "rb") as file:
        return msgspec.json.decode(pq.read_metadata(file).metadata[_SUMMARY], type=Summary)
