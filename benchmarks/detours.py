"""Off the beaten path: the same events in other shapes that the format allows, compared with the common shape.

Reading must not be slow if a server ends its lines in CRLF or sends no event lines.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from . import timing
from .subjects import Subject, core
from .targets import DETOUR
from .workloads import Frame, Stream, Workload, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNKINGS = ("64 KiB", "one event")


def _multi_line(frame: Frame) -> bytes:
    # White space between JSON's tokens may be a line end, so the payload is cut after its first comma.
    head, comma, tail = frame.payload.partition(b",")
    return frame.wire if not comma else b"event: %b\ndata: %b,\ndata: %b\n\n" % (frame.name.encode(), head, tail)


SHAPES: dict[str, Callable[[Frame], bytes]] = {
    "CRLF ends": lambda frame: frame.wire.replace(b"\n", b"\r\n"),
    "CR ends": lambda frame: frame.wire.replace(b"\n", b"\r"),
    "no space after data:": lambda frame: frame.wire.replace(b"\ndata: ", b"\ndata:"),
    "ids": lambda frame: b"id: 4711\n" + frame.wire,
    "comments between events": lambda frame: b": keep-alive\n\n" + frame.wire,
    "no event lines": lambda frame: frame.wire.partition(b"\n")[2],
    "multi-line data": _multi_line,
}

# Legal and measured, but the guard leaves it out: no server is known to send it.
UNGUARDED = frozenset({"CR ends"})


@dataclass(frozen=True)
class Detour:
    shape: str
    stage: str
    chunking: str
    ratio: float
    microseconds_an_event: float

    @property
    def met(self) -> bool:
        return self.ratio <= DETOUR

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"target": DETOUR, "met": self.met}


def reshaped(workload: Workload, shape: str) -> Workload:
    """The same events in another shape. (A line end inside a payload changes its text, not its meaning.)"""
    write = SHAPES[shape]
    streams = tuple(
        Stream(tuple(replace(frame, wire=write(frame)) for frame in stream.frames)) for stream in workload.streams
    )
    return Workload(f"{workload.name}, {shape}", workload.about, streams)


def is_right(subject: Subject, common: Workload, other: Workload, chunking: str) -> bool:
    """Whether a subject finds in another shape what it finds in the common one."""
    for plain, stream in zip(common.streams, other.streams, strict=True):
        if _normal(subject, subject.read(stream, chunking)) != _normal(subject, subject.expected(plain)):
            return False
    return True


def _normal(subject: Subject, digest: list[Any]) -> list[Any]:
    if subject.stage != "frames":
        return digest
    # Without event lines every frame is a `message`; data over two lines has a line end in it.
    return [data.replace(",\n", ",") for _, data in digest]


def groups() -> Iterator[tuple[Subject, str]]:
    """What is measured together: all shapes for one subject at one chunking."""
    return ((subject, chunking) for subject in core for chunking in CHUNKINGS)


def measure(subject: Subject, chunking: str, budget: float = timing.BUDGET) -> list[Detour]:
    common = text()
    others = {shape: reshaped(common, shape) for shape in SHAPES}
    for shape, other in others.items():
        if not is_right(subject, common, other, chunking):
            raise AssertionError(f"{subject.name} misreads the shape {shape!r}, {chunking}")
    plain, *seconds = timing.medians(
        [subject.passes(workload, chunking) for workload in (common, *others.values())], budget
    )
    return [
        Detour(shape, subject.stage, chunking, needed / plain, needed / common.event_count * 1e6)
        for shape, needed in zip(SHAPES, seconds, strict=True)
    ]
