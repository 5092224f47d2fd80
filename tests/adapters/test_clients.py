"""What both clients do when nothing goes wrong, and with their arguments: one suite over asyncio, trio and sockets."""

# ruff: noqa: SIM117, a server, a client and a stream read best one a line

from __future__ import annotations

import contextlib
import gc
import gzip
import json
import logging
import pickle
import socket
import threading
import warnings
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Driver
from faultserver import (
    CHUNKED,
    DOCUMENT,
    EVENTS,
    HALF,
    LAST_CHUNK,
    PING,
    REQUEST,
    START,
    STOP,
    WHOLE,
    FaultServer,
    Peer,
    answer,
    chunked,
    head,
    keeps_saying,
    says,
)

import sansio_step
from sansio_step import APIError, ConnectError, IncompleteStream, Outcome
from sansio_step_adapters._addresses import interleaved

KEY = "sk-secret-0123456789"


def test_events_then_the_message(driver: Driver) -> None:
    """A stream is iterated for its events, and has the message, outcome and deviations beside it."""
    entered = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED) + chunked(START))
        assert entered.wait(10)  # the first event is enough to enter the stream
        peer.send(chunked(WHOLE[len(START) :], 40) + LAST_CHUNK)

    async def main() -> None:
        with FaultServer(script) as server:
            async with driver.client(base_url=server.base_url) as client:
                async with client.stream(REQUEST) as stream:
                    assert stream.outcome is Outcome.STREAMING
                    entered.set()
                    types = [event.type async for event in stream]
                assert len(types) == EVENTS
                assert types[0] == "message_start"
                assert types[-1] == "message_stop"
                assert stream.outcome is Outcome.COMPLETE
                assert stream.result() is stream.message
                assert stream.result().text == "Hello"
                assert [message.id for message in stream.messages] == ["msg_1"]
                assert stream.deviations == []
                assert stream.transport_error is None

    driver.run(main)


def test_text_alone(driver: Driver) -> None:
    """`text` gives the pieces of text, and the message is whole after it."""

    async def main() -> None:
        with FaultServer(says(answer())) as server:
            async with driver.client(base_url=server.base_url) as client, client.stream(REQUEST) as stream:
                assert [piece async for piece in stream.text] == ["Hel", "lo"]
                assert stream.result().text == "Hello"

    driver.run(main)


def test_create(driver: Driver) -> None:
    """Without streaming the answer is one document, and the request says so."""
    seen: list[tuple[bytes, bytes]] = []

    def script(peer: Peer) -> None:
        seen.append(peer.read_request())
        peer.send(answer(DOCUMENT, content_type="application/json"))

    async def main() -> None:
        with FaultServer(script) as server:
            async with driver.client(base_url=server.base_url) as client:
                message = await client.create(REQUEST)
                assert message.text == "Hello"
                assert message.stop_reason == "end_turn"

    driver.run(main)
    request, body = seen[0]
    assert b"accept: application/json" in request
    assert json.loads(body).get("stream", False) is False


@pytest.mark.parametrize("auth", ["bearer", "x-api-key"])
def test_the_request(driver: Driver, auth: str) -> None:
    """The request goes to /v1/messages below the base URL, with the key where it belongs and `stream` set."""
    seen: list[tuple[bytes, bytes]] = []

    def script(peer: Peer) -> None:
        seen.append(peer.read_request())
        peer.send(answer())

    async def main() -> None:
        with FaultServer(script) as server:
            arguments: dict[str, Any] = {"api_key": KEY, "auth": auth, "headers": {"X-Extra": "yes"}}
            async with driver.client(base_url=f"{server.base_url}/step_plan/", **arguments) as client:
                async with client.stream(REQUEST) as stream:
                    assert stream.status == 200
            expected = f"host: 127.0.0.1:{server.port}".encode()
            assert expected in seen[0][0].split(b"\r\n")

    driver.run(main)
    request, body = seen[0]
    lines = request.split(b"\r\n")
    assert lines[0] == b"POST /step_plan/v1/messages HTTP/1.1"
    assert b"x-extra: yes" in lines
    assert b"content-type: application/json" in lines
    assert (b"authorization: Bearer " + KEY.encode() in lines) is (auth == "bearer")
    assert (b"x-api-key: " + KEY.encode() in lines) is (auth == "x-api-key")
    assert json.loads(body) == {**REQUEST, "stream": True}


def test_a_message_request(driver: Driver) -> None:
    """A MessageRequest does as well as a dict of its fields, and stays as it was."""
    bodies: list[Any] = []

    def script(peer: Peer) -> None:
        for _ in range(2):
            bodies.append(json.loads(peer.read_request()[1]))
            peer.send(answer() if bodies[-1].get("stream") else answer(DOCUMENT, content_type="application/json"))

    async def main() -> None:
        request = sansio_step.MessageRequest(**REQUEST)
        before = request.to_json()
        with FaultServer(script) as server:
            async with driver.client(base_url=server.base_url) as client:
                async with client.stream(request) as stream:
                    assert [event async for event in stream]
                await client.create(sansio_step.MessageRequest(**REQUEST, stream=True))
        assert request.to_json() == before

    driver.run(main)
    assert [body.get("stream", False) for body in bodies] == [True, False]


def test_an_invalid_request_is_no_stream_error(driver: Driver) -> None:
    """A wrong field is a ValueError or TypeError before anything is sent."""

    async def main() -> None:
        async with driver.client(base_url="http://127.0.0.1:9") as client:
            with pytest.raises((ValueError, TypeError)):
                await client.create({"model": "m"})
            with pytest.raises((ValueError, TypeError)):
                async with client.stream({**REQUEST, "no_such_field": 1}):
                    pass

    driver.run(main)


def test_headers_and_request_id(driver: Driver) -> None:
    """The response's headers are there from the first event on, and the request id by any of its names."""

    async def main() -> None:
        with FaultServer(says(answer(WHOLE, "X-Trace-Id: abc", "X-Two: 1", "X-Two: 2"))) as server:
            async with driver.client(base_url=server.base_url) as client, client.stream(REQUEST) as stream:
                assert stream.request_id == "abc"
                assert stream.response_headers["x-two"] == "1, 2"
                assert stream.response_headers["content-type"] == "text/event-stream"
                assert "abc" in repr(stream)

    driver.run(main)


def test_a_connection_is_used_again(driver: Driver) -> None:
    """Calls one after the other share a connection, whatever their framing, after an API error too."""
    refusal = answer(b'{"type":"error","error":{"type":"not_found_error","message":"no"}}', status=404)
    stream_body = head(200, CHUNKED) + chunked(WHOLE, 100) + b"0\r\nx-trailer: 1\r\n\r\n"
    answers = [stream_body, answer(DOCUMENT, content_type="application/json"), refusal, answer(WHOLE)]

    async def main() -> None:
        with FaultServer(keeps_saying(*answers)) as server:
            async with driver.client(base_url=server.base_url) as client:
                for _ in range(4):
                    with contextlib.suppress(sansio_step.StreamError):
                        async with client.stream(REQUEST) as stream:
                            assert [event async for event in stream]
            assert server.connections == 1

    driver.run(main)


@pytest.mark.parametrize(
    "response",
    [
        answer(WHOLE, "connection: close"),
        head(200) + WHOLE,
        head(200, f"content-length: {len(WHOLE)}", version="1.0") + WHOLE,
        answer(WHOLE) + b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ],
    ids=["connection: close", "delimited by close", "HTTP/1.0", "a byte too many"],
)
def test_a_connection_is_not_used_again(driver: Driver, response: bytes) -> None:
    """Where the server ends it, or said more than was asked, the next call has a connection of its own."""

    async def main() -> None:
        with FaultServer(says(response)) as server:
            async with driver.client(base_url=server.base_url) as client:
                for _ in range(2):
                    async with client.stream(REQUEST) as stream:
                        assert len([event async for event in stream]) == EVENTS
                    assert stream.result().text == "Hello"
                assert "idle=0" in repr(client)
            assert server.connections == 2

    driver.run(main)


def test_leaving_early_closes_the_connection(driver: Driver) -> None:
    """A stream that is left in the middle takes its connection with it, and its message is not whole."""
    gone = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED) + chunked(HALF))
        peer.wait_closed()
        gone.set()

    async def main() -> None:
        with FaultServer(script) as server:
            async with driver.client(base_url=server.base_url) as client:
                async with client.stream(REQUEST) as stream:
                    async for event in stream:
                        if event.type == "content_block_delta":
                            break
                assert gone.wait(10)
                assert "idle=0" in repr(client)
                assert stream.outcome is Outcome.TRUNCATED
                assert stream.message.text.startswith("Hel")
                with pytest.raises(IncompleteStream):
                    stream.result()
                with pytest.raises(IncompleteStream):
                    [event async for event in stream]
                await stream.aclose()

    driver.run(main)


def test_many_streams_at_once(driver: Driver) -> None:
    """Streams of one client don't get into each other's way."""

    def script(peer: Peer) -> None:
        _, body = peer.read_request()
        name = json.loads(body)["messages"][0]["content"]
        peer.send(head(200, CHUNKED) + chunked(WHOLE.replace(b"msg_1", name.encode())) + LAST_CHUNK)

    async def main() -> None:
        with FaultServer(script) as server:
            async with driver.client(base_url=server.base_url) as client:
                streams = []
                for number in range(10):
                    request = {**REQUEST, "messages": [{"role": "user", "content": f"n{number}"}]}
                    streams.append(await client.stream(request).__aenter__())
                for number, stream in reversed(list(enumerate(streams))):
                    assert [event async for event in stream]
                    assert stream.result().id == f"n{number}"
                    await stream.aclose()

    driver.run(main)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(WHOLE)),
        ("x-gzip", gzip.compress(HALF) + gzip.compress(WHOLE[len(HALF) :])),
        ("deflate", zlib.compress(WHOLE)),
        ("deflate", zlib.compress(WHOLE)[2:-4]),
        ("identity, gzip", gzip.compress(WHOLE)),
        ("identity", WHOLE),
    ],
    ids=["gzip", "gzip in two members", "deflate", "bare deflate", "gzip and identity", "identity"],
)
def test_content_codings(driver: Driver, coding: str, body: bytes) -> None:
    """Compressed bodies are read as they come, in whatever pieces."""

    async def main() -> None:
        framed = head(200, CHUNKED, f"content-encoding: {coding}") + chunked(body, 5) + LAST_CHUNK
        with FaultServer(says(framed)) as server:
            async with driver.client(base_url=server.base_url) as client, client.stream(REQUEST) as stream:
                assert len([event async for event in stream]) == EVENTS
                assert stream.result().text == "Hello"

    driver.run(main)


def test_a_flushed_coding_gives_its_events_at_once(driver: Driver) -> None:
    """What a server has flushed is an event now, not when the body ends."""
    coder = zlib.compressobj(wbits=31)
    first = coder.compress(HALF) + coder.flush(zlib.Z_SYNC_FLUSH)
    rest = coder.compress(WHOLE[len(HALF) :]) + coder.flush()
    seen = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head(200, CHUNKED, "content-encoding: gzip") + chunked(first))
        assert seen.wait(10)
        peer.send(chunked(rest) + LAST_CHUNK)

    async def main() -> None:
        with FaultServer(script) as server:
            async with driver.client(base_url=server.base_url) as client, client.stream(REQUEST) as stream:
                async for event in stream:
                    if getattr(getattr(event, "delta", None), "text", "") == "lo":
                        seen.set()
                assert stream.result().text == "Hello"

    driver.run(main)


def test_informational_responses_and_extensions(driver: Driver) -> None:
    """100 and 103 in front, chunk extensions and trailers are read over."""
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    size = b"%x;name=value;other" % len(WHOLE)
    body = size + b"\r\n" + WHOLE + b"\r\n0;last\r\nx-checksum: 1\r\n\r\n"

    async def main() -> None:
        with FaultServer(keeps_saying(early + head(200, CHUNKED) + body)) as server:
            async with driver.client(base_url=server.base_url) as client, client.stream(REQUEST) as stream:
                assert len([event async for event in stream]) == EVENTS
                assert "link" not in stream.response_headers
                assert "idle=1" in repr(client)

    driver.run(main)


def test_ipv6_and_names(driver: Driver) -> None:
    """A literal IPv6 address works, and so does a name one of whose addresses nobody answers at."""

    async def main() -> None:
        try:
            server = FaultServer(says(answer()), host="::1")
        except OSError:
            pytest.skip("no IPv6 on this machine")
        with server:
            async with driver.client(base_url=server.base_url) as client, client.stream(REQUEST) as stream:
                assert [event async for event in stream]
        with FaultServer(says(answer())) as server:
            # localhost is ::1 and 127.0.0.1 on most machines, and only the latter listens.
            async with driver.client(base_url=f"http://localhost:{server.port}") as client:
                async with client.stream(REQUEST) as stream:
                    assert [event async for event in stream]

    driver.run(main)


def test_a_name_with_several_addresses(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each address is tried until one answers; where none does, the error says why, not how many there were."""
    resolve = socket.getaddrinfo
    places = ["127.0.0.2", "127.0.0.3", "127.0.0.1"]

    def several(host: Any, port: Any, *more: Any, **named: Any) -> Any:
        if host not in ("several.example", b"several.example"):
            return resolve(host, port, *more, **named)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (place, int(port))) for place in places]

    monkeypatch.setattr(socket, "getaddrinfo", several)

    async def main() -> None:
        with FaultServer(says(answer())) as server:
            url = f"http://several.example:{server.port}"
            async with driver.client(base_url=url, max_retries=0) as client:
                async with client.stream(REQUEST) as stream:
                    assert len([event async for event in stream]) == EVENTS
                places.remove("127.0.0.1")
                with pytest.raises(ConnectError, match=r"several\.example:[0-9]+: \[Errno [0-9]+\] ") as caught:
                    await client.create(REQUEST)
                assert isinstance(caught.value.__cause__, ConnectionRefusedError)

    driver.run(main)


@contextlib.contextmanager
def swallowing(port: int) -> Iterator[str]:
    """An address of this machine that answers no attempt to connect to it: its queue is full."""
    place = "127.0.0.2"
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind((place, port))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect((place, port))
        yield place


def test_an_address_that_swallows_packets(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The addresses after one that doesn't answer are tried beside it: without a limit, one after the other would hang."""
    resolve = socket.getaddrinfo

    async def main() -> None:
        with FaultServer(keeps_saying(answer())) as server, swallowing(server.port) as nobody:

            def several(host: Any, port: Any, *more: Any, **named: Any) -> Any:
                if host not in ("several.example", b"several.example"):
                    return resolve(host, port, *more, **named)
                kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
                return [(*kind, (place, int(port))) for place in (nobody, "127.0.0.1")]

            monkeypatch.setattr(socket, "getaddrinfo", several)
            limits = sansio_step.Timeouts(connect=None, total=None)
            async with driver.client(base_url=f"http://several.example:{server.port}", timeouts=limits) as client:
                async with client.stream(REQUEST) as stream:
                    assert len([event async for event in stream]) == EVENTS
            limits = sansio_step.Timeouts(connect=0.4)
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: several("several.example", server.port)[:1])
            url = f"http://several.example:{server.port}"
            async with driver.client(base_url=url, timeouts=limits, max_retries=0) as client:
                with pytest.raises(sansio_step.DeadlineExceeded, match="connect"):
                    await client.create(REQUEST)

    driver.run(main)


def test_the_two_families_in_turn() -> None:
    """The resolver's order holds within each family, and its first family begins (RFC 8305 4)."""
    six = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", (f"::{number}", 1, 0, 0)) for number in (1, 2, 3)]
    four = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"10.0.0.{number}", 1)) for number in (1,)]
    assert interleaved([*six, *four, six[0]]) == [six[0], four[0], six[1], six[2]]
    assert interleaved([*four, *six]) == [four[0], six[0], six[1], six[2]]
    assert interleaved([]) == []


def test_the_key_shows_nowhere(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a repr nor an error nor a log has the key, even where the server says it back."""
    caplog.set_level(logging.DEBUG)
    echo = json.dumps({"error": {"type": "authentication_error", "message": f"bad key {KEY}"}}).encode()
    html = f"<html>who is {KEY}?</html>".encode()
    errors: list[BaseException] = []

    async def main() -> None:
        with FaultServer(says(answer(echo, status=401)), says(answer(html, content_type="text/html"))) as server:
            async with driver.client(base_url=server.base_url, api_key=KEY) as client:
                for _ in range(2):
                    stream = client.stream(REQUEST)
                    with pytest.raises(sansio_step.StreamError) as caught:
                        await stream.__aenter__()
                    errors.append(caught.value)
                    for thing in (client, stream, caught.value, caught.value.__dict__):
                        assert KEY not in repr(thing)
                    assert KEY not in str(caught.value)
                    assert KEY.encode() not in pickle.dumps(caught.value)
        async with driver.client(base_url="http://127.0.0.1:1", api_key=KEY, max_retries=0) as client:
            with pytest.raises(ConnectError) as failed:
                await client.create(REQUEST)
            assert KEY not in repr(failed.value)

    driver.run(main)
    assert [type(error) for error in errors] == [APIError, sansio_step.UnexpectedResponse]
    assert "bad key ***" in str(errors[0])
    assert KEY not in caplog.text


COUNT = answer(b'{"input_tokens": 12}', content_type="application/json")


def test_count_tokens(driver: Driver) -> None:
    """One call asks for the number of tokens, with what the request says of its input alone."""
    seen: list[tuple[bytes, bytes]] = []
    wanted = {name: value for name, value in REQUEST.items() if name != "max_tokens"}

    def script(peer: Peer) -> None:
        for _ in range(4):
            seen.append(peer.read_request())
            peer.send(COUNT)

    async def main() -> None:
        with FaultServer(script) as server:
            async with driver.client(base_url=f"{server.base_url}/step_plan", api_key=KEY) as client:
                assert await client.count_tokens(REQUEST) == 12
                assert await client.count_tokens(wanted) == 12
                assert await client.count_tokens({**REQUEST, "stream": True}) == 12
                request = sansio_step.MessageRequest(**REQUEST, stream=True)
                before = request.to_json()
                assert await client.count_tokens(request) == 12
                assert request.to_json() == before
            assert server.connections == 1

    driver.run(main)
    for request, body in seen:
        lines = request.split(b"\r\n")
        assert lines[0] == b"POST /step_plan/v1/messages/count_tokens HTTP/1.1"
        assert b"authorization: Bearer " + KEY.encode() in lines
        assert b"accept: application/json" in lines
        assert json.loads(body) == wanted


@pytest.mark.parametrize("response", [answer(b"{}"), answer(), answer(DOCUMENT)], ids=["{}", "stream", "message"])
def test_no_count(driver: Driver, response: bytes) -> None:
    """An answer that is no count is an UnexpectedResponse; a refusal is the APIError, after its retries."""
    refused = answer(b'{"error":{"type":"not_found_error","message":"no such place"}}', status=404)

    async def main() -> None:
        with FaultServer(says(response), says(answer(status=503)), says(COUNT), says(refused)) as server:
            retries = sansio_step.RetryPolicy(first_delay=0)
            async with driver.client(base_url=server.base_url, retries=retries) as client:
                with pytest.raises(sansio_step.UnexpectedResponse):
                    await client.count_tokens(REQUEST)
                assert await client.count_tokens(REQUEST) == 12
                with pytest.raises(APIError, match="no such place"):
                    await client.count_tokens(REQUEST)
            assert server.connections == 4

    driver.run(main)


def test_create_answered_by_a_stream(driver: Driver) -> None:
    """A server that streams all the same has answered; a stream that was cut gives what there is of the message."""

    async def main() -> None:
        with FaultServer(says(answer()), says(answer(HALF)), says(answer())) as server:
            async with driver.client(base_url=server.base_url) as client:
                assert (await client.create(REQUEST)).text == "Hello"
                with pytest.raises(IncompleteStream) as caught:
                    await client.create(REQUEST)
                assert caught.value.partial.text == "Hello"
            assert server.connections == 2

    driver.run(main)


def test_a_stream_is_read_once(driver: Driver) -> None:
    """After its end a second loop would find nothing in silence: it is a ValueError. After a `break` it goes on."""

    async def main() -> None:
        with FaultServer(says(answer())) as server:
            async with driver.client(base_url=server.base_url) as client, client.stream(REQUEST) as stream:
                async for event in stream:
                    if event.type == "content_block_start":
                        break
                assert [piece async for piece in stream.text] == ["Hel", "lo"]
                with pytest.raises(ValueError, match="read to its end"):
                    [event async for event in stream]
                with pytest.raises(ValueError, match="read to its end"):
                    [piece async for piece in stream.text]
                assert stream.result().text == "Hello"
            with pytest.raises(ValueError, match="read to its end"):
                [event async for event in stream]

    driver.run(main)


def test_a_stream_that_failed_is_read_once(driver: Driver) -> None:
    """A loop that raised was the whole of the stream; `result()` raises the same again."""

    async def main() -> None:
        with FaultServer(says(answer(HALF))) as server:
            async with driver.client(base_url=server.base_url) as client, client.stream(REQUEST) as stream:
                with pytest.raises(IncompleteStream):
                    [event async for event in stream]
                with pytest.raises(ValueError, match="read to its end"):
                    [event async for event in stream]
                with pytest.raises(IncompleteStream):
                    stream.result()

    driver.run(main)


def test_a_client_that_nobody_closed(driver: Driver) -> None:
    """One that holds an idle connection warns of itself and says how to close it; one that holds none doesn't."""

    async def main() -> None:
        with FaultServer(keeps_saying(answer())) as server:
            client = driver.client(base_url=server.base_url)
            async with client.stream(REQUEST) as stream:
                assert [event async for event in stream]
            shown = repr(client)
            assert "idle=1" in shown
            del stream
            with pytest.warns(ResourceWarning, match="unclosed client") as caught:
                del client
                gc.collect()
            text = next(str(warning.message) for warning in caught if "unclosed client" in str(warning.message))
            assert shown in text
            assert ("aclose()" if driver.name != "sockets" else "close()") in text
            assert ("async with" in text) is (driver.name != "sockets")
            assert server.all_gone(), "what it held is still open"
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                client = driver.client(base_url=server.base_url)
                del client
                gc.collect()

    driver.run(main)


@pytest.mark.parametrize("streaming", [True, False])
def test_no_key_and_a_401(driver: Driver, streaming: bool) -> None:
    """Who gave no key reads how to give one; who gave one does not."""
    refused = answer(b'{"error":{"type":"authentication_error","message":"who?"}}', status=401)

    async def refusal(server: FaultServer, **arguments: Any) -> str:
        async with driver.client(base_url=server.base_url, **arguments) as client:
            with pytest.raises(APIError) as caught:
                if streaming:
                    await client.stream(REQUEST).__aenter__()
                else:
                    await client.create(REQUEST)
        return str(caught.value)

    async def main() -> None:
        with FaultServer(says(refused)) as server:
            text = await refusal(server)
            assert "STEP_API_KEY" in text
            assert "api_key" in text
            for given in ({"api_key": KEY}, {"headers": {"authorization": "me"}}, {"headers": {"X-Api-Key": "me"}}):
                assert "STEP_API_KEY" not in await refusal(server, **given)

    driver.run(main)


def test_misuse(driver: Driver) -> None:
    """What makes no sense is a ValueError: a closed client, a stream that has not begun, or begun twice."""

    async def main() -> None:
        with FaultServer(says(answer())) as server:
            client = driver.client(base_url=server.base_url)
            stream = client.stream(REQUEST)
            assert "not begun" in repr(stream)
            with pytest.raises(ValueError, match="not begun"):
                stream.result()
            await stream.aclose()
            async with stream:
                with pytest.raises(ValueError, match="entered once"):
                    await stream.__aenter__()
            await client.aclose()
            with pytest.raises(ValueError, match="client is closed"):
                await client.create(REQUEST)

    driver.run(main)


def test_a_stream_outlives_its_client(driver: Driver) -> None:
    """Closing the client closes what is idle; a stream that is open goes on, and its connection is not kept."""

    async def main() -> None:
        with FaultServer(keeps_saying(answer())) as server:
            client = driver.client(base_url=server.base_url)
            async with client.stream(REQUEST) as stream:
                await client.aclose()
                assert len([event async for event in stream]) == EVENTS
            assert "idle=0" in repr(client)

    driver.run(main)


def test_pings_after_the_end_belong_to_the_stream(driver: Driver) -> None:
    """Iteration goes on to the end of the body: events after message_stop come too."""

    async def main() -> None:
        with FaultServer(says(answer(WHOLE + PING))) as server:
            async with driver.client(base_url=server.base_url) as client, client.stream(REQUEST) as stream:
                assert [event.type async for event in stream][-2:] == ["message_stop", "ping"]
                assert stream.result().text == "Hello"

    driver.run(main)


def test_strict_reaches_the_stream(driver: Driver) -> None:
    """`strict` is that of MessageStream: a departure from the protocol is an error."""

    async def main() -> None:
        with FaultServer(says(answer(WHOLE.replace(STOP, b"")))) as server:
            async with driver.client(base_url=server.base_url, strict=True) as client:
                async with client.stream(REQUEST) as stream:
                    with pytest.raises(sansio_step.ProtocolViolation, match="no_message_stop"):
                        [event async for event in stream]
            async with driver.client(base_url=server.base_url) as client, client.stream(REQUEST) as stream:
                assert [event async for event in stream]
                assert [deviation.code for deviation in stream.deviations] == ["no_message_stop"]

    driver.run(main)
