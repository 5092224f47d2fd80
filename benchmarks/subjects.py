"""What can be measured: the floor, the library, and (in `benchmarks.peers`) everything else.

A subject turns the chunks of a body into outputs. While it is timed, they are dropped as they come. The check
before that keeps them and reduces them to what each stage must have found, in a form common to all:

    frames    (event name, data) of each frame
    events    (type, index, text) of each event
    message   the blocks with their texts and parsed tool arguments, and the stop reason
    consume   the same, by readers that give no events
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from time import perf_counter
from typing import Any

import msgspec

from sansio_step import (
    EventDecoder,
    Message,
    MessageStream,
    SSEDecoder,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
    to_dict,
)

from . import floor
from .targets import CORE, FLOOR, JSON_LOADS
from .workloads import Stream, Workload, piece_of

Digest = list[Any]
Pass = Callable[[], float]

# Takes everything that an iterator gives, at the lowest cost in Python.
exhaust: Callable[[Iterable[object]], None] = deque[object](maxlen=0).extend


@dataclass(frozen=True)
class Subject:
    """`outputs` reads its inputs lazily and gives what it makes of them; `digest` reduces that for the check."""

    name: str
    stage: str
    outputs: Callable[[Any], Iterable[Any]]
    digest: Callable[[list[Any]], Digest]
    # What it reads: by default, the chunks of a body.
    inputs: Callable[[Stream, str], Any] = lambda stream, chunking: stream.chunks(chunking)
    # False for subjects that read payloads already cut out: chunkings make no difference to them.
    chunked: bool = True
    # False for readers that keep pings to themselves: they are no less right.
    shows_pings: bool = True
    close: Callable[[], None] = field(default=lambda: None)

    def passes(self, workload: Workload, chunking: str) -> Pass:
        """A function that reads the workload once and returns the seconds that it took."""
        prepared = [self.inputs(stream, chunking) for stream in workload.streams]
        outputs = self.outputs

        def one_pass() -> float:
            start = perf_counter()
            for inputs in prepared:
                exhaust(outputs(inputs))
            return perf_counter() - start

        return one_pass

    def read(self, stream: Stream, chunking: str) -> Digest:
        return self.digest(list(self.outputs(self.inputs(stream, chunking))))

    def expected(self, stream: Stream) -> Digest:
        if self.stage == "frames":
            return [(frame.name, frame.payload.decode()) for frame in stream.frames]
        if self.stage == "events":
            return events_digest(event for event in stream.events if self.shows_pings or event["type"] != "ping")
        return message_digest(stream.expected_message)

    def is_right(self, workload: Workload, chunking: str) -> bool:
        """Whether it reads every stream of the workload as it should."""
        return all(self.read(stream, chunking) == self.expected(stream) for stream in workload.streams)


# -- what each stage must have found -----------------------------------------------------------------------


def events_digest(events: Iterable[dict[str, Any]]) -> Digest:
    return [(event["type"], event.get("index"), piece_of(event.get("delta") or {})) for event in events]


def message_digest(message: dict[str, Any]) -> Digest:
    return [*map(_block_digest, message["content"]), message["stop_reason"]]


def _block_digest(block: dict[str, Any]) -> tuple[str, Any]:
    for key in ("text", "thinking", "input"):
        if key in block:
            return block["type"], block[key]
    return block["type"], None


# -- the floor, and the standard library -------------------------------------------------------------------


def _floor_digest(events: list[Any]) -> Digest:
    return events_digest(map(msgspec.to_builtins, events))


def _json_loads(payloads: list[bytes]) -> Iterator[Any]:
    return map(json.loads, payloads)


floor_subject = Subject(
    FLOOR, "events", floor.decode, _floor_digest, inputs=lambda stream, _: floor.runs(stream.payloads), chunked=False
)
json_loads = Subject(
    JSON_LOADS, "events", _json_loads, events_digest, inputs=lambda stream, _: stream.payloads, chunked=False
)


# -- the library -------------------------------------------------------------------------------------------


def _frames(chunks: list[bytes]) -> Iterator[list[Any]]:
    decoder = SSEDecoder()
    return chain(map(decoder.receive_data, chunks), _at_end(decoder.receive_eof))


def _events(chunks: list[bytes]) -> Iterator[list[Any]]:
    decoder = EventDecoder()
    return chain(map(decoder.receive_data, chunks), _at_end(decoder.receive_eof))


def _message(chunks: list[bytes]) -> Iterator[Any]:
    stream = MessageStream()
    exhaust(map(stream.receive_data, chunks))
    yield _used(stream)


def _consume(chunks: list[bytes]) -> Iterator[Any]:
    stream = MessageStream()
    exhaust(map(stream.consume, chunks))
    yield _used(stream)


def _used(stream: MessageStream) -> Message:
    stream.receive_eof()
    message = stream.result()
    # Texts are joined and arguments parsed when they are read, and peers have done both by now.
    for block in message.content:
        if isinstance(block, TextBlock):
            block.text  # noqa: B018
        elif isinstance(block, ThinkingBlock):
            block.thinking  # noqa: B018
        elif isinstance(block, ToolUseBlock):
            block.input  # noqa: B018
    return message


def _at_end(receive_eof: Callable[[], list[Any]]) -> Iterator[list[Any]]:
    yield receive_eof()


def _frames_digest(batches: list[list[Any]]) -> Digest:
    return [(frame.event, frame.data) for batch in batches for frame in batch]


def _batches_digest(batches: list[list[Any]]) -> Digest:
    return events_digest(to_dict(event) for batch in batches for event in batch)


def _result_digest(messages: list[Any]) -> Digest:
    (message,) = messages
    return message_digest(to_dict(message))


core = (
    Subject(CORE["frames"], "frames", _frames, _frames_digest),
    Subject(CORE["events"], "events", _events, _batches_digest),
    Subject(CORE["message"], "message", _message, _result_digest),
    Subject(CORE["consume"], "consume", _consume, _result_digest),
)
