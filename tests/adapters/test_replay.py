"""The replay server, by the client that it was made for."""

# ruff: noqa: SIM117, a server, a client and a stream read best one a line

from __future__ import annotations

import http.client
import json
import os
import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from conftest import Driver
from faultserver import HALF, REQUEST, WHOLE

from sansio_step import APIError, IncompleteStream, MessageRequest, iter_events, to_dict
from sansio_step_adapters.anyio import AsyncClient
from sansio_step_adapters.replay import pieces, request_from_wire, serve
from sansio_step_adapters.sockets import Client

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"
T = TypeVar("T")


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, str]:
        """What the API's envelope holds; a message in it is one line of printable characters."""
        document = json.loads(self.body)
        assert document.keys() == {"type", "error"}
        assert document["type"] == "error"
        assert document["error"].keys() == {"type", "message"}
        assert document["error"]["message"]
        assert document["error"]["message"].isprintable()
        return document["error"]


class Connection:
    """A client on a raw socket, which sends whatever a test wants sent."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=10)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc: object) -> None:
        self.sock.close()

    def answer(self, *, method: str = "POST") -> Answer:
        """The next answer, without its body where it answers a HEAD."""
        response = http.client.HTTPResponse(self.sock, method=method)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())

    def ask(self, data: bytes) -> Answer:
        self.sock.sendall(data)
        return self.answer(method=data.partition(b" ")[0].decode("latin-1"))

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def post(body: object, path: str = "/v1/messages") -> bytes:
    """A whole request; a body that is not bytes goes out as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data


def served(backend: str, talk: Callable[[int], T], captures: bytes | Sequence[bytes] = WHOLE) -> T:
    """What `talk` returns in a thread of its own, called with the port of a server."""

    async def main() -> T:
        async with serve(captures) as server:
            return await anyio.to_thread.run_sync(talk, server.port)

    return anyio.run(main, backend=backend)


def asked(backend: str, *requests: bytes, captures: bytes | Sequence[bytes] = WHOLE) -> list[Answer]:
    """The answers to requests that go one after the other through one connection."""

    def talk(port: int) -> list[Answer]:
        with Connection(port) as connection:
            return [connection.ask(request) for request in requests]

    return served(backend, talk, captures)


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


HEAD = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\n"
FIELDS = json.dumps(REQUEST).encode()[:-1]
HOSTILE: dict[str, tuple[int, bytes]] = {
    "deep arrays": (400, post(b"[" * 100_000)),
    "deep objects": (400, post(b'{"a":' * 100_000)),
    "deep content": (400, post({**REQUEST, "metadata": json.loads("[" * 300 + "]" * 300)})),
    "deep keys of control characters": (
        400,
        post(FIELDS + b',"x":' + rb'{"\n\u001b\u2028":' * 300 + b"1" + b"}" * 301),
    ),
    "no UTF-8 in a string": (400, post(b'{"model":"\xff"}')),
    "no UTF-8 outside": (400, post(b"\xff")),
    "half of a surrogate pair": (400, post({**REQUEST, "model": "\ud800"})),
    "half of a surrogate pair as key": (400, post({**REQUEST, "\ud800": 1})),
    "an endless integer": (400, post(b'{"max_tokens":' + b"9" * 100_000 + b"}")),
    "an infinite number": (400, post(FIELDS + b',"x":1e999}')),
    "NaN": (400, post(FIELDS + b',"x":NaN}')),
    "JSON cut short": (400, post(b"{")),
    "no body": (400, post(b"")),
    "no object": (400, post([])),
    "no HTTP": (400, b"nonsense\r\n\r\n"),
    "no host": (400, b"POST /v1/messages HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"),
    "a header with a space in its name": (400, HEAD + b"bad name: 1\r\n\r\n"),
    "a header with a control character": (400, HEAD + b"name: \x00\r\n\r\n"),
    "an endless header": (431, HEAD + b"name: " + b"x" * 100_000),
    "two lengths": (400, HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\n{}"),
    "a negative length": (400, HEAD + b"content-length: -1\r\n\r\n"),
    "a length of 5000 digits": (400, HEAD + b"content-length: " + b"9" * 5000 + b"\r\n\r\n"),
    "a length of 20 digits": (413, HEAD + b"content-length: " + b"9" * 20 + b"\r\n\r\n{"),
    "a HEAD with a body of 20 digits": (
        413,
        HEAD.replace(b"POST", b"HEAD") + b"content-length: " + b"9" * 20 + b"\r\n\r\n{",
    ),
    "a coding that nobody speaks": (501, HEAD + b"transfer-encoding: gzip\r\n\r\n"),
    "a chunk without its length": (400, HEAD + b"transfer-encoding: chunked\r\n\r\nno\r\n"),
    "a tunnel": (405, b"CONNECT /v1/messages HTTP/1.1\r\nhost: x\r\n\r\n"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_request_ends_the_server(backend: str, kind: str) -> None:
    """A request that can't be read is answered by an error of the API's, and other connections hear nothing of it."""
    status, request = HOSTILE[kind]

    def talk(port: int) -> tuple[list[Answer], Answer]:
        with Connection(port) as other:
            others = [other.ask(post(REQUEST))]
            with Connection(port) as connection:
                answer = connection.ask(request)
            return [*others, other.ask(post(REQUEST))], answer

    others, answer = served(backend, talk)
    assert [other.status for other in others] == [200, 200]
    assert answer.status == status
    if not request.startswith(b"HEAD"):
        assert answer.error["type"] == {413: "request_too_large", 501: "api_error"}.get(status, "invalid_request_error")


@pytest.mark.parametrize("request_", [b"", b"POST /v1/mess", post(REQUEST)[:-1], post({**REQUEST, "stream": True})])
def test_no_client_ends_the_server_by_leaving(backend: str, request_: bytes) -> None:
    """A client may leave before its request, in it and in its answer, by a reset too: the others hear nothing of it."""
    streaming = b"stream" in request_

    def talk(port: int) -> list[Answer]:
        with Connection(port) as other:
            others = [other.ask(post(REQUEST))]
            for leave in (Connection.reset, Connection.__exit__):
                with Connection(port) as connection:
                    connection.sock.sendall(request_)
                    if streaming:
                        assert connection.sock.recv(1) == b"H"
                    others.append(other.ask(post(REQUEST)))
                    leave(connection)
            return [*others, other.ask(post(REQUEST))]

    # The stream is more than the sockets hold, so that the server is sending when its client leaves.
    endless = WHOLE + b":" * 2**25
    captures = [WHOLE, endless, WHOLE, endless, WHOLE, WHOLE] if streaming else [WHOLE]
    assert [answer.status for answer in served(backend, talk, captures)] == [200] * 4


def test_too_many_connections_at_once(backend: str) -> None:
    """A connection that can't be taken because all file descriptors are in use is taken when there are some again."""
    resource = pytest.importorskip("resource", reason="there is no such limit here")

    async def main() -> None:
        async with serve(WHOLE) as server:
            with socket.socket() as sock:
                before = resource.getrlimit(resource.RLIMIT_NOFILE)
                free = os.dup(sock.fileno())
                os.close(free)
                resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
                try:
                    sock.connect(("127.0.0.1", server.port))
                    for _ in range(20):
                        await anyio.lowlevel.checkpoint()
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, before)
                sock.sendall(post(REQUEST))
                sock.settimeout(10)
                assert (await anyio.to_thread.run_sync(sock.recv, 12)) == b"HTTP/1.1 200"

    anyio.run(main, backend=backend)


def test_a_body_over_the_limit(backend: str) -> None:
    """A body that grows over 64 MiB is a 413, which a client that sends all of it first still gets to read."""

    def talk(port: int) -> Answer:
        with Connection(port) as connection:
            connection.sock.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(96):  # more over the limit than the sockets hold
                connection.sock.sendall(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
            return connection.answer()

    answer = served(backend, talk)
    assert answer.status == 413
    assert answer.headers["connection"] == "close"
    assert answer.error == {"type": "request_too_large", "message": "the request is larger than 67108864 bytes"}


def test_expect_continue(backend: str) -> None:
    """A client that waits for a 100 gets it, or the refusal of a body that is too large to be sent at all."""

    def talk(port: int) -> list[bytes | int]:
        head = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n"
        body = json.dumps(REQUEST).encode()
        with Connection(port) as connection, Connection(port) as other:
            connection.sock.sendall(head % len(body))
            go_on = connection.sock.recv(25)
            return [go_on, connection.ask(body).status, other.ask(head % 10**9).status]

    assert served(backend, talk) == [b"HTTP/1.1 100 \r\n\r\n", 200, 413]


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 0},
        {"max_tokens": None},
        {"max_tokens": "1\n2"},
        {"messages": []},
        {"messages": [{"role": "system", "content": "Hello"}]},
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        {"model": " "},
        {"stream": "yes"},
        {"temperature": 3},
        {"tools": [{}]},
        {"stop_sequences": "stop"},
        {"model": "step-3.5-flash-2603", "output_config": {"effort": "medium"}},
        {"output_config": []},
        {"effort": "low"},
    ],
)
def test_requests_are_checked_as_message_request_checks_them(backend: str, fields: dict[str, Any]) -> None:
    """What MessageRequest refuses is a 400 with its own words; nothing of it counts as a call."""
    arguments = {**REQUEST, **fields}
    if arguments.get("output_config") == {"effort": "medium"}:
        arguments["effort"] = arguments.pop("output_config")["effort"]
    elif "output_config" in fields or "effort" in fields:
        arguments = {**REQUEST, "extra": fields}
    with pytest.raises((ValueError, TypeError)) as refused:
        MessageRequest(**arguments)

    # The first capture is the one without an error, and only the first call gets it.
    answer, good = asked(backend, post({**REQUEST, **fields}), post(REQUEST), captures=[WHOLE, HALF])
    assert answer.status == 400
    assert answer.error == {"type": "invalid_request_error", "message": str(refused.value)}
    assert good.status == 200


@pytest.mark.parametrize("name", ["model", "messages", "max_tokens"])
def test_a_field_that_is_missing(backend: str, name: str) -> None:
    """A request without a field that it needs is a 400 that names the field."""
    (answer,) = asked(backend, post({key: value for key, value in REQUEST.items() if key != name}))
    assert answer.status == 400
    assert answer.error == {"type": "invalid_request_error", "message": f"{name}: it is missing"}


@pytest.mark.parametrize(
    "fields",
    [
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        {"tool_choice": {"type": "auto"}, "metadata": {"user_id": "me"}},
        {"output_config": {"effort": "low"}},
        {"output_config": {"effort": "xhigh"}},
        {"output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}}}},
        {"output_config": {}},
        {"output_config": {"format": {"type": "json_schema", "schema": {}}}},
        {"system": None, "extra": 1},
        {"metadata": json.loads("[" * 250 + "]" * 250)},
    ],
)
def test_fields_of_the_wire_are_taken(backend: str, fields: dict[str, Any]) -> None:
    """The body is the wire's JSON: effort in output_config, and fields that only other vendors' servers know."""
    plain, stream = asked(backend, post({**REQUEST, **fields}), post({**REQUEST, **fields, "stream": True}))
    assert (plain.status, stream.status) == (200, 200)
    assert stream.body == WHOLE


@pytest.mark.parametrize(
    ("config", "effort"),
    [
        ({"effort": "low"}, "low"),
        ({"effort": "xhigh"}, None),
        ({"effort": "low", "format": {"type": "json_schema"}}, None),
        ({}, None),
    ],
)
def test_the_mapping_from_the_wire(config: dict[str, Any], effort: str | None) -> None:
    """An output_config of an effort that is listed is `effort`, another one `extra`; nothing of the JSON is lost."""
    wire = {**REQUEST, "stream": True, "metadata": {"user_id": "me"}, "output_config": config}
    request = request_from_wire(wire)
    assert request.effort == effort
    assert request.to_dict() == wire


def test_count_tokens(backend: str) -> None:
    """The tokens of a request are a quarter of its bytes, at least one; it is checked, but needs no max_tokens."""
    path = "/some/v1/messages/count_tokens"
    fields = {"model": "m", "messages": [{"role": "user", "content": "x" * 4000}]}
    body = json.dumps(fields).encode()
    wrong = post({**fields, "messages": []}, path)
    count, same, refused, message = asked(
        backend, post(body, path), post({**fields, "max_tokens": 1}, path), wrong, post(REQUEST)
    )
    assert (count.status, same.status) == (200, 200)
    assert json.loads(count.body) == {"input_tokens": len(body) // 4}
    assert refused.status == 400
    assert "messages" in refused.error["message"]
    assert message.status == 200


@pytest.mark.parametrize("method", ["HEAD", "GET", "PUT", "DELETE", "OPTIONS", "BREW"])
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/messages", 405),
        ("/v1/messages?beta=true", 405),
        ("/v1/messages/count_tokens", 405),
        ("/v1/messages/", 404),
        ("/v1/models", 404),
        ("/?/v1/messages", 404),
    ],
)
def test_paths_and_methods(backend: str, method: str, path: str, status: int) -> None:
    """A wrong method is a 405 that says which is right, another path a 404; HEAD is answered as GET, without a body."""
    request = f"{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode()
    answer, message = asked(backend, request, post(REQUEST))
    assert answer.status == status
    assert answer.headers.get("allow") == ("POST" if status == 405 else None)
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) > 0
    if method == "HEAD":
        assert answer.body == b""
    else:
        assert answer.error["type"] == ("invalid_request_error" if status == 405 else "not_found_error")
    assert message.status == 200
    (wrong,) = asked(backend, post(REQUEST, path)) if status == 404 else [answer]
    assert wrong.status == status


def test_a_fault_of_the_server(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    """What goes wrong in the server itself is a 500 and in the log, and the next call is answered."""
    captures: Any = [None, WHOLE]
    failed, good = asked(backend, post(REQUEST), post(REQUEST), captures=captures)
    assert failed.status == 500
    assert failed.error["type"] == "api_error"
    assert good.status == 200
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert caplog.records[0].exc_info


def test_a_fault_in_a_stream(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    """When a stream has begun, a fault of the server ends its connection, and only that."""

    def talk(port: int) -> Answer:
        with Connection(port) as connection, Connection(port) as other:
            connection.sock.sendall(post({**REQUEST, "stream": True}))
            assert connection.sock.recv(1) == b""
            return other.ask(post(REQUEST))

    captures: Any = [None, WHOLE]
    assert served(backend, talk, captures).status == 200
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize("request_", [post(REQUEST)[:-1], b"nonsense\r\n\r\n"])
def test_the_end_waits_for_no_client(backend: str, request_: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client in the middle of its request, or one that was refused and stays, doesn't hold up the server's end."""
    monkeypatch.setattr("sansio_step_adapters.replay._HANG_UP_SECONDS", 60)

    async def main() -> None:
        with socket.socket() as sock:
            with anyio.fail_after(10):
                async with serve(WHOLE) as server:
                    sock.connect(("127.0.0.1", server.port))
                    sock.sendall(request_)
                    for _ in range(20):
                        await anyio.lowlevel.checkpoint()

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
