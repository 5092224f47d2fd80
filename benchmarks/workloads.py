"""The input of the measurements: streams from seeded generators, streams of a folder, and the ways of cutting them.

The payloads look like the first party's: compact JSON, with a few spaces before the last brace.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

SEED = 20261


@dataclass(frozen=True)
class Frame:
    """One event on the wire, and what a reader should find in it."""

    name: str
    payload: bytes
    wire: bytes


@dataclass(frozen=True)
class Stream:
    """One response body. `expected_message` is what `assemble` makes of it."""

    frames: tuple[Frame, ...]

    @cached_property
    def body(self) -> bytes:
        return b"".join(frame.wire for frame in self.frames)

    @cached_property
    def payloads(self) -> list[bytes]:
        return [frame.payload for frame in self.frames]

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(payload) for payload in self.payloads]

    @cached_property
    def expected_message(self) -> dict[str, Any]:
        return assemble(self.events)

    def chunks(self, chunking: str) -> list[bytes]:
        return CHUNKINGS[chunking](self)


@dataclass(frozen=True)
class Workload:
    """Streams that are measured as one, each with a decoder of its own. `about` says what they probe."""

    name: str
    about: str
    streams: tuple[Stream, ...]

    @property
    def event_count(self) -> int:
        return sum(len(stream.frames) for stream in self.streams)

    @property
    def size(self) -> int:
        return sum(len(stream.body) for stream in self.streams)


# -- chunkings ---------------------------------------------------------------------------------------------


def pieces(body: bytes, size: int) -> list[bytes]:
    """`body` in pieces of `size` bytes."""
    return [body[start : start + size] for start in range(0, len(body), size)]


CHUNKINGS: dict[str, Callable[[Stream], list[bytes]]] = {
    # A body that is there already: a capture, a test, a queue.
    "whole": lambda stream: [stream.body],
    # What a proxy or a busy reader hands over.
    "64 KiB": lambda stream: pieces(stream.body, 64 * 1024),
    # One Ethernet packet.
    "1460 B": lambda stream: pieces(stream.body, 1460),
    # A live stream: servers flush each event.
    "one event": lambda stream: [frame.wire for frame in stream.frames],
    # The same, read by somebody who is busy or behind TLS: a few whole events each time.
    "three events": lambda stream: [
        b"".join(frame.wire for frame in stream.frames[start : start + 3]) for start in range(0, len(stream.frames), 3)
    ],
    # The worst that can happen.
    "one byte": lambda stream: pieces(stream.body, 1),
}


# -- generators --------------------------------------------------------------------------------------------


def text(deltas: int = 8_000) -> Workload:
    return Workload(
        "text",
        f"{deltas:,} short text deltas: the cost of one small event, which is what a chat is made of",
        (_stream(random.Random(SEED), _text_block(random.Random(SEED + 1), 0, deltas, _WORDS)),),
    )


def tools(size: int = 256 * 1024, piece: int = 20) -> Workload:
    return Workload(
        "tools",
        f"{size // 1024} KiB of tool arguments in {piece}-byte pieces: escapes inside escapes, and whether "
        "collecting them stays linear",
        (_stream(random.Random(SEED), _tool_block(random.Random(SEED + 2), 0, size, piece)),),
    )


def mixed(scale: float = 1.0) -> Workload:
    rng = random.Random(SEED + 3)
    size = int(6_000 * scale)
    blocks = [
        *_thinking_block(rng, 0, int(1_500 * scale)),
        *_text_block(rng, 1, int(3_000 * scale), _WORDS + _MULTI_BYTE),
        *_tool_block(rng, 2, size, 12),
        *_tool_block(rng, 3, size, 12),
        *_tool_block(rng, 4, size, 12),
    ]
    return Workload(
        "mixed",
        "thinking with a signature, multi-byte text, three tools, pings: every kind of delta in one message",
        (_stream(rng, _with_pings(rng, blocks)),),
    )


def blocks(count: int) -> Workload:
    """Many text blocks of one delta each. Used by the section on growth."""
    rng = random.Random(SEED + 4)
    events = [event for index in range(count) for event in _text_block(rng, index, 1, _WORDS)]
    return Workload("blocks", f"{count:,} blocks in one message", (_stream(rng, events),))


# How many deltas a stream of `short` has: the tenths of 75 captured streams, and what lies between them.
_SHORT = (1, 2, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9, 10, 12, 13, 15, 18, 21, 26, 30, 42, 60, 95, 150)


def short() -> Workload:
    """Streams as people have them. A stream pays once for its start and end, and few deltas share that."""
    rng = random.Random(SEED + 5)
    streams = []
    for number, deltas in enumerate(_SHORT):
        answer = _text_block(rng, 0, deltas, _WORDS)
        if number % 4 == 1:
            events = _tool_block(rng, 0, 100 + 16 * deltas, 16)
        elif number % 4 == 2:
            events = answer + _tool_block(rng, 1, 120, 16)
        elif number % 4 == 3:
            events = _thinking_block(rng, 0, deltas // 2) + _text_block(rng, 1, deltas - deltas // 2, _WORDS)
        else:
            events = answer
        streams.append(_stream(rng, [events[0], {"type": "ping"}, *events[1:]], usage=_FULL_USAGE))
    about = f"{len(streams)} streams of {_SHORT[0]} to {_SHORT[-1]} deltas, each its own body: as people have them"
    return Workload("short", about, tuple(streams))


def standard() -> tuple[Workload, ...]:
    """The four workloads that the targets speak of."""
    return text(), tools(), mixed(), short()


_WORDS = [" the", " of", " stream", "ing", " tokens", " arrive", ",", ".", " at", " a", " time", "\n\n", ' "so"']
_MULTI_BYTE = ["你好", "，世界", "阶跃", "星辰", " naïve", " café", "🙂", "🚀🚀", "データ", " Привет", "—"]

Event = dict[str, Any]


# What the first party counts in every message_start.
_FULL_USAGE: Event = {
    "input_tokens": 472,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 2,
    "service_tier": "standard",
}


def _stream(rng: random.Random, content: Iterable[Event], usage: Event | None = None) -> Stream:
    start: Event = {
        "type": "message_start",
        "message": {
            "id": "msg_01BenchmarkBenchmark",
            "type": "message",
            "role": "assistant",
            "model": "step-3.5-flash",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage or {"input_tokens": 472, "output_tokens": 2},
        },
    }
    end: list[Event] = [
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 8_192},
        },
        {"type": "message_stop"},
    ]
    return Stream(tuple(frame(event, rng.randrange(12)) for event in [start, *content, *end]))


def frame(event: Event, spaces: int = 0) -> Frame:
    """An event as the first party writes it, with spaces before the last brace."""
    compact = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    payload = f"{compact[:-1]}{' ' * spaces}}}".encode()
    return Frame(event["type"], payload, b"event: %b\ndata: %b\n\n" % (event["type"].encode(), payload))


def _text_block(rng: random.Random, index: int, deltas: int, words: list[str]) -> list[Event]:
    # One to four words a delta: servers put a few tokens into each.
    texts = ["".join(rng.choices(words, k=rng.randint(1, 4))) for _ in range(deltas)]
    return _block(index, {"type": "text", "text": ""}, [{"type": "text_delta", "text": text} for text in texts])


def _thinking_block(rng: random.Random, index: int, deltas: int) -> list[Event]:
    texts = ["".join(rng.choices(_WORDS, k=rng.randint(1, 4))) for _ in range(deltas)]
    signature = "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", k=400))
    return _block(
        index,
        {"type": "thinking", "thinking": "", "signature": ""},
        [
            *({"type": "thinking_delta", "thinking": text} for text in texts),
            {"type": "signature_delta", "signature": signature},
        ],
    )


def _tool_block(rng: random.Random, index: int, size: int, piece: int) -> list[Event]:
    # A file as an argument: long, and full of quotes and line ends that are escaped twice on the wire.
    code: list[str] = []
    written = 0
    while written < size - 100:
        line = f'    {rng.choice(_NAMES)} = {rng.choice(_NAMES)}({rng.randrange(10_000)}, "{rng.choice(_NAMES)}")\n'
        code.append(line)
        written += len(line) + 3  # the two quotes and the line end take a backslash each
    arguments = json.dumps({"path": "src/module.py", "overwrite": True, "mode": 420, "content": "".join(code)})
    return _block(
        index,
        {"type": "tool_use", "id": f"toolu_{index:024}", "name": "write_file", "input": {}},
        [
            {"type": "input_json_delta", "partial_json": ""},
            *(
                {"type": "input_json_delta", "partial_json": arguments[start : start + piece]}
                for start in range(0, len(arguments), piece)
            ),
        ],
    )


_NAMES = ["buffer", "decode", "offset", "parse", "queue", "result", "stream", "token", "value", "window"]


def _block(index: int, block: Event, deltas: Iterable[Event]) -> list[Event]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def _with_pings(rng: random.Random, events: Iterable[Event]) -> Iterator[Event]:
    for event in events:
        yield event
        if rng.random() < 0.02:
            yield {"type": "ping"}


# -- captured streams --------------------------------------------------------------------------------------


def folder(path: Path) -> tuple[Workload, list[str]]:
    """The `*.sse` files of a folder as one workload, and why any were left out.

    Only plain streams are taken (LF ends, one whole message, no error). Each reader has its own policy for the
    others, so times for them can't be compared.
    """
    streams: list[Stream] = []
    left_out: list[str] = []
    for file in sorted(path.glob("*.sse")):
        try:
            streams.append(_captured(file.read_bytes()))
        except ValueError as error:  # noqa: PERF203 (one a file)
            left_out.append(f"{file.name}: {error}")
    if not streams:
        raise SystemExit(f"no plain stream (*.sse) in {path}")
    about = f"{len(streams)} captured streams of {path}: short ones, where starts and ends weigh more than deltas"
    return Workload(path.name, about, tuple(streams)), left_out


def _captured(body: bytes) -> Stream:
    if b"\r" in body:
        raise ValueError("line ends other than LF")
    *wires, rest = body.split(b"\n\n")
    if rest.strip():
        raise ValueError("ends inside an event")
    frames = []
    for wire in wires:
        name, line_end, data = wire.strip(b"\n").partition(b"\ndata: ")
        if not line_end or not name.startswith(b"event: ") or b"\n" in data:
            raise ValueError("lines besides one event line and one data line")
        frames.append(Frame(name[7:].decode(), data, wire + b"\n\n"))
    stream = Stream(tuple(frames))
    types = [event["type"] for event in stream.events]
    if types.count("message_start") != 1 or types.count("message_stop") != 1 or "error" in types:
        raise ValueError("not one whole message")
    stream.expected_message  # noqa: B018 (a capture that can't be assembled is left out here, not later)
    return stream


# -- what is right -----------------------------------------------------------------------------------------


def assemble(events: Iterable[Event]) -> Event:
    """The message that plain dicts give: the reference that every subject is compared with."""
    message: Event = {}
    parts: dict[int, list[str]] = {}
    content: dict[int, Event] = {}
    for event in events:
        if event["type"] == "message_start":
            message = event["message"]
        elif event["type"] == "content_block_start":
            content[event["index"]] = dict(event["content_block"])
            parts[event["index"]] = []
        elif event["type"] == "content_block_delta":
            delta = event["delta"]
            if delta["type"] in ("text_delta", "thinking_delta", "input_json_delta"):
                parts[event["index"]].append(piece_of(delta))
        elif event["type"] == "message_delta":
            message |= {key: value for key, value in event["delta"].items() if value is not None}
            message["usage"] |= {key: value for key, value in (event.get("usage") or {}).items() if value is not None}
    for index, block in content.items():
        joined = "".join(parts[index])
        for key in ("text", "thinking"):
            if key in block:
                block[key] += joined
        if "input" in block and joined:
            block["input"] = json.loads(joined)
    return message | {"content": [content[index] for index in sorted(content)] or message["content"]}


def piece_of(delta: Event) -> str:
    """The text that a delta carries, of whatever kind."""
    for key in ("text", "partial_json", "thinking", "signature"):
        if isinstance(delta.get(key), str):
            return str(delta[key])
    return ""
