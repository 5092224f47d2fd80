"""A split becomes a file whole or not at all, and a job is done once, whatever happens to those who do it."""

from __future__ import annotations

import gzip
import io
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archivefiles import line, only, rows_in, stream, table_in
from fsspec.implementations.memory import MemoryFileSystem

import sansio_step
from sansio_step_adapters.archive import Options, OtherJob, Progress, decode_archive, find_splits, run_split
from sansio_step_adapters.archive import _engines as engines

ROOT = Path(__file__).parents[2]
PROGRAM = "from sansio_step_adapters.cli import main; main()"

# What every process of a test imports first: a capture with POISON kills whoever reads it; the first one that reads HOLD
# says so, and waits for the end.
SITE = """
import os, signal
import sansio_step
consume = sansio_step.MessageStream.consume

def patched(self, data):
    if b"POISON" in data:
        os.kill(os.getpid(), signal.SIGKILL)
    if b"HOLD" in data:
        try:
            os.close(os.open(os.environ["HELD"] + ".once", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            pass
        else:
            with open(os.environ["HELD"], "w") as pipe:
                pipe.write(str(os.getpid()))
            while True:
                signal.pause()
    return consume(self, data)

sansio_step.MessageStream.consume = patched
"""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Four files of ten lines."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(4):
        lines = [line(number * 10 + at) for at in range(10)]
        (folder / f"{number}.jsonl").write_bytes(b"\n".join(lines))
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """That of processes in which captures can kill and hold."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE)
    os.mkfifo(tmp_path / "held")
    path = os.pathsep.join([str(site), str(ROOT), str(ROOT / "adapters")])
    return {**os.environ, "PYTHONPATH": path, "HELD": str(tmp_path / "held")}


def start(environment: dict[str, str], *arguments: str | Path) -> subprocess.Popen[str]:
    """`sansio-step archive`, in a process of its own."""
    command = [sys.executable, "-c", PROGRAM, "archive", *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def ended(process: subprocess.Popen[str]) -> str:
    """What it said, if it ended well."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


def held(environment: dict[str, str]) -> int:
    """The process that has begun to read the capture with HOLD."""
    pipe = os.open(environment["HELD"], os.O_RDONLY | os.O_NONBLOCK)
    try:
        ready, _, _ = select.select([pipe], [], [], 60)
        assert ready, "nobody came to the capture within a minute"
        return int(os.read(pipe, 20))
    finally:
        os.close(pipe)


def leftovers(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir() if path.suffix != ".parquet")


def ids(out: Path) -> list[str]:
    return sorted(table_in(out)["id"].to_pylist(), key=lambda name: int(name.removeprefix("req_")))


ALL = [f"req_{at}" for at in range(40)]


# --- one split ---------------------------------------------------------------------------------------------


def test_done_again_it_is_the_same_file(archive: Path, tmp_path: Path) -> None:
    """Byte for byte, in another folder or in the same, and nothing else is there."""
    for split in find_splits([str(archive)]):
        summary = run_split(split, str(tmp_path / "out"))
        first = (tmp_path / "out" / split.name).read_bytes()
        assert run_split(split, str(tmp_path / "out")) == summary
        assert run_split(split, str(tmp_path / "other" / "place")) == summary
        assert (tmp_path / "out" / split.name).read_bytes() == first
        assert (tmp_path / "other" / "place" / split.name).read_bytes() == first
    assert leftovers(tmp_path / "out") == []


def test_the_name_says_what_the_file_is_made_of(archive: Path) -> None:
    """Another file, another state of it, other options: another name. The prefix is that of the file alone."""
    (old, *_), others = list(find_splits([str(archive / "0.jsonl")])), list(find_splits([str(archive)]))
    (strict,) = find_splits([str(archive / "0.jsonl")], Options(strict=True))
    os.utime(archive / "0.jsonl", ns=(1, 1))
    (new,) = find_splits([str(archive / "0.jsonl")])
    assert old.name == others[0].name
    assert len({split.name for split in [new, strict, *others]}) == 6
    assert {split.prefix for split in [old, new, strict]} == {others[0].prefix}
    assert old.name.startswith("0.jsonl-")


def test_a_large_split_has_row_groups(tmp_path: Path) -> None:
    """Rows are written in groups of 8,192 at most, and all are there in their order."""
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\n".join(line(at, b"") for at in range(20_000)))
    (split,) = find_splits([str(path)])
    run_split(split, str(tmp_path / "out"))
    file = pq.ParquetFile(tmp_path / "out" / split.name)
    groups = [file.metadata.row_group(at).num_rows for at in range(file.metadata.num_row_groups)]
    assert groups == [8192, 8192, 3616]
    assert file.read(["row"])["row"].to_pylist() == list(range(20_000))


def test_large_bodies_make_small_groups(tmp_path: Path) -> None:
    """What is held until it is written is bounded by bytes, too."""
    path = tmp_path / "log.jsonl"
    body = stream("x" * 9_000_000)
    path.write_bytes(b"\n".join(line(at, body) for at in range(10)))
    (split,) = find_splits([str(path)])
    run_split(split, str(tmp_path / "out"))
    metadata = pq.read_metadata(tmp_path / "out" / split.name)
    assert [metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)] == [8, 2]


def test_nothing_is_left_of_a_split_that_fails(archive: Path, tmp_path: Path) -> None:
    """Neither a part of its file nor a mark; what another try wrote stays."""
    (split, *_) = find_splits([str(archive)])
    out = tmp_path / "out"
    (archive / "0.jsonl").unlink()
    with pytest.raises(FileNotFoundError):
        run_split(split, str(out))
    assert list(out.iterdir()) == []
    other = out / f".{split.name}.tmp"
    other.mkdir()
    (other / "of another try").write_bytes(b"")
    with pytest.raises(FileNotFoundError):
        run_split(split, str(out))
    assert leftovers(out) == [other.name]


def test_two_tries_at_once(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slower finds the other's file in place of its own, and says the same of it. What dead tries left is removed."""
    (split, *_) = find_splits([str(archive)])
    out = tmp_path / "out"
    consume = sansio_step.MessageStream.consume
    faster: list[Any] = []

    def read_slowly(self: Any, data: bytes) -> None:
        if not faster:
            faster.append(None)
            faster.append(run_split(split, str(out)))
        consume(self, data)

    monkeypatch.setattr(sansio_step.MessageStream, "consume", read_slowly)
    assert run_split(split, str(out)) == faster[1]
    assert leftovers(out) == []
    assert len(rows_in(out)) == 10


@pytest.fixture
def memory() -> Iterator[str]:
    yield "memory://bucket"
    fs = fsspec.filesystem("memory")
    fs.rm("/bucket", recursive=True)


def test_an_object_store(archive: Path, tmp_path: Path, memory: str) -> None:
    """In and out by URL: the same rows, and no other object is there in the end."""
    fs = fsspec.filesystem("memory")
    for path in archive.iterdir():
        fs.pipe_file(f"/bucket/in/{path.name}", path.read_bytes())
    report = decode_archive([f"{memory}/in"], f"{memory}/out", engine="serial")
    assert (report.summary.captures, report.failures) == (40, [])
    found = fs.ls("/bucket/out", detail=False)
    assert len(found) == 4
    for name in found:
        fs.get_file(name, str(tmp_path / Path(name).name))
    rows = rows_in(tmp_path)
    assert only(rows[:1], "source", "id") == [("memory:///bucket/in/0.jsonl", "req_0")]
    again = decode_archive([f"{memory}/in"], f"{memory}/out", engine="serial")
    assert again == report


# --- captures that kill ------------------------------------------------------------------------------------


def test_a_capture_that_kills_its_worker(archive: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """Two deaths at the same place, after one that nobody saw, make it a row of error. The fourth try ends."""
    path = archive / "1.jsonl"
    path.write_bytes(path.read_bytes().replace(b"text 13", b"POISON").replace(b"text 19", b"POISON"))
    out = tmp_path / "out"
    command = (archive / "1.jsonl", "--out", out, "--engine", "serial", "-q")
    deaths = 0
    while True:
        process = start(environment, *command)
        _, err = process.communicate(timeout=60)
        if process.returncode == 0:
            break
        assert (process.returncode, err) == (-signal.SIGKILL, "")
        assert not list(out.glob("*.parquet"))
        deaths += 1
    assert deaths == 5
    rows = rows_in(out)
    assert [(row["id"], row["error"]) for row in rows if row["error"]] == [
        ("req_13", "WorkerDied"), ("req_19", "WorkerDied"),
    ]  # fmt: skip
    assert only([row for row in rows if not row["error"]], "outcome") == [("complete",)] * 8
    assert leftovers(out) == []


def test_a_mark_that_was_never_written_to_its_end(archive: Path, tmp_path: Path) -> None:
    """It says that somebody died, and no more."""
    (split, *_) = find_splits([str(archive)])
    out = tmp_path / "out"
    out.mkdir()
    (out / f".{split.name}.try").write_bytes(b'{"captu')
    assert run_split(split, str(out)).outcomes == {"complete": 10}
    assert leftovers(out) == []


def test_what_two_deaths_have_noted(archive: Path, tmp_path: Path) -> None:
    """A capture that stands in the mark once is read again, one that stands there twice is skipped."""
    (split, *_) = find_splits([str(archive)])
    out = tmp_path / "out"
    out.mkdir()
    (out / f".{split.name}.try").write_bytes(b'{"captures":[2,7,7]}')
    assert run_split(split, str(out)).errors == {"WorkerDied": 1}
    assert [row["id"] for row in rows_in(out) if row["error"]] == ["req_7"]
    assert leftovers(out) == []


# --- a job -------------------------------------------------------------------------------------------------


def test_a_job_that_was_killed_goes_on(archive: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """What was done stays as it is, what was begun is done again, and no row is lost or doubled."""
    path = archive / "2.jsonl"
    path.write_bytes(path.read_bytes().replace(b"text 25", b"HOLD 25"))
    out = tmp_path / "out"
    process = start(environment, archive, "--out", out, "--engine", "serial")
    assert held(environment) == process.pid
    process.kill()
    process.communicate(timeout=60)
    done = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    assert len(done) == 2
    assert len(leftovers(out)) == 2  # the mark, and the folder with what was written
    said = ended(start(environment, archive, "--out", out, "--engine", "serial"))
    assert "captures    40\n  complete  40\n" in said
    assert ids(out) == ALL
    assert {name: (out / name).stat().st_mtime_ns for name in done} == done
    assert leftovers(out) == []


def test_what_earlier_runs_did_is_counted(archive: Path, tmp_path: Path) -> None:
    """The report of a job that goes on is that of all of it, and no engine is started if nothing is left."""
    out = str(tmp_path / "out")
    first = decode_archive([str(archive / "0.jsonl")], out, engine="serial")
    seen: list[Progress] = []
    whole = decode_archive([str(archive)], out, engine="serial", listener=lambda found: seen.append(found))
    assert (first.summary.captures, whole.summary.captures) == (10, 40)
    assert [(found.splits_done, found.splits_kept, found.splits) for found in seen] == [
        (at, 1, 4) for at in (1, 2, 3, 4)
    ]  # fmt: skip
    assert seen[-1].bytes_done == seen[-1].bytes == sum(path.stat().st_size for path in archive.iterdir())
    assert decode_archive([str(archive)], out, engine="tcp://127.0.0.1:1") == whole


def test_another_state_of_the_input_doubles_nothing(archive: Path, tmp_path: Path) -> None:
    """The job refuses, and names what is there; told to, it replaces that. Files of other inputs stay."""
    out = tmp_path / "out"
    decode_archive([str(archive)], str(out), engine="serial")
    (out / "notes.txt").write_text("mine")
    with pytest.raises(OtherJob, match="holds 4 files of these inputs"):
        decode_archive([str(archive)], str(out), Options(message=False), engine="serial")
    (archive / "0.jsonl").write_bytes(line(0) + b"\n" + line(1))
    with pytest.raises(OtherJob, match="holds 1 file of these inputs"):
        decode_archive([str(archive)], str(out), engine="serial")
    before = set(out.iterdir())
    report = decode_archive([str(archive)], str(out), engine="serial", replace=True)
    assert report.summary.captures == 32
    assert len(rows_in(out)) == 32
    assert len(before & set(out.iterdir())) == 4


def test_the_table_is_no_input(archive: Path) -> None:
    """An output folder inside the input would be read by the next run."""
    out = archive / "out"
    decode_archive([str(archive)], str(out), engine="serial")
    with pytest.raises(ValueError, match=r"lies in .*, where the table goes"):
        decode_archive([str(archive)], str(out), engine="serial")


def test_what_cant_be_read_is_reported(archive: Path, tmp_path: Path) -> None:
    """The other splits are done; an error that may pass is tried again, one that stays is not."""
    (archive / "calls.parquet").write_bytes(b"no parquet")
    report = decode_archive([str(archive)], str(tmp_path / "out"), engine="serial")
    assert report.summary.captures == 40
    ((split, error),) = report.failures
    assert (Path(split.origin).name, type(error).__name__) == ("calls.parquet", "ArrowInvalid")


def test_errors_that_pass(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An OSError of a split is tried three times, one of a missing file once, a lost worker 50 times."""
    tries: list[str] = []
    answers: dict[str, Exception] = {
        "0.jsonl": ConnectionResetError("network"),
        "1.jsonl": FileNotFoundError("gone"),
        "2.jsonl": engines.WorkerLost("dead"),
        "3.jsonl": ValueError("no"),
    }

    def attempt(split: Any, out: str) -> Exception:
        tries.append(Path(split.origin).name)
        return answers[tries[-1]]

    monkeypatch.setattr(engines, "attempt", attempt)
    report = decode_archive([str(archive)], str(tmp_path / "out"), engine="serial")
    assert {name: tries.count(name) for name in answers} == {"0.jsonl": 3, "1.jsonl": 1, "2.jsonl": 50, "3.jsonl": 1}
    assert len(report.failures) == 4


class Broken(io.BytesIO):
    """A file that can be read so many times."""

    good = 0

    def read(self, size: int | None = -1) -> bytes:
        if self.good:
            self.good -= 1
            return super().read(size)
        raise ConnectionResetError("the network")


class Flaky(MemoryFileSystem):
    """A store of which the next reads fail, as many as `failures` says."""

    protocol = "flaky"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    failures = good = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(path.replace("flaky://", "memory://")))

    def _open(self, path: str, mode: str = "rb", **more: Any) -> Any:
        file = super()._open(path, mode, **more)
        if Flaky.failures and mode == "rb":
            Flaky.failures -= 1
            broken = Broken(file.getvalue())
            broken.good = Flaky.good
            return broken
        return file


@pytest.mark.parametrize(
    ("name", "good"),
    [("log.jsonl", 0), ("log.jsonl", 1), ("log.jsonl.gz", 0), ("log.jsonl.zst", 0), ("log.jsonl.zst", 1),
     ("calls.parquet", 0), ("calls.parquet", 1), ("one.sse", 0), ("one.sse.zst", 0)],
)  # fmt: skip
def test_a_network_that_breaks_costs_no_capture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, good: int
) -> None:
    """What the file system raises is no damage of the data: it is tried again, and then a failure, or a file's row."""
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    lines = b"\n".join(line(at) for at in range(5))
    pq.write_table(
        pa.table({"id": [f"req_{at}" for at in range(5)], "body": [stream()] * 5}), tmp_path / "calls.parquet"
    )
    packed = {
        "log.jsonl": lines,
        "log.jsonl.gz": gzip.compress(lines),
        "log.jsonl.zst": pa.Codec("zstd").compress(lines, asbytes=True),
        "calls.parquet": (tmp_path / "calls.parquet").read_bytes(),
        "one.sse": stream(),
        "one.sse.zst": pa.Codec("zstd").compress(stream(), asbytes=True),
    }
    captures = 1 if "one" in name else 5
    fs = fsspec.filesystem("flaky")
    fs.pipe_file(f"/in/{name}", packed[name])
    monkeypatch.setattr(Flaky, "good", good)
    Flaky.failures = 2
    report = decode_archive([f"flaky:///in/{name}"], str(tmp_path / "out"), engine="serial")
    assert (report.summary.captures, report.summary.outcomes, report.failures) == (captures, {"complete": captures}, [])
    Flaky.failures = 3
    report = decode_archive([f"flaky:///in/{name}"], str(tmp_path / "again"), engine="serial")
    assert Flaky.failures == 0
    if captures == 1:
        assert (report.summary.errors, report.failures) == ({"UnreadableFile": 1}, [])
    else:
        ((_, error),) = report.failures
        assert (report.summary.captures, str(error)) == (0, "the network")


def test_engines_have_names(archive: Path, tmp_path: Path) -> None:
    """Any other is a ValueError, and so are workers for an engine that has its own."""
    for engine, workers in (("spark", None), ("serial", 2), ("local", 0), ("tcp://127.0.0.1:1", 1)):
        with pytest.raises(ValueError, match="engine"):
            decode_archive([str(archive)], str(tmp_path / "out"), engine=engine, workers=workers)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("engine", "package"),
    [("local", "distributed"), ("tcp://127.0.0.1:1", "distributed"), ("ray://127.0.0.1:1", "ray")],
)
def test_an_engine_that_is_not_installed(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, package: str
) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=f"no module '{package}'; run: pip install"):
        decode_archive([str(archive)], str(tmp_path / "out"), engine=engine)


# --- clusters ----------------------------------------------------------------------------------------------


def test_a_local_cluster_with_poison(
    archive: Path, tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two captures of a split kill five workers: each is one row, and no other is lost, though Dask gives up at each."""
    dask = pytest.importorskip("dask")
    path = archive / "1.jsonl"
    path.write_bytes(path.read_bytes().replace(b"text 13", b"POISON").replace(b"text 19", b"POISON"))
    for at in range(40, 50):  # more files than Dask is given at once
        (archive / f"{at}.jsonl").write_bytes(line(at))
    out = tmp_path / "out"
    for name in ("PYTHONPATH", "HELD"):
        monkeypatch.setenv(name, environment[name])
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        report = decode_archive([str(archive)], str(out), engine="local", workers=2)
    assert report.failures == []
    assert report.summary.errors == {"WorkerDied": 2}
    assert ids(out) == [f"req_{at}" for at in range(50)]
    assert [row["id"] for row in rows_in(out) if row["error"]] == ["req_13", "req_19"]
    assert leftovers(out) == []


class Cluster:
    """A Dask scheduler and its workers: separate processes on loopback, that nobody starts again."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._environment = environment
        self._folder = folder
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, kind: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments]
        process = subprocess.Popen(command, env=self._environment, stderr=subprocess.PIPE, text=True, cwd=self._folder)
        self.processes.append(process)
        return process

    def scheduler(self) -> str:
        """Start it; its address, as it says it."""
        process = self.start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show")
        assert process.stderr is not None
        for text in process.stderr:
            if "Scheduler at:" in text:
                return "tcp://" + text.rpartition("tcp://")[2].strip()
        raise AssertionError("the scheduler ended")

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait(timeout=30)
            assert process.stderr is not None
            process.stderr.close()


@pytest.fixture
def cluster(environment: dict[str, str], tmp_path: Path) -> Iterator[Cluster]:
    found = Cluster(environment, tmp_path)
    yield found
    found.stop()


def test_a_cluster_by_address_of_which_a_worker_is_killed(
    archive: Path, tmp_path: Path, environment: dict[str, str], cluster: Cluster
) -> None:
    """The worker that was at it is killed on the way; the other does the rest, and three questions have answers."""
    duckdb = pytest.importorskip("duckdb", reason="no duckdb: what the table answers is NOT TESTED")
    path = archive / "2.jsonl"
    cut = stream("HOLD 25", tool=('{"a": 1', "}"))
    cut = cut[: cut.rindex(b'"}"')].rpartition(b"\n\n")[0] + b"\n\n"
    path.write_bytes(path.read_bytes().replace(line(25), line(25, cut)))
    out = tmp_path / "out"
    address = cluster.scheduler()
    process = start(environment, archive, "--out", out, "--engine", address)
    for _ in range(2):
        cluster.start("worker", address, "--no-nanny", "--nthreads", "1", "--no-dashboard")
    victim = held(environment)
    assert victim in {worker.pid for worker in cluster.processes[1:]}
    os.kill(victim, signal.SIGKILL)
    said = ended(process)
    assert "captures    40\n  complete  39\n  truncated 1\n" in said
    assert ids(out) == ALL
    assert leftovers(out) == []
    table = f"read_parquet('{out}/*.parquet')"
    assert duckdb.sql(
        f"select model, sum(output_tokens)::int from {table} where usage_is_final group by all"
    ).fetchall() == [("step-3.7-flash", 39 * 7)]
    calls = f"select t.name, t.input from (select unnest(tool_uses) t from {table}) where not t.valid"
    assert duckdb.sql(calls).fetchall() == [("look", '{"a": 1')]
    assert duckdb.sql(f"select count(*), count(distinct id) from {table}").fetchall() == [(40, 40)]


@pytest.fixture
def ray_address(environment: dict[str, str]) -> Iterator[str]:
    """A Ray cluster of two cores on this machine."""
    pytest.importorskip("ray", reason="no ray: its driver is NOT TESTED here; nox -s engines does it")
    program = Path(sys.executable).with_name("ray")
    client, store = free_port(), free_port()
    words = (
        f"start --head --block --num-cpus=2 --port={store} --ray-client-server-port={client} --include-dashboard=false"
    )
    with subprocess.Popen([program, *words.split()], env=environment, stdout=subprocess.PIPE, text=True) as head:
        assert head.stdout is not None
        for text in head.stdout:
            if "--block" in text:  # what it says once all is there
                break
        yield f"ray://127.0.0.1:{client}"
        head.terminate()
        head.stdout.read()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_ray_cluster(archive: Path, tmp_path: Path, environment: dict[str, str], ray_address: str) -> None:
    """The same over Ray by address, with a capture that kills its worker."""
    path = archive / "1.jsonl"
    path.write_bytes(path.read_bytes().replace(b"text 13", b"POISON"))
    out = tmp_path / "out"
    said = ended(start(environment, archive, "--out", out, "--engine", ray_address))
    assert "WorkerDied 1" in said
    assert ids(out) == ALL
    assert leftovers(out) == []
