"""What type checkers see of the public API. Checked by mypy --strict, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import sansio_step as s

if TYPE_CHECKING:
    from typing_extensions import assert_type

    stream = s.MessageStream(strict=True, max_event_size=1, max_message_size=2)
    assert_type(stream.receive_data(b""), list[s.StreamEvent])
    assert_type(stream.receive_eof(), list[s.StreamEvent])
    assert_type(stream.message, s.Message | None)
    assert_type(stream.messages, list[s.Message])
    assert_type(stream.outcome, s.Outcome)
    assert_type(stream.deviations, list[s.Deviation])
    assert_type(stream.fault, s.StreamError | None)
    assert_type(stream.block, s.ContentBlock | None)
    assert_type(stream.usage_is_final, bool)
    assert_type(stream.event_count, int)
    assert_type(stream.result(), s.Message)

    frames = s.SSEDecoder()
    assert_type(frames.receive_data(bytearray()), list[s.ServerSentEvent])
    assert_type(frames.retry, int | None)
    assert_type(frames.last_event_id, str)
    result = s.decode_batch_result(b"")
    assert_type(result.message, s.Message | None)
    assert_type(result.error, s.APIError | None)
    assert_type(s.decode_message({}), s.Message)
    call = s.ToolUseBlock()
    assert_type(call.input_as(dict[str, int]), dict[str, int])
    assert_type(call.input_as(s.Usage), s.Usage)
    assert_type(s.BedrockDecoder(strict=True, max_event_size=1).receive_data(b""), list[s.StreamEvent])
    assert_type(s.BedrockDecoder().deviations, list[s.Deviation])
    aws_frames = s.AWSFrameDecoder(max_event_size=1).receive_data(b"")
    assert_type(aws_frames, list[s.AWSFrame])
    assert_type(aws_frames[0].payload, bytes)
    assert_type(s.encode_aws_frame(aws_frames[0]), bytes)
    assert_type(s.EventDecoder().receive_data(memoryview(b"")), list[s.StreamEvent])
    assert_type(s.MessageAccumulator().finished(0), bool)

    assert_type(s.parse(b""), s.Message)
    assert_type(list(s.message_events(s.parse(b""), piece=3)), list[s.StreamEvent])
    assert_type(list(s.message_events(None, outcome=s.Outcome.FAILED, error=s.APIError())), list[s.StreamEvent])
    assert_type(s.parse([b""]), s.Message)
    reader = s.iter_events([b""])
    assert_type(reader, s.MessageReader)
    assert_type(list(reader), list[s.StreamEvent])
    assert_type(reader.message, s.Message | None)
    assert_type(reader.block, s.ContentBlock | None)
    assert_type(reader.usage_is_final, bool)
    assert_type(reader.transport_error, Exception | None)
    with reader as entered:
        assert_type(entered, s.MessageReader)

    async def chunks() -> AsyncIterator[bytes]:
        yield b""

    assert_type(s.aiter_events(chunks()), s.AsyncMessageReader)

    async def each_event() -> None:
        async with s.aiter_events(chunks()) as areader:
            async for event in areader:
                assert_type(event, s.StreamEvent)
            assert_type(areader.result(), s.Message)

    event = s.decode_event("{}")
    if isinstance(event, s.ContentBlockDeltaEvent):
        assert_type(event.index, int)
        assert_type(event.extra, dict[str, Any])
        if isinstance(event.delta, s.TextDelta):
            assert_type(event.delta.text, str)
        if isinstance(event.delta, s.UnknownDelta):
            assert_type(event.delta.wire_type, str)
    if isinstance(event, s.ContentBlockStartEvent) and isinstance(event.content_block, s.ToolUseBlock):
        assert_type(event.content_block.input, dict[str, Any])
        assert_type(event.content_block.partial_input(), dict[str, Any])

    def by_type(event: s.StreamEvent, block: s.ContentBlock) -> str | None:
        # Comparing `type` narrows a union of events, deltas and blocks, in `if` and in `match`.
        match event.type:
            case "content_block_delta":
                return event.delta.text if event.delta.type == "text_delta" else None
            case "error":
                return event.error.message
            case _:
                pass
        if event.type == "message_start":
            return event.message.id
        if isinstance(event, s.UnknownEvent):
            return event.wire_type
        if block.type == "tool_use":
            return block.input_json
        return block.thinking if block.type == "thinking" else None

    s.UnknownEvent("new_event", "[DONE]")
    s.UnknownDelta("new_delta")
    s.UnknownBlock("new_block", extra={"a": 1})

    json_reader = s.JSONReader(max_size=1)
    assert_type(json_reader.receive_text(""), list[s.JSONDelta])
    assert_type(json_reader.receive_eof(), list[s.JSONDelta])
    assert_type(json_reader.fault, s.StreamError | None)
    assert_type(json_reader.is_finished, bool)

    def by_kind(each: s.JSONDelta) -> object:
        # Comparing `kind` narrows, as `type` does for what the wire carries.
        assert_type(each.path, tuple[str | int, ...])
        match each.kind:
            case "opened":
                return each.container == "array"
            case "piece":
                assert_type(each.text, str)
                return each
            case _:
                pass
        if each.kind == "string":
            assert_type(each.value, str)
        elif each.kind == "scalar":
            assert_type(each.value, int | float | bool | None)
        elif each.kind == "closed":
            assert_type(each.value, dict[str, Any] | list[Any])
        return each.text if isinstance(each, s.JSONPiece) else None

    message = s.decode_message(b"")
    assert_type(message.text, str)
    assert_type(message.tool_uses, list[s.ToolUseBlock])
    assert_type(message.usage, s.Usage | None)
    assert_type(s.to_dict(message), dict[str, Any])
    assert_type(s.to_json(event), bytes)
    assert_type(s.encode_event(event), bytes)
    assert_type(s.encode_sse(s.ServerSentEvent("")), bytes)
    assert_type(s.to_param(message), dict[str, Any])
    assert_type(s.decode_error(500, {}, b""), s.APIError)
    assert_type(s.decode_error(500, [(b"a", b"b")], b"").retryable, bool)
