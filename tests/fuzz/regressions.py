"""Inputs that once broke a target: the target, the bytes, and what was wrong."""

from __future__ import annotations

from ..helpers import block_start, delta, frame, message_delta, whole

REGRESSIONS: tuple[tuple[str, bytes, str], ...] = (
    (
        "message",
        b"\0"
        + whole(
            block_start({"type": "future", "input": {}}),
            delta(partial_json="{}"),
            frame("content_block_stop", index=0),
            block_start({"type": "text", "text": ""}),
        ),
        "KeyError where the index of an unknown block with arguments in pieces was used again",
    ),
    (
        "message",
        b"\7" + whole(block_start({"type": "future", "input_json": "[1]"})) + message_delta(),
        "an unknown block's own field `input_json` was taken for arguments in pieces",
    ),
    (
        "message",
        b"\7" + whole(frame("message_delta", delta={"type": "x", "role": "y", "content": "z"}, usage={})),
        "fields of a message_delta stood in for the message's own type and content",
    ),
)
