"""What an archive costs: `python -m benchmarks --archive [CAPTURES]`, against the same work done by hand.

The archive is made by a seed: streams in the shapes of the other workloads with some hundred events on average, one in
2,000 of them with 20,000 events, one in 100 damaged as captures are, as .jsonl.gz. A folder of captured streams (*.sse),
if one is named, gives one in 40. Each way to decode it is a process of its own, and its CPU seconds are those of all
its processes. The yardstick is what one would write by hand: gunzip, the JSON of a line, `consume`, Arrow, Parquet.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from . import workloads
from .targets import ARCHIVE_DASK, ARCHIVE_SERIAL, ARCHIVE_SPEEDUP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CAPTURES: Final = 15_000
FILES: Final = 32
ROUNDS: Final = 3
WAYS: Final = ("by hand", "serial", "dask, 1 worker", "dask, 2 workers", "dask, nothing to do")

_HUGE: Final = 2_000
_REAL: Final = 40
_DAMAGED: Final = 100


@dataclass(frozen=True)
class Run:
    """One way once: CPU seconds of all processes, and the wall time from the first split to the last."""

    way: str
    cpu: float
    wall: float


@dataclass(frozen=True)
class Check:
    """A ratio of two ways, and what it shall be: at most so much, or at least for a speed-up."""

    name: str
    value: float
    target: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.target if self.at_least else self.value <= self.target

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"met": self.met}


# -- the archive -------------------------------------------------------------------------------------------


def build(folder: Path, captures: int = CAPTURES, files: int = FILES, real: Path | None = None) -> tuple[int, int]:
    """Write an archive of so many captures; the bytes of all bodies, and of the files."""
    rng = random.Random(workloads.SEED)
    pool = _pool(rng)
    huge = workloads.text(20_000).streams[0].body
    captured = [path.read_bytes() for path in sorted(real.glob("*.sse"))] if real else []
    size = packed = 0
    for number in range(files):
        lines = []
        for at in range(number, captures, files):
            if captured and at % _REAL == 1:
                body = rng.choice(captured)
            else:
                body = huge if at % _HUGE == _HUGE - 1 else rng.choice(pool)
            body = body.replace(b"msg_01BenchmarkBenchmark", b"msg_%012d" % at)
            if at % _DAMAGED == 7:
                body = rng.choice(_DAMAGES)(rng, body)
            size += len(body)
            record = {"id": f"req_{at:08}", "status": 200, "body": body.decode("utf-8", "replace"), "ms": at % 977}
            lines.append(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        path = folder / f"log-{number:04}.jsonl.gz"
        path.write_bytes(gzip.compress(b"".join(lines), 6, mtime=0))
        packed += path.stat().st_size
    return size, packed


def _pool(rng: random.Random) -> list[bytes]:
    """Bodies with 10 to 1,500 events, some 300 on average."""
    sizes = [min(max(int(rng.lognormvariate(5.2, 0.9)), 10), 1_500) for _ in range(40)]
    made = [workloads.text(size) for size in sizes]
    made += [workloads.tools(1024 * rng.randint(1, 12), 12) for _ in range(12)]
    made += [workloads.mixed(rng.uniform(0.01, 0.08)) for _ in range(16)]
    return [stream.body for workload in (*made, workloads.short()) for stream in workload.streams]


def _with_flipped_bit(rng: random.Random, body: bytes) -> bytes:
    at = rng.randrange(len(body))
    return body[:at] + bytes((body[at] ^ 1 << rng.randrange(7),)) + body[at + 1 :]


_DAMAGES: Final[tuple[Callable[[random.Random, bytes], bytes], ...]] = (
    lambda rng, body: body[: rng.randrange(1, len(body))],
    lambda rng, body: b"",
    lambda rng, body: b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
    _with_flipped_bit,
    lambda rng, body: (
        body[: len(body) // 2].rpartition(b"\n\n")[0]
        + b'\n\nevent: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
    ),
    lambda rng, body: body.replace(b"data: {", b"data: {{", 1),
    lambda rng, body: b'{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}',
)


# -- the ways to decode it ---------------------------------------------------------------------------------


def by_hand(source: Path, out: Path) -> None:
    """The yardstick: the same columns, with nothing around them."""
    # The other parts of the benchmarks need none of these.
    import msgspec  # noqa: PLC0415
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    from sansio_step import MessageStream, StreamError, ToolInputError, to_json  # noqa: PLC0415
    from sansio_step_adapters.archive import SCHEMA  # noqa: PLC0415

    class Line(msgspec.Struct):
        id: str
        body: str

    schema = pa.schema([("id", pa.string()), *SCHEMA])
    decoder = msgspec.json.Decoder(Line)
    astuple = msgspec.structs.astuple
    for path in sorted(source.glob("*.jsonl.gz")):
        rows: list[tuple[Any, ...]] = []
        with gzip.open(path) as file, pq.ParquetWriter(out / f"{path.name}.parquet", schema, compression="zstd") as to:
            for raw in file:
                line = decoder.decode(raw)
                body = line.body.encode()
                stream = MessageStream(on_fault="keep")
                stream.consume(body)
                stream.receive_eof()
                message, error = stream.message, None
                try:
                    stream.result()
                except StreamError as caught:
                    error = caught
                head: tuple[Any, ...] = (None,) * 7
                tail: tuple[Any, ...] = (None, None, None, None, False)
                texts: tuple[Any, ...] = (None, None)
                calls, kinds = [], []
                if message is not None:
                    usage = message.usage
                    head = (message.id, message.model, message.stop_reason, message.stop_sequence)
                    head += (usage.service_tier if usage else None,)
                    kinds = [block.type for block in message.content]
                    texts = (message.text, "".join(b.thinking for b in message.content if b.type == "thinking"))
                    for block in message.tool_uses:
                        try:
                            parsed, valid = block.input, True
                            given = block.input_json or msgspec.json.encode(parsed)
                        except ToolInputError:
                            given, valid = block.input_json, False
                        calls.append((block.id, block.name, given, valid))
                    if usage:
                        tail = (usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens)
                        tail += (usage.cache_creation_input_tokens, stream.usage_is_final)
                found = (
                    (type(error).__name__, None, error.reason, error.event_number, error.byte_offset) if error else ()
                )
                rows.append((
                    line.id, "stream", stream.outcome.value, *head[:5], *texts, calls, kinds, *tail,
                    to_json(message) if message is not None else None, None, None,
                    len(stream.messages), stream.event_count, len(body), list(map(astuple, stream.deviations)),
                    *(found or (None,) * 5), None, "",
                ))  # fmt: skip
                if len(rows) == 1024:
                    to.write_batch(_batch(pa, rows, schema))
                    rows = []
            if rows:
                to.write_batch(_batch(pa, rows, schema))


def _batch(pa: Any, rows: list[tuple[Any, ...]], schema: Any) -> Any:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def run(way: str, source: Path, out: Path) -> float:
    """Decode an archive in one of the ways, in this process and its children; the wall time, start-up aside."""
    begin = time.perf_counter()
    if way == "by hand":
        by_hand(source, out)
        return time.perf_counter() - begin
    from sansio_step_adapters.archive import decode_archive  # noqa: PLC0415

    # Splits end on all workers at once from the second moment on: until the first has ended, the cluster starts.
    seen: list[tuple[float, int]] = []
    engine, _, workers = way.partition(", ")
    if workers == "nothing to do":
        source = out / "one.jsonl"
        source.write_bytes(b'{"body":null}')
    report = decode_archive(
        [str(source)],
        str(out / "table"),
        engine="serial" if engine == "serial" else "local",
        workers=None if engine == "serial" else 2 if workers == "nothing to do" else int(workers.split()[0]),
        listener=lambda progress: seen.append((time.perf_counter(), progress.splits_done)),
    )
    if report.failures:
        raise SystemExit(f"{way}: {report.failures[0]}")
    # From the first split's end, when every worker is busy, for the share of the splits that are left.
    if engine == "serial" or len(seen) < 3:
        return time.perf_counter() - begin
    (first, done), (last, all_done) = seen[1], seen[-1]
    return (last - first) * all_done / (all_done - done)


def measure(source: Path, rounds: int = ROUNDS) -> Iterator[Run]:
    """Each way, in turn, so that a busy minute hits all alike."""
    for _ in range(rounds):
        for way in WAYS:
            with tempfile.TemporaryDirectory() as out:
                yield _in_process(way, source, Path(out))


def _in_process(way: str, source: Path, out: Path) -> Run:
    here = os.pathsep.join(path for path in sys.path if path)
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.archive", way, str(source), str(out)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": here},
    )
    assert process.stdout is not None
    with process.stdout as pipe:
        written = pipe.read()
    # The usage of a process has that of the children that it waited for, as a cluster waits for its workers.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{way} failed")
    return Run(way, usage.ru_utime + usage.ru_stime, json.loads(written))


def checks(runs: list[Run]) -> list[Check]:
    """The ratios of medians that have a target."""

    def cpu(way: str) -> float:
        return median(found.cpu for found in runs if found.way == way)

    def wall(way: str) -> float:
        return median(found.wall for found in runs if found.way == way)

    hand = cpu("by hand")
    return [
        Check("serial, CPU seconds, times by hand", cpu("serial") / hand, ARCHIVE_SERIAL),
        Check(
            "dask, 2 workers, CPU seconds without those of its start, times by hand",
            (cpu("dask, 2 workers") - cpu("dask, nothing to do")) / hand,
            ARCHIVE_DASK,
        ),
        Check(
            "dask, 2 workers, times as fast as 1",
            wall("dask, 1 worker") / wall("dask, 2 workers"),
            ARCHIVE_SPEEDUP,
            True,
        ),
    ]


def report(captures: int, real: Path | None, say: Callable[[str], None], rounds: int = ROUNDS) -> dict[str, Any]:
    """Build, measure, and say what was found."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        size, packed = build(source, captures, real=real)
        say(f"{captures:,} captures, {size / 1e6:,.0f} MB of bodies, {packed / 1e6:,.1f} MB in {FILES} .jsonl.gz")
        runs = []
        for found in measure(source, rounds):
            runs.append(found)
            rate = f", {captures / found.wall:,.0f} captures a second" if "nothing" not in found.way else ""
            say(f"{found.way:<20} {found.cpu:6.2f} CPU s, {found.wall:6.2f} s{rate}")
    judged = checks(runs)
    for check in judged:
        bound = "at least" if check.at_least else "at most"
        say(f"{check.name}: {check.value:.2f}, {bound} {check.target} {'met' if check.met else 'MISSED'}")
    return {
        "captures": captures,
        "bytes": size,
        "runs": list(map(asdict, runs)),
        "checks": [c.as_dict() for c in judged],
    }


def main() -> None:
    """One way in this process, for `measure`; or an archive to try the program on."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.archive", description=__doc__)
    parser.add_argument("way", choices=["build", *WAYS], help="build makes an archive, the others decode one")
    parser.add_argument("folder", type=Path, help="where the archive is, or shall be")
    parser.add_argument("out", type=Path, nargs="?", help="the folder for the table")
    parser.add_argument("--captures", type=int, default=CAPTURES, help="of an archive to build (default %(default)s)")
    options = parser.parse_args()
    if options.way == "build":
        options.folder.mkdir(parents=True, exist_ok=True)
        print("{:,} bytes of bodies in {:,} bytes".format(*build(options.folder, options.captures)))
    elif options.out is None:
        parser.error("name a folder for the table")
    else:
        print(json.dumps(run(options.way, options.folder, options.out)))


if __name__ == "__main__":
    main()
