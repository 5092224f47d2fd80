"""Who runs the splits: this process, a Dask cluster, or a Ray cluster. Each is some lines over the same `run_split`.

An engine is a context manager that gives a function: it takes splits, and yields each with its summary or with the
exception that it ended in, in the order in which they end. Of many splits, only some are in the engine's hands at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import Any, Final, TypeAlias

from .._extras import missing_extra
from ._run import run_split
from ._splits import Split, Summary

__all__ = ["Result", "Runner", "WorkerLost", "open_engine"]

Result: TypeAlias = tuple[Split, Summary | Exception]
Runner: TypeAlias = Callable[[Iterable[Split]], Iterator[Result]]

_WAITING_FOR_EACH_WORKER: Final = 3

# A worker of Dask looks at itself a hundred times a second, for a dashboard that is not there. Each look takes the GIL.
_QUIET: Final = {"distributed.worker.profile.enabled": False, "distributed.admin.tick.interval": "1s"}


class WorkerLost(Exception):
    """An engine gave a split up, since too many workers died that had it."""


def open_engine(name: str, out: str, workers: int | None = None) -> AbstractContextManager[Runner]:
    """The engine of a name: "serial", "local", or the address of a cluster, `tcp://HOST:8786` or `ray://HOST:10001`.

    `workers` is the number of processes for "local", by default one for each core. Raises ValueError for a name that is
    none of these, and ModuleNotFoundError if the engine's package is missing.
    """
    if workers is not None and (name != "local" or workers < 1):
        raise ValueError(f"workers is {workers}: it is for the engine local, and at least 1")
    if name == "serial":
        return _serial(out)
    if name == "local":
        return _dask_local(out, workers)
    if name.startswith(("tcp://", "tls://")):
        return _dask(out, name)
    if name.startswith("ray://"):
        return _ray(out, name)
    raise ValueError(f"no engine {name!r}: it is serial, local, tcp://HOST:PORT or ray://HOST:PORT")


def attempt(split: Split, out: str) -> Summary | Exception:
    """`run_split`, with its error as a value: engines write a page to the log for each that is raised."""
    try:
        return run_split(split, out)
    except Exception as error:  # noqa: BLE001, file systems have their own errors, and the job reports them all
        return error


@contextmanager
def _serial(out: str) -> Iterator[Runner]:
    yield lambda splits: ((split, attempt(split, out)) for split in splits)


@contextmanager
def _dask_local(out: str, workers: int | None) -> Iterator[Runner]:
    try:
        import dask  # noqa: PLC0415, it takes half a second, which serial need not pay
        from distributed import LocalCluster  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise missing_extra("archive", error) from error
    with (
        dask.config.set(_QUIET),
        LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        _dask(out, cluster) as run,
    ):
        yield run


@contextmanager
def _dask(out: str, address: Any) -> Iterator[Runner]:
    try:
        from distributed import Client, KilledWorker, as_completed  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise missing_extra("archive", error) from error
    with Client(address, set_as_default=False) as client:

        def run(splits: Iterable[Split]) -> Iterator[Result]:
            waiting = iter(splits)
            held: dict[Any, Split] = {}

            def submit(count: int) -> list[Any]:
                futures = []
                for split in islice(waiting, count):
                    future = client.submit(attempt, split, out, pure=False)
                    held[future] = split
                    futures.append(future)
                return futures

            def room() -> int:
                workers = max(len(client.nthreads()), 1)
                return max(_WAITING_FOR_EACH_WORKER * workers - len(held), 0)

            done = as_completed(submit(max(room(), 1)), loop=client.loop, with_results=True, raise_errors=False)
            for future, result in done:
                split = held.pop(future)
                yield split, result if future.status == "finished" else _error_of(future, KilledWorker)
                for other in submit(max(room(), not held)):
                    done.add(other)

        yield run


def _error_of(future: Any, given_up: type[Exception]) -> Exception:
    # A task that the scheduler forgot, as after a restart, has no exception.
    error = future.exception() if future.status == "error" else None
    if error is None or isinstance(error, given_up):
        return WorkerLost(f"{future.status}: {error}")
    return error  # type: ignore[no-any-return]


@contextmanager
def _ray(out: str, address: str) -> Iterator[Runner]:
    try:
        import ray  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'no module {error.name!r}; run: pip install "ray[client]"', name=error.name
        ) from error
    ray.init(address=address, logging_level="ERROR", log_to_driver=False)
    try:
        remote = ray.remote(num_cpus=1, max_retries=3)(attempt)

        def run(splits: Iterable[Split]) -> Iterator[Result]:
            waiting = iter(splits)
            held: dict[Any, Split] = {}
            while True:
                room = _WAITING_FOR_EACH_WORKER * max(int(ray.cluster_resources().get("CPU", 1)), 1) - len(held)
                for split in islice(waiting, max(room, 0)):
                    held[remote.remote(split, out)] = split
                if not held:
                    return
                for done in ray.wait(list(held), num_returns=1)[0]:
                    split = held.pop(done)
                    try:
                        yield split, ray.get(done)
                    except ray.exceptions.RayError as error:
                        yield split, WorkerLost(str(error))

        yield run
    finally:
        ray.shutdown()
