"""A relay that passes every chunk on as it came, and meters the stream beside it.

It replaces what LiteLLM 1.110 does for its pass-through of Messages streams: every chunk of the body is kept until the
end, then all are joined, decoded, split into lines and searched for the model, the id, an interruption and the last
output count. That takes 127 lines (`_convert_raw_bytes_to_str_lines` in `streaming_handler.py`, and the four functions
from `_extract_message_start_field` to `_recover_interrupted_stream_output_tokens` in
`anthropic_passthrough_logging_handler.py`). Here it is `relay`, 11 lines, and no body is kept.

Run it: `python examples/metering_relay.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from sansio_step import (
    Message,
    MessageStream,
    Outcome,
    TextBlock,
    Usage,
    encode_event,
    message_events,
)


def relay(chunks: Iterable[bytes], on_end: Callable[[MessageStream], None]) -> Iterator[bytes]:
    """The same chunks. `on_end` gets the stream that read along, once, however it ended."""
    stream = MessageStream(on_fault="keep")  # the bytes are the caller's, whatever the meter makes of them
    try:
        for chunk in chunks:
            stream.consume(chunk)  # before the caller has it: it may go away with this one
            yield chunk
    finally:
        # Also if the upstream broke off or the caller went away: what has come until then is what it cost.
        stream.receive_eof()
        on_end(stream)


def line(stream: MessageStream) -> str:
    """What a meter writes down: cumulative counts are never summed, and a running count is not taken for the last."""
    message = stream.message
    if message is None:
        return f"{stream.outcome.value}, nothing came"
    usage = message.usage or Usage()
    count = f"{usage.output_tokens} out" if stream.usage_is_final else f"at least {usage.output_tokens} out"
    return f"{message.model} {message.id}: {stream.outcome.value}, {usage.input_tokens} in, {count}"


def main() -> None:
    usage = Usage(input_tokens=12, output_tokens=50)
    message = Message(
        id="msg_1", role="assistant", model="m", content=[TextBlock("Hello, 世界")], stop_reason="end_turn", usage=usage
    )
    for outcome in (Outcome.COMPLETE, Outcome.TRUNCATED):
        body = b"".join(map(encode_event, message_events(message, piece=2, outcome=outcome)))
        chunks = [body[start : start + 7] for start in range(0, len(body), 7)]
        passed = b"".join(relay(chunks, lambda stream: print(line(stream))))
        assert passed == body


if __name__ == "__main__":
    main()
