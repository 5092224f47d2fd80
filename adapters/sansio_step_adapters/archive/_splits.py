"""What a job is made of: options, the splits of an archive, and the summary of what became of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any, Final, Literal

import fsspec
import msgspec
import pyarrow.parquet as pq

from sansio_step import __version__

from .._captured import is_beside
from ._body import MAX_BODY_SIZE

__all__ = ["CODINGS", "Kind", "Options", "Split", "Summary", "find_splits", "full_name", "kind_of"]

Kind = Literal["lines", "parquet", "files"]

SPLIT_SIZE: Final = 128 * 1024 * 1024
_MOST_FILES: Final = 1000
CODINGS: Final = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_KINDS: Final[dict[str, Kind]] = {
    ".jsonl": "lines",
    ".ndjson": "lines",
    ".jsonlines": "lines",
    ".parquet": "parquet",
    ".pq": "parquet",
}


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How an archive is read.

    `body`, `id`, `truncated` and those of `keep` are paths in a JSON line (`result.message`) or names of Parquet
    columns. `truncated` is the logger's own word that it cut the body. Without `id`, it is `id` where there is one.
    `format` is "lines", "parquet" or "files" for names that don't say it.
    """

    body: str = "body"
    id: str | None = None
    truncated: str | None = None
    keep: tuple[str, ...] = ()
    format: Kind | None = None
    message: bool = True
    strict: bool = False
    max_body_size: int = MAX_BODY_SIZE


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """One part of an archive, which becomes one Parquet file: a file, a part of a large one, or some small ones.

    `origin` is the file or folder that it is a part of, `stamps` are the sizes and times of its files as they were
    found. `start` and `stop` bound the bytes of a plain file of lines, or the row groups of a Parquet file.
    """

    kind: Kind
    origin: str
    uris: tuple[str, ...]
    stamps: tuple[str, ...]
    size: int
    start: int = 0
    stop: int | None = None
    options: Options = Options()

    @property
    def name(self) -> str:
        """The name of its output: that of the input, then what it is made of and in which state, as hashes."""
        state = _hash([self.uris, self.stamps, self.start, self.stop, self.options, __version__])
        return f"{self.prefix}{state}.parquet"

    @property
    def prefix(self) -> str:
        """What the names of all outputs of the same origin begin with, and of no other's."""
        return f"{PurePosixPath(self.origin).name[:80] or 'archive'}-{_hash(self.origin)}-"


def _hash(value: object) -> str:
    return blake2b(msgspec.json.encode(value), digest_size=8).hexdigest()


class Summary(msgspec.Struct, kw_only=True):
    """What became of some captures: sums over their rows.

    `deviations` and `errors` count captures by code and by the error's name. `truncated_by_logger` are those captures
    whose stream was cut and whose logger said that it cut the body.
    """

    captures: int = 0
    events: int = 0
    body_bytes: int = 0
    outcomes: dict[str, int] = {}
    forms: dict[str, int] = {}
    truncated_by_logger: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    deviations: dict[str, int] = {}
    errors: dict[str, int] = {}

    def add(self, other: Summary) -> None:
        """Add another summary to this one."""
        for name in self.__struct_fields__:
            mine, more = getattr(self, name), getattr(other, name)
            if isinstance(mine, dict):
                for key, count in more.items():
                    mine[key] = mine.get(key, 0) + count
            else:
                setattr(self, name, mine + more)


def find_splits(
    paths: Iterable[str], options: Options | None = None, *, split_size: int = SPLIT_SIZE
) -> Iterator[Split]:
    """The splits of some files, folders and globs, on any file system that fsspec knows, each file once.

    A file of JSON lines that is not compressed is split by its bytes, a Parquet file by its row groups, into parts of
    about `split_size` bytes. Small files that are a capture each are put together. In folders, names that begin with
    a dot or an underscore are passed over. The times of a recording (`sky.times.jsonl`) are passed over if its body was found
    before them. Raises FileNotFoundError if nothing is at a path.
    """
    options = options or Options()
    seen: set[str] = set()
    for path in paths:
        fs, root = fsspec.core.url_to_fs(path)
        found = _files_at(fs, root)
        if not found:
            raise FileNotFoundError(f"no file at {path}")
        small: list[tuple[str, dict[str, Any]]] = []
        for info in found:
            uri = full_name(fs, info["name"])
            if uri in seen or is_beside(uri, seen):  # a recording's body comes before its times by name
                continue
            seen.add(uri)
            kind = options.format or kind_of(uri)
            if kind == "files":
                small.append((uri, info))
            else:
                yield from _split_file(fs, kind, uri, info, options, split_size)
        yield from _split_files(full_name(fs, root), small, options, split_size)


def kind_of(uri: str) -> Kind:
    """The format that a name says; a name that says none is a capture by itself."""
    suffixes = PurePosixPath(uri).suffixes
    if suffixes and suffixes[-1] in CODINGS:
        suffixes.pop()
    return _KINDS.get(suffixes[-1].lower(), "files") if suffixes else "files"


def _files_at(fs: fsspec.AbstractFileSystem, root: str) -> list[dict[str, Any]]:
    """The files at a path, in the order of their names."""
    if any(mark in root for mark in "*?[") and not fs.exists(root):
        found = fs.glob(root, detail=True)
    elif fs.isdir(root):
        found = {
            name: info
            for name, info in fs.find(root, detail=True).items()
            if not any(part.startswith((".", "_")) for part in PurePosixPath(name[len(root) :]).parts)
        }
    else:
        found = {root: fs.info(root)} if fs.exists(root) else {}
    return [found[name] for name in sorted(found) if found[name]["type"] == "file"]


def full_name(fs: fsspec.AbstractFileSystem, name: str) -> str:
    """The full name of a file, without a protocol for those of this machine."""
    return str(name) if "file" in _protocols(fs) else str(fs.unstrip_protocol(name))


def _protocols(fs: fsspec.AbstractFileSystem) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _stamp(info: dict[str, Any]) -> str:
    times = (info.get(key) for key in ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created"))
    return f"{info['size']} {next((time for time in times if time is not None), '')}"


def _split_file(
    fs: fsspec.AbstractFileSystem, kind: Kind, uri: str, info: dict[str, Any], options: Options, split_size: int
) -> Iterator[Split]:
    size = info["size"]
    parts: list[tuple[int, int | None, int]] = [(0, None, size)]
    if size > split_size:
        if kind == "parquet":
            parts = _row_groups(fs, info["name"], size, split_size)
        elif PurePosixPath(uri).suffix not in CODINGS:
            count = -(-size // split_size)
            bounds = [size * at // count for at in range(count + 1)]
            parts = [(start, stop, stop - start) for start, stop in pairwise(bounds)]
    for start, stop, part_size in parts:
        yield Split(
            kind=kind, origin=uri, uris=(uri,), stamps=(_stamp(info),), size=part_size, start=start, stop=stop, options=options
        )  # fmt: skip


def _row_groups(
    fs: fsspec.AbstractFileSystem, name: str, size: int, split_size: int
) -> list[tuple[int, int | None, int]]:
    """Row groups in a row that make about `split_size` bytes. Of a file that can't be read: all, for its split to say."""
    try:
        with fs.open(name, "rb") as file, pq.ParquetFile(file) as parquet:
            metadata = parquet.metadata
    except Exception:  # noqa: BLE001, pyarrow, fsspec and stores have their own errors; whoever reads the split meets it too
        return [(0, None, size)]
    parts: list[tuple[int, int | None, int]] = []
    start = held = 0
    for group in range(metadata.num_row_groups):
        columns = [metadata.row_group(group).column(at) for at in range(metadata.num_columns)]
        held += sum(column.total_compressed_size for column in columns)
        if held >= split_size or group + 1 == metadata.num_row_groups:
            parts.append((start, group + 1, held))
            start, held = group + 1, 0
    return parts or [(0, None, size)]


def _split_files(
    origin: str, found: list[tuple[str, dict[str, Any]]], options: Options, split_size: int
) -> Iterator[Split]:
    held: list[tuple[str, dict[str, Any]]] = []
    size = 0
    for at, entry in enumerate(found, 1):
        held.append(entry)
        size += entry[1]["size"]
        if size >= split_size or len(held) == _MOST_FILES or at == len(found):
            uris = tuple(uri for uri, _ in held)
            stamps = tuple(_stamp(info) for _, info in held)
            yield Split(kind="files", origin=origin, uris=uris, stamps=stamps, size=size, options=options)
            held, size = [], 0
