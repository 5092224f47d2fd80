"""The replay server, by the client that it was made for."""

# ruff: noqa: SIM117, a server, a client and a stream read best one a line

from __future__ import annotations

import socket
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from conftest import Driver
from faultserver import HALF, REQUEST, WHOLE

from sansio_step import APIError, IncompleteStream, iter_events, to_dict
from sansio_step_adapters.anyio import AsyncClient
from sansio_step_adapters.replay import pieces, serve
from sansio_step_adapters.sockets import Client

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"


@pytest.mark.parametrize("chunk_size", [None, 1, 7, 1460, 10**9])
def test_what_goes_in_comes_out(backend: str, chunk_size: int | None) -> None:
    """A capture arrives as its events, however it is cut, and as a document where one is asked for."""

    async def main() -> None:
        async with serve(WHOLE, chunk_size=chunk_size) as server:
            async with AsyncClient(base_url=server.base_url) as client:
                for _ in range(2):
                    async with client.stream(REQUEST) as stream:
                        assert [event async for event in stream] == list(iter_events([WHOLE]))
                assert to_dict(await client.create(REQUEST)) == to_dict(stream.result())
            assert server.calls == 3

    anyio.run(main, backend=backend)


def test_pace(backend: str) -> None:
    """With a pace the pieces come one by one, so that the first is there long before the last."""

    async def main() -> None:
        async with serve(WHOLE, pace=0.01) as server, AsyncClient(base_url=server.base_url) as client:
            async with client.stream(REQUEST) as stream:
                assert stream.message is not None
                assert stream.message.stop_reason is None
                assert [piece async for piece in stream.text] == ["Hel", "lo"]

    anyio.run(main, backend=backend)


def test_captures_in_turn(backend: str) -> None:
    """Several captures are served one after the other, again and again; a broken one is served as it is."""

    async def main() -> None:
        async with serve([WHOLE, HALF]) as server, AsyncClient(base_url=server.base_url, max_retries=0) as client:
            for broken in (False, True, False):
                async with client.stream(REQUEST) as stream:
                    if broken:
                        with pytest.raises(IncompleteStream):
                            [event async for event in stream]
                    else:
                        assert [event async for event in stream]
            with pytest.raises(APIError, match="500"):
                await client.create(REQUEST)

    anyio.run(main, backend=backend)


def test_what_it_does_not_serve(backend: str) -> None:
    """Another path is a 404, a request that is no JSON a 400, both as the API would say it."""

    def talk(port: int) -> list[bytes]:
        answers = []
        for request in (
            b"GET /v1/messages HTTP/1.1\r\nhost: x\r\n\r\n",
            b"POST /v1/models HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
            b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n{",
            b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n",
            b"nonsense\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.sendall(request)
                answers.append(sock.recv(10_000))
        return answers

    async def main() -> None:
        async with serve(WHOLE) as server:
            answers = await anyio.to_thread.run_sync(talk, server.port)
        assert [answer[9:12] for answer in answers] == [b"404", b"404", b"400", b"100", b""]
        assert b'"type":"not_found_error"' in answers[0]

    anyio.run(main, backend=backend)


def test_what_the_block_raises(backend: str) -> None:
    """An error of the caller's own comes out as it is, and a cancellation as one, with the port free again."""

    async def main() -> None:
        mine = AssertionError("mine")
        with pytest.raises(AssertionError) as caught:
            async with serve(WHOLE) as server:
                port = server.port
                raise mine
        assert caught.value is mine
        with anyio.CancelScope() as scope:
            async with serve(WHOLE, port=port), AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                async with client.stream(REQUEST) as stream:
                    assert [event async for event in stream]
                    scope.cancel()
                    await anyio.sleep_forever()
        assert scope.cancelled_caught
        with anyio.move_on_after(0.01) as scope:
            async with serve(WHOLE, port=port):
                await anyio.sleep_forever()
        assert scope.cancelled_caught

    anyio.run(main, backend=backend)


def test_a_blocking_client(backend: str) -> None:
    """The client on sockets reads from it too, from a thread."""

    def read(url: str) -> str:
        with Client(base_url=url) as client, client.stream(REQUEST) as stream:
            return "".join(stream.text)

    async def main() -> None:
        async with serve(WHOLE, chunk_size=5) as server:
            assert await anyio.to_thread.run_sync(read, server.base_url) == "Hello"

    anyio.run(main, backend=backend)


def test_pieces() -> None:
    """Cut to size or behind each event, nothing is lost, whatever the line ends."""
    assert list(pieces(b"a\n\nb\r\n\r\nc", None)) == [b"a\n\n", b"b\r\n\r\n", b"c"]
    assert list(pieces(b"abcde", 2)) == [b"ab", b"cd", b"e"]
    assert list(pieces(b"", None)) == list(pieces(b"", 2)) == []


def test_arguments() -> None:
    """What can't be served is a ValueError, and so is asking a server that doesn't run."""
    with pytest.raises(ValueError, match="captures"):
        serve([])
    with pytest.raises(ValueError, match="chunk_size"):
        serve(b"", chunk_size=0)
    with pytest.raises(ValueError, match="does not run"):
        _ = serve(b"").base_url


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of captures is not here")
def test_the_corpus_through_the_client(driver: Driver) -> None:
    """Every capture gives through the client what it gives without one: its events, then its error or none."""

    def without(capture: bytes) -> tuple[list[object], str]:
        events: list[object] = []
        try:
            for event in iter_events([capture]):
                events.append(event)  # noqa: PERF402, they count though it raises
        except Exception as error:  # noqa: BLE001
            return events, repr(error)
        return events, ""

    captures = [path.read_bytes() for path in sorted(CORPUS.glob("*.sse"))]
    expected = [without(capture) for capture in captures]
    seen: list[tuple[list[object], str]] = []

    async def read(url: str) -> None:
        async with driver.client(base_url=url, max_retries=0) as client:
            for _ in captures:
                events: list[object] = []
                try:
                    async with client.stream(REQUEST) as stream:
                        async for event in stream:
                            events.append(event)  # noqa: PERF401
                    seen.append((events, ""))
                except Exception as error:  # noqa: BLE001
                    seen.append((events, repr(error)))

    async def main() -> None:
        async with serve(captures, chunk_size=1460) as server:
            if driver.name == "sockets":
                await anyio.to_thread.run_sync(lambda: driver.run(lambda: read(server.base_url)))
            else:
                await read(server.base_url)

    anyio.run(main, backend="asyncio" if driver.name == "sockets" else driver.name)
    assert len(seen) == len(expected)
    for got, wanted in zip(seen, expected, strict=True):
        assert got == wanted
