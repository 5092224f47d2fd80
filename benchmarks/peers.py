"""The readers that people use now, each through its fastest interface.

Each is optional: if its package (or node) is missing, it is left out with the reason.
"""

from __future__ import annotations

import asyncio
import importlib
import warnings
from typing import TYPE_CHECKING, Any, ClassVar

from . import node
from .subjects import Digest, Subject, events_digest, message_digest
from .targets import HTTPX_SSE, LAUNCHDARKLY, NODE, PYDANTIC_AI, SDK_EVENTS, SDK_FRAMES, SDK_MESSAGE, SSECLIENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import ModuleType

HEADERS = {"content-type": "text/event-stream; charset=utf-8"}


class Missing(Exception):
    """A peer that can't be measured here; the text says why."""


def available() -> tuple[list[Subject], dict[str, str]]:
    """The peers that can be measured here, and for the others the reason."""
    subjects: list[Subject] = []
    missing: dict[str, str] = {}
    for name, make in PEERS.items():
        try:
            subjects.append(make())
        except Missing as reason:  # noqa: PERF203 (a handful of them)
            missing[name] = str(reason)
    return subjects, missing


def _import(module: str, distribution: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Missing(f"`pip install {distribution}` installs it ({error})") from error


# -- event streams in general ------------------------------------------------------------------------------


def _frames_digest(frames: list[Any]) -> Digest:
    return [(frame.event, frame.data) for frame in frames]


def launchdarkly() -> Subject:
    # The two readers inside its client, without the connection and retry logic around them.
    reader = _import("ld_eventsource.reader", "launchdarkly-eventsource")

    def outputs(chunks: list[bytes]) -> Iterator[Any]:
        lines = reader._BufferedLineReader.lines_from(chunks)
        return iter(reader._SSEReader(lines).events_and_comments())

    return Subject(LAUNCHDARKLY, "frames", outputs, _frames_digest)


def httpx_sse() -> Subject:
    sse = _import("httpx_sse", "httpx-sse")
    httpx = _import("httpx", "httpx")

    def outputs(chunks: list[bytes]) -> Iterator[Any]:
        response = httpx.Response(200, headers=HEADERS, content=iter(chunks))
        return iter(sse.EventSource(response).iter_sse())

    return Subject(HTTPX_SSE, "frames", outputs, _frames_digest)


def sseclient() -> Subject:
    module = _import("sseclient", "sseclient-py")

    def outputs(chunks: list[bytes]) -> Iterator[Any]:
        return iter(module.SSEClient(chunks).events())

    return Subject(SSECLIENT, "frames", outputs, _frames_digest)


# -- the official SDK --------------------------------------------------------------------------------------


def sdk_frames() -> Subject:
    streaming = _import("anthropic._streaming", "anthropic")

    def outputs(chunks: list[bytes]) -> Iterator[Any]:
        return iter(streaming.SSEDecoder().iter_bytes(iter(chunks)))

    return Subject(SDK_FRAMES, "frames", outputs, _frames_digest)


# The request is as small as possible, since it is built anew for each stream, as it would be in use.
REQUEST: dict[str, Any] = {
    "model": "step-3.5-flash",
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": "Hello"}],
}


def sdk_events() -> Subject:
    client, transport = _sdk_client()

    def outputs(chunks: list[bytes]) -> Iterator[Any]:
        transport.chunks = chunks
        return iter(client.messages.create(stream=True, **REQUEST))

    def digest(events: list[Any]) -> Digest:
        return events_digest(event.to_dict(mode="json") for event in events)

    return Subject(SDK_EVENTS, "events", outputs, digest, shows_pings=False)


def sdk_message() -> Subject:
    client, transport = _sdk_client()

    def outputs(chunks: list[bytes]) -> Iterator[Any]:
        transport.chunks = chunks
        with client.messages.stream(**REQUEST) as stream:
            yield stream.get_final_message()

    def digest(messages: list[Any]) -> Digest:
        (message,) = messages
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydantic warns about blocks that the SDK's types don't know
            return message_digest(message.to_dict(mode="json"))

    return Subject(SDK_MESSAGE, "message", outputs, digest)


def _sdk_client() -> tuple[Any, Any]:
    anthropic = _import("anthropic", "anthropic")
    transport = _memory_transport(_http_library(anthropic))
    http_client = anthropic.DefaultHttpxClient(transport=transport)
    return anthropic.Anthropic(api_key="none", max_retries=0, http_client=http_client), transport


def _http_library(anthropic: ModuleType) -> Any:
    # Older releases of the SDK use httpx, newer ones httpx2: take the one that its own client derives from.
    for base in anthropic.DefaultHttpxClient.__mro__:
        if base.__name__ == "Client":
            return importlib.import_module(base.__module__.partition(".")[0])
    raise Missing("the SDK is built on no known HTTP library")


def _memory_transport(httpx: Any) -> Any:
    """A transport that answers every request with `chunks`, for sync and async clients."""

    class Body(httpx.SyncByteStream, httpx.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, chunks: list[bytes]) -> None:
            self.chunks = chunks

        def __iter__(self) -> Iterator[bytes]:
            return iter(self.chunks)

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for chunk in self.chunks:
                yield chunk

    class Transport(httpx.BaseTransport, httpx.AsyncBaseTransport):  # type: ignore[misc]
        chunks: ClassVar[list[bytes]] = []

        def handle_request(self, _request: Any) -> Any:
            return httpx.Response(200, headers=HEADERS, stream=Body(self.chunks))

        async def handle_async_request(self, _request: Any) -> Any:
            return httpx.Response(200, headers=HEADERS, stream=Body(self.chunks))

    return Transport()


# -- an agent library --------------------------------------------------------------------------------------


def pydantic_ai() -> Subject:
    """Bytes to its final response, through its model class for the API, which builds on the SDK."""
    anthropic = _import("anthropic", "anthropic")
    models = _import("pydantic_ai.models.anthropic", "pydantic-ai")
    providers = _import("pydantic_ai.providers.anthropic", "pydantic-ai")
    direct = _import("pydantic_ai.direct", "pydantic-ai")
    messages = _import("pydantic_ai.messages", "pydantic-ai")

    transport = _memory_transport(_http_library(anthropic))
    http_client = anthropic.DefaultAsyncHttpxClient(transport=transport)
    sdk = anthropic.AsyncAnthropic(api_key="none", max_retries=0, http_client=http_client)
    model = models.AnthropicModel(REQUEST["model"], provider=providers.AnthropicProvider(anthropic_client=sdk))
    request = [messages.ModelRequest.user_text_prompt("Hello")]
    loop = asyncio.new_event_loop()

    async def respond() -> Any:
        async with direct.model_request_stream(model, request) as stream:
            async for _ in stream:
                pass
            return stream.get()

    def outputs(chunks: list[bytes]) -> Iterator[Any]:
        transport.chunks = chunks
        yield loop.run_until_complete(respond())

    def digest(responses: list[Any]) -> Digest:
        (response,) = responses
        names = {"end_turn": "stop"}  # it has its own names for stop reasons
        blocks = [_part_digest(part) for part in response.parts]
        return [*blocks, next((wire for wire, own in names.items() if own == response.finish_reason), None)]

    return Subject(PYDANTIC_AI, "message", outputs, digest, close=loop.close)


def _part_digest(part: Any) -> tuple[str, Any]:
    if part.part_kind == "tool-call":
        return "tool_use", part.args_as_dict()
    return part.part_kind, part.content


# -- another language --------------------------------------------------------------------------------------


def eventsource_parser() -> Subject:
    """It runs in a process of its own that is asked for one pass at a time, so it takes its turn like the others."""
    try:
        return node.NodeSubject.start(NODE)
    except node.Unavailable as reason:
        raise Missing(str(reason)) from reason


PEERS: dict[str, Callable[[], Subject]] = {
    SDK_FRAMES: sdk_frames,
    HTTPX_SSE: httpx_sse,
    SSECLIENT: sseclient,
    LAUNCHDARKLY: launchdarkly,
    SDK_EVENTS: sdk_events,
    NODE: eventsource_parser,
    SDK_MESSAGE: sdk_message,
    PYDANTIC_AI: pydantic_ai,
}
