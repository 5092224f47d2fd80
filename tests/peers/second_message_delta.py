"""The official SDK lets a second message_delta, which says nothing of the stop_reason, wipe the one of the first."""

from __future__ import annotations

from sansio_step import parse

from .readers import official_sdk, show

START = (
    b'{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"x","content":[],'
    b'"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1}}}'
)
EVENTS = (
    (b"message_start", START),
    (b"message_delta", b'{"type":"message_delta","delta":{"stop_reason":"max_tokens"},"usage":{"output_tokens":5}}'),
    (b"message_delta", b'{"type":"message_delta","delta":{},"usage":{"output_tokens":5}}'),
    (b"message_stop", b'{"type":"message_stop"}'),
)
BODY = b"".join(b"event: %b\ndata: %b\n\n" % event for event in EVENTS)

if __name__ == "__main__":
    came = official_sdk([BODY]).get("stop_reason")
    show("anthropic", [BODY], came, right=parse(BODY, strict=True).stop_reason, wrong=None)
