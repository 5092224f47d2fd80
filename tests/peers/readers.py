"""Other packages as functions from the pieces of a body to what they read, by their public interfaces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import version

import anthropic
import httpx
import httpx2
import requests
from httpx_sse import EventSource
from ld_eventsource import SSEClient as LaunchDarklyClient
from ld_eventsource.config import ConnectStrategy, ErrorStrategy
from ld_eventsource.config.connect_strategy import ConnectionClient, ConnectionResult
from sseclient import SSEClient

Frames = list[tuple[str, str]]
HEADERS = {"content-type": "text/event-stream"}
BOM = b"\xef\xbb\xbf"


def httpx_sse(pieces: list[bytes]) -> Frames:
    response = httpx.Response(200, headers=HEADERS, content=iter(pieces))
    return [(event.event, event.data) for event in EventSource(response).iter_sse()]


def sseclient_py(pieces: list[bytes]) -> Frames:
    return [(event.event, event.data) for event in SSEClient(iter(pieces)).events()]


class _Connection(ConnectionClient, ConnectStrategy):
    """A body in place of a connection."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    def create_client(self, logger: object) -> ConnectionClient:
        return self

    def connect(self, last_event_id: str | None) -> ConnectionResult:
        return ConnectionResult(iter(self.pieces), closer=None)


def launchdarkly_eventsource(pieces: list[bytes]) -> Frames:
    # With this strategy it does not connect again at the end of the body.
    with LaunchDarklyClient(_Connection(pieces), error_strategy=ErrorStrategy.always_fail()) as client:
        return [(event.event, event.data) for event in client.events]


def requests_lines(pieces: list[bytes]) -> list[bytes]:
    class Raw:
        def stream(self, size: int, decode_content: bool) -> Iterator[bytes]:
            yield from pieces

    response = requests.Response()
    response.raw = Raw()
    return list(response.iter_lines())


class _Pieces(httpx2.SyncByteStream):
    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.pieces)


def official_sdk(pieces: list[bytes]) -> dict[str, object]:
    """The final message of the stream helper."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers=HEADERS, stream=_Pieces(pieces))

    with httpx2.Client(transport=httpx2.MockTransport(answer)) as http:
        client = anthropic.Anthropic(api_key="none", base_url="http://localhost", http_client=http, max_retries=0)
        asked = [{"role": "user", "content": "Hi"}]
        with client.messages.stream(model="m", max_tokens=9, messages=asked) as stream:
            return stream.get_final_message().to_dict()


SSE_READERS: dict[str, Callable[[list[bytes]], Frames]] = {
    "httpx-sse": httpx_sse,
    "sseclient-py": sseclient_py,
    "launchdarkly-eventsource": launchdarkly_eventsource,
}


def show(package: str, pieces: list[bytes], came: object, *, right: object, wrong: object) -> None:
    """Print what a package read. AssertionError if that is not what docs/fuzzing.md says of it."""
    print(f"{package} {version(package)}\n  sent:  {pieces}\n  came:  {came}\n  right: {right}")
    assert came == wrong != right, f"{package} reads this otherwise: change docs/fuzzing.md and this script"
