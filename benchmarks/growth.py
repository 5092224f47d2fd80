"""Whether costs are linear: the time per byte at growing sizes, compared with msgspec's own in the same run.

The floor grows too: page faults make msgspec alone up to three times as slow per byte on a
payload of 64 MiB as on one of 64 KiB. So each curve is judged relative to the floor's on the same payloads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from time import perf_counter
from typing import Any

from sansio_step import EventDecoder, MessageStream, SSEDecoder

from . import floor, timing, workloads
from .subjects import Pass, exhaust
from .targets import GROWTH_FLAT, GROWTH_OF_MSGSPEC
from .workloads import Stream, pieces

KIB = 1024
MIB = 1024 * KIB
LIMIT = 256 * MIB
# A pass shorter than this is repeated, because otherwise the cost of the clock and of the rounds would show.
SHORTEST = 2e-3

Consume = Callable[[list[bytes]], object]


@dataclass(frozen=True)
class Curve:
    """One kind of input at growing sizes; `make` gets each of `sizes`."""

    name: str
    sizes: tuple[int, ...]
    unit: str
    make: Callable[[int], Stream]
    cut: Callable[[Stream], list[bytes]]
    subjects: Mapping[str, Consume]


@dataclass(frozen=True)
class Point:
    """`growth` is the time per byte relative to the curve's smallest size; `reference` is msgspec's."""

    curve: str
    subject: str
    size: str
    body: int
    nanoseconds_a_byte: float
    growth: float
    reference: float

    @property
    def target(self) -> float:
        """At most 1.5 times the growth of msgspec; up to 8 MiB also flat if msgspec's is."""
        most = GROWTH_OF_MSGSPEC * max(self.reference, 1.0)
        if self.body <= 8.1 * MIB and self.reference <= GROWTH_FLAT:
            return min(most, GROWTH_FLAT)
        return most

    @property
    def met(self) -> bool:
        return self.growth <= self.target

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"target": round(self.target, 3), "met": self.met}


# -- subjects, with limits out of the way ------------------------------------------------------------------


def _floor(runs: list[floor.Run]) -> None:
    exhaust(floor.decode(runs))


def _frames(chunks: list[bytes]) -> None:
    decoder = SSEDecoder(max_event_size=LIMIT)
    exhaust(map(decoder.receive_data, chunks))
    decoder.receive_eof()


def _events(chunks: list[bytes]) -> None:
    decoder = EventDecoder(max_event_size=LIMIT)
    exhaust(map(decoder.receive_data, chunks))
    decoder.receive_eof()


def _message(chunks: list[bytes]) -> None:
    stream = MessageStream(max_event_size=LIMIT, max_message_size=LIMIT)
    exhaust(map(stream.receive_data, chunks))
    stream.receive_eof()
    message = stream.result()
    for block in message.tool_uses:
        block.input  # noqa: B018
    message.text  # noqa: B018


# -- inputs ------------------------------------------------------------------------------------------------


def one_line(size: int, line_end: bytes) -> Stream:
    """One delta whose text fills a data line of this size."""
    event = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": "step by " * (size // 8)},
    }
    frame = workloads.frame(event)
    return Stream((workloads.Frame(frame.name, frame.payload, frame.wire.replace(b"\n", line_end)),))


def _packets(stream: Stream) -> list[bytes]:
    return pieces(stream.body, 1460)


def _one_byte(stream: Stream) -> list[bytes]:
    return pieces(stream.body, 1)


def _large(stream: Stream) -> list[bytes]:
    return pieces(stream.body, 64 * KIB)


def _only(workload: workloads.Workload) -> Stream:
    (stream,) = workload.streams
    return stream


def curves(largest_line: int = 64 * MIB) -> Iterator[Curve]:
    lines = tuple(size for size in (64 * KIB, MIB, 8 * MIB, 64 * MIB) if size <= largest_line)
    decoders = {"SSEDecoder": _frames, "EventDecoder": _events}
    for name, line_end in {"LF": b"\n", "CR": b"\r", "CRLF": b"\r\n"}.items():
        yield Curve(
            f"one data line, {name}, in 1460 B",
            lines,
            "bytes",
            partial(one_line, line_end=line_end),
            _packets,
            decoders,
        )
    yield Curve(
        "one data line, byte by byte",
        (16 * KIB, 128 * KIB, MIB),
        "bytes",
        lambda n: one_line(n, b"\n"),
        _one_byte,
        decoders,
    )
    yield Curve(
        "text, byte by byte",
        (100, 1_000, 10_000),
        "deltas",
        lambda n: _only(workloads.text(n)),
        _one_byte,
        {"MessageStream": _message},
    )
    yield Curve(
        "tool arguments in 20 B pieces",
        (16 * KIB, 256 * KIB, MIB, 4 * MIB),
        "bytes",
        lambda n: _only(workloads.tools(n)),
        _large,
        {"MessageStream": _message},
    )
    yield Curve(
        "deltas in one block",
        (1_000, 10_000, 100_000),
        "deltas",
        lambda n: _only(workloads.text(n)),
        _large,
        {"MessageStream": _message},
    )
    yield Curve(
        "blocks in one message",
        (100, 1_000, 10_000),
        "blocks",
        lambda n: _only(workloads.blocks(n)),
        _large,
        {"MessageStream": _message},
    )


# -- measuring ---------------------------------------------------------------------------------------------


def measure(curve: Curve, budget: float = timing.BUDGET) -> list[Point]:
    streams = [curve.make(size) for size in curve.sizes]
    bodies = [len(stream.body) for stream in streams]
    passes: list[Pass] = []
    for stream in streams:
        runs = floor.runs(stream.payloads)
        passes.append(_pass(_floor, runs))
        chunks = curve.cut(stream)
        passes += [_pass(consume, chunks) for consume in curve.subjects.values()]
    times = timing.best(passes, budget)

    width = 1 + len(curve.subjects)
    per_byte = [
        [seconds / body for seconds in times[row * width : (row + 1) * width]] for row, body in enumerate(bodies)
    ]
    return [
        Point(
            curve.name,
            subject,
            _size_name(size, curve.unit),
            body,
            nanoseconds_a_byte=row[column] * 1e9,
            growth=row[column] / per_byte[0][column],
            reference=row[0] / per_byte[0][0],
        )
        for column, subject in enumerate(curve.subjects, 1)
        for size, body, row in zip(curve.sizes, bodies, per_byte, strict=True)
    ]


def _pass(work: Callable[[Any], object], inputs: object) -> Pass:
    """A pass that repeats short work and returns the seconds of one repetition."""
    start = perf_counter()
    work(inputs)
    times = max(1, round(SHORTEST / (perf_counter() - start)))

    def one_pass() -> float:
        start = perf_counter()
        for _ in range(times):
            work(inputs)
        return (perf_counter() - start) / times

    return one_pass


def _size_name(size: int, unit: str) -> str:
    if unit != "bytes":
        return f"{size:,} {unit}"
    return f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB"
