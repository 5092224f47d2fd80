"""The loop of a chat tool: each event of a stream as the parts that it shows, and then the whole message.

It replaces the loop of llm-anthropic 0.30 over the official SDK's stream, which turns events into the parts that `llm`
stores. That takes 98 lines, and 97 again for async (in `execute` of `ClaudeMessages` and `AsyncClaudeMessages`), with 60
more for the results of tools, the index of a part, and a container that the SDK's accumulator loses. Here the rules stand
once, in `parts_of` and `opened`, 31 lines, and the loops over them take 13.

What is different, beside the length: the call to which a piece of arguments belongs is `reader.block`, not the block
that began last, so interleaved blocks come out right; a call whose arguments come whole is shown; a stream that was cut
raises, and cut arguments never reach a tool; `message.container` is there.

Run it: `python examples/llm_anthropic_loop.py`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sansio_step import (
    ContentBlock,
    Message,
    StreamEvent,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
    Usage,
    aiter_events,
    encode_event,
    iter_events,
    message_events,
)


@dataclass
class Part:
    """A piece of an answer as `llm` keeps it. Parts with the same index belong together; 0 is left for a prefill."""

    type: str
    chunk: str
    part_index: int
    tool_call_id: str | None = None
    tool_name: str | None = None
    server_executed: bool = False
    metadata: dict[str, Any] | None = None


def parts_of(event: StreamEvent, block: ContentBlock | None) -> Iterator[Part]:
    """The parts that an event adds, with the block that it was applied to."""
    if event.type == "content_block_start":
        yield from opened(event.content_block, event.index + 1)
    elif event.type == "content_block_delta":
        place, delta = event.index + 1, event.delta
        if delta.type == "text_delta":
            yield Part("text", delta.text, place)
        elif delta.type == "thinking_delta":
            yield Part("reasoning", delta.thinking, place)
        elif delta.type == "signature_delta":
            yield Part("reasoning", "", place, metadata={"signature": delta.signature})
        elif delta.type == "input_json_delta":
            on_server = block is not None and block.type != "tool_use"
            call = getattr(block, "id", None)
            yield Part("tool_call_args", delta.partial_json, place, call, server_executed=on_server)


def opened(block: ContentBlock, place: int) -> Iterator[Part]:
    """The parts of a block that came whole with its start, and the name of a call."""
    if block.type == "redacted_thinking":
        yield Part("reasoning", "", place, metadata={"type": block.type, "data": block.data})
    elif block.type == "tool_use" or block.type == "server_tool_use" or block.type == "mcp_tool_use":
        on_server = block.type != "tool_use"
        server = {"mcp_server_name": block.server_name} if block.type == "mcp_tool_use" else None
        yield Part("tool_call_name", block.name or "", place, block.id, block.name, on_server, server)
        if block.input:
            yield Part("tool_call_args", json.dumps(block.input), place, block.id, server_executed=on_server)
    elif block.type.endswith("_tool_result"):
        content = getattr(block, "content", None)
        shown = json.dumps(content) if content else ""
        name = block.type.removesuffix("_tool_result")
        yield Part("tool_result", shown, place, getattr(block, "tool_use_id", None), name, server_executed=True)


def answer(chunks: Iterable[bytes], on_message: Callable[[Message], None]) -> Iterator[Part]:
    """The parts of an answer, from the bytes of any HTTP library. Raises a StreamError if it is not whole."""
    with iter_events(chunks) as reader:
        for event in reader:
            yield from parts_of(event, reader.block)
        on_message(reader.result())


async def async_answer(chunks: AsyncIterable[bytes], on_message: Callable[[Message], None]) -> AsyncIterator[Part]:
    """The same for asynchronous libraries."""
    async with aiter_events(chunks) as reader:
        async for event in reader:
            for part in parts_of(event, reader.block):
                yield part
        on_message(reader.result())


def main() -> None:
    message = Message(
        id="msg_1",
        role="assistant",
        model="m",
        content=[
            ThinkingBlock("The weather there?", "c2ln"),
            TextBlock("Let me look."),
            ToolUseBlock("toolu_1", "weather", input_json='{"city": "Ulm"}'),
        ],
        stop_reason="tool_use",
        usage=Usage(input_tokens=12, output_tokens=50),
    )
    body = b"".join(map(encode_event, message_events(message, piece=8)))
    for part in answer([body], done):
        print(part.part_index, part.type, repr(part.chunk))

    async def later() -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield body

        assert [part async for part in async_answer(chunks(), done)] == list(answer([body], lambda message: None))

    asyncio.run(later())


def done(message: Message) -> None:
    """What the caller keeps of the whole: usage, calls, why it stopped."""
    print(message.stop_reason, message.usage, [(call.name, call.input) for call in message.tool_uses])


if __name__ == "__main__":
    main()
