"""A whole archive: what is there already, what is left, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Final, NamedTuple, TypeAlias

import fsspec

from ._engines import WorkerLost, open_engine
from ._run import read_summary
from ._splits import Options, Split, Summary, find_splits, full_name

__all__ = ["Failure", "OtherJob", "Progress", "Report", "decode_archive"]

_TRIES: Final = 3
# Of a split that ends in an OSError, since a network's and a store's errors pass.
_MOST_LOSSES: Final = 50
# Of workers to one split, each given up by the engine after its own retries: 25 or more captures that kill.

_READERS: Final = 16
# Threads that read what earlier runs left: each file costs a store two requests.


class OtherJob(ValueError):
    """The folder holds files of the same inputs in another state, or read with other options: rows would double."""

    def __init__(self, out: str, names: Sequence[str]) -> None:
        super().__init__(
            f"{out} holds {len(names)} file{'s' * (len(names) > 1)} of these inputs as they were, or read with other"
            f" options: {names[0]}"
        )
        self.names = names


class Failure(NamedTuple):
    """A split that could not be read at all, or not be written, and why."""

    split: Split
    error: Exception


class Progress(NamedTuple):
    """How far a job is: splits and bytes of input, in all, done, and of these done by an earlier run; rows so far."""

    splits: int
    splits_done: int
    splits_kept: int
    bytes: int
    bytes_done: int
    bytes_kept: int
    summary: Summary


class Report(NamedTuple):
    """What a job came to."""

    summary: Summary
    failures: list[Failure]


Listener: TypeAlias = Callable[[Progress], None]


def decode_archive(
    paths: Iterable[str],
    out: str,
    options: Options | None = None,
    *,
    engine: str = "local",
    workers: int | None = None,
    replace: bool = False,
    listener: Listener | None = None,
) -> Report:
    """Decode the captures at some paths into Parquet files in the folder `out`, each capture into one row.

    `paths` are files, folders and globs, and `out` is a folder, on any file system that fsspec knows and that all
    workers see. `engine` is "local" (Dask, on `workers` processes of this machine), "serial" (this process),
    `tcp://HOST:8786` (a Dask cluster) or `ray://HOST:10001`. `listener` is called before the first split and after each.

    Files that are there from an earlier run, which may have been killed, are kept: the job goes on where it was. A file
    of the same input in another state, or read with other options, raises OtherJob; `replace=True` removes it at the
    start. Raises FileNotFoundError for a path where nothing is, and ValueError if `out` lies within the input.
    """
    splits = list(find_splits(paths, options))
    opened = open_engine(engine, out, workers)
    there = _check_out(splits, out, replace=replace)
    job = _Job(splits, listener)
    done = [split for split in splits if split.name in there]
    with ThreadPoolExecutor(_READERS) as pool:
        for split, summary in zip(done, pool.map(lambda split: read_summary(split, out), done), strict=True):
            job.keep(split, summary)
    left = [split for split in splits if split.name not in there]
    job.tell()
    if left:
        with opened as run:
            while left:
                left = [split for split, result in run(left) if not job.take(split, result)]
    return Report(job.summary, job.failures)


class _Job:
    """Counts what is done, and decides which splits are tried again."""

    def __init__(self, splits: list[Split], listener: Listener | None) -> None:
        self.summary = Summary()
        self.failures: list[Failure] = []
        self._listener = listener
        self._tries: dict[str, int] = {}
        self._splits, self._bytes = len(splits), sum(split.size for split in splits)
        self._done = self._kept = self._bytes_done = self._bytes_kept = 0

    def keep(self, split: Split, summary: Summary) -> None:
        """Count a split that an earlier run has done."""
        self._kept += 1
        self._bytes_kept += split.size
        self._count(split, summary)

    def take(self, split: Split, result: Summary | Exception) -> bool:
        """Count a split that has ended; False if it is to be tried again."""
        if isinstance(result, Exception):
            tries = self._tries[split.name] = self._tries.get(split.name, 0) + 1
            passes = isinstance(result, OSError) and not isinstance(result, (FileNotFoundError, PermissionError))
            if tries < (_MOST_LOSSES if isinstance(result, WorkerLost) else _TRIES if passes else 0):
                return False
            self.failures.append(Failure(split, result))
            self._count(split, Summary())
        else:
            self._count(split, result)
        self.tell()
        return True

    def _count(self, split: Split, summary: Summary) -> None:
        self._done += 1
        self._bytes_done += split.size
        self.summary.add(summary)

    def tell(self) -> None:
        """Say how far the job is."""
        if self._listener is not None:
            self._listener(
                Progress(
                    self._splits,
                    self._done,
                    self._kept,
                    self._bytes,
                    self._bytes_done,
                    self._bytes_kept,
                    self.summary,
                )
            )


def _check_out(splits: list[Split], out: str, *, replace: bool) -> set[str]:
    """The names of the outputs that are there. Raises for a folder whose rows would be read as input, or doubled."""
    fs, folder = fsspec.core.url_to_fs(out)
    place = full_name(fs, str(folder).rstrip("/")) + "/"
    inside = next((uri for split in splits for uri in split.uris if uri.startswith(place)), None)
    if inside is not None:
        raise ValueError(f"{inside} lies in {out}, where the table goes: read another folder, or write to one")
    if not fs.exists(folder):
        return set()
    found = {PurePosixPath(name).name: name for name in fs.ls(folder, detail=False)}
    names = {split.name for split in splits}
    prefixes = tuple({split.prefix for split in splits})
    others = sorted(
        name for name in found if name.startswith(prefixes) and name.endswith(".parquet") and name not in names
    )
    if others and not replace:
        raise OtherJob(out, others)
    for name in others:
        fs.rm_file(found[name])
    return names & found.keys()
