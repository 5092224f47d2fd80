"""The engine in other people's HTTP stacks: each as the manual shows it, against a real server on the loopback.

The server holds the second half of its stream back until the client has seen the first, so that a stack which buffers
would hang; and it is asked for a broken stream too, which no stack may pass off as a whole one.
"""

# ruff: noqa: SIM117, a server, a client and a stream read best one a line

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faultserver import CHUNKED, EVENTS, HALF, LAST_CHUNK, REQUEST, WHOLE, FaultServer, Peer, answer, chunked, head

from sansio_step import (
    IncompleteStream,
    Message,
    MessageStream,
    Outcome,
    StreamEvent,
    aiter_events,
    iter_events,
    parse,
)
from sansio_step_adapters.http1 import Exchange

See = Callable[[StreamEvent], None]


def with_httpx(url: str, see: See) -> None:
    httpx = pytest.importorskip("httpx")
    with httpx.stream("POST", url, json=REQUEST) as response:
        for event in iter_events(response.iter_bytes()):
            see(event)


def with_httpx_async(url: str, see: See) -> None:
    httpx = pytest.importorskip("httpx")

    async def main() -> None:
        async with httpx.AsyncClient() as client, client.stream("POST", url, json=REQUEST) as response:
            async for event in aiter_events(response.aiter_bytes()):
                see(event)

    asyncio.run(main())


def with_httpx2(url: str, see: See) -> None:
    httpx2 = pytest.importorskip("httpx2")
    with httpx2.stream("POST", url, json=REQUEST) as response:
        for event in iter_events(response.iter_bytes()):
            see(event)


def with_httpx2_async(url: str, see: See) -> None:
    httpx2 = pytest.importorskip("httpx2")

    async def main() -> None:
        async with httpx2.AsyncClient() as client, client.stream("POST", url, json=REQUEST) as response:
            async for event in aiter_events(response.aiter_bytes()):
                see(event)

    asyncio.run(main())


def with_aiohttp(url: str, see: See) -> None:
    aiohttp = pytest.importorskip("aiohttp")

    async def main() -> None:
        async with aiohttp.ClientSession() as session, session.post(url, json=REQUEST) as response:
            async for event in aiter_events(response.content.iter_any()):
                see(event)

    asyncio.run(main())


def with_requests(url: str, see: See) -> None:
    requests = pytest.importorskip("requests")
    with requests.post(url, json=REQUEST, stream=True) as response:
        for event in iter_events(response.iter_content(chunk_size=None)):
            see(event)


def with_urllib3(url: str, see: See) -> None:
    urllib3 = pytest.importorskip("urllib3")
    with urllib3.PoolManager() as pool:
        response = pool.request("POST", url, json=REQUEST, preload_content=False)
        for event in iter_events(response.stream()):
            see(event)
        response.release_conn()


def with_niquests(url: str, see: See) -> None:
    niquests = pytest.importorskip("niquests")
    with niquests.post(url, json=REQUEST, stream=True) as response:
        for event in iter_events(response.iter_content(chunk_size=-1)):
            see(event)


def with_httpcore(url: str, see: See) -> None:
    httpcore = pytest.importorskip("httpcore")
    with httpcore.stream("POST", url, content=json.dumps(REQUEST).encode()) as response:
        for event in iter_events(response.iter_stream()):
            see(event)


def with_httpx_sse(url: str, see: See) -> None:
    httpx, httpx_sse = pytest.importorskip("httpx"), pytest.importorskip("httpx_sse")
    stream = MessageStream()
    with httpx.Client() as client, httpx_sse.connect_sse(client, "POST", url, json=REQUEST) as source:
        for sse in source.iter_sse():
            for event in stream.receive_frame(sse.data, sse.event):
                see(event)
    stream.receive_eof()
    stream.result()


def with_curl_cffi(url: str, see: See) -> None:
    requests = pytest.importorskip("curl_cffi.requests", reason="no curl_cffi: NOT TESTED; nox -s stacks does it")
    with requests.Session() as session:
        response = session.post(url, json=REQUEST, stream=True)
        try:
            for event in iter_events(response.iter_content()):
                see(event)
        finally:
            response.close()


def with_tornado(url: str, see: See) -> None:
    client = pytest.importorskip("tornado.httpclient", reason="no tornado: NOT TESTED; nox -s stacks does it")
    stream = MessageStream()

    def receive(chunk: bytes) -> None:
        for event in stream.receive_data(chunk):
            see(event)

    async def main() -> None:
        request = client.HTTPRequest(url, "POST", body=json.dumps(REQUEST), streaming_callback=receive)
        response = await client.AsyncHTTPClient(force_instance=True).fetch(request, raise_error=False)
        response.rethrow()

    asyncio.run(main())
    stream.receive_eof()
    stream.result()


def with_a_bare_protocol(url: str, see: See) -> None:
    """No HTTP library at all: asyncio's own Protocol, with an exchange that reads HTTP."""

    class Reader(asyncio.Protocol):
        def __init__(self) -> None:
            self.exchange = Exchange()
            self.over = asyncio.get_running_loop().create_future()

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            body = json.dumps(REQUEST).encode()
            transport.write(self.exchange.request("/v1/messages", [(b"host", b"127.0.0.1")], body))  # type: ignore[attr-defined]

        def data_received(self, data: bytes) -> None:
            for event in self.exchange.receive_data(data):
                see(event)
            if self.exchange.done and not self.over.done():
                self.over.set_result(None)

        def connection_lost(self, error: Exception | None) -> None:
            for event in self.exchange.receive_eof(error):
                see(event)
            if not self.over.done():
                self.over.set_result(None)

    async def main() -> None:
        port = int(url.rpartition(":")[2].partition("/")[0])
        transport, reader = await asyncio.get_running_loop().create_connection(Reader, "127.0.0.1", port)
        await reader.over
        transport.close()
        reader.exchange.result()

    asyncio.run(main())


STACKS = {
    "httpx": with_httpx,
    "httpx, async": with_httpx_async,
    "httpx2": with_httpx2,
    "httpx2, async": with_httpx2_async,
    "aiohttp": with_aiohttp,
    "requests": with_requests,
    "urllib3": with_urllib3,
    "niquests": with_niquests,
    "httpcore": with_httpcore,
    "httpx-sse": with_httpx_sse,
    "curl_cffi": with_curl_cffi,
    "tornado": with_tornado,
    "asyncio.Protocol": with_a_bare_protocol,
}


@pytest.fixture(params=STACKS)
def stack(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Any]]:
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    yield request.param, STACKS[request.param]


def framed(body: bytes, *, first: bool = True, last: bool = True) -> bytes:
    """A piece of a response, in chunks."""
    return (head(200, CHUNKED) if first else b"") + chunked(body) + (LAST_CHUNK if last else b"")


def test_events_as_they_come(stack: tuple[str, Any]) -> None:
    """Each event is there when its bytes are, and all of them in the end."""
    _, call = stack
    seen_half = threading.Event()
    events: list[StreamEvent] = []

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(framed(HALF, last=False))
        assert seen_half.wait(20), "the stack holds events back"
        peer.send(framed(WHOLE[len(HALF) :], first=False))

    def see(event: StreamEvent) -> None:
        events.append(event)
        if len(events) == 5:
            seen_half.set()

    with FaultServer(script) as server:
        call(f"{server.base_url}/v1/messages", see)
    assert events == list(iter_events([WHOLE]))
    assert len(events) == EVENTS


def test_a_stream_cut_short(stack: tuple[str, Any]) -> None:
    """A body that ends properly but too early raises IncompleteStream, with the partial message."""
    _, call = stack
    events: list[StreamEvent] = []
    with FaultServer(lambda peer: (peer.read_request(), peer.send(framed(HALF)))[-1]) as server:
        with pytest.raises(IncompleteStream) as caught:
            call(f"{server.base_url}/v1/messages", events.append)
    assert len(events) == 5
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hello"


def test_a_broken_connection(stack: tuple[str, Any]) -> None:
    """A body that breaks off raises: the stack's own error where it notices, else IncompleteStream."""
    _, call = stack
    events: list[StreamEvent] = []
    with FaultServer(lambda peer: (peer.read_request(), peer.send(framed(HALF, last=False)))[-1]) as server:
        with pytest.raises(Exception) as caught:
            call(f"{server.base_url}/v1/messages", events.append)
    assert not isinstance(caught.value, (AssertionError, TypeError, AttributeError))


def test_the_message_alone() -> None:
    """Who wants only the message gives the chunks to `parse`."""
    requests = pytest.importorskip("requests")
    with FaultServer(lambda peer: (peer.read_request(), peer.send(answer()))[-1]) as server:
        with requests.post(f"{server.base_url}/v1/messages", json=REQUEST, stream=True) as response:
            message: Message = parse(response.iter_content(chunk_size=None))
    assert message.text == "Hello"


def test_the_outcome_beside_a_stack() -> None:
    """Who wants the message and the deviations keeps a MessageStream beside the chunks."""
    httpx = pytest.importorskip("httpx")
    stream = MessageStream()
    with FaultServer(lambda peer: (peer.read_request(), peer.send(answer()))[-1]) as server:
        with httpx.stream("POST", f"{server.base_url}/v1/messages", json=REQUEST) as response:
            for chunk in response.iter_bytes():
                stream.receive_data(chunk)
            stream.receive_eof()
    assert stream.outcome is Outcome.COMPLETE
    assert stream.result().text == "Hello"
