"""The official SDK's stream helper gives the arguments of a call that max_tokens cut as if they were finished.

"seats" was to be 12. The number that had come of it is run.
"""

from __future__ import annotations

from .readers import official_sdk, show

START = (
    b'{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"x","content":[],'
    b'"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1}}}'
)
BLOCK = (
    b'{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"book","input":{}}}'
)
DELTA = (
    b'{"type":"content_block_delta","index":0,'
    b'"delta":{"type":"input_json_delta","partial_json":"{\\"at\\": \\"15:30\\", \\"seats\\": 1"}}'
)
EVENTS = (
    (b"message_start", START),
    (b"content_block_start", BLOCK),
    (b"content_block_delta", DELTA),
    (b"content_block_stop", b'{"type":"content_block_stop","index":0}'),
    (b"message_delta", b'{"type":"message_delta","delta":{"stop_reason":"max_tokens"},"usage":{"output_tokens":5}}'),
    (b"message_stop", b'{"type":"message_stop"}'),
)
BODY = b"".join(b"event: %b\ndata: %b\n\n" % event for event in EVENTS)

if __name__ == "__main__":
    (call,) = official_sdk([BODY])["content"]  # type: ignore[misc]
    show("anthropic", [BODY], call["input"], right=None, wrong={"at": "15:30", "seats": 1})
