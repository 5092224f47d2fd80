"""An observer of the official SDK's events, as instrumentations have one: the caller gets them untouched.

It replaces `_MessageResponseAccumulator` of openinference-instrumentation-anthropic 3.1, 108 lines around a private
function of the SDK whose arguments change from release to release, and `_process_response_item` of
opentelemetry-instrumentation-anthropic 0.62, 40 lines that add up counts which are cumulative (54 tokens for an answer of
50). Here it is `observed`, 12 lines, for any object whose `to_dict` or `model_dump` gives what came.

What is different, beside the length: a stream that broke off, or that the caller left, gives the part that came and says
that it is one; running counts are not taken for the last; nothing that is odd in an event is raised in the caller's code.

Run it: `python examples/sdk_observer.py` (with the package `anthropic`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from sansio_step import Message, MessageStream, TextBlock, Usage, encode_event, message_events

E = TypeVar("E")


def observed(events: Iterable[E], on_end: Callable[[MessageStream], None]) -> Iterator[E]:
    """The same events. `on_end` gets the stream that they add up to, once, however it ended."""
    stream = MessageStream(on_fault="keep")  # an observer raises nothing
    try:
        for event in events:
            item: Any = event
            stream.receive_frame(item.to_dict() if hasattr(item, "to_dict") else item.model_dump())
            yield event
    finally:
        # Also if the transport broke off or the caller went away.
        stream.receive_eof()
        on_end(stream)


def attributes(stream: MessageStream) -> dict[str, Any]:
    """What an instrumentation writes down, by the names of OpenTelemetry."""
    message = stream.message or Message()
    usage = message.usage or Usage()
    said = {
        "gen_ai.response.id": message.id,
        "gen_ai.response.model": message.model,
        "gen_ai.response.finish_reasons": [message.stop_reason] if message.stop_reason else None,
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens if stream.usage_is_final else None,
        "outcome": stream.outcome.value,
        "text": message.text,
    }
    return {name: value for name, value in said.items() if value is not None}


def main() -> None:
    from anthropic import Anthropic  # noqa: PLC0415  # the observer itself needs no SDK
    from httpx2 import Client, MockTransport, Response  # noqa: PLC0415

    message = Message(
        id="msg_1",
        role="assistant",
        model="m",
        content=[TextBlock("Hello, 世界")],
        stop_reason="end_turn",
        usage=Usage(input_tokens=12, output_tokens=50),
    )
    body = b"".join(map(encode_event, message_events(message, piece=4)))

    def answer(request: Any) -> Response:
        return Response(200, headers={"content-type": "text/event-stream"}, content=body)

    client = Anthropic(api_key="none", http_client=Client(transport=MockTransport(answer)))
    asked: Any = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    for _ in observed(client.messages.create(**asked), lambda stream: print(json.dumps(attributes(stream)))):
        pass
    for number, _ in enumerate(observed(client.messages.create(**asked), lambda stream: print(attributes(stream)))):
        if number == 3:  # the caller has seen enough
            break


if __name__ == "__main__":
    main()
