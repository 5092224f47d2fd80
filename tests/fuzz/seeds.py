"""What fuzzing starts from: a small input for each way through the code, and the captured streams where they are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

from sansio_step import AWSFrame, encode_aws_frame

from ..helpers import (
    MESSAGE_STOP,
    PING,
    TEXT,
    block_start,
    delta,
    frame,
    message_delta,
    message_start,
    text_block,
    tool_block,
    whole,
)
from ..shared import streams

_FRAMES = (
    b"event: a\ndata: 1\nid: 7\n\n: comment\nretry: 10\ndata:2\ndata: 3\r\rid\n\n",
    b"\xef\xbb\xbfdata\n\ndata: \xff\xe2\x82\r\n\r\nevent:\nid: \0\n\n",
)
_BODIES = (
    whole(text_block("Hé", "llo 🦜"), tool_block('{"a":', ' [1.5, "b"]}', index=1), stop_reason="tool_use"),
    whole(block_start(TEXT), delta(text="\ud83e"), PING, delta(text="\udd9c"), delta(citation={"a": 1})),
    frame("message_start", message={"id": "m"}) + frame("message_delta", stop_reason="end_turn") + MESSAGE_STOP,
    message_start() + frame("error", error={"type": "overloaded_error", "message": "busy"}),
    message_start() + block_start({"type": "thinking"}) + delta(thinking="a") + delta(signature="b") + delta(text="c"),
    # An index used again, deltas of two kinds, one too late, and one for a block never opened.
    message_start() + text_block("a", "b") + block_start(TEXT) + delta(text="c") + block_start(TEXT) + delta(text="d"),
    message_start()
    + text_block("a")
    + delta(text="b")
    + delta(partial_json="{}")
    + delta(text="c")
    + delta(3, text="d"),
    message_start() + message_delta() + message_start(id="other") + b'data: {"type":"ping"}\n\ndata: [DONE]\n\n',
    b"event: ping\ndata: {}\n\nevent: pong\ndata: [" + b"[" * 220 + b'\n\nevent: ping\ndata: {"a":1e999}\n\n',
)
_REQUESTS = (
    {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]},
    {
        "model": "step-3.5-flash-2603",
        "max_tokens": 9,
        "effort": "low",
        "stream": True,
        "system": [{"type": "text", "text": "Be brief."}],
        "temperature": 2,
        "top_p": 0.5,
        "top_k": 500,
        "stop_sequences": ["x"],
        "tools": [{"name": "f", "description": "g", "input_schema": {"type": "object"}}],
        "thinking": {},
        "messages": [
            {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "u"}}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t", "content": "c", "is_error": True}],
            },
        ],
    },
)
_LARGEST = 3_000
# No input grows much beyond the largest seed, and `message` reads each eight times, byte by byte among them: from seeds
# of up to 20 KB it did 20 inputs a second, from these 80.

_HEADERS: list[dict[str, Any]] = [
    {},
    {":message-type": "event", ":event-type": "chunk", ":content-type": "application/json"},
    {":message-type": "exception", ":exception-type": "throttlingException"},
    {
        "a": True,
        "b": False,
        "c": 1,
        "d": 2**40,
        "e": b"\xff",
        "f": UUID(int=1),
        "g": datetime(2026, 1, 1, tzinfo=timezone.utc),
    },
]

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"


def seeds(target: str) -> Iterator[bytes]:
    """The first inputs of a target."""
    if target == "requests":
        yield from (json.dumps(request).encode() for request in _REQUESTS)
        return
    if target == "aws":
        frames = [encode_aws_frame(AWSFrame(headers, b'{"bytes":"e30="}')) for headers in _HEADERS]
        yield b"\0" + b"".join(frames)
        # A frame's headers stand between its prelude and its payload.
        yield from (b"\1" + frame[12:-20] for frame in frames)
        return
    bodies = [*_BODIES, *(body for path in streams() if len(body := path.read_bytes()) < _LARGEST)]
    if target == "frames":
        bodies += _FRAMES
    if target == "http":
        bodies = [response for body in bodies for response in _responses(body)] + [
            b"HTTP/1.1 429 No\r\ncontent-length: 24\r\nretry-after: 1\r\n\r\n" + b'{"error":{"message":"a"}}'[:24],
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>",
        ]
    for number, body in enumerate(bodies):
        # The first byte is how it is cut.
        yield bytes([number % 8]) + body


def _responses(body: bytes) -> Iterator[bytes]:
    yield _HEAD + b"content-length: %d\r\n\r\n" % len(body) + body
    yield _HEAD + b"connection: close\r\n\r\n" + body
    half = len(body) // 2
    two = (half, body[:half], len(body) - half, body[half:])
    yield _HEAD + b"transfer-encoding: chunked\r\n\r\n%x;a=b\r\n%b\r\n%x\r\n%b\r\n0\r\nx-trailer: 1\r\n\r\n" % two


def words() -> Iterator[bytes]:
    """What the fuzzer can put in at once: the words of the wire, which it would not hit upon byte by byte."""
    wire = b"".join((*_BODIES, *(json.dumps(request).encode() for request in _REQUESTS)))
    yield from sorted(set(re.findall(rb'"[a-z_0-9]{2,40}"(?:: ?)?|event: [a-z_]+\n|\\u[0-9a-f]{4}', wire)))
    yield from (
        b"\r\n",
        b"\r",
        b"\n\n",
        b"\n:",
        b"\ndata: ",
        b"\nid: 1",
        b"\nretry: 1",
        b"\xef\xbb\xbf",
        b"\\ud83e",
        b"\\udd9c",
    )
    yield from (b"null", b"{}", b"[]", b'""', b'"index":1', b"1e999", b"\0", b"[DONE]", b"0\r\n\r\n")
