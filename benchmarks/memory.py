"""Peak memory by tracemalloc, on top of the input: a decoder's peak must not grow with the stream."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sansio_step import EventDecoder, SSEDecoder, parse

from . import workloads
from .growth import LIMIT, MIB, one_line
from .subjects import exhaust
from .targets import MEMORY_CHUNK, MEMORY_EVENT, MEMORY_PARSE
from .workloads import Stream, pieces

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Peak:
    """Bytes at the peak and the bytes that are allowed, for one subject on one input."""

    subject: str
    input: str
    peak: int
    allowed: float

    @property
    def met(self) -> bool:
        return self.peak <= self.allowed

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"met": self.met}


def measure() -> list[Peak]:
    result = []
    (text,) = workloads.text().streams
    (long_text,) = workloads.text(80_000).streams
    for name, stream in {"text": text, "text, ten times as long": long_text}.items():
        body = stream.body
        result.append(Peak("parse(body)", name, _peak(parse, body), MEMORY_PARSE * len(body)))
    inputs: list[tuple[str, Stream, int]] = [
        ("text, 64 KiB chunks", text, 64 * 1024),
        ("text, ten times as long, 64 KiB chunks", long_text, 64 * 1024),
        ("text, 1460 B chunks", text, 1460),
        ("one line of 8 MiB, 1460 B chunks", one_line(8 * MIB, b"\n"), 1460),
    ]
    for name, stream, size in inputs:
        chunks = pieces(stream.body, size)
        allowed = MEMORY_EVENT * max(len(frame.wire) for frame in stream.frames) + MEMORY_CHUNK * size
        result += [
            Peak(decoder.__name__, name, _peak(_decode, decoder, chunks), allowed)
            for decoder in (SSEDecoder, EventDecoder)
        ]
    return result


def _decode(decoder: type[SSEDecoder] | type[EventDecoder], chunks: list[bytes]) -> None:
    reader = decoder(max_event_size=LIMIT)
    exhaust(map(reader.receive_data, chunks))
    reader.receive_eof()


def _peak(work: Callable[..., object], *arguments: object) -> int:
    work(*arguments)  # once before, so that caches and lazy imports don't count
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        work(*arguments)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
