"""What the library is held to: the one table of targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Names of subjects, used by the table below, by the reports and by the chart.
CORE: Final = {
    "frames": "sansio-step SSEDecoder",
    "events": "sansio-step EventDecoder",
    "message": "sansio-step MessageStream",
    "consume": "sansio-step MessageStream.consume",
}
FLOOR: Final = "floor: msgspec on cut payloads"
JSON_LOADS: Final = "json.loads on cut payloads"
SDK_FRAMES: Final = "anthropic SSE decoder"
SDK_EVENTS: Final = "anthropic typed stream"
SDK_MESSAGE: Final = "anthropic messages.stream()"
LAUNCHDARKLY: Final = "launchdarkly-eventsource"
HTTPX_SSE: Final = "httpx-sse"
SSECLIENT: Final = "sseclient-py"
NODE: Final = "eventsource-parser + JSON.parse (Node)"
PYDANTIC_AI: Final = "pydantic-ai"
JSONRIVER: Final = "jsonriver"


WORKLOADS: Final = ("text", "tools", "mixed", "short")


@dataclass(frozen=True)
class Target:
    """One row: at these chunkings a stage takes at most so many times as long as the floor.

    `floor` has one limit for each of WORKLOADS, or one for all. Each of the `peers` takes at least so many times as long
    as the stage, on the workloads of long streams.
    """

    stage: str
    chunkings: tuple[str, ...]
    floor: tuple[float, ...]
    peers: dict[str, float]

    def floor_for(self, workload: str) -> float:
        return self.floor[0] if len(self.floor) == 1 else self.floor[WORKLOADS.index(workload)]

    def peers_for(self, workload: str) -> dict[str, float]:
        # A peer too pays once for each stream, and what that costs says nothing about an event.
        return {} if workload == "short" else self.peers


# They hold as medians of one run on two noisy cores.
TARGETS: Final = (
    Target("frames", ("64 KiB",), (2.4,), {LAUNCHDARKLY: 2, HTTPX_SSE: 5, SDK_FRAMES: 6}),
    Target("frames", ("one event",), (3.5,), {LAUNCHDARKLY: 2, HTTPX_SSE: 3, SDK_FRAMES: 4}),
    Target("events", ("whole", "64 KiB"), (1.4, 1.4, 1.5, 4), {SDK_EVENTS: 35, NODE: 1.8}),
    Target("events", ("1460 B",), (2.1, 2.1, 2.1, 5.5), {SDK_EVENTS: 25}),
    Target("events", ("one event",), (2.6, 2.6, 2.6, 5.5), {SDK_EVENTS: 15}),
    Target("events", ("three events",), (5.0, 5.0, 5.0, 6.5), {}),
    Target("message", ("whole", "64 KiB"), (1.8, 1.8, 2.0, 6), {SDK_MESSAGE: 70}),
    Target("message", ("1460 B",), (2.8, 2.8, 2.8, 9), {}),
    Target("message", ("one event",), (3.9, 3.9, 3.9, 9), {SDK_MESSAGE: 35}),
    Target("message", ("three events",), (7.0, 7.0, 7.0, 15), {}),
    Target("consume", ("whole", "64 KiB"), (1.8, 1.8, 2.0, 6), {}),
    Target("consume", ("1460 B",), (2.2, 2.2, 2.6, 6.5), {}),
    Target("consume", ("one event",), (2.4, 2.4, 2.8, 7), {}),
)

# The guard fails only this far above a target, so that noise can't fail it. The target that is furthest away is that of the
# message with one event a chunk: in short streams it takes 13.8 times the floor instead of 9.
GUARD_TOLERANCE: Final = 2.0

# Input off the beaten path (`benchmarks.detours`) costs at most this many times the common shape.
DETOUR: Final = 3.0

# Growth of the time per byte (`benchmarks.growth`), relative to the growth of msgspec in the same run ...
GROWTH_OF_MSGSPEC: Final = 1.5
# ... and what counts as flat. Up to 8 MiB it must be flat if msgspec's is.
GROWTH_FLAT: Final = 1.3

# Tool arguments while they grow (`benchmarks.arguments`): jsonriver takes at least so many times as long ...
ARGUMENTS_OF_JSONRIVER: Final = 2.0
# ... one long string at most so many times as long as joining its pieces and decoding the text once ...
ARGUMENTS_OF_MSGSPEC: Final = 25.0
# ... and a piece costs the same from 16 KiB to 4 MiB.
ARGUMENTS_FLAT: Final = 1.3

# Peak memory: of `parse`, in bodies; of the decoders, in largest events plus chunks.
MEMORY_PARSE: Final = 2.5
MEMORY_EVENT: Final = 4.0
MEMORY_CHUNK: Final = 12.0

# `import sansio_step` on top of `import msgspec`, in seconds. Printed, not judged.
IMPORT_SECONDS: Final = 0.015


def target_for(stage: str, chunking: str) -> Target | None:
    """The row for a stage at a chunking, None if the table has none."""
    return next((row for row in TARGETS if row.stage == stage and chunking in row.chunkings), None)


# An archive in .jsonl.gz to Parquet, in CPU seconds against the same by hand; and how much faster two workers are.
ARCHIVE_SERIAL: Final = 1.15
ARCHIVE_DASK: Final = 1.35
ARCHIVE_SPEEDUP: Final = 1.8
