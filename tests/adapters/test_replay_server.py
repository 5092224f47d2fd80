"""The replay server's dials on the wire, its face without a loop, and what it keeps of the requests."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import closing
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import anyio.lowlevel
import pytest
from faultserver import DOCUMENT, HALF, OVERLOADED, REQUEST, WHOLE

from sansio_step import APIError, IncompleteStream, PingEvent, decode_error, encode_event, parse
from sansio_step_adapters.anyio import AsyncClient
from sansio_step_adapters.replay import Call, Capture, Dials, Failure, ReplayServer, Rule, echo, serve
from sansio_step_adapters.sockets import Client

STREAM = {**REQUEST, "stream": True}


class Answer(NamedTuple):
    status: int
    headers: Any
    body: bytes
    is_whole: bool

    @property
    def received(self) -> tuple[bytes, bool]:
        return self.body, self.is_whole


def ask(server: ReplayServer, fields: object = STREAM, path: str = "/v1/messages", **headers: str) -> Answer:
    """An answer on a connection of its own, and whether its body came to its end."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    with closing(connection):
        connection.request("POST", path, json.dumps(fields), headers)
        response = connection.getresponse()
        try:
            body, is_whole = response.read(), True
        except IncompleteRead as error:
            body, is_whole = error.partial, False
        return Answer(response.status, response.headers, body, is_whole)


# --- how it ends -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dials", "body", "whole"),
    [
        ({}, WHOLE, True),
        ({"cut": 2}, WHOLE[: WHOLE.index(b"event: ping")], True),
        ({"fail_after": 2}, WHOLE[: WHOLE.index(b"event: ping")], False),
        ({"cut": "20B"}, WHOLE[:20], True),
        ({"fail_after": "20B"}, WHOLE[:20], False),
        ({"fail_after": 0}, b"", False),
        ({"cut": 0}, b"", True),
    ],
)
def test_a_stream_that_ends_early(dials: dict[str, Any], body: bytes, whole: bool) -> None:
    """A cut one is a whole response to HTTP; one that breaks off is none."""
    with serve(WHOLE, **dials) as server:
        assert ask(server).received == (body, whole)


@pytest.mark.parametrize(
    ("dials", "body", "whole", "ended"),
    [
        ({"cut": "9B"}, DOCUMENT[:9], True, "cut"),
        ({"fail_after": "9B"}, DOCUMENT[:9], False, "broken"),
        ({"fail_after": 1}, DOCUMENT, True, "whole"),
    ],
)
def test_a_document_that_ends_early(dials: dict[str, Any], body: bytes, whole: bool, ended: str) -> None:
    with serve(Capture(WHOLE, document=DOCUMENT), **dials) as server:
        assert ask(server, REQUEST).received == (body, whole)
        assert [call.ended for call in server.requests] == [ended]


def test_a_recording_that_broke_off() -> None:
    with serve(Capture(HALF, is_broken=True)) as server:
        assert ask(server).received == (HALF, False)


def test_after_an_end_of_any_kind_the_next_answer_is_whole() -> None:
    """On a connection of its own after a broken one, on the same after a cut."""
    rules = [Rule(times=1, dials=Dials(fail_after=1)), Rule(times=1, dials=Dials(cut=1))]
    with serve(WHOLE, rules=rules) as server, Client(base_url=server.base_url, max_retries=0) as client:
        for _ in range(2):
            with pytest.raises(IncompleteStream), client.stream(REQUEST) as stream:
                list(stream)
        assert client.create(REQUEST).text == "Hello"
        assert [call.ended for call in server.requests] == ["broken", "cut", "whole"]


# --- errors ----------------------------------------------------------------------------------------------------------

STATUSES = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "api_error": 500, "timeout_error": 504,
    "overloaded_error": 529, "quota_exceeded": 402, "censorship_blocked": 451, "of_a_vendor": 500,
}  # fmt: skip


@pytest.mark.parametrize("kind", STATUSES)
def test_an_error_has_the_status_of_its_type(kind: str) -> None:
    """In the API's envelope, for streams and documents alike, with the id that the header has too."""
    with serve(WHOLE, error=kind) as server:
        for fields in (STREAM, REQUEST):
            response = ask(server, fields)
            body = response.body
            assert response.status == STATUSES[kind]
            said = {"type": kind, "message": kind.replace("_", " ")}
            assert json.loads(body) == {"type": "error", "error": said, "request_id": response.headers["request-id"]}
            error = decode_error(response.status, response.headers.items(), body)
            assert (error.type, error.request_id) == (kind, server.requests[-1].request_id)
        assert [call.ended for call in server.requests] == ["failed", "failed"]


def test_an_error_with_more() -> None:
    """Its own words, its own status, and the header that says when to try again."""
    with serve(WHOLE, error=Failure("rate_limit_error", "later", status=503, retry_after=9)) as server:
        response = ask(server)
        assert (response.status, response.headers["retry-after"]) == (503, "9")
        assert json.loads(response.body)["error"]["message"] == "later"


def test_an_error_in_the_stream() -> None:
    """After so many events, as an event; a request without a stream gets it with a status."""
    with serve(WHOLE, error="overloaded_error@3") as server:
        with Client(base_url=server.base_url, max_retries=0) as client:
            with pytest.raises(APIError) as caught, client.stream(REQUEST) as stream:
                list(stream)
            assert (caught.value.type, caught.value.event_number, caught.value.status) == ("overloaded_error", 3, None)
            with pytest.raises(APIError) as caught:
                client.create(REQUEST)
            assert caught.value.status == 529


def test_a_recorded_error() -> None:
    """As it came, with its status and headers, whether a stream was asked for or not."""
    capture = Capture(OVERLOADED, status=529, headers={"content-type": "text/event-stream", "retry-after": "5"})
    with serve(capture) as server:
        for fields in (STREAM, REQUEST):
            response = ask(server, fields)
            assert (response.status, response.headers["content-type"]) == (529, "text/event-stream")
            assert response.headers["retry-after"] == "5"
            assert response.received == (OVERLOADED, True)


def test_a_stream_with_an_error_event_asked_for_as_a_document() -> None:
    """It is the error that the stream ends with, with the status of its type."""
    with serve(HALF + OVERLOADED) as server:
        response = ask(server, REQUEST)
        assert response.status == 529
        assert json.loads(response.body)["error"] == {"type": "overloaded_error", "message": "busy"}


def test_a_client_that_tries_again() -> None:
    """Errors that are used up: the client's own retries lead to the answer."""
    rules = [Rule(times=2, dials=Dials(error=Failure("overloaded_error", retry_after=0)))]
    with serve(WHOLE, rules=rules) as server, Client(base_url=server.base_url, max_retries=2) as client:
        assert client.create(REQUEST).text == "Hello"
        assert [call.status for call in server.requests] == [529, 529, 200]
        assert server.calls == 3


def test_nothing_for_a_model() -> None:
    """A 404, as the API has it for a model that it doesn't know."""
    with serve([Capture(WHOLE, "sky")], by="model") as server:
        assert ask(server, {**STREAM, "model": "sky"}).status == 200
        response = ask(server, {**STREAM, "model": "sea"})
        assert response.status == 404
        assert json.loads(response.body)["error"] == {"type": "not_found_error", "message": "model: sea"}
        assert (server.models, server.calls) == (["sky"], 1)


# --- time, by trio's clock, which jumps to whatever is waited for ------------------------------------------------------


def arrivals(request: dict[str, Any], *captures: Any, **dials: Any) -> list[tuple[float, bytes]]:
    """What came from the server, each with the seconds since the request."""
    trio_testing = pytest.importorskip("trio.testing")
    body = json.dumps(request).encode()
    came: list[tuple[float, bytes]] = []

    async def main() -> None:
        async with serve(*captures, **dials) as server, await anyio.connect_tcp("127.0.0.1", server.port) as stream:
            began = anyio.current_time()
            await stream.send(
                b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
            )
            whole = b""
            while not whole.endswith((b"\r\n0\r\n\r\n", b"]}", b"}}", b'"}')):
                got = await stream.receive()
                whole += got
                came.append((round(anyio.current_time() - began, 6), got))

    clock = trio_testing.MockClock(autojump_threshold=0.01)
    anyio.run(main, backend="trio", backend_options={"clock": clock})
    return came


def times(came: list[tuple[float, bytes]]) -> list[float]:
    return sorted({at for at, _ in came})


def test_pace_and_latency() -> None:
    """Nothing before the latency, then the head with the first event, and one event a pace."""
    came = arrivals(STREAM, WHOLE, pace=100, latency=1000)
    assert times(came) == [1000 + 100 * number for number in range(8)]
    assert came[0][1].startswith(b"HTTP/1.1 200")
    assert b"message_start" in b"".join(data for at, data in came if at == 1000)


def test_a_document_waits_for_the_latency() -> None:
    assert times(arrivals(REQUEST, Capture(WHOLE, document=DOCUMENT), latency=70)) == [70]
    assert times(arrivals(STREAM, WHOLE, latency=70, error="api_error")) == [70]


def test_as_recorded() -> None:
    """The head before its body, each read and the end when they came."""
    second = 1_000_000_000
    capture = Capture(WHOLE, head_ns=10 * second, reads=[(0, 40 * second), (50, 300 * second)], end_ns=1000 * second)
    came = arrivals(STREAM, capture, pace="recorded")
    assert times(came) == [10, 40, 300, 1000]
    assert came[0] == (10, came[0][1])
    assert b"event:" not in came[0][1]
    assert came[-1] == (1000, b"0\r\n\r\n")


def test_pings() -> None:
    """In each silence, between the events."""
    came = arrivals(STREAM, WHOLE, pace=100, ping=40)
    ping = encode_event(PingEvent())
    pinged = [at for at, data in came if ping in data]
    assert pinged == [100 * number + at for number in range(7) for at in (40, 80)]


# --- without a loop ----------------------------------------------------------------------------------------------------


def test_a_thread_of_its_own() -> None:
    """It ends with the block, and the port is free again; the server can run a second time."""
    server = serve(WHOLE)
    for _ in range(2):
        before = threading.active_count()
        with server as same:
            assert same is server
            port = server.port
            assert threading.active_count() > before
            assert parse(ask(server).body).text == "Hello"
        assert threading.active_count() == before
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=10)


def test_what_the_block_raises_without_a_loop() -> None:
    mine = AssertionError("mine")
    with pytest.raises(AssertionError) as caught, serve(WHOLE):
        raise mine
    assert caught.value is mine


def test_a_port_that_is_taken() -> None:
    """An OSError at once, and no thread is left."""
    before = threading.active_count()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(OSError), serve(WHOLE, port=taken.getsockname()[1]):
            pytest.fail("it is taken")
    assert threading.active_count() == before


# --- what it keeps -----------------------------------------------------------------------------------------------------


def test_the_requests_are_kept() -> None:
    """With what was sent and what was answered, and without the keys."""
    seen: list[Call] = []
    with serve(echo, on_end=seen.append) as server:
        ask(server, STREAM, "/v1/messages?beta=true", **{"X-Api-Key": "sk-secret", "Authorization": "Bearer sk-secret"})
        ask(server, {**STREAM, "max_tokens": 0})
        ask(server, {"model": 3}, "/v1/models")
        for target, status in (
            (b"http://me:sk-secret@x/v1/messages", b"400"),
            (b"http://[sk-secret/v1/messages", b"404"),
        ):
            with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
                sock.sendall(b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}" % target)
                assert sock.recv(12) == b"HTTP/1.1 " + status
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
            sock.sendall(b"nonsense\r\n\r\n")
            assert sock.recv(12) == b"HTTP/1.1 400"
        calls = server.requests
    assert [(call.method, call.path, call.model, call.status, call.ended) for call in calls] == [
        ("POST", "/v1/messages", REQUEST["model"], 200, "whole"),
        ("POST", "/v1/messages", REQUEST["model"], 400, "refused"),
        ("POST", "/v1/models", None, 404, "refused"),
        ("POST", "/v1/messages", None, 400, "refused"),
        ("POST", "", None, 404, "refused"),
        ("", "", None, 400, "refused"),
    ]
    assert seen == calls
    assert calls[0].json == STREAM
    assert calls[0].headers["x-api-key"] == calls[0].headers["authorization"] == "***"
    assert "sk-secret" not in repr(calls)
    assert len({call.request_id for call in calls}) == 6


def test_the_bytes_of_an_answer_are_counted() -> None:
    with serve(WHOLE, cut="30B") as server:
        ask(server)
        assert [call.bytes_sent for call in server.requests] == [30]


def test_the_oldest_requests_are_forgotten() -> None:
    """When there are more than a thousand, or more than 64 MiB of them; the last is kept however large it is."""
    from sansio_step_adapters._replay.calls import CallLog

    log = CallLog()
    calls = [Call(f"{number}") for number in range(1500)]
    for call in calls:
        log.add(call)
    assert log.as_list() == calls[-1000:]
    large = [
        Call("a", body=bytes(2**25)),
        Call("b", body=bytes(2**25)),
        Call("c", body=b"1"),
        Call("d", body=bytes(2**27)),
    ]
    for number, call in enumerate(large, 1):
        log.add(call)
        expected = {1: "a", 2: "ab", 3: "bc", 4: "d"}[number]
        assert "".join(kept.request_id for kept in log.as_list() if kept in large) == expected


def test_a_client_that_left_and_one_that_stays(backend: str) -> None:
    """How their answers ended is known, also when the server itself ends."""
    ended: list[str | None] = []

    async def main() -> None:
        endless = WHOLE + b":" * 2**23  # more than the sockets hold
        async with serve(endless, on_end=lambda call: ended.append(call.ended)) as server:
            for leaves in (True, False):
                stream = await anyio.connect_tcp("127.0.0.1", server.port)
                body = json.dumps(STREAM).encode()
                await stream.send(
                    b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
                )
                await stream.receive(1)
                if leaves:
                    await stream.aclose()
                    while not ended:
                        await anyio.lowlevel.checkpoint()
        await stream.aclose()

    anyio.run(main, backend=backend)
    assert ended == ["left", "stopped"]


# --- what can be served ------------------------------------------------------------------------------------------------


def test_anything_can_be_served(tmp_path: Path) -> None:
    """Bytes of any kind, a path as text or as a path, a message, a function, and a list of them."""
    path = tmp_path / "sky.sse"
    path.write_bytes(WHOLE)
    things: list[Any] = [WHOLE, bytearray(WHOLE), memoryview(WHOLE), str(path), path, parse(WHOLE), echo]
    for thing in [*things, things]:
        with serve(thing) as server, Client(base_url=server.base_url) as client:
            for _ in range(len(things)):
                assert client.create(REQUEST).text == "Hello"
                with client.stream(REQUEST) as stream:
                    assert "".join(stream.text) == "Hello"


def test_on_a_loop(backend: str) -> None:
    """The same server, by `async with`."""

    async def main() -> None:
        async with serve(echo, error="api_error@2") as server, AsyncClient(base_url=server.base_url) as client:
            with pytest.raises(APIError):
                async with client.stream(REQUEST) as stream:
                    assert [event async for event in stream]
            assert server.requests[0].ended == "failed"

    anyio.run(main, backend=backend)


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_the_official_sdk() -> None:
    """Its stream helper, its plain call, its count, and its errors with their request id."""
    anthropic = pytest.importorskip("anthropic", reason="the official SDK is not installed")
    asked: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello there"}]}
    rules = [Rule(model="busy", dials=Dials(error="overloaded_error")), Rule(model="late", dials=Dials(error="api_error@3"))]  # fmt: skip
    with serve(echo, rules=rules) as server:
        client = anthropic.Anthropic(base_url=server.base_url, api_key="none", max_retries=0)
        with client.messages.stream(**asked) as stream:
            assert stream.get_final_message().content[0].text == "Hello there"
        assert client.messages.create(**asked).content[0].text == "Hello there"
        counted = {name: value for name, value in asked.items() if name != "max_tokens"}
        assert client.messages.count_tokens(**counted).input_tokens > 1
        with pytest.raises(anthropic.APIStatusError) as caught:
            client.messages.create(**{**asked, "model": "busy"})
        assert (caught.value.status_code, caught.value.request_id) == (529, server.requests[-1].request_id)
        with pytest.raises(anthropic.BadRequestError, match="max_tokens") as refused:
            client.messages.create(**{**asked, "max_tokens": 0})
        assert refused.value.request_id == server.requests[-1].request_id
        with pytest.raises(anthropic.APIError, match="api error"), client.messages.stream(**{**asked, "model": "late"}) as stream:  # fmt: skip
            stream.get_final_message()
        client.close()
